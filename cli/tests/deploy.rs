//! `cargo faas deploy`, `versions` and `remove`, on the local platform through either interface.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};

use common::{Ended, Sample};
use limitless_faas_local::{Config, Image, Limits, Platform};
use rustix::process::Signal;
use serde_json::{Value, json};

/// A platform with two images of the sample: as it is, and with a changed handler.
struct Bench {
    runtime: tokio::runtime::Runtime,
    platform: Option<Platform>,
    sample: Sample,
    flags: Vec<String>,
    /// The name of its slow handler.
    slow: String,
}

const IMAGES: [&str; 2] = ["registry.example/sample:1", "registry.example/sample:2"];

impl Bench {
    fn start(name: &str, is_openfaas: bool) -> Self {
        Self::serving(name, is_openfaas, "slow")
    }

    /// The sample's slow handler may have another name.
    fn serving(name: &str, is_openfaas: bool, slow: &str) -> Self {
        // A gateway's free edition takes 15 functions, and each version of a handler is one.
        let main = include_str!("common/sample.rs");
        let few = main.replace("slow, wide, says, fails, panics, stuck", "slow, says");
        Self::with_main(name, is_openfaas, slow, &few.replace("slow", slow))
    }

    /// A project with this main file; `slow` is the handler that is looked at.
    fn with_main(name: &str, is_openfaas: bool, slow: &str, main: &str) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = Config {
            limits: Limits { pause_after: std::time::Duration::from_secs(60), ..Limits::default() },
            ..Config::default()
        };
        let platform = runtime.block_on(Platform::start(config)).unwrap();
        let sample = Sample::with_main(name, main);
        let key = platform.api_key().as_str().to_owned();
        let place = if is_openfaas { "--gateway" } else { "--apihost" };
        let flags = vec![place.to_owned(), platform.url(), "--auth".to_owned(), key];
        let slow = slow.to_owned();
        let bench = Self { runtime, platform: Some(platform), sample, flags, slow };
        bench.register(IMAGES[0], &bench.program("1"));
        bench
    }

    /// A copy of the binary as it is built now.
    fn program(&self, name: &str) -> PathBuf {
        // Functions that are deployed to a gateway run all the time.
        let listed = self.sample.run_quietly(&["list", "--handlers", "--json"]);
        let program = listed["functions"][0]["program"].as_str().unwrap().to_owned();
        let copy = self.sample.project().join(format!("image-{name}"));
        std::fs::copy(program, &copy).unwrap();
        copy
    }

    fn register(&self, image: &str, program: &Path) {
        let image_of = Image { resumable: true, ..Image::new(program) };
        self.platform.as_ref().unwrap().set_image(image, image_of);
    }

    fn store(&self) -> String {
        format!("file:{}", self.sample.state().join("store").display())
    }

    fn faas(&self, args: &[&str]) -> Ended {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        Ended::from(self.sample.command(&[args, &flags].concat()).output().unwrap())
    }

    fn deploy(&self, image: &str, more: &[&str]) -> Ended {
        let store = self.store();
        let args = ["deploy", "--debug", "--image", image, "--unchecked", "--store", &store, "--json"];
        self.faas(&[&args, more].concat())
    }

    fn versions(&self, more: &[&str]) -> Value {
        let listed = self.faas(&[&["versions", "--json"], more].concat()).expect(0).json();
        listed["versions"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|it| it["handler"] == self.slow.as_str())
            .cloned()
            .collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if let Some(platform) = self.platform.take() {
            self.runtime.block_on(platform.shutdown());
        }
    }
}

fn actions(deployed: &Value) -> Vec<&str> {
    deployed["functions"].as_array().unwrap().iter().map(|it| it["action"].as_str().unwrap()).collect()
}

