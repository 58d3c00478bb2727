//! Waiting that costs nothing: a handler that waits for something far off is not kept running.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context as Waker, Poll};
use std::time::Duration;

use limitless_faas_core::log::Wake;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checkpoint::Context;
use crate::engine::{Step, Steps};
use crate::error::{Error, Result};
use crate::step::{decode, encode};

/// Which of two came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Race<A, B> {
    /// The first one given.
    Left(A),
    /// The second one given.
    Right(B),
}

impl<S> Context<S> {
    /// Sleeps, and is not charged for it: where the end is far off the invocation ends, and another goes on then.
    ///
    /// `key` names this sleep as it names a step, and the time at which it ends is recorded, so that coming this way again does
    /// not begin it anew. The handler goes on from its last checkpoint and meets its recorded steps again; what it computed since
    /// and did not record is computed again.
    ///
    /// Somebody has to invoke it when the time has come: `cargo faas run` and `resume` do while they follow the execution;
    /// else let `cargo faas wake` run at intervals, or a trigger of the platform's.
    ///
    /// Other branches of a `join!` are cut off by it as by any suspension: steps that had not ended run again. In a unit test, where
    /// there is no execution, it returns at once.
    ///
    /// # Errors
    /// Where the key was used before, or the store does not take the record.
    pub async fn sleep(&self, key: impl Into<String>, duration: Duration) -> Result<()> {
        let Some(steps) = self.steps() else { return Ok(()) };
        let until_ms = ends_at(&steps, &key.into(), duration).await?;
        if now_ms(&steps) >= until_ms {
            return Ok(());
        }
        if !steps.is_near(until_ms) {
            match self.park(at(until_ms)).await {}
        }
        tokio::time::sleep(left(&steps, until_ms)).await;
        Ok(())
    }

    /// [`Context::sleep`] for handlers that are not async.
    ///
    /// # Errors
    /// As [`Context::sleep`].
    pub fn blocking_sleep(&self, key: impl Into<String>, duration: Duration) -> Result<()> {
        let Some(steps) = self.steps() else { return Ok(()) };
        let runtime = steps.blocking().ok_or_else(|| Error::msg("call sleep in an async handler"))?;
        let until_ms = runtime.block_on(ends_at(&steps, &key.into(), duration))?;
        if now_ms(&steps) < until_ms && !steps.is_near(until_ms) {
            self.leave(at(until_ms));
        }
        let left = left(&steps, until_ms);
        runtime.block_on(async {
            tokio::time::sleep(left).await;
            Ok(())
        })
    }

    /// Waits until the event of this name has happened to this execution, and answers its data. Nothing is charged meanwhile:
    /// the invocation ends, and another goes on once the event was recorded.
    ///
    /// `cargo faas wake ID --event NAME --data JSON` makes it happen. An event happens once; one that happened before it was
    /// waited for is not lost. Its data is recorded as a step's result is.
    ///
    /// ```no_run
    /// # use limitless_faas::{Context, Result};
    /// # async fn f(ctx: Context) -> Result<()> {
    /// let approved: bool = ctx.wait_for("approval").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Where the data is not a `T`, the same event is waited for twice, or there is no execution, as in a unit test.
    pub async fn wait_for<T: DeserializeOwned>(&self, event: &str) -> Result<T> {
        let steps = self.steps().ok_or_else(|| no_execution(event))?;
        match happened(&steps, event).await? {
            Some(json) => read(event, &json),
            None => match self.park(event_of(event)).await {},
        }
    }

    /// [`Context::wait_for`] until so much time has passed since it was first met; then it answers nothing, and so it does for
    /// ever: an event that comes later comes too late.
    ///
    /// # Errors
    /// As [`Context::wait_for`].
    pub async fn wait_for_within<T: DeserializeOwned>(
        &self,
        event: &str,
        time: Duration,
    ) -> Result<Option<T>> {
        let steps = self.steps().ok_or_else(|| no_execution(event))?;
        let until_ms = ends_at(&steps, &format!("\0until {event}"), time).await?;
        let verdict = format!("\0late {event}");
        if steps.is_met_again(&verdict) {
            steps.begin(&verdict)?;
            return Ok(None);
        }
        if let Some(json) = happened(&steps, event).await? {
            return read(event, &json).map(Some);
        }
        if now_ms(&steps) < until_ms {
            match self.park(at(until_ms).or(event_of(event))).await {}
        }
        steps.begin(&verdict)?;
        steps.record(&verdict, Vec::new()).await?;
        Ok(None)
    }

    /// [`Context::wait_for`] for handlers that are not async.
    ///
    /// # Errors
    /// As [`Context::wait_for`].
    pub fn blocking_wait_for<T: DeserializeOwned>(&self, event: &str) -> Result<T> {
        let steps = self.steps().ok_or_else(|| no_execution(event))?;
        let runtime = steps.blocking().ok_or_else(|| Error::msg("call wait_for in an async handler"))?;
        match runtime.block_on(happened(&steps, event))? {
            Some(json) => read(event, &json),
            None => self.leave(event_of(event)),
        }
    }

