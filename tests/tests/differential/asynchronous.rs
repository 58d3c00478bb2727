//! Async handlers.

use limitless_faas::{Context, handler};
use limitless_faas_tests::resume::pause;

async fn fetched(n: u64) -> Result<u64, String> {
    pause().await;
    if n > 900 { Err(format!("{n} is too much")) } else { Ok(n * 2) }
}

#[handler]
async fn download(urls: Vec<u64>) -> u64 {
    let mut sum = 0;
    #[checkpoint]
    for url in &urls {
        sum += fetched(*url).await.unwrap_or_default();
        pause().await;
    }
    sum
}

#[test]
fn awaits_in_the_loop() {
    same_async!(download(urls = vec![3, 1, 999, 4]));
}

#[handler]
async fn nested(n: u64) -> Vec<u64> {
    let mut out = vec![fetched(n).await.unwrap()];
    #[checkpoint]
    for i in 0..n {
        let mut x = fetched(i).await.unwrap();
        #[checkpoint]
        while x > 0 {
            x -= 1;
            pause().await;
            out.push(x);
        }
    }
    if out.len() > 3 {
        #[checkpoint]
        let last = loop {
            pause().await;
            match out.pop() {
                Some(0) => continue,
                other => break other,
            }
        };
        out.extend(last);
    }
    out
}

#[test]
fn every_kind_of_loop() {
    same_async!(nested(n = 4));
}

#[handler]
async fn failing(ctx: Context, numbers: Vec<u64>) -> Result<u64, String> {
    let mut sum = 0;
    let _ = ctx.clone();
    #[checkpoint]
    for number in numbers.iter() {
        sum += fetched(*number).await?;
    }
    drop(ctx);
    Ok(sum)
}

#[test]
fn context_and_errors() {
    for numbers in [vec![1, 2, 3], vec![1, 901, 3]] {
        let plain = match limitless_faas_tests::resume::wait(failing(Context::default(), numbers.clone())) {
            Ok(sum) => sum.to_string(),
            Err(error) => format!("error: {error}"),
        };
        let input = serde_json::json!({ "numbers": numbers }).to_string();
        limitless_faas_tests::resume::differ::<failing>(&input, &plain, 10);
    }
}

#[handler]
async fn strip_mined(n: u64) -> u64 {
    let mut sum = 0u64;
    #[checkpoint]
    for i in 0..n {
        sum = sum.wrapping_add(i ^ (sum << 3));
    }
    pause().await;
    sum
}

#[test]
fn blocks_of_iterations() {
    same_async!(strip_mined(n = 4_000));
}

#[handler]
async fn rebuilt(text: String) -> usize {
    #[rebuild]
    let words: Vec<&str> = text.split(' ').collect();
    let mut sum = 0;
    #[checkpoint]
    for i in 0..words.len() {
        pause().await;
        sum += words[i].len() * i;
    }
    sum
}

#[test]
fn borrow_across_an_await() {
    same_async!(rebuilt(text = "one two three".to_owned()));
}

/// An async handler called as an ordinary function can be spawned on any runtime.
#[test]
fn futures_are_send() {
    fn send<T: Send>(_: &T) {}
    send(&download(vec![]));
    send(&nested(1));
    send(&strip_mined(1));
}
