//! `cargo faas deploy` against a platform that refuses, breaks off and contradicts itself, and what it asks of one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;

use common::proxy::{Fault, Proxy, Request};
use common::{Ended, Running, Sample};
use limitless_faas_local::{Config, Image, Platform};
use reqwest::Method;
use rustix::process::Signal;
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
    sample: Arc<Sample>,
    place: &'static str,
}

const WHISK: &str = "--apihost";
const GATEWAY: &str = "--gateway";

fn sample(name: &str) -> Arc<Sample> {
    Arc::new(Sample::with_main(name, SAYS))
}

impl Bench {
    fn start(sample: &Arc<Sample>, place: &'static str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let platform = runtime.block_on(Platform::start(Config::default())).unwrap();
        let listed = sample.run_quietly(&["list", "--handlers", "--json"]);
        let program = listed["functions"][0]["program"].as_str().unwrap().to_owned();
        platform.set_image(IMAGE, Image { resumable: true, ..Image::new(program) });
        let proxy = Proxy::before(&platform.url());
        Self { runtime, platform: Some(platform), proxy, sample: Arc::clone(sample), place }
    }

    fn platform(&self) -> &Platform {
        self.platform.as_ref().unwrap()
    }

    fn faas(&self, args: &[&str]) -> Ended {
        let url = self.proxy.url();
        let all = [args, &[self.place, &url, "--auth", self.platform().api_key().as_str()]].concat();
        Ended::from(self.sample.command(&all).env(SECRET, "hush").output().unwrap())
    }

    fn deploy(&self, more: &[&str]) -> Ended {
        let store = format!("file:{}", self.sample.state().join("store").display());
        let args = ["deploy", "--debug", "--image", IMAGE, "--unchecked", "--store", &store, "--json"];
        self.faas(&[&args, more].concat())
    }

    /// Requests of this method to this place go wrong, so many times.
    fn fails(&self, (method, part): Step, fault: Fault, mut times: usize) {
        self.proxy.follow(move |request| {
            let is_hit = goes_to(request, method, part) && times > 0;
            times -= usize::from(is_hit);
            is_hit.then_some(fault)
        });
    }

    /// Nothing goes wrong any more.
    fn heals(&self) {
        self.proxy.follow(|_| None);
    }

    /// All that is deployed, as the platform itself tells it, but for what each change and each call changes.
    fn state(&self) -> Value {
        if self.place == WHISK {
            let actions = "/api/v1/namespaces/_/actions";
            let listed = self.get(&format!("{actions}?limit=200"));
            let names = listed.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
            return names
                .map(|name| without(self.get(&format!("{actions}/{name}")), &["version", "updated"]))
                .collect();
        }
        let volatile = ["createdAt", "replicas", "availableReplicas", "invocationCount"];
        let functions = self.get("/system/functions");
        let functions: Value =
            functions.as_array().unwrap().iter().map(|it| without(it.clone(), &volatile)).collect();
        json!([functions, self.get("/system/secrets")])
    }

    fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.ask(Method::GET, path, &Value::Null)).unwrap()
    }

    /// Asks the platform itself.
    fn ask(&self, method: Method, path: &str, body: &Value) -> String {
        let url = format!("{}{path}", self.platform().url());
        let (user, password) = self.platform().api_key().as_str().split_once(':').unwrap();
        self.runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = client.request(method, url).basic_auth(user, Some(password)).json(body);
            let response = request.send().await.unwrap().error_for_status().unwrap();
            response.text().await.unwrap()
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(platform) = self.platform.take() {
            self.runtime.block_on(platform.shutdown());
        }
    }
}

fn without(mut shown: Value, names: &[&str]) -> Value {
    shown.as_object_mut().unwrap().retain(|name, _| !names.contains(&name.as_str()));
    shown
}

/// A kind of request: its method, and a part of where it goes.
type Step = (&'static str, &'static str);

fn goes_to(request: &Request, method: &str, place: &str) -> bool {
    request.method == method && request.target.contains(place)
}

/// A command that failed says so in words that a terminal may show, and what to do.
#[track_caller]
fn assert_told(ended: &Ended, step: &str) {
    assert!([2, 7].contains(&ended.code), "{step}: {} {}", ended.code, ended.stderr);
    assert!(!ended.stderr.contains('\u{1b}'), "{step}: {}", ended.stderr);
    assert!(ended.stderr.contains("help:"), "{step}: {}", ended.stderr);
    assert!(!ended.stderr.contains("hush"), "{step}: {}", ended.stderr);
}

/// What goes wrong for as long as a command lasts: refusals take the same way after every kind of request, so each kind meets one.
fn lasting(number: usize) -> [Fault; 5] {
    let refused = [401, 403, 409, 413, 429][number % 5];
    [Fault::Status(refused), Fault::Status(404), Fault::Status(500), Fault::HangUp, Fault::CutOff]
}

