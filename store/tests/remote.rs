//! Every store over a network passes the suite, against a real server of its kind.

#![cfg(feature = "remote")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod servers;

use std::sync::Arc;

use limitless_faas_store::conformance::{Extent, check_all};
use limitless_faas_store::{Key, RECORD_LIMIT_BYTES, Settings, Store, open_with, probe};
use servers::or_skip;

/// The settings that a test gives, and nothing of this machine's.
fn settings(pairs: &'static [(&'static str, &'static str)]) -> Settings {
    Settings::new(move |name| {
        pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    })
}

const AWS: &[(&str, &str)] = &[
    ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("AWS_REGION", "us-east-1"),
];

fn s3_url(port: u16) -> String {
    format!("s3://bucket/some/prefix?endpoint=http://127.0.0.1:{port}&path_style=true")
}

/// Emulators answer some hundred requests a second: a listing of more than one page, and a blob of several parts.
const FOR_EMULATORS: Extent =
    Extent { rounds: 10, writers: 16, names: 1_200, blob_bytes: 20 << 20, record_bytes: RECORD_LIMIT_BYTES };

async fn passes(store: Arc<dyn Store>, extent: Extent) {
    probe(&store).await.unwrap();
    check_all(&store, &Key::new("suite").unwrap(), extent).await.unwrap();
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_passes() {
    let Some(server) = or_skip("redis_passes", servers::redis()) else { return };
    let store =
        open_with(&format!("redis://127.0.0.1:{}/2/some/prefix", server.port), &settings(&[])).unwrap();
    passes(store, Extent::default()).await;
}

/// A server that syncs its disk for each write: fewer rounds, and the listing of 10,000 names that others have.
#[cfg(feature = "sftp")]
const FOR_SFTP: Extent =
    Extent { rounds: 20, writers: 16, names: 2_000, blob_bytes: 64 << 20, record_bytes: RECORD_LIMIT_BYTES };

#[cfg(feature = "sftp")]
fn sftp_settings(key: &str, host_keys: Option<String>) -> Settings {
    let key = key.to_owned();
    Settings::new(move |name| match name {
        "SFTP_PRIVATE_KEY" => Some(key.clone()),
        "SFTP_HOST_KEYS" => host_keys.clone(),
        _ => None,
    })
}

#[cfg(feature = "sftp")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sftp_passes() {
    let Some(server) = or_skip("sftp_passes", servers::sshd()) else { return };
    let settings = sftp_settings(&server.file("user"), Some(server.file("host.pub")));
    let store = open_with(&servers::sftp_url(&server), &settings).unwrap();
    passes(store, FOR_SFTP).await;
}

/// Only a server that shows the key that is known for it gets to see who logs in.
#[cfg(feature = "sftp")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_ssh_server_is_believed_only_by_its_host_key() {
    let test = "an_ssh_server_is_believed_only_by_its_host_key";
    let Some(server) = or_skip(test, servers::sshd()) else { return };
    let (url, key) = (servers::sftp_url(&server), server.file("user"));
    let known_hosts = server.folder.path().join("known_hosts");
    let by_file = format!("{url}?known_hosts={}", known_hosts.display());
    let read = async |url: &str, settings: Settings| {
        let store = open_with(url, &settings).unwrap();
        store.read(&Key::new("a").unwrap()).await.map(drop).map_err(|error| {
            assert!(!error.is_retryable() && !error.to_string().contains("PRIVATE KEY"), "{error}");
            error.to_string()
        })
    };
    let host_key = server.file("host.pub");
    let other_key = server.file("user.pub");

    let error = read(&url, sftp_settings(&key, Some(other_key.clone()))).await.unwrap_err();
    assert!(error.contains("not in SFTP_HOST_KEYS"), "{error}");
    let error = read(&by_file, sftp_settings(&key, None)).await.unwrap_err();
    assert!(error.contains("is not in") && error.contains("add it there"), "{error}");

    let line = |key: &str| format!("[127.0.0.1]:{} {key}", server.port);
    std::fs::write(&known_hosts, line(&other_key)).unwrap();
    let error = read(&by_file, sftp_settings(&key, None)).await.unwrap_err();
    assert!(error.contains("somebody may be in between"), "{error}");
    std::fs::write(&known_hosts, line(&host_key)).unwrap();
    read(&by_file, sftp_settings(&key, None)).await.unwrap();

    let error = read(&url, sftp_settings(&server.file("host"), Some(host_key))).await.unwrap_err();
    assert!(error.contains("the key is not accepted"), "{error}");
}