/// An execution that a new version overtakes ends in the version that began it, and only then may that one go.
fn old_executions_end_in_their_version(name: &str, is_openfaas: bool, handler: &str) {
    let bench = Bench::serving(name, is_openfaas, handler);
    let first = bench.deploy(IMAGES[0], &["--time-limit", "1s"]).expect(0).json();
    assert!(actions(&first).iter().all(|action| *action == "create"), "{first}");
    let again = bench.deploy(IMAGES[0], &["--time-limit", "1s"]).expect(0).json();
    assert!(actions(&again).iter().all(|action| *action == "keep"), "{again}");

    // Built before anything runs: a compiler on a busy machine takes longer than the execution.
    let main = bench.sample.main();
    let changed = main.replace("sum += i;", "sum += i + 1;");
    assert_ne!(main, changed);
    bench.sample.write_main(&changed);
    bench.register(IMAGES[1], &bench.program("2"));

    let store = bench.store();
    let input = r#"{"n": 120, "pause_ms": 100}"#;
    let begun = bench.faas(&["invoke", handler, "--input", input, "--detach", "--store", &store]).expect(0);
    let id = begun.stdout.trim().to_owned();
    bench.sample.wait_for_entries(2);
    bench.deploy(IMAGES[1], &["--time-limit", "1s"]).expect(0);
    assert_eq!(bench.versions(&[]).as_array().unwrap().len(), 2);
    assert_eq!(
        bench.versions(&["--drain", "--store", &store]).as_array().unwrap().len(),
        2,
        "it is still needed"
    );

    let fresh = bench.faas(&[
        "invoke",
        handler,
        "--input",
        r#"{"n": 4, "pause_ms": 1}"#,
        "--store",
        &store,
        "--json",
    ]);
    assert_eq!(fresh.expect(0).json()["result"], 10);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    let status = || bench.sample.run_quietly(&["status", &id, "--json"]);
    while status()["status"] != "completed" {
        assert!(std::time::Instant::now() < until, "{}", status());
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    assert_eq!(status()["result"], (0..120).sum::<u64>(), "of the code that began it");
    assert!(status()["invocations"].as_array().unwrap().len() > 1);

    let left = bench.versions(&["--drain", "--store", &store]);
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    let version = left[0]["version"].as_str().unwrap();
    bench.faas(&["remove", handler, "--version", version]).expect(2);
    let by_function = handler.replace('_', "-");
    if by_function != handler {
        let refused = bench.faas(&["invoke", &by_function, "--input", input, "--store", &store]).expect(2);
        assert!(refused.stderr.contains(&format!("cargo faas invoke {handler}")), "{}", refused.stderr);
    }
    bench.faas(&["remove", handler]).expect(0);
    assert_eq!(bench.versions(&[]), json!([]));
    bench.faas(&["remove", handler]).expect(7);
    bench.faas(&["invoke", handler, "--input", input, "--store", &store]).expect(7);
}

#[test]
fn executions_end_in_the_version_that_began_them_on_openwhisk() {
    old_executions_end_in_their_version("deploy-ow", false, "slow");
}

#[test]
fn executions_end_in_the_version_that_began_them_on_openfaas() {
    // A gateway has no function of this name: it has `slow-sum`.
    old_executions_end_in_their_version("deploy-of", true, "slow_sum");
}

#[test]
fn a_version_that_does_not_answer_leaves_what_was_there() {
    for (name, is_openfaas) in [("deploy-bad-ow", false), ("deploy-bad-of", true)] {
        let bench = Bench::start(name, is_openfaas);
        bench.deploy(IMAGES[0], &[]).expect(0);
        let before = bench.versions(&[]);
        // No image of this name is registered: the platform refuses it.
        let refused = bench.deploy(IMAGES[1], &[]).expect(7);
        assert!(refused.stderr.contains("what was there before is there again"), "{}", refused.stderr);
        if !is_openfaas {
            // One that can be started and dies.
            bench.register(IMAGES[1], Path::new("/bin/false"));
            let died = bench.deploy(IMAGES[1], &[]).expect(7);
            assert!(died.stderr.contains("does not answer"), "{}", died.stderr);
        }
        assert_eq!(bench.versions(&[]), before);
        let said = bench
            .faas(&["invoke", "says", "--input", r#"{"line": "x"}"#, "--store", &bench.store()])
            .expect(0);
        assert_eq!(said.stdout, "\"x\"\n");
    }
}

/// Starting a deployment is all that its image is good for.
const NEVER: &str = "registry.example/sample:never";

#[test]
fn an_interrupted_deployment_leaves_what_was_there() {
    for (name, is_openfaas) in [("deploy-int-ow", false), ("deploy-int-of", true)] {
        let bench = Bench::start(name, is_openfaas);
        bench.deploy(IMAGES[0], &[]).expect(0);
        let before = bench.versions(&[]);
        let never = Image { args: vec!["1000".to_owned()], ..Image::new("/bin/sleep") };
        bench.platform.as_ref().unwrap().set_image(NEVER, never);
        let (store, flags) = (bench.store(), bench.flags.iter().map(String::as_str).collect::<Vec<_>>());
        let args = ["deploy", "--debug", "--image", NEVER, "--unchecked", "--store", &store];
        let deploying = bench.sample.start(&[&args, &flags[..]].concat());
        let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
        while bench.versions(&[]) == before {
            assert!(std::time::Instant::now() < until, "nothing is deployed");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        deploying.signal(Signal::INT);
        let ended = deploying.wait().expect(130);
        assert!(ended.stderr.contains("what was there before is there again"), "{}", ended.stderr);
        assert_eq!(bench.versions(&[]), before);
        bench.deploy(IMAGES[0], &["--memory", "300MB"]).expect(0);
    }
}

#[test]
fn a_project_says_in_faas_toml_what_it_asks_of_each_environment() {
    let bench = Bench::start("deploy-env", false);
    let settings = "[deploy]\nmemory = \"128MB\"\nenvironment = { WORDS = \"a=b 'c'\" }\n\n\
                    [deploy.env.production]\nmemory = \"512MB\"\nsecrets = [\"SAMPLE_TOKEN\"]\n";
    std::fs::write(bench.sample.project().join("faas.toml"), settings).unwrap();
    let memory = |deployed: &Value| deployed["functions"][0]["function"]["memory_mb"].clone();
    let dry = bench.deploy(IMAGES[0], &["--dry-run"]).expect(0).json();
    assert_eq!(memory(&dry), 128);
    assert_eq!(dry["functions"][0]["function"]["environment"]["WORDS"], "a=b 'c'");
    let without = bench.deploy(IMAGES[0], &["--env", "production"]).expect(2);
    assert!(without.stderr.contains("export SAMPLE_TOKEN first"), "{}", without.stderr);
    let (store, flags) = (bench.store(), bench.flags.iter().map(String::as_str).collect::<Vec<_>>());
    let args = ["deploy", "--debug", "--image", IMAGES[0], "--unchecked", "--store", &store, "--json"];
    let mut with = bench.sample.command(&[&args[..], &["--env", "production"], &flags].concat());
    with.env("SAMPLE_TOKEN", "hush=\"hush\"\nhush");
    let deployed = Ended::from(with.output().unwrap()).expect(0);
    assert_eq!(memory(&deployed.json()), 512);
    assert!(!deployed.stdout.contains("hush") && !deployed.stderr.contains("hush"), "{}", deployed.stderr);
    // Nor is it shown by who deploys without it.
    let without = bench.deploy(IMAGES[0], &["--dry-run"]).expect(0);
    assert!(without.stdout.contains("SAMPLE_TOKEN: a secret no more"), "{}", without.stdout);
    assert!(!without.stdout.contains("hush") && !without.stderr.contains("hush"), "{}", without.stdout);
    let unknown = bench.deploy(IMAGES[0], &["--env", "prodction"]).expect(2);
    assert!(unknown.stderr.contains("`production`"), "{}", unknown.stderr);
    std::fs::write(bench.sample.project().join("faas.toml"), "[deploy]\nmemry = \"1GB\"\n").unwrap();
    let bad = bench.deploy(IMAGES[0], &[]).expect(2);
    assert!(bad.stderr.contains("faas.toml:2:"), "{}", bad.stderr);
}

/// What receivers of results ask for is a secret that deployed functions have, and nobody is shown.
#[test]
fn a_deployed_function_signs_in_where_its_results_go() {
    const LOGIN: &str = "LIMITLESS_CALLBACK_LOGIN";
    let bench = Bench::start("deploy-login", false);
    let receiver = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = receiver.local_addr().unwrap();
    let store = bench.store();
    let args = ["deploy", "--debug", "--image", IMAGES[0], "--unchecked", "--store", &store, "--json"];
    let flags: Vec<&str> = bench.flags.iter().map(String::as_str).collect();
    let deploy = |more: &[&str]| {
        let mut command = bench.sample.command(&[&args[..], more, &flags].concat());
        Ended::from(command.env(LOGIN, format!("http://me:hush@{at}")).output().unwrap()).expect(0)
    };
    let forgotten = deploy(&["--dry-run"]);
    assert!(forgotten.stderr.contains("no function gets it"), "{}", forgotten.stderr);
    let deployed = deploy(&["--secret", LOGIN]);
    assert_eq!(deployed.json()["functions"][0]["secrets"], json!([LOGIN]));
    assert!(!deployed.stdout.contains("hush") && !deployed.stderr.contains("hush"), "{}", deployed.stderr);

    let callback = format!("http://me@{at}/results");
    bench
        .faas(&["invoke", "says", "--input", r#"{"line": "x"}"#, "--callback", &callback, "--store", &store])
        .expect(0);
    let (to, posted) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let (mut stream, _) = receiver.accept().unwrap();
        let mut head = vec![0; 4096];
        let length = std::io::Read::read(&mut stream, &mut head).unwrap();
        to.send(String::from_utf8_lossy(&head[..length]).to_lowercase())
    });
    let head = posted.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
    // me:hush
    assert!(head.contains("authorization: basic bwu6ahvzaa=="), "{head}");
}

#[test]
fn what_changes_is_shown_and_a_dry_run_changes_nothing() {
    let bench = Bench::start("deploy-diff", false);
    let dry = bench.deploy(IMAGES[0], &["--dry-run"]).expect(0).json();
    assert_eq!((&dry["dry_run"], actions(&dry)[0]), (&json!(true), "create"));
    assert_eq!(bench.versions(&[]), json!([]));
    let hostile = "a=b \"quoted\" 'single'\nnext $HOME \\";
    bench.deploy(IMAGES[0], &["--set", &format!("WORDS={hostile}")]).expect(0);
    let changed =
        bench.deploy(IMAGES[0], &["--set", "WORDS=x", "--memory", "300MB", "--dry-run"]).expect(0).json();
    let slow =
        changed["functions"].as_array().unwrap().iter().find(|it| it["function"]["name"] == "slow").unwrap();
    let lines: Vec<&str> =
        slow["changes"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(lines[0], "memory: 256 MB → 300 MB");
    assert!(lines[1].starts_with("WORDS: a=b \"quoted\"") && !lines[1].contains('\n'), "{lines:?}");
    for (args, exit) in [
        (&["--time-limit", "10m"][..], 2),
        (&["--memory", "64GB"], 2),
        (&["--set", "A B=1"], 2),
        (&["--set", "LIMITLESS_CALLBACK_LOGIN=https://me:hush@host"], 2),
        (&["--env", "production"], 2),
    ] {
        let ended = bench.deploy(IMAGES[0], args).expect(exit);
        assert!(ended.stderr.contains("help:"), "{args:?}: {}", ended.stderr);
    }
    let away = bench
        .sample
        .run(&["deploy", "--apihost", "http://127.0.0.1:1", "--auth", "secret-user:secret-word"])
        .expect(7);
    assert!(!away.stderr.contains("secret-word"), "{}", away.stderr);
}

/// A workflow of two handlers side by side, and one that puts them together.
const FLOW: &str = r"
use std::time::Duration;

use limitless_faas::{Result, handler, workflow};

#[handler]
fn slow_sum(n: u64) -> u64 {
    let mut sum = 0;
    #[checkpoint]
    for i in 0..n {
        std::thread::sleep(Duration::from_millis(50));
        sum += i;
    }
    sum
}

#[handler]
fn doubled(n: u64) -> u64 {
    2 * n
}

#[workflow(slo_ms = 200)]
async fn both(n: u64) -> Result<(u64, u64)> {
    let (sum, twice) = join!(slow_sum(&n), doubled(&n));
    Ok((sum, twice))
}

fn main() {
    limitless_faas::serve!(both, slow_sum, doubled);
}
";

/// Each wrap of a plan is a function of its version, a node in it outlives the limit by itself, and all go together.
fn a_plan_is_deployed(name: &str, is_openfaas: bool) {
    let bench = Bench::with_main(name, is_openfaas, "both", FLOW);
    let project = bench.sample.project();
    let (profiles, plan) = (project.join("profiles.json"), project.join("plan.json"));
    let latency = r#"{"latency":{"mean_ms":5}}"#;
    let text = format!(r#"{{"version":1,"handlers":{{"slow_sum":{latency},"doubled":{latency}}}}}"#);
    std::fs::write(&profiles, text).unwrap();
    let (profiles, plan) = (profiles.display().to_string(), plan.display().to_string());
    let made = [
        "plan",
        "both",
        "--profiles",
        &profiles,
        "--strategy",
        "one-to-one",
        "--slo-ms",
        "5000",
        "--out",
        &plan,
    ];
    bench.sample.run(&made).expect(0);

    let deployed = bench.deploy(IMAGES[0], &["--plan", &plan, "--time-limit", "1s"]).expect(0).json();
    let functions = deployed["functions"].as_array().unwrap();
    let wraps = functions.iter().filter(|it| it["function"]["mark"]["is_wrap"] == true).count();
    assert_eq!(wraps, 2, "{deployed}");
    let versions = bench.versions(&[]);
    assert_eq!(versions[0]["wraps"].as_array().unwrap().len(), 2, "{versions}");
    let again = bench.deploy(IMAGES[0], &["--plan", &plan, "--time-limit", "1s"]).expect(0).json();
    assert!(actions(&again).iter().all(|action| *action == "keep"), "{again}");

    let store = bench.store();
    let said = bench.faas(&["invoke", "both", "--input", r#"{"n": 40}"#, "--store", &store, "--json"]);
    let said = said.expect(0).json();
    assert_eq!(said["result"], json!([780, 80]), "{said}");
    let ran = bench.sample.run_quietly(&["list", "--json"]);
    let sum = ran["executions"].as_array().unwrap().iter().find(|it| it["handler"] == "slow_sum");
    let sum = bench.sample.run_quietly(&["status", sum.unwrap()["execution"].as_str().unwrap(), "--json"]);
    assert!(sum["invocations"].as_array().unwrap().len() > 1, "a node in a wrap of its own: {sum}");

    // Other places are another version, whose wraps are its own.
    bench.deploy(IMAGES[0], &["--time-limit", "1s"]).expect(0);
    assert_eq!(bench.versions(&[]).as_array().unwrap().len(), 2);
    let left = bench.versions(&["--drain", "--store", &store]);
    assert_eq!((left.as_array().unwrap().len(), &left[0]["wraps"]), (1, &json!([])), "{left}");
    let all = bench.faas(&["remove", "both", "--json"]).expect(0).json();
    assert_eq!(all["removed"].as_array().unwrap().len(), 2, "{all}");

    // An image may know the places by itself.
    let image = ["build", "--debug", "--target", "gnu", "--dockerfile", "--plan", &plan];
    let image = Ended::from(bench.sample.command(&image).output().unwrap()).expect(0).stdout;
    assert!(image.contains("LIMITLESS_PLACEMENT") && image.contains("both-w3"), "{image}");

    let text = std::fs::read_to_string(&plan).unwrap();
    std::fs::write(&plan, text.replace("\"doubled\"", "\"tripled\"")).unwrap();
    let other = bench.deploy(IMAGES[0], &["--plan", &plan]).expect(2);
    assert!(other.stderr.contains("another version of `both`"), "{}", other.stderr);
    std::fs::write(&plan, text.replace("\"both\"", "\"all\"")).unwrap();
    let other = bench.deploy(IMAGES[0], &["--plan", &plan]).expect(2);
    assert!(other.stderr.contains("the workflow `all`"), "{}", other.stderr);
    assert_eq!(bench.versions(&[]), json!([]));
}

#[test]
fn a_plan_is_deployed_with_its_wraps_on_openwhisk() {
    a_plan_is_deployed("deploy-plan-ow", false);
}

#[test]
fn a_plan_is_deployed_with_its_wraps_on_openfaas() {
    a_plan_is_deployed("deploy-plan-of", true);
}
