//! A later version of the subject: `squares` has the same name and another body, `waves` another state.

use std::time::Duration;

use limitless_faas::{Context, Migrate, State, handler};
use serde::{Deserialize, Serialize};

/// Sums cubes instead.
#[handler]
fn squares(n: u64, pause_us: Option<u64>) -> u64 {
    let mut cubes = 0_u64;
    #[checkpoint]
    for i in 0..n {
        if let Some(pause_us) = pause_us {
            std::thread::sleep(Duration::from_micros(pause_us));
        }
        cubes = cubes.wrapping_add(i * i * i);
    }
    cubes
}

/// What version 1 saved.
#[derive(Default, Serialize, Deserialize, State)]
#[state(name = "Wave")]
struct WaveV1 {
    at: u64,
    sum: u64,
}

/// Counts from the other end.
#[derive(Default, Serialize, Deserialize, State)]
#[state(version = 2, from = WaveV1)]
struct Wave {
    done: u64,
    total: u128,
}

impl Migrate<WaveV1> for Wave {
    fn migrate(old: WaveV1) -> Self {
        Self { done: old.at, total: old.sum.into() }
    }
}

/// The same sum with a wider state.
#[handler]
async fn waves(ctx: Context<Wave>, n: u64, pause_ms: u64) -> u128 {
    let mut wave = ctx.state();
    while wave.done < n {
        ctx.checkpoint(&wave).await;
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        wave.total += u128::from(wave.done);
        wave.done += 1;
    }
    wave.total
}

fn main() {
    limitless_faas::serve!(squares, waves);
}
