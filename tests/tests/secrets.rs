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
    ];
    let callback =
        format!("X-Limitless-Callback-Url: http://me:5ec3e7@127.0.0.1:{port}/results?token=5ec3e7\r\n");
    let calls =
        [(callback.as_str(), r#"{"n":3}"#), ("Idempotency-Key: k\r\n", r#"{"n":100000,"pause_us":1000}"#)];
    let said = said(&settings, &calls);
    assert!(said.contains("403") && said.contains("suspended") && !said.contains(MARK), "{said}");
}
