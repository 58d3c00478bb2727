//! `cargo faas build`: images without an engine, and in one where there is one.

mod common;

use std::fs;
use std::io::Write as _;
use std::process::Command;

use common::containers::{Hub, docker, engine, text};
use common::{Ended, Sample, faas};
use serde_json::{Value, json};

fn built(sample: &Sample, args: &[&str]) -> Value {
    sample.run(&[&["build", "--debug", "--target", "gnu", "--json"], args].concat()).expect(0).json()["images"][0].clone()
}

#[test]
fn an_image_is_the_same_to_the_byte_and_only_the_application_changes() {
    let sample = Sample::new("image");
    let archive = |name: &str| sample.project().join(name).display().to_string();
    let first = built(&sample, &["-o", &archive("1.tar")]);
    assert_eq!(first["handlers"], json!(["slow", "wide", "says", "fails", "panics", "stuck"]));
    let again = built(&sample, &["-o", &archive("2.tar")]);
    assert_eq!(fs::read(archive("1.tar")).unwrap(), fs::read(archive("2.tar")).unwrap());
    assert_eq!(first, again);

    sample.write_main(&sample.main().replace("println!(\"{line}\");\n    line\n", "line + \"!\"\n"));
    let changed = built(&sample, &[]);
    assert_ne!(first["name"], changed["name"], "the tag follows the content");
    let digests = |image: &Value| -> Vec<(String, String)> {
        let layers = image["layers"].as_array().unwrap().iter();
        layers
            .map(|it| (it["name"].as_str().unwrap().into(), it["digest"].as_str().unwrap().into()))
            .collect()
    };
    for (before, after) in digests(&first).iter().zip(digests(&changed)) {
        assert_eq!(before.0, after.0);
        assert_eq!(before.1 == after.1, before.0 != "application", "{before:?}");
    }
    assert_eq!(
        fs::read_dir(sample.project())
            .unwrap()
            .flatten()
            .filter(|it| it.file_name().to_string_lossy().ends_with("part"))
            .count(),
        0
    );
}

#[test]
fn what_can_not_be_built_is_told() {
    let sample = Sample::new("image-bad");
    for (args, code) in [
        (&["build", "--name", "UPPER"][..], 2),
        (&["build", "--name", "a/../b"], 2),
        (&["build", "--name", "x:-t"], 2),
        (&["build", "--push"], 2),
        (&["build", "--dockerfile", "--load"], 2),
        (&["build", "--debug", "--plan", "/no/such/plan"], 2),
        (&["build", "--debug", "-o", "/no/such/folder/image.tar"], 3),
    ] {
        let ended = sample.run(args).expect(code);
        assert!(ended.stderr.contains("error:"), "{args:?}: {}", ended.stderr);
    }
    let ended = sample.run(&["build", "--debug", "--name", "127.0.0.1:1/x", "--push"]).expect(7);
    assert!(ended.stderr.contains("run it again"), "{}", ended.stderr);
}

#[test]
fn a_musl_build_without_its_target_says_what_to_install() {
    let list = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", "x86_64-unknown-linux-musl"])
        .output();
    let is_there = list.is_ok_and(|list| fs::read_dir(String::from_utf8_lossy(&list.stdout).trim()).is_ok());
    if is_there {
        writeln!(std::io::stderr(), "skipped: the musl target is installed").unwrap();
        return;
    }
    let sample = Sample::new("image-musl");
    let ended = sample.run(&["build", "--target", "musl"]).expect(3);
    assert!(ended.stderr.contains("rustup target add"), "{}", ended.stderr);
}