    /// Whichever of two comes first, recorded under `key`: where the execution comes this way again the same one wins, and the
    /// other does not run. The one that lost is dropped. Where one of them waits for something far off and the other computes,
    /// the invocation stays for the latter.
    ///
    /// Both may be steps or waits: `ctx.race("answer", ctx.wait_for::<bool>("yes"), ctx.sleep("patience", DAY))`.
    ///
    /// # Errors
    /// Where the key was used before, or the store does not take the record.
    pub async fn race<A, B>(
        &self,
        key: impl Into<String>,
        left: impl Future<Output = A>,
        right: impl Future<Output = B>,
    ) -> Result<Race<A, B>> {
        let key = key.into();
        if let Some(is_left) = self.winner(&key)? {
            return Ok(if is_left { Race::Left(left.await) } else { Race::Right(right.await) });
        }
        let (left, right) = (pin!(left), pin!(right));
        let (_, winner) = self.begin_race().await?.first(&mut [Side::Left(left), Side::Right(right)]).await;
        self.won(&key, &matches!(winner, Race::Left(_))).await?;
        Ok(winner)
    }

    /// [`Context::race`] of any number, which all come to the same type: the one that comes first, by its place, and what it came to.
    ///
    /// Futures of several types are boxed, or [raced](Context::race) two by two.
    ///
    /// ```no_run
    /// # use limitless_faas::{Context, Result};
    /// # async fn ask(mirror: &str) -> Result<String> { Ok(mirror.to_owned()) }
    /// # async fn f(ctx: Context) -> Result<()> {
    /// let mirrors = ["one", "two", "three"];
    /// let asked = mirrors.map(|mirror| ctx.step(mirror, async move || ask(mirror).await));
    /// let (which, answer) = ctx.race_all("fastest", asked).await?;
    /// println!("{} said {}", mirrors[which], answer?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Context::race`], and where there is nobody in it.
    pub async fn race_all<F: Future>(
        &self,
        key: impl Into<String>,
        sides: impl IntoIterator<Item = F>,
    ) -> Result<(usize, F::Output)> {
        let key = key.into();
        let mut sides: Vec<_> = sides.into_iter().map(Box::pin).collect();
        if sides.is_empty() {
            return Err(
                Error::msg(format!("there is nobody in race `{key}`, so nobody will ever win it")).terminal()
            );
        }
        if let Some(place) = self.winner::<u64>(&key)? {
            let place = usize::try_from(place)?;
            let gone =
                || Error::msg(format!("number {place} won race `{key}` before, and is not in it any more"));
            let winner = sides.get_mut(place).ok_or_else(|| gone().terminal())?;
            return Ok((place, winner.await));
        }
        let (place, winner) = self.begin_race().await?.first(&mut sides).await;
        self.won(&key, &(place as u64)).await?;
        Ok((place, winner))
    }

    /// Who won this race before.
    fn winner<W: Serialize + DeserializeOwned>(&self, key: &str) -> Result<Option<W>> {
        let Some(steps) = self.steps() else { return Ok(None) };
        match steps.begin(key)? {
            Step::Recorded(bytes) => decode(key, &bytes).map(Some),
            Step::Fresh => Ok(None),
        }
    }

    async fn begin_race(&self) -> Result<&Self> {
        if let Some(steps) = self.steps() {
            steps.ready().await?;
        }
        Ok(self)
    }

    async fn won<W: Serialize + DeserializeOwned>(&self, key: &str, winner: &W) -> Result<()> {
        let Some(steps) = self.steps() else { return Ok(()) };
        Ok(steps.record(key, encode(key, winner)?).await?)
    }
}

/// One of two that race.
enum Side<'a, A, B> {
    Left(Pin<&'a mut A>),
    Right(Pin<&'a mut B>),
}

impl<A: Future, B: Future> Future for Side<'_, A, B> {
    type Output = Race<A::Output, B::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Waker<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Left(left) => left.as_mut().poll(cx).map(Race::Left),
            Self::Right(right) => right.as_mut().poll(cx).map(Race::Right),
        }
    }
}

/// When a wait of this key ends: recorded when it was first met.
async fn ends_at(steps: &Arc<Steps>, key: &str, duration: Duration) -> Result<u64> {
    if let Step::Recorded(bytes) = steps.begin(key)? {
        return decode(key, &bytes);
    }
    steps.ready().await?;
    let until_ms = now_ms(steps).saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    steps.record(key, encode(key, &until_ms)?).await?;
    Ok(until_ms)
}

/// The event's data, recorded like a step's result; none where it is still to happen.
async fn happened(steps: &Arc<Steps>, event: &str) -> Result<Option<String>> {
    let key = format!("\0event {event}");
    if let Step::Recorded(bytes) = steps.begin(&key)? {
        return decode(&key, &bytes).map(Some);
    }
    steps.ready().await?;
    let Some(json) = steps.event(event).await? else {
        steps.give_up(&key);
        return Ok(None);
    };
    steps.record(&key, encode(&key, &json)?).await?;
    Ok(Some(json))
}

fn read<T: DeserializeOwned>(event: &str, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| {
        let name = std::any::type_name::<T>();
        Error::msg(format!("the data of event `{event}` is no `{name}`: {error}")).terminal()
    })
}

fn no_execution(event: &str) -> Error {
    Error::msg(format!(
        "there is no execution to wait for event `{event}` in: the handler was called as a function"
    ))
}

fn at(until_ms: u64) -> Wake {
    Wake { at_ms: Some(until_ms), events: Vec::new() }
}

fn event_of(name: &str) -> Wake {
    Wake { at_ms: None, events: vec![name.to_owned()] }
}

fn now_ms(steps: &Steps) -> u64 {
    steps.now_us() / 1000
}

fn left(steps: &Steps, until_ms: u64) -> Duration {
    Duration::from_millis(until_ms.saturating_sub(now_ms(steps)))
}
