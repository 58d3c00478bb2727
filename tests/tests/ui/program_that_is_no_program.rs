use limitless_faas::{Context, Result, program};

#[program()]
fn nothing(text: String) -> Result<u64>;

#[program("python3", "score.py")]
fn never_fails(text: String) -> u64;

#[program("python3", "score.py")]
fn with_a_context(ctx: Context, text: String) -> Result<u64>;

#[program("python3", "score.py")]
async fn waited_for(text: String) -> Result<u64>;

fn main() {}
