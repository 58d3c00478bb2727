use limitless_faas::{Context, State, handler};
use serde::{Deserialize, Serialize};

#[derive(State, Default, Serialize, Deserialize)]
struct Progress {
    done: u64,
}

#[handler]
async fn both(ctx: Context<Progress>, n: u64) -> u64 {
    let mut state = ctx.state();
    #[checkpoint]
    for _ in 0..n {
        state.done += 1;
        ctx.checkpoint(&state).await;
    }
    state.done
}

fn main() {}
