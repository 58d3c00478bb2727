//! Broken bytes for everything that core reads: entries, logs, segments, heads of envelopes, manifests, ids.
//!
//! Bytes with a checksum are tried twice: as they are, and with a checksum that fits, as whoever writes to the store could
//! make one. Whatever is accepted reads back as the same.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use limitless_faas_core::checkpoint::{Header, Preamble, Trailer};
use limitless_faas_core::invocation::{Call, Command, Delivery, Event, Invocation, Verdict, Written};
use limitless_faas_core::log::{Driver, Entry, Execution, Input, Origin, Stored, fold};
use limitless_faas_core::manifest::Manifest;
use limitless_faas_core::pace::Policy;
use limitless_faas_core::placement::Placement;
use limitless_faas_core::program::Program;
use limitless_faas_core::segment::{Record, decode};
use limitless_faas_core::{Code, ExecutionId, Failure, Nonce};
use limitless_faas_fuzz::Fuzz;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn fuzz(parser: &str) -> Fuzz {
    Fuzz::new(format!("{}/tests/corpus/{parser}", env!("CARGO_MANIFEST_DIR")))
}

/// An entry's JSON with the line that makes it one.
fn sealed(json: &[u8]) -> Vec<u8> {
    let sum = blake3::hash(json).to_hex();
    [json, b"\n", &sum.as_bytes()[..16], b"\n"].concat()
}

#[test]
fn entries() {
    fuzz("entry").run(|bytes| {
        let damaged = Entry::decode(bytes);
        assert!(damaged.is_err() || bytes.ends_with(b"\n"), "accepted without a checksum");
        match Entry::decode(&sealed(bytes)) {
            Ok(entry) => {
                assert_eq!(Entry::decode(&entry.encode().unwrap()).unwrap(), entry);
                entry.kind.name().to_owned()
            }
            Err(error) => error.to_string(),
        }
    });
}

fn origin() -> Origin {
    Origin {
        input: Input { digest: "d".to_owned(), stored: Stored::Json("{}".to_owned()) },
        callback: None,
        caller: None,
        keep_ms: None,
    }
}

fn delivery(call: Call) -> Delivery {
    Delivery {
        execution: ExecutionId::derive("squares", "k"),
        handler: "squares".to_owned(),
        nonce: Nonce::from_random([9; 8]),
        call,
        deadline_ms: 1_000_060_000,
        driver: Driver { received_us: 1_000_000_000_000, limit_ms: 60_000, ..Driver::default() },
        is_owner_dead: false,
        is_signed: true,
        has_store: true,
        policy: Policy::default(),
    }
}

/// What the store and the platform answer while all goes well.
fn answered(command: &Command) -> Option<Event> {
    Some(match command {
        Command::Read { .. } => Event::Read(Ok(Vec::new())),
        Command::Measure { .. } => Event::Measured(Ok(10)),
        Command::Verify { .. } => Event::Verified(Verdict::Good),
        Command::Create { .. } => Event::Wrote(Written::New),
        Command::Look { .. } => Event::Happened(Ok(true)),
        Command::Run(_) => Event::StepWanted,
        Command::Invoke { .. } => Event::Invoked(Ok(())),
        Command::Deliver { .. } => Event::Delivered(Err(Failure::new(Code::SuccessorRefused, "no"))),
        Command::StoreOutput(_) => Event::OutputStored(Ok(Stored::Json("1".to_owned()))),
        _ => return None,
    })
}

/// A delivery that finds this log.
fn arrive(entries: &[Entry], call: Call) -> String {
    let (mut invocation, mut now_us) = (Invocation::new(delivery(call)), 1_000_000_000_000);
    let mut commands = invocation.on(now_us, Event::Arrived);
    let mut said = String::new();
    for round in 0..40 {
        if commands.is_empty() {
            break;
        }
        let command = commands.remove(0);
        now_us += 1_000_000;
        let event = match &command {
            Command::Read { from, .. } if round < 2 => {
                Some(Event::Read(Ok(entries.iter().skip(usize::try_from(*from).unwrap()).cloned().collect())))
            }
            command => answered(command),
        };
        if let Command::Answer(answer) = command {
            said = format!("{answer:?}");
            break;
        }
        commands.extend(event.into_iter().flat_map(|event| invocation.on(now_us, event)).collect::<Vec<_>>());
    }
    said
}

