//! What is executed: a handler that uses everything, one that is not async, and one whose state has a name.

use std::pin::pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::baton;
use crate::{Code, Context, Race, Result, State, StepOptions, handler};

/// What every handler comes to.
pub(super) fn expected(n: u64) -> String {
    (0..n).map(|i| i * i).sum::<u64>().to_string()
}

/// The event that is waited for, and its data.
pub(super) const EVENT: (&str, &str) = ("approval", "17");

const NAP: Duration = Duration::from_secs(2);

async fn work() {
    sleep(Duration::from_millis(60)).await;
    baton::process().pass("has worked").await;
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut result = None;
    baton::wait(pin!(async { result = Some(future.await) }));
    result.unwrap()
}

async fn step<S>(ctx: &Context<S>, key: String) -> Result<()> {
    let value = ctx.step(&*key, async || Ok::<_, crate::Error>(baton::process().effect(&key).await)).await?;
    baton::process().acknowledged(&key, value);
    Ok(())
}

/// A step that begins at most once; where it was interrupted, the handler goes on without it.
async fn dare(ctx: &Context, key: String) -> Result<()> {
    let options = StepOptions::new().at_most_once();
    let dared = ctx.step_with(&*key, options, async || {
        let process = baton::process();
        // Once it has begun it counts as acknowledged: it must not begin again.
        let value = process.effect(&key).await;
        process.acknowledged(&key, value);
        Ok::<_, crate::Error>(value)
    });
    match dared.await {
        Ok(value) => baton::process().acknowledged(&key, value),
        Err(error) if error.code() == Some(Code::StepInterrupted) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn nap<S>(ctx: &Context<S>, key: String) -> Result<()> {
    let begun_us = baton::process().first_met(&key);
    ctx.sleep(&*key, NAP).await?;
    baton::process().woke(&key, begun_us, NAP);
    Ok(())
}

/// Everything that a handler can wait for.
#[handler]
pub(super) async fn tour(ctx: Context, n: u64) -> Result<u64> {
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        work().await;
        match i % 7 {
            1 => step(&ctx, format!("step-{i}")).await?,
            2 => {
                let (left, right) =
                    tokio::join!(step(&ctx, format!("left-{i}")), step(&ctx, format!("right-{i}")));
                left.and(right)?;
            }
            3 => dare(&ctx, format!("dare-{i}")).await?,
            4 => nap(&ctx, format!("nap-{i}")).await?,
            5 if i < 7 => {
                let data: u64 = ctx.wait_for(EVENT.0).await?;
                baton::process().acknowledged("the event", data);
            }
            6 => {
                let key = format!("race-{i}");
                let (fast, slow) = (step(&ctx, format!("fast-{i}")), nap(&ctx, format!("slow-{i}")));
                let winner = ctx.race(&*key, fast, slow).await?;
                baton::process().acknowledged(&key, u64::from(matches!(winner, Race::Left(_))));
            }
            _ => {}
        }
        sum += i * i;
    }
    Ok(sum)
}

/// Steps and naps without async.
#[handler]
pub(super) fn climb(ctx: Context, n: u64) -> Result<u64> {
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        block_on(work());
        if i % 2 == 1 {
            let key = format!("step-{i}");
            let value =
                ctx.blocking_step(&*key, || Ok::<_, crate::Error>(block_on(baton::process().effect(&key))))?;
            baton::process().acknowledged(&key, value);
        }
        if i % 7 == 4 {
            let key = format!("nap-{i}");
            let begun_us = baton::process().first_met(&key);
            ctx.blocking_sleep(&*key, NAP)?;
            baton::process().woke(&key, begun_us, NAP);
        }
        sum += i * i;
    }
    Ok(sum)
}

/// How far [`walk`] came.
#[derive(Default, Serialize, Deserialize, State)]
pub(super) struct Way {
    at: u64,
    sum: u64,
}

/// Named state, and steps that are met again after each resume.
#[handler]
pub(super) async fn walk(ctx: Context<Way>, n: u64) -> Result<u64> {
    let mut way = ctx.state();
    while way.at < n {
        ctx.checkpoint(&way).await;
        work().await;
        if way.at % 3 == 1 {
            step(&ctx, format!("step-{}", way.at)).await?;
        }
        way.sum += way.at * way.at;
        way.at += 1;
    }
    Ok(way.sum)
}
