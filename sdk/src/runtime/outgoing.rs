//! What the function process sends: the successor's invocation, and results to their receivers.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use limitless_faas_core::{Code, ExecutionId, Failure};
use reqwest::StatusCode;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::control::Control;
use super::couchdb;

/// How a platform takes a successor.
#[derive(Clone, Debug)]
pub(crate) enum Successor {
    /// A non-blocking POST to the action itself, with its own key.
    OpenWhisk {
        /// The REST API, such as `https://host`.
        api_host: String,
        /// `/namespace/[package/]action`.
        action: String,
        /// `uuid:key`.
        api_key: String,
    },
    /// A POST to the gateway's queue.
    OpenFaas {
        /// The gateway's URL.
        gateway: String,
        /// The function's name.
        function: String,
    },
    /// It can't be invoked, for this reason.
    Unavailable(String),
}

impl Successor {
    /// The function of this name beside this one. A name that is none could lead anywhere: there is no such function.
    pub(crate) fn beside(&self, name: &str) -> Self {
        if !is_name(name) {
            return Self::Unavailable(format!("{name:?} is no function's name"));
        }
        match self.clone() {
            Self::OpenWhisk { api_host, action, api_key } => {
                let (namespace, _) = action.rsplit_once('/').unwrap_or_default();
                Self::OpenWhisk { api_host, action: format!("{namespace}/{name}"), api_key }
            }
            Self::OpenFaas { gateway, .. } => Self::OpenFaas { gateway, function: name.to_owned() },
            unavailable @ Self::Unavailable(_) => unavailable,
        }
    }

    /// The name of the function that this is.
    pub(crate) fn function(&self) -> Option<&str> {
        match self {
            Self::OpenWhisk { action, .. } => action.rsplit('/').next(),
            Self::OpenFaas { function, .. } => Some(function),
            Self::Unavailable(_) => None,
        }
    }
}

/// The one HTTP client of the process, made when there is something to send: reading the certificates that are trusted takes longer
/// than a whole short call.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    client: Arc<LazyLock<reqwest::Client>>,
    /// The functions beside this one that did not answer when they were called last, and since when they have not.
    silent: Arc<Mutex<BTreeMap<String, Instant>>>,
}

impl Default for Outgoing {
    fn default() -> Self {
        Self { client: Arc::new(LazyLock::new(reqwest::Client::default)), silent: Arc::default() }
    }
}

pub(super) const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

impl Outgoing {
    /// Invokes a successor with this body.
    ///
    /// # Errors
    /// [`Code::SuccessorRefused`] where another try may help, [`Code::NotConfigured`] where none will.
    pub(crate) async fn invoke(
        &self,
        successor: &Successor,
        control: &Control,
        within: Duration,
    ) -> Result<(), Failure> {
        let request = self.post(successor, false)?;
        let sent = request.timeout(within).header("content-type", "application/json");
        accepted(sent.body(control.to_body().to_string()).send().await)
    }

    /// A call of this function, which its platform queues unless the caller `waits` for its answer.
    fn post(&self, to: &Successor, waits: bool) -> Result<reqwest::RequestBuilder, Failure> {
        match to {
            Successor::OpenWhisk { api_host, action, api_key } => {
                let (user, password) = api_key.split_once(':').unwrap_or((api_key, ""));
                let url = format!("{}?blocking={waits}&result={waits}", action_url(api_host, action)?);
                Ok(self.client.post(url).basic_auth(user, Some(password)))
            }
            Successor::OpenFaas { gateway, function } => {
                let way = if waits { "function" } else { "async-function" };
                Ok(self.client.post(format!("{}/{way}/{function}", gateway.trim_end_matches('/'))))
            }
            Successor::Unavailable(why) => Err(Failure::new(Code::NotConfigured, why.clone())),
        }
    }

    /// Calls a node's handler in another wrap, the function `wrap` beside this one, and waits for what it answers. A wrap
    /// answers `{"result": …}`, `{"execution": …, "status": …}` where it goes on, or `{"error": …, "code": …}`. What else is JSON are the
    /// platform's own words.
    ///
    /// # Errors
    /// [`Code::SuccessorRefused`] where another try may help, [`Code::NotConfigured`] where none will.
    pub(crate) async fn call_wrap(
        &self,
        beside: &Successor,
        wrap: &str,
        body: String,
    ) -> Result<(StatusCode, Box<RawValue>), Failure> {
        let request = self.post(&beside.beside(wrap), true)?;
        let sent = request.header("content-type", "application/json").body(body).send().await;
        let response =
            sent.map_err(|error| Failure::new(Code::SuccessorRefused, full_message(&error.without_url())))?;
        let status = response.status();
        let text = response
            .text()
            .await
            .map_err(|error| Failure::new(Code::SuccessorRefused, full_message(&error.without_url())))?;
        let lasting = [401, 403, 404, 413].contains(&status.as_u16());
        let code = if lasting { Code::NotConfigured } else { Code::SuccessorRefused };
        serde_json::from_str(&text)
            .ok()
            .filter(|_| !lasting && status.as_u16() != 429)
            .map(|said| (status, said))
            .ok_or_else(|| Failure::new(code, format!("the platform answered {status} for `{wrap}`")))
    }

