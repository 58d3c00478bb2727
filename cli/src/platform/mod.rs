//! Speaking to a platform: deploy, call, resume. The one place of this crate that knows the platforms apart.

mod change;
mod definition;
mod faas_cli;
mod local;
mod openfaas;
mod openwhisk;
mod remote;
mod rollout;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use limitless_faas_core::log::Execution;
use limitless_faas_core::signature::{Resumption, SecretKeys};
use limitless_faas_core::{Code, ExecutionId, Failure};
use limitless_faas_store::KEY_VARIABLE;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::exit::Exit;
use crate::project::Input;

pub use local::{Deployed as Served, Local, PLACEMENT_VARIABLE, Runs, written};
pub use remote::{find, wsk_line};
pub use rollout::{Deployed, Mark, Spec};

/// Which platform's interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Dialect {
    /// Actions and activations
    #[default]
    OpenWhisk,
    /// Functions behind a gateway
    OpenFaas,
}

/// What to deploy.
#[derive(Clone, Debug)]
pub struct Deployment {
    /// The name it is called by.
    pub name: String,
    /// What the platform runs.
    pub image: String,
    /// Time limit of one invocation.
    pub time_limit: Duration,
    /// Memory limit.
    pub memory_mb: u64,
}

/// A first call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The name the handler is deployed under.
    pub handler: String,
    /// Its input.
    pub input: Input,
    /// Names the call: the same key is the same execution.
    pub key: String,
    /// Where the result is to be posted.
    pub callback: Option<String>,
    /// How long the result is to be kept after the end, ms.
    pub keep_ms: Option<u64>,
}

impl Call {
    /// The execution that this call begins.
    pub fn execution(&self) -> ExecutionId {
        ExecutionId::derive(&self.handler, &self.key)
    }
}

/// What is asked of a platform about one execution.
#[derive(Clone, Debug)]
pub enum Ask {
    /// To begin it.
    First(Call),
    /// To go on with it.
    Resume {
        /// Where it goes on.
        place: Place,
        /// The execution.
        id: ExecutionId,
        /// The suspension to go on from, where its log was read and tells of one.
        entry: Option<u64>,
    },
}

/// The function that an execution goes on in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The function's name.
    pub function: String,
    /// The handler that it runs.
    pub handler: String,
}

impl Place {
    /// The function that has the handler's own name.
    pub fn own(handler: &str) -> Self {
        Self { function: handler.to_owned(), handler: handler.to_owned() }
    }

    /// Where this execution goes on: what another one called runs in that one's function, under its own name.
    pub fn of(execution: &Execution) -> Self {
        let caller = execution.origin.as_ref().and_then(|origin| origin.caller.as_ref());
        let function = caller.map_or(&execution.handler, |caller| &caller.function).clone();
        Self { function, handler: execution.handler.clone() }
    }

    /// The handler's name, where the function would run another one without it.
    fn node(&self) -> Option<&str> {
        (self.handler != self.function).then_some(&self.handler)
    }
}

/// What came of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Nothing yet, or nothing that the platform tells.
    Pending,
    /// The function's own words.
    Function(Said),
    /// The platform's words for a function that gave no answer: it was killed, or died.
    Lost(String),
}

/// JSON that a function answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// To be looked at.
    pub value: Value,
    /// To be passed on: a value does not hold every number.
    pub json: String,
}

impl Said {
    /// What this text says; none if it is no JSON.
    pub fn of(json: &str) -> Option<Self> {
        let value = serde_json::from_str(json).ok()?;
        Some(Self { value, json: json.trim().to_owned() })
    }
}

impl Ask {
    /// The execution.
    pub fn execution(&self) -> ExecutionId {
        match self {
            Self::First(call) => call.execution(),
            Self::Resume { id, .. } => id.clone(),
        }
    }

    /// Its handler.
    pub fn handler(&self) -> &str {
        match self {
            Self::First(call) => &call.handler,
            Self::Resume { place, .. } => &place.handler,
        }
    }

    /// Where it goes on.
    pub fn place(&self) -> Place {
        match self {
            Self::First(call) => Place::own(&call.handler),
            Self::Resume { place, .. } => place.clone(),
        }
    }
}

/// A platform's HTTP interface, as one caller uses it.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    dialect: Dialect,
    base: String,
    auth: Option<(String, String)>,
}

