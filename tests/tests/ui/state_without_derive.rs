use limitless_faas::{Context, handler};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Progress {
    done: u64,
}

#[handler]
async fn count(ctx: Context<Progress>, n: u64) -> u64 {
    let mut state = ctx.state();
    for _ in state.done..n {
        state.done += 1;
        ctx.checkpoint(&state).await;
    }
    state.done
}

fn main() {}