#[test]
fn the_engine_loads_and_runs_it_as_openwhisk_does() {
    if engine().is_none() {
        return;
    }
    let sample = Sample::new("image-runs");
    let image = built(&sample, &["--load"]);
    let name = image["name"].as_str().unwrap();
    let id = text(&docker(&["image", "inspect", "-f", "{{.Id}} {{.Config.User}}", name]));
    assert_eq!(id, format!("{} 65532:65532", image["id"].as_str().unwrap()));
    let container = text(&docker(&[
        "run",
        "-d",
        "--memory",
        "256m",
        "--memory-swap",
        "256m",
        "--network",
        "bridge",
        "--cap-drop",
        "NET_RAW",
        "--cap-drop",
        "NET_ADMIN",
        "--ulimit",
        "nofile=1024:1024",
        "--pids-limit",
        "1024",
        name,
    ]));
    let address = text(&docker(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", &container]));
    let post = |path: &str, body: Value| {
        let url = format!("http://{address}:8080{path}");
        let retry = ["--retry", "40", "--retry-connrefused", "--retry-delay", "0"];
        let curl = Command::new("curl")
            .args(["-s", "--noproxy", "*", "-d", &body.to_string()])
            .args(retry)
            .arg(url)
            .output();
        text(&curl.unwrap())
    };
    let ready =
        post("/init", json!({ "value": { "name": "says", "main": "main", "binary": false, "env": {} } }));
    let run = json!({ "value": { "line": "good evening" }, "action_name": "/guest/says", "activation_id": "a", "deadline": "4102444800000" });
    let said = post("/run", run);
    let logs = Command::new("docker").args(["logs", &container]).output().unwrap();
    docker(&["rm", "-f", &container]);
    docker(&["rmi", "-f", name]);
    assert!(ready.contains("\"ok\":true"), "{ready}");
    assert_eq!(said, r#"{"result":"good evening"}"#);
    assert!(text(&logs).starts_with("good evening"), "{logs:?}");
}

#[test]
fn the_dockerfile_makes_an_equal_image() {
    if engine().is_none() {
        return;
    }
    let sample = Sample::new("image-dockerfile");
    let context = sample.project().join("context").display().to_string();
    sample.run(&["build", "--debug", "--target", "gnu", "--dockerfile", "-o", &context]).expect(0);
    sample.run(&["build", "--debug", "--target", "gnu", "--dockerfile", "-o", &context]).expect(2);
    let ours = built(&sample, &["--load"])["name"].as_str().unwrap().to_owned();
    let build =
        Command::new("docker").env("DOCKER_BUILDKIT", "0").args(["build", "-q", &context]).output().unwrap();
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    let theirs = text(&build);
    let configuration = |image: &str| {
        // Builders put PATH first.
        let variables =
            text(&docker(&["image", "inspect", "-f", "{{range .Config.Env}}{{println .}}{{end}}", image]));
        let mut variables: Vec<String> = variables.lines().map(str::to_owned).collect();
        variables.sort();
        let format = "{{json .Config.Entrypoint}} {{.Config.User}} {{.Config.WorkingDir}} {{json .Config.ExposedPorts}} {{json .Config.Labels}}";
        (variables, text(&docker(&["image", "inspect", "-f", format, image])))
    };
    assert_eq!(configuration(&ours), configuration(&theirs));
    let files = |image: &str| {
        let container = text(&docker(&["create", image]));
        let tar = docker(&["export", &container]).stdout;
        docker(&["rm", &container]);
        let listed = Command::new("sh")
            .args(["-c", "cat > \"$0\" && tar tvf \"$0\" | awk '{print $1, $3, $6}' | grep -vE ' (\\.dockerenv|dev/|proc/|sys/|etc/(hosts|hostname|resolv.conf|mtab))' | sort"])
            .arg(sample.project().join("export.tar"))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .and_then(|mut child| {
                child.stdin.take().unwrap().write_all(&tar)?;
                child.wait_with_output()
            });
        text(&listed.unwrap())
    };
    assert_eq!(files(&ours), files(&theirs));
    docker(&["rmi", "-f", &ours, &theirs]);
}

#[test]
fn a_real_registry_takes_it_and_an_engine_pulls_it() {
    let Some(hub) = Hub::start() else { return };
    let sample = Sample::new("image-push");
    let name = format!("{}/team/sample", hub.address);
    let first = built(&sample, &["--name", &name, "--push"]);
    assert_eq!(first["pushed"]["present_bytes"], 0, "{first}");
    let second = built(&sample, &["--name", &name, "--push"]);
    assert_eq!(second["pushed"]["sent_bytes"], 0, "{second}");
    // An image of ours is as good a base as any.
    let based = built(
        &sample,
        &["--base", first["name"].as_str().unwrap(), "--name", &format!("{name}-2"), "--push"],
    );
    assert!(based["layers"].as_array().unwrap().len() > first["layers"].as_array().unwrap().len());
    if engine().is_some() {
        docker(&["pull", "-q", first["name"].as_str().unwrap()]);
        let id = text(&docker(&["image", "inspect", "-f", "{{.Id}}", first["name"].as_str().unwrap()]));
        assert_eq!(id, first["id"].as_str().unwrap());
        docker(&["rmi", "-f", first["name"].as_str().unwrap()]);
    }
}

#[test]
fn help_has_examples() {
    let help = Ended::from(faas().args(["build", "--help"]).output().unwrap()).expect(0);
    assert!(help.stdout.contains("docker load"), "{}", help.stdout);
}
