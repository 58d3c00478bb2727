//! What the environment says about this function process.
//!
//! Everything a deployment can set stands here, so that nothing else reads the environment.

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use limitless_faas_core::node::NodeEvent;
use limitless_faas_core::pace::Policy;
use limitless_faas_core::placement::Placement;

/// The settings of one function process.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `LIMITLESS_STORE`: the store's URL. Without it only functions that end in their first invocation work.
    pub(crate) store_url: Option<String>,
    /// `LIMITLESS_STORE_FAULTS`: makes the store fail on purpose.
    pub(crate) store_faults: Option<String>,
    /// `LIMITLESS_HANDLER`: the handler this deployment serves, where the binary has several.
    pub(crate) handler: Option<String>,
    /// `__OW_API_HOST`: OpenWhisk's REST API.
    pub(crate) api_host: Option<String>,
    /// `LIMITLESS_GATEWAY_URL`: OpenFaaS's gateway.
    pub(crate) gateway_url: Option<String>,
    /// `LIMITLESS_FUNCTION`: the name under which a successor is invoked, where that is not the name that was called:
    /// executions go on in the version that began them.
    pub(crate) function: Option<String>,
    /// `LIMITLESS_TIME_LIMIT_MS`, or `exec_timeout`: the time limit where requests carry no deadline.
    pub(crate) time_limit: Duration,
    /// `LIMITLESS_WATCHDOG_TOKEN`: what a platform proves with that an earlier delivery's process is dead.
    pub(crate) watchdog_token: Option<String>,
    /// `LIMITLESS_PLACEMENT`: where a workflow's nodes run; on threads without it.
    pub(crate) placement: Option<Arc<Placement>>,
    /// `LIMITLESS_NODES=events`: a workflow tells on its standard output what happens to its nodes.
    pub(crate) tells_nodes: bool,
    /// `LIMITLESS_NODES_AT_ONCE`: how many nodes of a workflow compute at once, at most; the others wait for their turn.
    pub(crate) nodes_at_once: usize,
    /// `LIMITLESS_STAY_MS`: how long a workflow stays where it only waits for nodes in other wraps, before it suspends until one of them has
    /// ended.
    pub(crate) stay: Duration,
    /// `PORT`, default 8080.
    pub(crate) port: u16,
    /// Limits and margins; `LIMITLESS_MAX_INVOCATIONS` caps an execution's invocations.
    pub(crate) policy: Policy,
}

/// of-watchdog's default, which applies where nobody says otherwise.
const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(30);
const DEFAULT_PORT: u16 = 8080;
/// Suspending and coming back costs a hand-over, or a cold start: who has waited for as long pays twice what was needed at most.
const STAY: Duration = Duration::from_secs(1);
/// More threads than this gain nothing, and each has a stack.
pub(crate) const NODES_AT_ONCE: usize = 64;

/// A variable that says something this process can't use.
#[derive(Debug, thiserror::Error)]
#[error("environment variable {name} is `{value}`, expected {expected}")]
pub(crate) struct ConfigError {
    name: &'static str,
    value: String,
    expected: &'static str,
}

impl Config {
    /// Reads the environment of this process.
    pub(crate) fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// Reads what a platform told this process, and the environment where it said nothing.
    pub(crate) fn from(told: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let said = |name| told.get(name).cloned().or_else(|| env::var(name).ok());
        Self::from_lookup(|name| said(name).filter(|value| !value.is_empty()))
    }

    /// The time limit where requests carry no deadline, in milliseconds.
    pub(crate) fn time_limit_ms(&self) -> u64 {
        u64::try_from(self.time_limit.as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the platform vouches that whoever worked on this delivery before is dead.
    pub(crate) fn is_vouched(&self, headers: &hyper::HeaderMap) -> bool {
        let claimed = headers.get("x-limitless-owner-dead").map(hyper::header::HeaderValue::as_bytes);
        let token = self.watchdog_token.as_ref().map(String::as_bytes);
        // Hashes are compared, so that the time it takes says nothing about the token.
        claimed.is_some() && claimed.map(blake3::hash) == token.map(blake3::hash)
    }

    fn from_lookup(get: impl Fn(&'static str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut policy = Policy::default();
        if let Some(most) = parsed(&get, "LIMITLESS_MAX_INVOCATIONS", "a number", |text| text.parse().ok())? {
            policy.max_invocations = most;
        }
        let limit_ms =
            parsed(&get, "LIMITLESS_TIME_LIMIT_MS", "milliseconds such as 60000", |text| text.parse().ok())?;
        let exec_timeout =
            parsed(&get, "exec_timeout", "a duration such as `1m30s`", crate::runtime::parse_go_duration)?
                // Zero stands for "no limit" there, and nothing here can do without one.
                .filter(|limit| !limit.is_zero());
        Ok(Self {
            store_url: get("LIMITLESS_STORE"),
            store_faults: get("LIMITLESS_STORE_FAULTS"),
            handler: get("LIMITLESS_HANDLER"),
            api_host: get("__OW_API_HOST"),
            gateway_url: get("LIMITLESS_GATEWAY_URL"),
            function: get("LIMITLESS_FUNCTION"),
            time_limit: limit_ms.map(Duration::from_millis).or(exec_timeout).unwrap_or(DEFAULT_TIME_LIMIT),
            placement: parsed(&get, "LIMITLESS_PLACEMENT", "a placement as JSON", |text| {
                serde_json::from_str(text).ok().map(Arc::new)
            })?,
            tells_nodes: parsed(&get, NodeEvent::VARIABLE, "`events`", |text| {
                (text == "events").then_some(())
            })?
            .is_some(),
            nodes_at_once: parsed(&get, "LIMITLESS_NODES_AT_ONCE", "a number from 1 on", |text| {
                text.parse().ok().filter(|most| *most > 0)
            })?
            .unwrap_or(NODES_AT_ONCE),
            stay: parsed(&get, "LIMITLESS_STAY_MS", "milliseconds such as 1000", |text| text.parse().ok())?
                .map_or(STAY, Duration::from_millis),
            watchdog_token: get("LIMITLESS_WATCHDOG_TOKEN"),
            port: parsed(&get, "PORT", "a port number", |text| text.parse().ok())?.unwrap_or(DEFAULT_PORT),
            policy,
        })
    }
}

fn parsed<T>(
    get: impl Fn(&'static str) -> Option<String>,
    name: &'static str,
    expected: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, ConfigError> {
    let Some(value) = get(name) else { return Ok(None) };
    match parse(&value) {
        Some(parsed) => Ok(Some(parsed)),
        None => Err(ConfigError { name, value, expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::from_lookup(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_gives_the_platforms_defaults() {
        let config = config(&[]).unwrap();
        assert_eq!(config.port, 8080);
        assert_eq!(config.time_limit, Duration::from_secs(30));
        assert!(config.store_url.is_none());
    }

    #[test]
    fn the_limit_written_at_deploy_time_goes_before_exec_timeout() {
        let both = [("exec_timeout", "1m"), ("LIMITLESS_TIME_LIMIT_MS", "2000")];
        assert_eq!(config(&both).unwrap().time_limit, Duration::from_secs(2));
        assert_eq!(config(&both[..1]).unwrap().time_limit, Duration::from_secs(60));
    }

    #[test]
    fn a_value_that_makes_no_sense_is_named() {
        let error = config(&[("PORT", "eighty")]).unwrap_err();
        assert_eq!(error.to_string(), "environment variable PORT is `eighty`, expected a port number");
    }
}
