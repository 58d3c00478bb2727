//! One run of a program: from its start or from its images, until it ends or yields.

mod begin;
mod end;
mod save;

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use limitless_faas_core::{Code, Failure};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::control::Supervisor;
use super::folders::{self, Claimed, Paths, Private};
use super::keep::Manifest;
use super::output::{MOST_BYTES, Stream};
use super::prepared::{self, Prepared};
use super::spec::{Launch, Status};
use super::tools::Tools;
use super::{Declared, environment};
use crate::checkpoint::{ApplicationError, Outcome, Request, Session};
use crate::engine::{Place, Steps, note};
use begin::{again, claim, first, gone, no_folder, read_manifest, streams, supervisor};

/// What the first image is expected to cost, before one was measured: DMTCP's own pauses, and so many bytes a second.
const FIRST_SAVE_US: u64 = 450_000;
const FIRST_BYTES_PER_US: u64 = 200;
/// How long DMTCP may take until a program can be saved, at least.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// Why a run ends without a word of the program's.
enum Stopped {
    /// The program, or what was asked of it, is at fault.
    Failed(String),
    /// The input is.
    BadInput(String),
    /// This machine is, or the store; the failure says what helps.
    Unable(Failure),
}

impl Stopped {
    fn unable(what: &str, error: &io::Error) -> Self {
        Self::Unable(Failure::new(Code::ImageFailed, format!("{what}: {error}")))
    }
}

/// Runs a program until it ends or yields.
pub(crate) async fn run(session: &Session, declared: &'static Declared, input: &RawValue) -> Outcome {
    let services: Option<Arc<dyn Any + Send + Sync>> = session.services().map(|services| services as _);
    let steps = services.and_then(|services| services.downcast::<Steps>().ok());
    let Some(steps) = steps else { return failed("a program runs in a function process only".to_owned()) };
    let ended = match Runner::begin(session, &steps, declared, input).await {
        Ok(runner) => runner.drive().await,
        Err(stopped) => Err(stopped),
    };
    match ended {
        Ok(outcome) => outcome,
        Err(Stopped::Failed(message)) => failed(message),
        Err(Stopped::BadInput(message)) => Outcome::BadInput { message },
        Err(Stopped::Unable(failure)) => {
            let message = failure.message.clone();
            // The invocation may well try again, and succeed.
            note(&format!(
                "program `{}` goes on from its last image, or from its start: {message}",
                declared.program.name.as_str()
            ));
            steps.fail(failure);
            failed(message)
        }
    }
}

fn failed(message: String) -> Outcome {
    Outcome::Returned(Err(ApplicationError { message }))
}

struct Runner<'a> {
    session: &'a Session,
    steps: &'a Steps,
    place: Place,
    declared: &'static Declared,
    tools: Tools,
    supervisor: Supervisor,
    private: Private,
    /// Where it works, and where its next images go.
    paths: Paths,
    stdout: Stream,
    stderr: Stream,
    too_long: Arc<Notify>,
    began: Instant,
    /// What saving is expected to cost, as it was told last.
    expected_us: Cell<u64>,
    /// What the checkpoint says that this run goes on from.
    before: Option<Manifest>,
    /// Whether DMTCP has got hold of it: only then it can be saved.
    is_ready: bool,
    _claimed: Claimed,
}

impl<'a> Runner<'a> {
    async fn begin(
        session: &'a Session,
        steps: &'a Steps,
        declared: &'static Declared,
        input: &RawValue,
    ) -> Result<Self, Stopped> {
        let place = steps.place();
        let tools = Tools::find().map_err(|why| Stopped::Unable(Failure::new(Code::NotConfigured, why)))?;
        let input: Value =
            serde_json::from_str(input.get()).map_err(|error| Stopped::BadInput(error.to_string()))?;
        let before = read_manifest(session)?;
        let prepared = match &before {
            Some(before) => Some(prepared::take(&before.blob).ok_or_else(gone)?),
            None => None,
        };
        let paths = match &before {
            Some(before) => before.paths.next(),
            None => Paths::new(&place.execution).map_err(no_folder)?,
        };
        let claimed = claim(&paths).await?;
        let (private, output, reader) = match prepared {
            Some(Prepared { private, output, reader, .. }) => (private, output, Some(reader)),
            None => (Private::new().map_err(no_folder)?, Vec::new(), None),
        };
        let (mut supervisor, pipes) = supervisor(declared, &private, &paths, &input, before.as_ref()).await?;
        let (program, args) = match (&before, reader) {
            (Some(before), Some(reader)) => again(&tools, &private, &paths, before, reader)?,
            _ => first(&tools, declared, &private, &paths, &input)?,
        };
        let env = environment::of(declared, &paths.work);
        let coordinator = tools.coordinator(&private);
        let launch =
            Launch { coordinator, program, args, env, folder: paths.work.to_string_lossy().into_owned() };
        let began = Instant::now();
        supervisor
            .launch(&launch)
            .await
            .map_err(|error| Stopped::unable("DMTCP could not be started", &error))?;
        let too_long = Arc::new(Notify::new());
        let (stdout, stderr) = streams(declared, pipes, before.as_ref(), output, &too_long);
        Ok(Self {
            session,
            steps,
            place,
            declared,
            tools,
            supervisor,
            private,
            paths,
            stdout,
            stderr,
            too_long,
            began,
            expected_us: Cell::new(0),
            before,
            is_ready: false,
            _claimed: claimed,
        })
    }