#[cfg(feature = "s3")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s3_passes() {
    let Some(server) = or_skip("s3_passes", servers::moto()) else { return };
    let store = open_with(&s3_url(server.port), &settings(AWS)).unwrap();
    passes(store, FOR_EMULATORS).await;
}

#[cfg(feature = "s3")]
fn entry(nonce: u8) -> limitless_faas_core::log::Entry {
    use limitless_faas_core::log::{Entry, Kind};
    use limitless_faas_core::{ExecutionId, Nonce};
    Entry {
        execution: ExecutionId::derive("squares", "k"),
        handler: "squares".to_owned(),
        epoch: 1,
        nonce: Nonce::from_random([nonce; 8]),
        at_us: 0,
        kind: Kind::Cancelled { by: format!("writer {nonce}") },
    }
}

/// Sends the same entry to the same number until it is decided; answers whether it stands there.
#[cfg(feature = "s3")]
async fn decided(log: &limitless_faas_store::Log, number: u64, nonce: u8) -> bool {
    use limitless_faas_core::invocation::Written;
    let entry = entry(nonce);
    for _ in 0..50 {
        match log.create(number, &entry).await {
            Written::New => return true,
            Written::Taken(there) => return there.is_same(&entry),
            Written::Unknown(_) => {}
        }
    }
    panic!("entry {number} is not decided");
}

/// A write is done and its writer is told that the server is not there: what it then finds it knows for its own.
#[cfg(feature = "s3")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_behind_a_proxy_that_answers_503_after_committing_has_one_winner_of_each_race() {
    let test = "a_server_behind_a_proxy_that_answers_503_after_committing_has_one_winner_of_each_race";
    let Some(server) = or_skip(test, servers::moto()) else { return };
    let proxy = servers::Proxy::new(server.port);
    let store = open_with(&s3_url(proxy.port), &settings(AWS)).unwrap();
    let log = limitless_faas_store::Log::new(store.clone(), entry(1).execution);
    for number in 0..12 {
        let (one, other) = tokio::join!(decided(&log, number, 1), decided(&log, number, 2));
        assert!(one != other, "entry {number} has {}", if one { "two winners" } else { "none" });
        let there = log.entry(number).await.unwrap().unwrap();
        assert!(there.is_same(&entry(if one { 1 } else { 2 })), "{there:?} stands at {number}");
    }
    let segment = Key::new("executions/x/segments/1-a").unwrap();
    let (mut expected, mut tries) = (Vec::new(), 0);
    while expected.len() < 60 {
        let appended = store.append(&segment, expected.len() as u64, "record".into()).await;
        tries += 1;
        match appended {
            Ok(_) => expected.extend_from_slice(b"record"),
            Err(error) => assert!(error.is_retryable() && tries < 100, "{error}"),
        }
    }
    let mut bytes = Vec::new();
    let mut reader = store.read_blob(&segment).await.unwrap().unwrap();
    std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    assert_eq!(bytes, expected);
    assert!(proxy.hidden() > 8, "only {} answers were hidden", proxy.hidden());
}

#[cfg(feature = "azure")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn azure_passes() {
    let Some(server) = or_skip("azure_passes", servers::azurite()) else { return };
    let url = format!(
        "azure://devstoreaccount1/container/some/prefix?endpoint=http://127.0.0.1:{}/devstoreaccount1",
        server.port
    );
    let store = open_with(&url, &settings(&[("AZURE_STORAGE_ACCOUNT_KEY", servers::AZURITE_KEY)])).unwrap();
    passes(store, FOR_EMULATORS).await;
}

/// s3rver takes the condition of a conditional create and ignores it.
#[cfg(feature = "s3")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_ignores_conditions_is_refused_by_name() {
    let test = "a_server_that_ignores_conditions_is_refused_by_name";
    let Some(server) = or_skip(test, servers::s3rver()) else { return };
    let keys =
        &[("AWS_ACCESS_KEY_ID", "S3RVER"), ("AWS_SECRET_ACCESS_KEY", "S3RVER"), ("AWS_REGION", "us-east-1")];
    let store = open_with(&s3_url(server.port), &settings(keys)).unwrap();
    let message = probe(&store).await.unwrap_err().to_string();
    assert!(
        message.starts_with("s3://bucket/some/prefix can't be used: it ignores the condition"),
        "{message}"
    );
    let left = store.children(&Key::new("probe").unwrap()).await.unwrap();
    assert!(left.is_empty(), "{left:?} are left of the probe");
}
