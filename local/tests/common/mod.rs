//! What the platform's tests share: a raw HTTP client, and ways to wait for events and processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, missing_docs, reason = "no test file uses all of it")]

use std::path::PathBuf;
use std::time::Duration;

use limitless_faas_local::{Config, Event, EventKind, Image, Limits, Platform};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::broadcast;

/// Fails a test that would hang. Nothing should ever take this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The function that the tests run.
pub fn probe() -> PathBuf {
    example("probe")
}

/// An example of this package, which `cargo test` builds.
pub fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let example = this.parent().unwrap().parent().unwrap().join("examples").join(name);
    let changed = |path: &PathBuf| path.metadata().and_then(|data| data.modified()).ok();
    let source = PathBuf::from(format!("{}/examples/{name}.rs", env!("CARGO_MANIFEST_DIR")));
    if changed(&example) < changed(&source) {
        // `cargo test --tests` builds no examples.
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let mut build = std::process::Command::new(cargo);
        build.args(["build", "--quiet", "--manifest-path", manifest, "--example", name]);
        build.args((!cfg!(debug_assertions)).then_some("--release"));
        assert!(build.status().unwrap().success(), "the example {name} can't be built");
    }
    example
}

pub fn image() -> Image {
    Image::new(probe())
}

pub fn image_with(name: &str, value: &str) -> Image {
    let mut image = image();
    image.env.insert(name.to_owned(), value.to_owned());
    image
}

pub fn resumable() -> Image {
    Image { resumable: true, ..image() }
}

/// A platform that knows the image `probe`, with limits that suit tests.
pub fn config() -> Config {
    let mut config = Config { limits: Limits::generous(), ..Config::default() };
    config.images.insert("probe".to_owned(), image());
    config.images.insert("resumable".to_owned(), resumable());
    config
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Sends bytes as they are and reads the answer to its end.
pub async fn raw(address: &str, request: &[u8]) -> Answer {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A server that has seen enough may close before it has read all.
        let _early = stream.write_all(request).await;
        let mut all = Vec::new();
        let _reset = stream.read_to_end(&mut all).await;
        all
    };
    let all = tokio::time::timeout(PATIENCE, exchange).await.expect("the answer takes too long");
    let end = all.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&all)));
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: all[end + 4..].to_vec() }
}

/// A running platform and how to call it.
pub struct Bench {
    pub platform: Platform,
    pub events: broadcast::Receiver<Event>,
}

impl Bench {
    pub async fn start(config: Config) -> Self {
        let platform = Platform::start(config).await.unwrap();
        let events = platform.events();
        Self { platform, events }
    }

    pub fn address(&self) -> String {
        self.platform.url().strip_prefix("http://").unwrap().to_owned()
    }

    pub async fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let auth = self.platform.api_key().basic();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {auth}\r\n\
             Content-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        raw(&self.address(), &[head.as_bytes(), body].concat()).await
    }

    /// A request to OpenWhisk's API, relative to the namespace.
    pub async fn whisk(&self, method: &str, path: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, &format!("/api/v1/namespaces/_/{path}"), "", body.as_bytes()).await
    }

    /// Puts an action with a time limit.
    pub async fn put(&self, name: &str, image: &str, limits: Value) -> Answer {
        let body = json!({ "exec": { "kind": "blackbox", "image": image }, "limits": limits });
        let answer = self.whisk("PUT", &format!("actions/{name}?overwrite=true"), &body).await;
        assert_eq!(answer.status, 200, "{:?}", answer.json());
        answer
    }

    /// Invokes an action and waits for its answer, and until its process is free again.
    pub async fn invoke(&self, name: &str, params: &Value) -> Answer {
        let answer = self.whisk("POST", &format!("actions/{name}?blocking=true"), params).await;
        if answer.status != 202
            && let Some(id) = answer.header("x-openwhisk-activation-id")
        {
            self.record(id).await;
        }
        answer
    }

    /// The record of an activation, once it is written.
    pub async fn record(&self, id: &str) -> Value {
        let wait = async {
            loop {
                let answer = self.whisk("GET", &format!("activations/{id}"), &Value::Null).await;
                match answer.status {
                    200 => return answer.json(),
                    404 => tokio::time::sleep(Duration::from_millis(2)).await,
                    status => panic!("{status}: {:?}", answer.json()),
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("there is no record")
    }

    /// Waits for an event that `pick` takes, and gives what it makes of it.
    pub async fn event<T>(&mut self, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let wait = async {
            loop {
                let event = self.events.recv().await.unwrap();
                if let Some(picked) = pick(&event) {
                    return picked;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the event does not come")
    }

    pub async fn kind(&mut self, kind: EventKind) {
        self.event(|event| (event.kind == kind).then_some(())).await;
    }
}

/// Asks again and again until it is so: for what the platform tells no event of.
pub async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

/// Whether a process exists that is no zombie.
pub fn is_alive(pid: u64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().starts_with(" Z"))
}