    /// Until the program ends, or is to yield.
    async fn drive(mut self) -> Result<Outcome, Stopped> {
        self.expect();
        let timeout = self.time_left();
        let mut timeout =
            std::pin::pin!(tokio::time::sleep(timeout.unwrap_or(Duration::from_secs(365 * 86_400))));
        let too_long = self.too_long.clone();
        let (tools, private, until) = (self.tools.clone(), self.private.path.clone(), self.ready_by());
        let mut ready = std::pin::pin!(async move { tools.ready(&private, until).await });
        let mut is_settled = false;
        loop {
            let mut requested = std::pin::pin!(self.session.requested().notified());
            // What is asked from here on is heard.
            requested.as_mut().enable();
            let asked = self.session.flag().load(Ordering::Relaxed);
            if asked >= Request::Report as u8 {
                if self.session.answer() {
                    return self.yield_now().await;
                }
                self.expect();
            }
            let happened = tokio::select! {
                ended = self.supervisor.ended() => Happened::Ended(ended),
                () = requested => Happened::Asked,
                () = too_long.notified() => Happened::TooLong,
                () = &mut timeout => Happened::TimeOut,
                ready = &mut ready, if !is_settled => Happened::Ready(ready),
            };
            match happened {
                Happened::Asked => {}
                Happened::Ready(ready) => {
                    (is_settled, self.is_ready) = (true, ready.is_ok());
                    // One that was never saved may end in time all the same.
                    if let (Err(why), Some(_)) = (ready, &self.before) {
                        return Err(self.unready(&why).await);
                    }
                }
                Happened::Ended(ended) => {
                    return self.finished(ended.map_err(lost)?).await;
                }
                Happened::TooLong => {
                    let message = too_much(self.name());
                    return Err(self.stop(message).await);
                }
                Happened::TimeOut => {
                    let limit = String::from(
                        self.declared.program.timeout.unwrap_or(limitless_faas_core::program::Span { ms: 0 }),
                    );
                    let message = format!(
                        "program `{}` was ended: it ran longer than its timeout of {limit}",
                        self.name()
                    );
                    return Err(self.stop(message).await);
                }
            }
        }
    }

    fn name(&self) -> &'static str {
        self.declared.program.name.as_str()
    }

    fn ran_ms(&self) -> u64 {
        let before = self.before.as_ref().map_or(0, |before| before.ran_ms);
        before + u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When DMTCP must have got hold of the program. Going on takes about as long as saving did; on a busy machine longer.
    fn ready_by(&self) -> Instant {
        let cost_us = self.before.as_ref().map_or(0, |before| before.cost_us);
        self.began + LEAST_PATIENCE + 10 * Duration::from_micros(cost_us)
    }

    fn time_left(&self) -> Option<Duration> {
        let timeout = self.declared.program.timeout?;
        Some(Duration::from_millis(timeout.ms.saturating_sub(self.ran_ms())))
    }

    /// Tells what saving would cost now: it grows with the program and with what it has written.
    fn expect(&self) {
        let bytes = self.supervisor.resident_bytes() + folders::len_bytes(&self.paths.work);
        let cost_us = match &self.before {
            Some(before) if before.image_bytes > 0 => {
                let then = before.image_bytes + before.work_bytes();
                // What does not depend on the size is not told apart, so a program that shrinks is not trusted to be cheap.
                u128::from(before.cost_us) * u128::from(bytes.max(then)) / u128::from(then)
            }
            _ => u128::from(FIRST_SAVE_US + bytes / FIRST_BYTES_PER_US),
        };
        let least_us = self.declared.program.margin.map_or(0, |margin| margin.ms.saturating_mul(1000) / 2);
        let cost_us = u64::try_from(cost_us).unwrap_or(u64::MAX).max(least_us);
        self.expected_us.set(cost_us);
        self.steps.expect_save(cost_us);
    }

    /// DMTCP has not got hold of the program. Where it went on from images, whoever goes on passes them over for the generation before.
    async fn unready(self, why: &str) -> Stopped {
        let what = if self.before.is_some() { "did not go on from its image" } else { "can't be saved" };
        let (waited_ms, tail) = (self.began.elapsed().as_millis(), quoted(&self.stderr.tail()));
        let message = format!("program `{}` {what} within {waited_ms} ms: {why}{tail}", self.name());
        self.give_up(&message).await;
        self.supervisor.kill().await;
        self.paths.remove();
        Stopped::Unable(Failure::new(Code::ImageFailed, message))
    }

    async fn stop(self, message: String) -> Stopped {
        self.supervisor.kill().await;
        self.paths.remove();
        Stopped::Failed(message)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err passes")]
fn lost(error: io::Error) -> Stopped {
    Stopped::unable("the program was lost", &error)
}

enum Happened {
    Ready(Result<(), String>),
    Ended(io::Result<Status>),
    Asked,
    TooLong,
    TimeOut,
}

fn too_much(name: &str) -> String {
    format!(
        "program `{name}` was ended: it printed more than {MOST_BYTES} bytes on standard output, which is its result. \
         Have it write a file and name that as its result: stdout = \"file:NAME\""
    )
}

fn quoted(tail: &str) -> String {
    let tail = tail.trim();
    if tail.is_empty() { String::new() } else { format!("; it said:\n{tail}") }
}