/// What is over when it is tried again.
fn passing(number: usize) -> Fault {
    [Fault::Status(429), Fault::Status(503), Fault::HangUp, Fault::CutOff][number % 4]
}

/// Each request of a deployment goes wrong in every way, for ever and once, where nothing was there before and where something
/// was: either it worked, or what was there is there again and the next attempt may begin.
fn a_refusal_at_each_step(sample: &Arc<Sample>, place: &'static str, steps: &[Step]) {
    std::thread::scope(|scope| {
        for (number, step) in steps.iter().enumerate() {
            scope.spawn(move || {
                let bench = Bench::start(sample, place);
                for is_update in [false, true] {
                    if is_update {
                        bench.deploy(&[]).expect(0);
                    }
                    let faults = lasting(number).map(|fault| (fault, usize::MAX));
                    for (fault, times) in faults.into_iter().chain([(passing(number), 1)]) {
                        a_refusal(&bench, *step, fault, times, is_update);
                    }
                }
                bench.deploy(&[]).expect(0);
            });
        }
    });
}

fn a_refusal(bench: &Bench, step: Step, fault: Fault, times: usize, is_update: bool) {
    let told = format!("{} {}: {fault:?} {times} times, update: {is_update}", step.0, step.1);
    let (before, asked) = (bench.state(), bench.proxy.requests().len());
    bench.fails(step, fault, times);
    let ended = bench.deploy(&["--set", &format!("STEP={told}"), "--wait", "3s"]);
    bench.heals();
    if ended.code == 0 {
        assert_ne!(bench.state(), before, "{told}: nothing was deployed");
        if !is_update {
            bench.faas(&["remove", "says"]).expect(0);
        }
        return;
    }
    assert!(
        bench.proxy.requests()[asked..].iter().any(|it| goes_to(it, step.0, step.1)),
        "{told}: nobody asks that"
    );
    assert_told(&ended, &told);
    assert!(!ended.stderr.contains("could not be put back"), "{told}: {}", ended.stderr);
    assert_eq!(bench.state(), before, "{told}: {}", ended.stderr);
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
    a_refusal_at_each_step(&sample("hostile-ow"), WHISK, &steps);
}

#[test]
fn a_refusal_at_each_step_leaves_what_was_there_on_openfaas() {
    let steps = [
        ("GET", "/system/function/says"),
        ("PUT", "/system/functions"),
        ("POST", "/system/functions"),
        ("POST", "/function/says"),
    ];
    a_refusal_at_each_step(&sample("hostile-of"), GATEWAY, &steps);
}

/// Its value is never said.
const SECRET: &str = "SAMPLE_TOKEN";

#[test]
fn a_refused_secret_leaves_what_was_there() {
    let sample = sample("hostile-secret");
    std::fs::write(sample.project().join("faas.toml"), format!("[deploy]\nsecrets = [\"{SECRET}\"]\n"))
        .unwrap();
    let bench = Bench::start(&sample, GATEWAY);
    let nothing = bench.state();
    for step in [
        ("PUT", "/system/secrets"),
        ("POST", "/system/secrets"),
        ("PUT", "/system/functions"),
        ("POST", "/function/says"),
    ] {
        for fault in lasting(1) {
            let told = format!("{} {}: {fault:?}", step.0, step.1);
            bench.fails(step, fault, usize::MAX);
            let ended = bench.deploy(&["--wait", "2s"]);
            bench.heals();
            if ended.code != 0 {
                assert_told(&ended, &told);
                assert_eq!(bench.state(), nothing, "{told}: {}", ended.stderr);
                continue;
            }
            bench.faas(&["remove", "says"]).expect(0);
            bench.ask(Method::DELETE, "/system/secrets", &json!({ "name": "sample-token" }));
            assert_eq!(bench.state(), nothing, "{told}");
        }
    }
}
/// A platform that denies what it has: nothing of ours and nothing of others is replaced or deleted.
#[test]
fn a_function_that_the_platform_denies_is_left_alone() {
    let sample = sample("denied");
    for (place, look, invoke) in [
        (WHISK, ("GET", "/actions/says"), ("POST", "/actions/says")),
        (GATEWAY, ("GET", "/system/function/says"), ("POST", "/function/says")),
    ] {
        let bench = Bench::start(&sample, place);
        let theirs = match place {
            WHISK => (
                Method::PUT,
                "/api/v1/namespaces/_/actions/says",
                json!({ "exec": { "kind": "blackbox", "image": IMAGE } }),
            ),
            _ => (Method::POST, "/system/functions", json!({ "service": "says", "image": IMAGE })),
        };
        bench.ask(theirs.0, theirs.1, &theirs.2);
        let before = bench.state();
        let refused = bench.deploy(&[]).expect(2);
        assert!(refused.stderr.contains("not ours"), "{}", refused.stderr);
        for fault in [Fault::Status(404), Fault::HangUp] {
            // The function that is denied is created only after its version, which then goes again.
            bench.proxy.follow(move |request| {
                let is_denied = goes_to(request, look.0, look.1) && !request.target.contains("says-v");
                let is_lost = fault == Fault::HangUp && goes_to(request, invoke.0, invoke.1);
                if is_denied { Some(Fault::Status(404)) } else { is_lost.then_some(fault) }
            });
            let ended = bench.deploy(&["--wait", "2s"]).expect(7);
            assert_told(&ended, "denied");
            assert_eq!(bench.state(), before, "{}", ended.stderr);
        }
    }
}