/// No request of ours takes longer, but for one that waits for a function.
const REQUEST: Duration = Duration::from_secs(30);
/// How often an accepted call is tried for.
const ATTEMPTS: u32 = 6;
/// The first pause between two attempts; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(100);

impl Client {
    /// A client of the platform at `base`, with the key `user:password` if it needs one.
    ///
    /// # Errors
    /// Where the URL or the key is none.
    pub fn new(dialect: Dialect, base: &str, key: Option<&str>, insecure: bool) -> Result<Self> {
        let base = base.trim_end_matches('/').to_owned();
        if reqwest::Url::parse(&base).is_err() {
            return Err(
                Error::usage(format!("`{base}` is no URL")).help("write for example http://127.0.0.1:3233")
            );
        }
        let split = |key: &str| {
            let parts = key.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()));
            parts.ok_or_else(|| {
                Error::usage("the platform's key has no colon").help("write it as user:password")
            })
        };
        let auth = key.map(split).transpose()?;
        let http = http(&base, insecure)?;
        Ok(Self { http, dialect, base, auth })
    }

    /// Where the platform is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Creates or replaces a function.
    ///
    /// # Errors
    /// Where the platform can't be reached or refuses.
    pub async fn deploy(&self, deployment: &Deployment) -> Result<()> {
        match self.dialect {
            Dialect::OpenWhisk => openwhisk::deploy(self, deployment).await,
            Dialect::OpenFaas => openfaas::deploy(self, deployment).await,
        }
    }

    /// Makes a first call and does not wait for its result; answers what the platform calls the delivery.
    ///
    /// # Errors
    /// Where the platform can't be reached or refuses.
    pub async fn call(&self, call: &Call) -> Result<String> {
        match self.dialect {
            Dialect::OpenWhisk => openwhisk::call(self, call).await,
            Dialect::OpenFaas => openfaas::call(self, call).await,
        }
    }

    /// Invokes a successor that goes on from the suspension `entry`, if one is known; answers what the platform calls the delivery.
    ///
    /// # Errors
    /// Where the platform can't be reached or refuses.
    pub async fn resume(&self, place: &Place, id: &ExecutionId, entry: Option<u64>) -> Result<String> {
        let body = resume_body(id, entry, place.node())?;
        match self.dialect {
            Dialect::OpenWhisk => openwhisk::resume(self, &place.function, &body).await,
            Dialect::OpenFaas => openfaas::resume(self, &place.function, &body).await,
        }
    }

    /// Whether the platform tells afterwards what a function answered.
    pub fn keeps_answers(&self) -> bool {
        self.dialect == Dialect::OpenWhisk
    }

    /// What the function answered to this delivery, as far as the platform tells.
    ///
    /// # Errors
    /// Where the platform can't be reached.
    pub async fn answer(&self, ask: &Ask, activation: &str) -> Result<Answer> {
        match self.dialect {
            Dialect::OpenWhisk => openwhisk::answer(self, activation).await,
            Dialect::OpenFaas => openfaas::answer(self, ask).await,
        }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base)).timeout(REQUEST);
        match &self.auth {
            Some((user, password)) => request.basic_auth(user, Some(password)),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        request.send().await.map_err(|error| {
            let what = if error.is_timeout() {
                "the platform at {} did not answer in time"
            } else {
                "failed to reach the platform at {}"
            };
            Error::platform(what.replace("{}", &self.base))
                .because(plain(&error))
                .help("check that it runs and may be reached from here")
        })
    }

    /// Sends until the platform accepts or refuses for good.
    async fn send_patiently(&self, request: &RequestBuilder, handler: &str) -> Result<Response> {
        let (response, _) = self.send_busily(request).await?;
        self.accepted(response, handler).await
    }

    /// As [`Client::send_patiently`], where not being there is an answer too.
    async fn send_patiently_or_missing(
        &self,
        request: &RequestBuilder,
        name: &str,
    ) -> Result<Option<Response>> {
        let (response, _) = self.send_busily(request).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.accepted(response, name).await.map(Some)
    }

    /// Sends until the platform is not busy, or was for too long; answers its last word, and whether an error of its own came before or
    /// with that.
    async fn send_busily(&self, request: &RequestBuilder) -> Result<(Response, bool)> {
        let (mut pause, mut has_broken) = (PAUSE, false);
        for attempt in 1.. {
            let again =
                request.try_clone().ok_or_else(|| Error::bug("a request that can't be sent twice"))?;
            let response = self.send(again).await?;
            has_broken |= response.status().is_server_error();
            if !is_busy(response.status()) || attempt == ATTEMPTS {
                return Ok((response, has_broken));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(Error::bug("tried for ever"))
    }

    async fn accepted(&self, response: Response, handler: &str) -> Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let said = response.text().await.unwrap_or_default();
        Err(self.refused(status, handler, &said))
    }

    fn refused(&self, status: StatusCode, handler: &str, said: &str) -> Error {
        let said = reason(said);
        let because = std::io::Error::other(if said.is_empty() {
            status.to_string()
        } else {
            format!("{status}: {said}")
        });
        let error = |message: String| Error::platform(message).because(because);
        match status {
            StatusCode::UNAUTHORIZED => error(format!("the platform at {} refused the key", self.base))
                .help("give the right one with --auth"),
            StatusCode::FORBIDDEN => error(format!("the platform at {} does not allow this", self.base))
                .help("where its reason is not a limit, another key may be allowed to: give it with --auth"),
            StatusCode::NOT_FOUND => {
                error(format!("the platform at {} has no function `{handler}`", self.base))
                    .help("deploy it first; `cargo faas dev` deploys the handlers of the current package")
            }
            StatusCode::TOO_MANY_REQUESTS => {
                error(format!("the platform at {} accepts no more calls now", self.base))
                    .help("try again in a minute")
            }
            StatusCode::PAYLOAD_TOO_LARGE => {
                error(format!("the input is larger than the platform at {} takes", self.base))
                    .help("put it where the function can fetch it, and pass the address")
            }
            // What is asked of all functions names none.
            _ if handler.is_empty() => error(format!("the platform at {} refused", self.base)).help(AGAIN),
            _ => error(format!("the platform at {} refused function `{handler}`", self.base)).help(AGAIN),
        }
    }
}

