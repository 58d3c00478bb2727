//! Nodes side by side.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// Waits for both.
pub async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut left, mut right) = (None, None);
    poll_fn(|waker| {
        if left.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(waker)
        {
            left = Some(value);
        }
        if right.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(waker)
        {
            right = Some(value);
        }
        match (left.take(), right.take()) {
            (Some(left), Some(right)) => Poll::Ready((left, right)),
            (one, other) => {
                (left, right) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

/// Waits for both, or for the first `Err`; the other is dropped then, which cancels its nodes.
///
/// # Errors
/// The first one.
pub async fn try_both<A, B, E>(
    a: impl Future<Output = Result<A, E>>,
    b: impl Future<Output = Result<B, E>>,
) -> Result<(A, B), E> {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut left, mut right) = (None, None);
    poll_fn(|waker| {
        if left.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(waker)
        {
            left = Some(value?);
        }
        if right.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(waker)
        {
            right = Some(value?);
        }
        match (left.take(), right.take()) {
            (Some(left), Some(right)) => Poll::Ready(Ok((left, right))),
            (one, other) => {
                (left, right) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

/// Waits for all of them, in order, with at most `most` under way at once; or for the first `Err`.
pub(super) async fn all<T, E, F: Future<Output = Result<T, E>>>(
    futures: impl Iterator<Item = F>,
    most: usize,
) -> Result<Vec<T>, E> {
    let mut waiting = futures.enumerate();
    let mut running = Vec::new();
    let mut done: Vec<Option<T>> = Vec::new();
    poll_fn(|waker| {
        loop {
            while running.len() < most {
                let Some((index, future)) = waiting.next() else { break };
                done.push(None);
                running.push((index, Box::pin(future)));
            }
            let before = running.len();
            let mut failed = None;
            running.retain_mut(|(index, future)| match future.as_mut().poll(waker) {
                Poll::Pending => true,
                Poll::Ready(Ok(value)) => {
                    done[*index] = Some(value);
                    false
                }
                Poll::Ready(Err(error)) => {
                    failed.get_or_insert(error);
                    false
                }
            });
            if let Some(error) = failed {
                return Poll::Ready(Err(error));
            }
            if running.is_empty() && before < most {
                return Poll::Ready(Ok(std::mem::take(&mut done).into_iter().flatten().collect()));
            }
            if running.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await
}