/// A rollback that can't be made says what is left, and the next deployment mends it.
#[test]
fn what_can_not_be_put_back_is_told_and_mended() {
    let sample = sample("hostile-twice");
    for (place, invoke) in [(WHISK, ("POST", "/actions/says")), (GATEWAY, ("POST", "/function/says"))] {
        let bench = Bench::start(&sample, place);
        for fault in [Fault::Status(404), Fault::Status(500), Fault::Status(401)] {
            bench.proxy.follow(move |request| {
                let is_hit = goes_to(request, invoke.0, invoke.1) || request.method == "DELETE";
                is_hit.then_some(fault)
            });
            let ended = bench.deploy(&["--wait", "2s"]).expect(7);
            assert!(
                ended.stderr.contains("could not be put back: deploy again"),
                "{fault:?}: {}",
                ended.stderr
            );
            bench.heals();
            bench.deploy(&[]).expect(0);
            bench.faas(&["remove", "says"]).expect(0);
        }
    }
}

/// Interrupted while the platform says nothing, and once more: it ends at once, says what may be left, and the next deployment is whole.
#[test]
fn an_interruption_that_the_platform_does_not_hear_ends_at_once() {
    let bench = Bench::start(&sample("hostile-int"), WHISK);
    bench.fails(("PUT", "/actions/says-v"), Fault::Stall, 1);
    let (url, store) = (bench.proxy.url(), format!("file:{}", bench.sample.state().join("store").display()));
    let key = bench.platform().api_key().as_str().to_owned();
    let args = [
        "deploy",
        "--debug",
        "--image",
        IMAGE,
        "--unchecked",
        "--store",
        &store,
        WHISK,
        &url,
        "--auth",
        &key,
    ];
    let mut deploying = Running::of(&mut bench.sample.command(&args));
    bench.proxy.wait_for(|request| request.method == "PUT");
    deploying.signal(Signal::INT);
    deploying.wait_for_line("once more");
    deploying.signal(Signal::INT);
    let ended = deploying.wait().expect(130);
    assert!(ended.stderr.contains("deploy again"), "{}", ended.stderr);
    bench.deploy(&[]).expect(0);
}

/// Each request of a removal goes wrong in every way: what is said to be removed is gone, and the next attempt removes the rest.
#[test]
fn a_refused_removal_says_so_and_can_be_repeated() {
    let sample = sample("hostile-remove");
    std::thread::scope(|scope| {
        for (place, list) in [(WHISK, ("GET", "/actions?")), (GATEWAY, ("GET", "/system/functions"))] {
            let sample = &sample;
            scope.spawn(move || a_refused_removal(&Bench::start(sample, place), list));
        }
    });
}

fn a_refused_removal(bench: &Bench, list: Step) {
    let nothing = bench.state();
    bench.deploy(&[]).expect(0);
    let deployed = bench.state();
    for fault in lasting(0) {
        bench.fails(list, fault, usize::MAX);
        for command in [&["versions"][..], &["remove", "says"]] {
            assert_told(&bench.faas(command).expect(7), &format!("{command:?}: {fault:?}"));
        }
        assert_eq!(bench.state(), deployed, "{fault:?}");
    }
    for fault in lasting(1) {
        bench.fails(("DELETE", ""), fault, usize::MAX);
        let ended = bench.faas(&["remove", "says"]);
        bench.heals();
        // Of a removal that was carried out the answer alone is lost.
        if [Fault::HangUp, Fault::CutOff].contains(&fault) {
            assert_eq!((ended.code, bench.state()), (0, nothing.clone()), "{fault:?}: {}", ended.stderr);
            bench.deploy(&[]).expect(0);
        } else {
            assert_told(&ended, &format!("DELETE: {fault:?}"));
            assert_eq!(bench.state(), deployed, "{fault:?}: {}", ended.stderr);
        }
    }
    bench.faas(&["remove", "says"]).expect(0);
    assert_eq!(bench.state(), nothing);
}

/// What is asked of `OpenWhisk` is in its description of itself, to the name of each field.
#[test]
fn what_is_asked_of_openwhisk_is_in_its_description() {
    let bench = Bench::start(&sample("swagger"), WHISK);
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
