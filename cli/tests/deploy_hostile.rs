//! `cargo faas deploy` against a platform that refuses, breaks off and contradicts itself, and what it asks of one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::proxy::{Fault, Proxy, Request};
use common::{Ended, Sample};
use limitless_faas_local::{Config, Image, Platform};
use serde_json::{Value, json};

const IMAGE: &str = "registry.example/sample:1";

const SAYS: &str = r"
use limitless_faas::handler;

#[handler]
fn says(line: String) -> String {
    line
}

fn main() {
    limitless_faas::serve!(says);
}
";

/// The local platform with an image of a sample, and a proxy before it.
struct Bench {
    runtime: tokio::runtime::Runtime,
    platform: Option<Platform>,
    proxy: Proxy,
    sample: Sample,
    place: &'static str,
}

impl Bench {
    fn start(name: &str, place: &'static str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let platform = runtime.block_on(Platform::start(Config::default())).unwrap();
        let sample = Sample::with_main(name, SAYS);
        let listed = sample.run_quietly(&["list", "--handlers", "--json"]);
        let program = listed["functions"][0]["program"].as_str().unwrap().to_owned();
        platform.set_image(IMAGE, Image { resumable: true, ..Image::new(program) });
        let proxy = Proxy::before(&platform.url());
        Self { runtime, platform: Some(platform), proxy, sample, place }
    }

    fn faas(&self, args: &[&str]) -> Ended {
        let url = self.proxy.url();
        let key = self.platform.as_ref().unwrap().api_key().as_str();
        let all = [args, &[self.place, &url, "--auth", key]].concat();
        Ended::from(self.sample.command(&all).output().unwrap())
    }

    fn deploy(&self, more: &[&str]) -> Ended {
        let store = format!("file:{}", self.sample.state().join("store").display());
        let args = ["deploy", "--debug", "--image", IMAGE, "--unchecked", "--store", &store, "--json"];
        self.faas(&[&args, more].concat())
    }

    /// Nothing of the deployment that failed is there.
    #[track_caller]
    fn assert_as_before(&self, step: &str) {
        self.proxy.follow(|_| None);
        let dry = self.deploy(&["--dry-run"]).expect(0).json();
        let actions: Vec<&Value> =
            dry["functions"].as_array().unwrap().iter().map(|it| &it["action"]).collect();
        assert_eq!(actions, ["keep", "keep"], "{step}: {dry}");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(platform) = self.platform.take() {
            self.runtime.block_on(platform.shutdown());
        }
    }
}

fn goes_to(request: &Request, method: &str, place: &str) -> bool {
    request.method == method && request.target.contains(place)
}

/// Each request of an update refused for ever, refused once, and broken off after it was carried out: what was there is there
/// again, or the update has worked.
fn a_refusal_at_each_step(name: &str, place: &'static str, steps: &[(&'static str, &'static str)]) {
    let bench = Bench::start(name, place);
    bench.deploy(&[]).expect(0);
    let lasting = [401, 403, 409, 413].map(Fault::Status);
    let passing = [Fault::Status(429), Fault::Status(503), Fault::HangUp];
    for (number, (method, part)) in steps.iter().copied().enumerate() {
        // Each kind of refusal takes the same way after every kind of request.
        let faults =
            [(lasting[number % 4], usize::MAX), (passing[number % 3], 1), (passing[(number + 1) % 3], 1)];
        for (fault, mut times) in faults {
            let step = format!("{method} {part}: {fault:?} {times} times");
            bench.proxy.follow(move |request| {
                let is_hit = goes_to(request, method, part) && times > 0;
                times -= usize::from(is_hit);
                is_hit.then_some(fault)
            });
            let ended = bench.deploy(&["--set", &format!("STEP={step}")]);
            let was_asked = bench.proxy.requests().iter().any(|request| goes_to(request, method, part));
            assert!(was_asked, "{step}: nobody asks that");
            if ended.code != 0 {
                assert!([2, 7].contains(&ended.code), "{step}: {} {}", ended.code, ended.stderr);
                assert!(!ended.stderr.contains('\u{1b}'), "{step}: {}", ended.stderr);
                assert!(!ended.stderr.contains("could not be put back"), "{step}: {}", ended.stderr);
                assert!(ended.stderr.contains("help:"), "{step}: {}", ended.stderr);
                bench.assert_as_before(&step);
            } else {
                bench.proxy.follow(|_| None);
                bench.deploy(&[]).expect(0);
            }
        }
    }
    bench.deploy(&["--set", "STEP=last"]).expect(0);
}

