use limitless_faas::{Result, program};

/// The body would never run.
#[program("python3", "score.py")]
fn score(text: String) -> Result<u64> {
    Ok(text.len() as u64)
}

fn main() {}
