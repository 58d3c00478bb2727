//! Requests that mean harm are refused, and the platform goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Bench, config};
use limitless_faas_local::{Config, Error, Platform};
use serde_json::{Value, json};

/// As they come in a path: none of them is a name.
fn names() -> Vec<String> {
    let long = "a".repeat(10_000);
    let names = [
        "..",
        "../x",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e",
        "%2e%2e%2fx",
        "a%2fb",
        "a%00b",
        "%00",
        "a%0ab",
        "%c3%a4",
        "%ff",
        "%f0%9f%92%a9",
        "%e2%80%aea",
        "-a",
        "a%5cb",
        "%20a",
        "a;b%7c",
        "~root",
        "$(id)",
        "'",
        "%22",
    ];
    names.iter().map(ToString::to_string).chain([long]).collect()
}

async fn is_well(bench: &Bench) {
    assert_eq!(bench.invoke("good", &json!({ "body": "{}" })).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_are_refused() {
    let bench = Bench::start(config()).await;
    bench.put("good", "probe", Value::Null).await;
    let action = json!({ "exec": { "kind": "blackbox", "image": "probe" } }).to_string();
    for name in names() {
        let paths = [
            ("PUT", format!("/api/v1/namespaces/_/actions/{name}")),
            ("GET", format!("/api/v1/namespaces/_/actions/good/{name}")),
            ("POST", format!("/api/v1/namespaces/_/actions/{name}/good")),
            ("DELETE", format!("/api/v1/namespaces/_/actions/{name}")),
            ("PUT", format!("/api/v1/namespaces/_/packages/{name}")),
            ("GET", format!("/api/v1/namespaces/{name}/actions")),
            ("GET", format!("/api/v1/namespaces/_/activations/{name}")),
            ("GET", format!("/api/v1/namespaces/_/activations/{name}/logs")),
            ("GET", format!("/system/function/{name}")),
            ("POST", format!("/system/scale-function/{name}")),
            ("POST", format!("/function/{name}")),
            ("POST", format!("/function/good.{name}/x")),
            ("POST", format!("/async-function/{name}")),
        ];
        for (method, path) in paths {
            let answer = bench.send(method, &path, "", action.as_bytes()).await;
            assert!(matches!(answer.status, 400 | 403 | 404), "{method} {path:.80}: {}", answer.status);
        }
    }
    is_well(&bench).await;
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_in_bodies_are_refused() {
    let bench = Bench::start(config()).await;
    let long = "a".repeat(10_000);
    for name in ["", "..", "../x", "a/b", "a\0b", "a\nb", "ä", "\u{202e}a", "A", "-a", long.as_str()] {
        for (method, path, body) in [
            ("POST", "functions", json!({ "service": name, "image": "probe" })),
            ("POST", "functions", json!({ "service": "x", "image": name })),
            ("POST", "functions", json!({ "service": "x", "image": "probe", "secrets": [name] })),
            (
                "POST",
                "functions",
                json!({ "service": "x", "image": "probe", "envVars": { "a=b": "", "c\0": "" } }),
            ),
            ("DELETE", "functions", json!({ "functionName": name })),
            ("POST", "secrets", json!({ "name": name, "value": "x" })),
        ] {
            let body = body.to_string();
            let answer = bench.send(method, &format!("/system/{path}"), "", body.as_bytes()).await;
            assert!(matches!(answer.status, 400 | 404), "{method} {path} {body:.80}: {}", answer.status);
        }
    }
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_key_opens() {
    let bench = Bench::start(config()).await;
    let key = bench.platform.api_key().clone();
    let other = limitless_faas_local::ApiKey::generate();
    let basic = |text: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
    };
    let wrong = [
        None,
        Some(other.basic()),
        Some(basic(&format!("{}:{}", key.user(), other.password()))),
        Some(basic(&format!("{}x", key.as_str()))),
        Some(basic(key.user())),
        Some("Basic".to_owned()),
        Some("Basic %%%".to_owned()),
        Some(format!("Bearer {}", key.as_str())),
    ];
    for auth in wrong {
        let header = auth.map(|auth| format!("Authorization: {auth}\r\n")).unwrap_or_default();
        for path in ["/api/v1/namespaces/_/actions", "/system/functions"] {
            let request =
                format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n");
            let answer = common::raw(&bench.address(), request.as_bytes()).await;
            assert_eq!(answer.status, 401, "{path} {header}");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Basic"));
        }
    }
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_and_garbage_are_bounded() {
    let mut setup = config();
    setup.limits.http_body_bytes = 1000;
    setup.limits.code_bytes = 1000;
    let bench = Bench::start(setup).await;
    bench.put("good", "probe", Value::Null).await;
    let function = json!({ "service": "f", "image": "probe" }).to_string();
    bench.send("POST", "/system/functions", "", function.as_bytes()).await;
    assert_eq!(bench.send("POST", "/function/f", "", &[b' '; 1001]).await.status, 413);
    let code = json!({ "exec": { "kind": "blackbox", "image": "probe", "code": "x".repeat(1001) } });
    assert_eq!(bench.whisk("PUT", "actions/x", &code).await.status, 413);
    let parameters = json!({
        "exec": { "kind": "blackbox", "image": "probe" }, "parameters": [{ "key": "a", "value": "x".repeat(1 << 20) }],
    });
    assert_eq!(bench.whisk("PUT", "actions/x", &parameters).await.status, 413);
    // A length that is announced and never sent costs no memory; one that is not announced is counted.
    let auth = bench.platform.api_key().basic();
    let head = format!(
        "POST /function/f HTTP/1.1\r\nHost: localhost\r\nAuthorization: {auth}\r\nConnection: close\r\n"
    );
    let huge = format!("{head}Content-Length: 99999999999\r\n\r\n");
    assert_eq!(common::raw(&bench.address(), huge.as_bytes()).await.status, 413);
    let chunk = format!("{head}Transfer-Encoding: chunked\r\n\r\n3e9\r\n{}\r\n0\r\n\r\n", "x".repeat(1001));
    assert_eq!(common::raw(&bench.address(), chunk.as_bytes()).await.status, 413);
    for garbage in ["\0\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET x y z\r\n\r\n"] {
        assert_eq!(common::raw(&bench.address(), garbage.as_bytes()).await.status, 400, "{garbage:?}");
    }
    is_well(&bench).await;
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_name_another_host_are_refused() {
    let bench = Bench::start(config()).await;
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:1234", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example:80", 403),
        ("127.0.0.1.evil.example", 403),
        ("10.0.0.1", 403),
        ("", 403),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(common::raw(&bench.address(), request.as_bytes()).await.status, status, "{host:?}");
    }
    bench.platform.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_loopback_is_listened_on() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let config = Config { listen: address.parse().unwrap(), ..Config::default() };
        let error = Platform::start(config).await.unwrap_err();
        assert!(matches!(error, Error::NotLoopback(_)), "{error}");
    }
}
