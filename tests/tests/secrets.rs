//! No secret that a function process is given appears in what it says: its manifest, its answers, its logs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail, and their helpers with them")]

mod alone;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::Command;

use alone::{SUBJECT, raw, start};

/// Everything that is secret below has this in it.
const MARK: &str = "5ec3e7";
const KEY: &str = "5ec3e75a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

const SECRETS: [(&str, &str); 5] = [
    ("LIMITLESS_KEY", KEY),
    ("LIMITLESS_WATCHDOG_TOKEN", "5ec3e7-token"),
    ("AWS_SECRET_ACCESS_KEY", "5ec3e7-of-aws"),
    ("REDIS_PASSWORD", "5ec3e7-of-redis"),
    ("SFTP_PRIVATE_KEY", "5ec3e7-of-sftp"),
];

/// A server that refuses whatever it is asked; answers its port.
fn refusing() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let _ = stream.write_all(b"HTTP/1.1 403 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    port
}

/// What a process with these settings answers to some calls, and what it says until its end.
fn said(settings: &[(&str, &str)], calls: &[(&str, &str)]) -> String {
    let settings: Vec<_> = SECRETS.into_iter().chain(settings.iter().copied()).collect();
    let mut process = start(&settings);
    let answers = calls.iter().map(|(headers, body)| {
        let (status, head, body) = raw(process.port, "POST", "/", headers, body);
        format!("{status} {head} {body}\n")
    });
    let mut said = answers.collect::<String>();
    process.child.kill().unwrap();
    process.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    process.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    said
}

#[test]
fn the_manifest_has_no_secret() {
    let output = Command::new(SUBJECT).arg("describe").envs(SECRETS).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(text.contains("squares") && !text.contains(MARK), "{text}");
}

#[test]
fn refusals_of_stores_and_keys_have_no_secret() {
    let call = [("Idempotency-Key: k\r\n", r#"{"n":3}"#)];
    let resume = ("", r#"{"$limitless":{"resume":"00000000000000000000000000000000"}}"#);
    let folder = tempfile::tempdir().unwrap();
    let of_folder = format!("file:{}", folder.path().display());
    let cases: [(&[(&str, &str)], &str); 4] = [
        (&[("LIMITLESS_STORE", "redis://me:5ec3e7@127.0.0.1:1/0/x")], "redis"),
        (&[("LIMITLESS_STORE", "nonsense://me:5ec3e7@127.0.0.1:1/0/x")], "nonsense"),
        (&[("LIMITLESS_STORE", &of_folder), ("LIMITLESS_KEY", "5ec3e7")], "64 hexadecimal digits"),
        (&[("LIMITLESS_STORE", &of_folder)], "LF021"),
    ];
    for (settings, expected) in cases {
        let gateway = [("LIMITLESS_GATEWAY_URL", "http://127.0.0.1:1")];
        let settings = [&gateway, settings].concat();
        let said = said(&settings, &[&call[..], &[resume]].concat());
        assert!(said.contains(expected) && !said.contains(MARK), "{expected}: {said}");
    }
}

#[test]
fn refusals_of_gateways_and_receivers_have_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let port = refusing();
    let settings = [
        ("LIMITLESS_STORE", &*format!("file:{}", folder.path().display())),
        ("LIMITLESS_GATEWAY_URL", &format!("http://me:5ec3e7@127.0.0.1:{port}")),
        ("LIMITLESS_TIME_LIMIT_MS", "400"),
        ("LIMITLESS_CALLBACK_LOGIN", &format!("http://me:5ec3e7@127.0.0.1:{port}")),
    ];
    let callback = |user: &str| {
        format!("X-Limitless-Callback-Url: http://{user}@127.0.0.1:{port}/results?token=5ec3e7\r\n")
    };
    let calls = [
        (&*callback("me"), r#"{"n":3}"#),
        (&*callback("me:5ec3e7"), r#"{"n":3}"#),
        ("Idempotency-Key: k\r\n", r#"{"n":100000,"pause_us":1000}"#),
    ];
    let said = said(&settings, &calls);
    let refused = said.contains("the callback holds a password");
    assert!(refused && said.contains("403") && said.contains("suspended") && !said.contains(MARK), "{said}");
}

/// A receiver that takes one result; what it was sent.
fn receiving() -> (u16, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (to, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = String::new();
        for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
            if line.is_empty() {
                break;
            }
            head.push_str(&line.to_lowercase());
            head.push('\n');
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        to.send(head).unwrap();
    });
    (port, received)
}

#[test]
fn a_receiver_is_given_the_password_and_the_log_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (port, received) = receiving();
    let settings = [
        ("LIMITLESS_STORE", &*format!("file:{}", folder.path().display())),
        ("LIMITLESS_CALLBACK_LOGIN", &format!("http://me:5ec3e7@127.0.0.1:{port}")),
    ];
    let mut process = start(&settings);
    let headers = format!(
        "X-Limitless-Callback-Url: http://me@127.0.0.1:{port}/results\r\nX-Limitless-Keep-Ms: 86400000\r\n"
    );
    let (status, head, body) = raw(process.port, "POST", "/", &headers, r#"{"n":3}"#);
    assert!(status == 200, "{status} {head} {body}");
    // me:5ec3e7
    let sent = received.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    assert!(sent.contains("authorization: basic bwu6nwvjm2u3\n"), "{sent}");
    let (status, _, body) = raw(process.port, "POST", "/", "X-Limitless-Keep-Ms: ever\r\n", r#"{"n":3}"#);
    assert!(status >= 400 && body.contains("not a number of milliseconds"), "{status} {body}");
    process.child.kill().unwrap();
    let mut log = String::new();
    for execution in std::fs::read_dir(folder.path().join("executions")).unwrap() {
        for entry in std::fs::read_dir(execution.unwrap().path().join("log")).unwrap() {
            log.push_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
        }
    }
    assert!(log.contains("http://me@127.0.0.1") && !log.contains(MARK), "{log}");
    assert!(log.contains(r#""keep_ms":86400000"#), "{log}");
}