#[test]
fn a_refusal_at_each_step_leaves_what_was_there_on_openwhisk() {
    let steps = [
        ("GET", "/actions/says"),
        ("PUT", "/actions/says-v"),
        ("PUT", "/actions/says?"),
        ("POST", "/actions/says"),
        ("GET", "/activations/"),
    ];
    a_refusal_at_each_step("hostile-ow", "--apihost", &steps);
}

#[test]
fn a_refusal_at_each_step_leaves_what_was_there_on_openfaas() {
    let steps = [("GET", "/system/function/says"), ("PUT", "/system/functions"), ("POST", "/function/says")];
    a_refusal_at_each_step("hostile-of", "--gateway", &steps);
}

/// What is asked of `OpenWhisk` is in its description of itself, to the name of each field.
#[test]
fn what_is_asked_of_openwhisk_is_in_its_description() {
    let bench = Bench::start("swagger", "--apihost");
    bench.deploy(&["--set", "WORDS=a=\"b\"\n'c'", "--time-limit", "2s"]).expect(0);
    bench.faas(&["invoke", "says", "--input", r#"{"line": "x"}"#]).expect(0);
    bench.faas(&["versions"]).expect(0);
    bench.deploy(&["--memory", "300MB"]).expect(0);
    bench.faas(&["remove", "says"]).expect(0);
    let api: Value = serde_json::from_str(include_str!("data/openwhisk-api.json")).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for request in bench.proxy.requests() {
        // The description leaves these two out: what there is, and what it allows.
        if ["/", "/api/v1"].contains(&request.target.as_str()) {
            continue;
        }
        let told = format!("{} {}", request.method, request.target);
        let path = described(&api, &request).unwrap_or_else(|why| panic!("{told}: {why}"));
        seen.insert(format!("{} {path}", request.method));
    }
    let action = "/namespaces/{namespace}/actions/{actionName}";
    for method in ["GET", "PUT", "POST", "DELETE"] {
        assert!(seen.contains(&format!("{method} {action}")), "{seen:?}");
    }
}

/// The path of the description that this request is one of.
fn described<'a>(api: &'a Value, request: &Request) -> Result<&'a str, String> {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let path = path.strip_prefix("/api/v1").ok_or("outside of the API")?;
    let fits = |known: &str| {
        let (known, own): (Vec<&str>, Vec<&str>) = (known.split('/').collect(), path.split('/').collect());
        known.len() == own.len()
            && known.iter().zip(&own).all(|(known, own)| known.starts_with('{') || known == own)
    };
    let (known, operations) =
        api["paths"].as_object().unwrap().iter().find(|(known, _)| fits(known)).ok_or("no such path")?;
    let operation = &operations[request.method.to_lowercase()];
    if !operation.is_object() {
        return Err(format!("{known} has no such method"));
    }
    let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_it = |it: &&&Value| it["in"] == "query" && it["name"] == name;
        let parameter = parameters.iter().find(is_it).ok_or(format!("no parameter {name}"))?;
        let value = match parameter["type"].as_str() {
            Some("string") => json!(value),
            _ => serde_json::from_str(value).map_err(|error| format!("{name}: {error}"))?,
        };
        conforms(api, parameter, &value).map_err(|why| format!("{name}: {why}"))?;
    }
    match parameters.iter().find(|it| it["in"] == "body") {
        Some(body) => {
            let value = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
            conforms(api, &body["schema"], &value)?;
        }
        None if !request.body.is_empty() => return Err("no body is wanted".to_owned()),
        None => {}
    }
    Ok(known)
}

/// Whether `value` is as `schema` says, and has no field beside those that it names.
fn conforms(api: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return conforms(api, api.pointer(name.trim_start_matches('#')).ok_or(name)?, value);
    }
    let is_right = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => true,
    };
    let is_known = schema["enum"].as_array().is_none_or(|known| known.contains(value));
    if !is_right || !is_known {
        return Err(format!("{value} is not {schema}"));
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(api, &schema["items"], item)?;
    }
    let Some(known) = schema["properties"].as_object() else { return Ok(()) };
    for (name, value) in value.as_object().ok_or(format!("{value} is no object"))? {
        // Parameters for the environment have it since 2020; the description was not told.
        if name == "init" && value.is_boolean() && known.contains_key("key") {
            continue;
        }
        conforms(api, known.get(name).ok_or(format!("no field {name}"))?, value)?;
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        value.get(name.as_str().unwrap()).ok_or(format!("{name} is missing"))?;
    }
    Ok(())
}