/// What to do about a platform that does not do what is asked.
const AGAIN: &str = "its own words stand above: run it again when the platform is well";

/// Whether trying again may help.
fn is_busy(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// The body of a first call: the input, and the control data beside it.
fn body_with(input: &Input, control: Option<&Value>) -> Result<Vec<u8>> {
    let control =
        control.map(|control| RawValue::from_string(control.to_string())).transpose().map_err(no_json)?;
    let mut fields: BTreeMap<&str, &RawValue> =
        input.fields().iter().map(|(name, value)| (name.as_str(), value.as_ref())).collect();
    if let Some(control) = &control {
        fields.insert(crate::project::CONTROL, control);
    }
    serde_json::to_vec(&fields).map_err(no_json)
}

/// The body of a call to go on, signed where there is a key: the function refuses it otherwise. With the suspension in it, a call that
/// somebody repeats after the next one does nothing.
fn resume_body(id: &ExecutionId, entry: Option<u64>, node: Option<&str>) -> Result<Value> {
    let mut control = json!({ "resume": id });
    if let Some(entry) = entry {
        control["entry"] = json!(entry);
    }
    if let Some(node) = node {
        control["node"] = json!(node);
    }
    if let Some(text) = std::env::var(KEY_VARIABLE).ok().filter(|text| !text.is_empty()) {
        let keys = SecretKeys::parse(&text).map_err(|error| {
            Error::usage(format!("{KEY_VARIABLE} is not usable: {error}"))
                .help("set it to the key that the function has")
        })?;
        let asked = Resumption { execution: id, entry, node };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        control["signature"] = json!(keys.sign(&asked, now_ms));
    }
    Ok(json!({ crate::project::CONTROL: control }))
}

fn no_json(error: serde_json::Error) -> Error {
    Error::bug("failed to write JSON").because(error)
}

/// The failure that a function's answer tells, if it tells one.
pub fn failure_in(answer: &Value) -> Option<Failure> {
    let error = answer.get("error")?;
    let message = error.as_str().map_or_else(|| error.to_string(), str::to_owned);
    // A function that is not one of ours has no numbered errors.
    let code = answer.get("code").and_then(|code| Code::deserialize(code).ok()).unwrap_or(Code::Application);
    let number = format!(" ({code})");
    Some(Failure::new(code, message.strip_suffix(&number).unwrap_or(&message)))
}

/// What a refusal says, in one line.
fn reason(body: &str) -> String {
    let json: Option<Value> = serde_json::from_str(body).ok();
    let told = json.as_ref().and_then(|json| json.get("error")).and_then(Value::as_str);
    let text = told.unwrap_or(body).trim();
    let line: String =
        text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(300).collect();
    line
}

/// reqwest repeats the URL in its message; the cause says what happened.
fn plain(error: &reqwest::Error) -> std::io::Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    std::io::Error::other(cause.to_string())
}

