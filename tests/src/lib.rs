//! Shared by the tests and benchmarks across crates: a platform with one deployed function, and its log.

pub mod resume;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use limitless_faas_core::ExecutionId;
use limitless_faas_core::log::{Applied, Entry, Execution, LogError, Phase, Stored};
use limitless_faas_core::manifest::Manifest;
use limitless_faas_core::placement::Model;
use limitless_faas_local::{Config, Image, Platform};
use limitless_faas_store::{Log, Store};
use serde_json::{Value, json};
use tokio::time::Instant;

/// A local platform with one action, and a folder store of its own.
pub struct Stage {
    /// The platform.
    pub platform: Platform,
    /// The store's folder; removed with the stage.
    pub folder: tempfile::TempDir,
    client: reqwest::Client,
}

/// How a stage is set up.
pub struct Setting {
    /// The platform's own settings.
    pub config: Config,
    /// The action's time limit.
    pub time_limit: Duration,
}

impl Default for Setting {
    fn default() -> Self {
        Self { config: Config::default(), time_limit: Duration::from_secs(2) }
    }
}

/// Any error, as a test wants it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Looks again and again until `found` finds something.
///
/// # Panics
/// Where it has found nothing for so long.
pub async fn until<T>(what: &str, patience: Duration, found: impl AsyncFn() -> Option<T>) -> T {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(Instant::now() < end, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What an execution came to, where its result stands in its log.
///
/// # Panics
/// Where it is not completed, or its result stands elsewhere.
pub fn result(execution: &Execution) -> Value {
    let json = match &execution.phase {
        Phase::Completed(Stored::Json(json)) => serde_json::from_str(json).ok(),
        _ => None,
    };
    assert!(json.is_some(), "no result: {:?}", execution.phase);
    json.unwrap_or_default()
}

/// How many ends of this log count: one, whatever happened.
///
/// # Errors
/// Where the entries are no log.
pub fn ends(entries: &[Entry]) -> std::result::Result<usize, LogError> {
    let Some((first, rest)) = entries.split_first() else { return Ok(0) };
    let mut execution = Execution::begin(first)?;
    let mut ends = usize::from(execution.status().is_terminal());
    for entry in rest {
        let was_over = execution.status().is_terminal();
        let is_counted = execution.apply(entry)? == Applied::Counted;
        ends += usize::from(is_counted && !was_over && execution.status().is_terminal());
    }
    Ok(ends)
}

impl Stage {
    /// Starts a platform and deploys `program` as the action `name`.
    ///
    /// # Errors
    /// Where anything of that fails.
    pub async fn set(program: impl AsRef<Path>, name: &str, setting: Setting) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut config = setting.config;
        // Another store may have been asked for.
        let store = config.env.entry("LIMITLESS_STORE".into());
        store.or_insert_with(|| format!("file:{}", folder.path().display()));
        config.limits.invocations_per_minute = 1_000_000;
        config.limits.concurrent_invocations = 1_000;
        config.limits.time_min = Duration::from_millis(10);
        let image = Image { resumable: true, ..Image::new(program.as_ref()) };
        config.images.insert("subject".into(), image);
        let stage = Self { platform: Platform::start(config).await?, folder, client: reqwest::Client::new() };
        stage.deploy(name, setting.time_limit).await?;
        Ok(stage)
    }

    /// The same for a workflow whose nodes are placed by `model`, with the functions beside it that this needs.
    ///
    /// # Errors
    /// Where anything of that fails, or `workflow` is none.
    pub async fn placed(
        program: impl AsRef<Path>,
        workflow: &str,
        model: Model,
        mut setting: Setting,
    ) -> Result<Self> {
        let output = std::process::Command::new(program.as_ref()).arg("describe").output()?;
        let manifest: Manifest = serde_json::from_slice(&output.stdout)?;
        let handler = manifest.handler(workflow).and_then(|handler| handler.workflow.as_ref());
        let placement = model.placement(&handler.ok_or("not a workflow")?.graph, 2);
        let text = serde_json::to_string(&placement)?;
        setting.config.env.insert("LIMITLESS_PLACEMENT".to_owned(), text);
        let time_limit = setting.time_limit;
        let stage = Self::set(program, workflow, setting).await?;
        for wrap in placement.wraps() {
            stage.deploy(wrap, time_limit).await?;
        }
        Ok(stage)
    }

    /// Deploys the action again, so that new processes are started for it.
    ///
    /// # Errors
    /// Where the platform refuses.
    pub async fn redeploy(&self, name: &str, time_limit: Duration) -> Result<()> {
        self.deploy(name, time_limit).await
    }

    async fn deploy(&self, name: &str, time_limit: Duration) -> Result<()> {
        let timeout = u64::try_from(time_limit.as_millis())?;
        let body = json!({
            "exec": { "kind": "blackbox", "image": "subject" },
            "limits": { "timeout": timeout },
            "annotations": [{ "key": "provide-api-key", "value": true }],
        });
        let answer =
            self.request(reqwest::Method::PUT, &format!("actions/{name}?overwrite=true"), &body).await?;
        if answer.0 == 200 { Ok(()) } else { Err(format!("deploying answered {answer:?}").into()) }
    }

    /// A request to the namespace's REST API: status and JSON.
    ///
    /// # Errors
    /// Where there is no answer.
    pub async fn request(&self, method: reqwest::Method, path: &str, body: &Value) -> Result<(u16, Value)> {
        let (status, text) = self.request_text(method, path, body.to_string()).await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// As [`Stage::request`], to the letter: a value does not hold every number.
    ///
    /// # Errors
    /// Where there is no answer.
    pub async fn request_text(
        &self,
        method: reqwest::Method,
        path: &str,
        body: String,
    ) -> Result<(u16, String)> {
        let url = format!("{}/api/v1/namespaces/_/{path}", self.platform.url());
        let (user, password) = self.platform.api_key().as_str().split_once(':').ok_or("no key")?;
        let request = self.client.request(method, url).basic_auth(user, Some(password));
        let answer = request.header("content-type", "application/json").body(body).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Invokes the action and waits for its answer.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn invoke(&self, name: &str, input: &Value) -> Result<(u16, Value)> {
        self.request(reqwest::Method::POST, &format!("actions/{name}?blocking=true&result=true"), input).await
    }

    /// The log of this execution.
    ///
    /// # Errors
    /// Where the store can't be opened.
    pub fn log(&self, execution: &ExecutionId) -> Result<Log> {
        let store: Arc<dyn Store> =
            limitless_faas_store::open(&format!("file:{}", self.folder.path().display()))?;
        Ok(Log::new(store, execution.clone()))
    }

    /// Starts an execution under this key and sees to it that it ends, as a waiting client does: where nothing moves for a
    /// while it asks again, whatever was lost. On a busy machine what moves nothing may only be slow, and asking again makes it
    /// slower: so the while doubles each time that asking moved nothing, and shrinks once something moves.
    ///
    /// # Errors
    /// Where nothing has moved for `patience`, or it has not ended within four times as long.
    pub async fn see_through(
        &self,
        name: &str,
        input: &Value,
        key: &str,
        patience: Duration,
    ) -> Result<(Execution, Vec<Entry>)> {
        let execution = ExecutionId::derive(name, key);
        let log = self.log(&execution)?;
        let path = format!("actions/{name}?blocking=false");
        let mut first = input.clone();
        first["$limitless"] = json!({ "idempotency_key": key });
        let resume = json!({ "$limitless": { "resume": execution } });
        self.request(reqwest::Method::POST, &path, &first).await?;
        let mut watch = Watch::begin(patience);
        loop {
            let folded = log.execution().await?;
            if let Some(folded) = folded.as_ref().filter(|folded| folded.status().is_terminal()) {
                return Ok((folded.clone(), log.entries(0).await?));
            }
            match watch.look(folded.as_ref().map_or(0, |folded| folded.length), Instant::now()) {
                Sight::Moves => {}
                Sight::StandsStill => {
                    let body = if folded.is_some() { &resume } else { &first };
                    self.request(reqwest::Method::POST, &path, body).await?;
                }
                Sight::Hopeless => {
                    return Err(format!("no end with a patience of {patience:?}: {folded:#?}").into());
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until the execution has ended; answers it and its entries.
    ///
    /// # Errors
    /// Where it has not ended within `patience`.
    pub async fn end(&self, execution: &ExecutionId, patience: Duration) -> Result<(Execution, Vec<Entry>)> {
        let log = self.log(execution)?;
        let until = Instant::now() + patience;
        loop {
            if let Some(folded) = log.execution().await?
                && folded.status().is_terminal()
            {
                return Ok((folded, log.entries(0).await?));
            }
            if Instant::now() > until {
                return Err(format!("no end within {patience:?}: {:#?}", log.execution().await?).into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Watches whether a log moves.
struct Watch {
    length: u64,
    began: Instant,
    moved: Instant,
    asked: Instant,
    still: Duration,
    patience: Duration,
}

/// What a [`Watch`] sees.
#[derive(Debug, PartialEq, Eq)]
enum Sight {
    /// It moves, or did a moment ago.
    Moves,
    /// It is time to ask again.
    StandsStill,
    /// It will not end.
    Hopeless,
}

impl Watch {
    /// How long nothing may move before it is asked again, at first.
    const STILL: Duration = Duration::from_millis(400);
    /// How much longer than its patience it watches what moves and does not end.
    const MOVING: u32 = 4;

    fn begin(patience: Duration) -> Self {
        let now = Instant::now();
        Self { length: 0, began: now, moved: now, asked: now, still: Self::STILL, patience }
    }

    fn look(&mut self, length: u64, now: Instant) -> Sight {
        if length != self.length {
            (self.length, self.moved, self.asked) = (length, now, now);
            self.still = (self.still / 2).max(Self::STILL);
        }
        if now - self.moved > self.patience || now - self.began > self.patience * Self::MOVING {
            return Sight::Hopeless;
        }
        if now - self.asked <= self.still {
            return Sight::Moves;
        }
        self.asked = now;
        self.still = (self.still * 2).min(self.patience / 8).max(Self::STILL);
        Sight::StandsStill
    }
}

/// The environment of a stage, for tests that start a function process by hand.
pub fn env(folder: &Path) -> BTreeMap<String, String> {
    BTreeMap::from([("LIMITLESS_STORE".to_owned(), format!("file:{}", folder.display()))])
}

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_asks_less_often_where_asking_moves_nothing() {
        let patience = Duration::from_secs(60);
        let mut watch = Watch::begin(patience);
        let began = watch.began;
        let sights: Vec<(u64, Sight)> = (0..610)
            .map(|tenth| (tenth, watch.look(1, began + Duration::from_millis(100 * tenth))))
            .filter(|(_, sight)| *sight != Sight::Moves)
            .collect();
        let asked: Vec<u64> = (sights.iter().filter(|(_, sight)| *sight == Sight::StandsStill))
            .map(|(tenth, _)| *tenth)
            .collect();
        assert_eq!(asked[..5], [5, 14, 31, 64, 129], "{asked:?}");
        assert!(
            asked[5..].windows(2).all(|pair| pair[1] - pair[0] == 76),
            "an eighth of its patience: {asked:?}"
        );
        assert_eq!(sights.last(), Some(&(609, Sight::Hopeless)));
        assert!(asked.iter().all(|tenth| *tenth <= 600));
    }

    #[test]
    fn what_moves_is_not_given_up_and_soon_helped_again() {
        let patience = Duration::from_secs(10);
        let mut watch = Watch::begin(patience);
        let began = watch.began;
        for second in 1..=39 {
            assert_ne!(watch.look(second, began + Duration::from_secs(second)), Sight::Hopeless);
        }
        assert_eq!(watch.still, Watch::STILL);
        assert_eq!(watch.look(40, began + Duration::from_secs(41)), Sight::Hopeless);
    }
}
