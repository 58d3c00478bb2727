//! Nodes side by side.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

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
///
/// Each is polled where it was woken itself: with a thousand of them one result must not cost a look at all others.
pub(super) async fn all<T, E, F: Future<Output = Result<T, E>>>(
    futures: impl Iterator<Item = F>,
    most: usize,
) -> Result<Vec<T>, E> {
    let mut waiting = futures.enumerate();
    let mut running: Vec<Running<F>> = Vec::new();
    let mut done: Vec<Option<T>> = Vec::new();
    poll_fn(|context| {
        loop {
            while running.len() < most {
                let Some((index, future)) = waiting.next() else { break };
                done.push(None);
                running.push(Running { index, future: Box::pin(future), alarm: Alarm::new() });
            }
            let before = running.len();
            let mut failed = None;
            running.retain_mut(|one| match one.poll(context) {
                Poll::Pending => true,
                Poll::Ready(Ok(value)) => {
                    done[one.index] = Some(value);
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

/// One of many futures.
struct Running<F> {
    index: usize,
    future: Pin<Box<F>>,
    alarm: Arc<Alarm>,
}

/// Remembers that it was woken, and wakes whoever waits for all.
struct Alarm {
    rang: AtomicBool,
    outer: Mutex<Option<Waker>>,
}

impl<F: Future> Running<F> {
    fn poll(&mut self, context: &Context<'_>) -> Poll<F::Output> {
        self.alarm.listen(context.waker());
        if !self.alarm.rang.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let waker = Waker::from(self.alarm.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

impl Alarm {
    /// It rang at first: what was never polled wakes nobody.
    fn new() -> Arc<Self> {
        Arc::new(Self { rang: AtomicBool::new(true), outer: Mutex::new(None) })
    }

    fn outer(&self) -> MutexGuard<'_, Option<Waker>> {
        self.outer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on `waker` is told; what rang before is seen by whoever asks next.
    fn listen(&self, waker: &Waker) {
        let mut outer = self.outer();
        if !outer.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *outer = Some(waker.clone());
        }
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rang.store(true, Ordering::Release);
        let outer = self.outer().clone();
        if let Some(outer) = outer {
            outer.wake();
        }
    }
}