/// A client for requests to `base`.
///
/// # Errors
/// Where HTTP, or HTTPS, can't be had.
pub fn http(base: &str, insecure: bool) -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(10));
    let is_near =
        ["http://127.", "http://localhost", "http://[::1]"].iter().any(|near| base.starts_with(near));
    let builder = if is_near { builder.no_proxy() } else { builder };
    let builder = secure(builder, base, insecure)?;
    builder
        .build()
        .map_err(|error| Error::new(Exit::Platform, "failed to set up HTTP").because(plain(&error)))
}

#[cfg(feature = "tls")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it can fail")]
fn secure(builder: reqwest::ClientBuilder, _base: &str, insecure: bool) -> Result<reqwest::ClientBuilder> {
    Ok(builder.tls_danger_accept_invalid_certs(insecure))
}

#[cfg(not(feature = "tls"))]
fn secure(builder: reqwest::ClientBuilder, base: &str, _insecure: bool) -> Result<reqwest::ClientBuilder> {
    if base.starts_with("https:") {
        return Err(Error::usage("this cargo faas was built without https")
            .help("install it with its default features: cargo install cargo-faas"));
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use limitless_faas_core::log::{Caller, Entry, Kind};

    use super::*;
    use crate::history::samples::three;

    #[test]
    fn the_input_is_sent_to_the_letter() {
        let input = Input::parse(r#"{"x": 1.0, "n": 18446744073709551615}"#).unwrap();
        let body = body_with(&input, Some(&json!({"idempotency_key": "k"}))).unwrap();
        let text = String::from_utf8(body).unwrap();
        assert_eq!(text, r#"{"$limitless":{"idempotency_key":"k"},"n":18446744073709551615,"x":1.0}"#);
    }

    #[test]
    fn a_call_to_go_on_names_the_suspension_that_was_read() {
        let id = ExecutionId::derive("h", "k");
        let body = resume_body(&id, Some(7), None).unwrap();
        assert_eq!((&body["$limitless"]["resume"], &body["$limitless"]["entry"]), (&json!(id), &json!(7)));
        assert_eq!(resume_body(&id, None, None).unwrap()["$limitless"].get("entry"), None);
    }

    #[test]
    fn what_another_execution_called_goes_on_in_that_ones_function() {
        let mut started = three().entries[0].clone();
        let place = |started: &Entry| Place::of(&Execution::begin(started).unwrap());
        assert_eq!(place(&started), Place::own("factors"));
        assert_eq!(place(&started).node(), None);
        let Kind::Started { origin, .. } = &mut started.kind else { panic!("{started:?}") };
        let (execution, function) = (ExecutionId::derive("report", "k"), "report-v3".to_owned());
        origin.caller = Some(Caller { execution, function, node: None, stays_until_ms: 0 });
        let place = place(&started);
        assert_eq!(place.function, "report-v3");
        assert_eq!(place.node(), Some("factors"));
    }

    #[test]
    fn failures_of_ours_and_of_others_are_read() {
        let ours = json!({"error": "no field n (LF001)", "code": "LF001"});
        assert_eq!(failure_in(&ours).unwrap(), Failure::new(Code::BadInput, "no field n"));
        assert_eq!(failure_in(&json!({"error": "oops"})).unwrap(), Failure::new(Code::Application, "oops"));
        assert!(failure_in(&json!({"result": 1})).is_none());
    }

    #[test]
    fn a_refusal_is_one_line_without_control_characters() {
        assert_eq!(reason(r#"{"error":"too\u001b[31m many\nmore","code":"x"}"#), "too[31m many");
        assert_eq!(reason(""), "");
    }

    #[test]
    fn a_key_needs_its_two_parts() {
        let error =
            Client::new(Dialect::OpenWhisk, "http://127.0.0.1:1", Some("nocolon"), false).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(Client::new(Dialect::OpenWhisk, "127.0.0.1", None, false).is_err());
    }
}
