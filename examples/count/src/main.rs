//! Counts to `n` with a pause after each number, and tells a server at every multiple of ten and at the end.
//!
//! It is the test function of the paper *Limitless FaaS: overcoming serverless functions execution time limits with
//! invoke driven architecture and memory checkpoints*: there it counts to 70, a second each. What the server is told are
//! steps: each is recorded under its key, so that an invocation that goes on after a crash does not tell it again.
//!
//! ```sh
//! cargo faas run count --input '{"n": 70, "pause_ms": 100}' --time-limit 2s
//! cargo faas run count --input '{"n": 70, "pause_ms": 100, "server": "http://127.0.0.1:8000"}' --time-limit 2s
//! ```

use std::time::Duration;

use limitless_faas::{Context, Result, handler};
use serde_json::json;

/// Counts to `n`, and answers it.
#[handler]
async fn count(ctx: Context, n: u64, pause_ms: u64, server: Option<String>) -> Result<u64> {
    let mut counted = 0;
    #[checkpoint]
    while counted < n {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        counted += 1;
        if counted % 10 == 0 {
            let key = format!("count-{counted}");
            ctx.step(key, async || tell(server.as_deref(), "count", counted).await).await?;
        }
    }
    ctx.step("result", async || tell(server.as_deref(), "result", counted).await).await?;
    Ok(counted)
}

/// Posts `{"count": …}`. Between the post and its record the process may end: then it is posted twice, and the
/// server can tell by the number.
async fn tell(server: Option<&str>, resource: &str, counted: u64) -> Result<()> {
    let Some(server) = server else { return Ok(()) };
    let url = format!("{}/{resource}", server.trim_end_matches('/'));
    reqwest::Client::new().post(url).json(&json!({ "count": counted })).send().await?.error_for_status()?;
    Ok(())
}

fn main() {
    limitless_faas::serve!(count);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread::JoinHandle;

    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// Takes so many posts and answers what they were.
    fn server(posts: usize) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let told = move || (0..posts).map(|_| one_post(listener.accept().unwrap().0)).collect();
        (url, std::thread::spawn(told))
    }

    fn one_post(mut stream: TcpStream) -> String {
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut piece = [0; 512];
            let length = stream.read(&mut piece).unwrap();
            assert_ne!(length, 0, "the request ended early");
            request.extend_from_slice(&piece[..length]);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
        let text = String::from_utf8(request).unwrap();
        format!("{} {}", text.split(' ').nth(1).unwrap(), text.lines().last().unwrap())
    }

    #[test]
    fn it_counts_without_a_server() {
        assert_eq!(block_on(count(Context::default(), 25, 0, None)).unwrap(), 25);
    }

    #[test]
    fn the_server_is_told_at_every_tenth_and_at_the_end() {
        let (url, told) = server(3);
        assert_eq!(block_on(count(Context::default(), 25, 0, Some(url))).unwrap(), 25);
        let told = told.join().unwrap();
        assert_eq!(told, [r#"/count {"count":10}"#, r#"/count {"count":20}"#, r#"/result {"count":25}"#]);
    }

    #[test]
    fn a_server_that_is_away_is_an_error() {
        let (url, told) = server(0);
        told.join().unwrap();
        assert!(block_on(count(Context::default(), 10, 0, Some(url))).is_err());
    }
}