    /// A function beside this one did not answer. Says since when it does not.
    pub(crate) fn missed(&self, function: &str) -> Instant {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        *silent.entry(function.to_owned()).or_insert_with(Instant::now)
    }

    /// It answered.
    pub(crate) fn heard(&self, function: &str) {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).remove(function);
    }

    /// Posts what an execution came to, with the execution's id, which is what the receiver tells duplicates by. A database of
    /// CouchDB gets it as a document of that name.
    ///
    /// # Errors
    /// [`Code::SuccessorRefused`] where the receiver did not acknowledge it, [`Code::NotConfigured`] where it never will.
    pub(crate) async fn deliver(
        &self,
        to: &str,
        execution: &ExecutionId,
        body: String,
    ) -> Result<(), Failure> {
        if let Some(database) = couchdb::database(to) {
            return couchdb::keep(&self.client, &database, execution, body).await;
        }
        let sent = self
            .client
            .post(to)
            .timeout(DELIVERY_TIMEOUT)
            .header("content-type", "application/json")
            .header("x-limitless-execution", execution.as_str())
            .body(body);
        accepted(sent.send().await)
    }
}

/// Whether both platforms take this for the name of a function, and no URL takes it for anything else.
fn is_name(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(is_word) && name.chars().all(|c| is_word(c) || "-.@ ".contains(c))
}

fn action_url(api_host: &str, action: &str) -> Result<String, Failure> {
    let mut parts = action.trim_start_matches('/').splitn(2, '/');
    let (Some(namespace), Some(name)) = (parts.next(), parts.next()) else {
        let message = format!("the platform calls this action `{action}`, expected `/namespace/action`");
        return Err(Failure::new(Code::NotConfigured, message));
    };
    let host = api_host.trim_end_matches('/');
    let scheme = if host.contains("://") { "" } else { "https://" };
    Ok(format!("{scheme}{host}/api/v1/namespaces/{namespace}/actions/{name}"))
}

pub(super) fn accepted(sent: Result<reqwest::Response, reqwest::Error>) -> Result<(), Failure> {
    let response = sent.map_err(|error| {
        let code = if error.is_builder() { Code::NotConfigured } else { Code::SuccessorRefused };
        // The URL may hold a secret in its query, and this text ends in logs.
        Failure::new(code, full_message(&error.without_url()))
    })?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let mut url = response.url().clone();
    // A receiver's query may hold a secret, and this text ends in logs.
    url.set_query(None);
    // 429 and 5xx pass; any other refusal will be the same next time.
    let is_passing = status.is_server_error() || status.as_u16() == 429 || status.as_u16() == 408;
    let code = if is_passing { Code::SuccessorRefused } else { Code::NotConfigured };
    Err(Failure::new(code, format!("{url} answered {status}")))
}

/// reqwest's own text leaves out the reason.
fn full_message(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message.push_str(": ");
        message.push_str(&error.to_string());
        source = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_has_its_url() {
        let url = action_url("http://127.0.0.1:3233/", "/guest/pkg/factors").unwrap();
        assert_eq!(url, "http://127.0.0.1:3233/api/v1/namespaces/guest/actions/pkg/factors");
        assert!(action_url("host", "/guest/f").unwrap().starts_with("https://host/api"));
        assert_eq!(action_url("host", "nonsense").unwrap_err().code, Code::NotConfigured);
    }

    #[test]
    fn a_function_beside_this_one_is_one_of_its_namespace() {
        let (api_host, api_key) = ("http://h".to_owned(), "u:k".to_owned());
        let this = Successor::OpenWhisk { api_host, action: "/guest/pkg/report".to_owned(), api_key };
        let Successor::OpenWhisk { action, .. } = this.beside("report-w2") else { panic!("{this:?}") };
        assert_eq!(action, "/guest/pkg/report-w2");
        for name in ["", ".", "..", "../other/f", "a/b", "a?b", "a#b", "%2e%2e", "a\nb", "\t..", "ü"] {
            assert!(matches!(this.beside(name), Successor::Unavailable(_)), "{name:?}");
        }
    }
}