#[test]
fn logs_and_the_deliveries_that_find_them() {
    fuzz("log").run(|bytes| {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let entries: Vec<_> = lines.map_while(|line| Entry::decode(&sealed(line)).ok()).collect();
        let folded: Result<Option<Execution>, _> = fold(&entries);
        let first = arrive(&entries, Call::First { origin: origin(), is_durable: true });
        let resumed = arrive(&entries, Call::Resume { entry: None });
        let named = arrive(&entries, Call::Resume { entry: Some(entries.len().saturating_sub(1) as u64) });
        match folded {
            Ok(Some(folded)) => format!("{:?} {first} {resumed} {named}", folded.status()),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    });
}

#[test]
fn segments() {
    fuzz("segment").run(|bytes| {
        decode(bytes, u64::MAX);
        // A record is its length, a checksum, and what they are of.
        let mut record = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
        record.extend_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
        record.extend_from_slice(bytes);
        let twice = [&record[..], &record[..]].concat();
        let placed = decode(&twice, twice.len() as u64);
        assert!(placed.len() <= 1, "a repetition counts once");
        let Some(placed) = placed.first() else { return "none".to_owned() };
        assert_eq!(placed.end, record.len() as u64);
        let Record { sequence, key, value } = placed.record.clone();
        assert_eq!(placed.record.encode().unwrap(), record);
        assert!(decode(&record, placed.end - 1).is_empty(), "past the seal nothing happened");
        format!("sequence {} key {} value {}", sequence > 9, key.is_empty(), value.is_empty())
    });
}

#[test]
fn heads_of_envelopes() {
    fuzz("head").run(|bytes| {
        if let Some(trailer) = bytes.last_chunk() {
            let trailer = Trailer::from_bytes(trailer);
            assert!(trailer.check(bytes, [0; 32]).is_err());
            let _ = trailer.check_lengths(bytes.len() as u64, trailer.payload_len);
        }
        let preamble = bytes.first_chunk().map(Preamble::from_bytes);
        match (preamble, Header::from_json(bytes)) {
            (_, Ok(header)) => {
                let head = header.to_head().unwrap();
                assert_eq!(Header::from_json(&head[Preamble::LEN..]).unwrap(), header);
                "header".to_owned()
            }
            (Some(Ok(_)), Err(_)) => "preamble".to_owned(),
            (preamble, Err(error)) => format!("{preamble:?} {error}"),
        }
    });
}

/// Whatever reads as a `T` reads back as the same.
fn json<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    check: impl Fn(&T),
) -> String {
    match serde_json::from_slice::<T>(bytes) {
        Ok(value) => {
            check(&value);
            let text = serde_json::to_string(&value).unwrap();
            assert_eq!(serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
            "accepted".to_owned()
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn manifests() {
    fuzz("manifest").run(|bytes| {
        json(bytes, |manifest: &Manifest| {
            for handler in &manifest.handlers {
                let graph = handler.workflow.as_ref().map(|workflow| &workflow.graph);
                let _ = graph.map(limitless_faas_core::graph::Graph::check);
            }
        })
    });
}

#[test]
fn placements() {
    fuzz("placement").run(|bytes| {
        json(bytes, |placement: &Placement| {
            placement.wraps();
            placement.place("read");
        })
    });
}

#[test]
fn programs() {
    let input = serde_json::json!({ "n": 7, "text": "{n}", "list": [1, null] });
    fuzz("program").run(|bytes| {
        json(bytes, |program: &Program| {
            program.input_schema();
            let _ = program.stdin_text(&input);
            for template in &program.args {
                let _ = template.fill(&input);
            }
        })
    });
}

#[test]
fn ids() {
    fuzz("id").run(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(nonce) = text.parse::<Nonce>() {
            assert_eq!(nonce.to_string(), text);
        }
        match text.parse::<ExecutionId>() {
            Ok(id) => {
                assert_eq!(id.to_string(), text);
                assert!(!id.as_str().contains(['/', '\\', '.', '\0']), "it is part of a path");
                "accepted".to_owned()
            }
            Err(error) => error.to_string(),
        }
    });
}
