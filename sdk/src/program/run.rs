//! One run of a program: from its start or from its images, until it ends or yields.

use std::any::Any;
use std::cell::Cell;
use std::fs;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use limitless_faas_core::program::Stdout;
use limitless_faas_core::{Code, Failure};
use limitless_faas_store::pieces::PiecesReader;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::control::{Pipes, Supervisor};
use super::folders::{self, Paths, Private};
use super::image::{self, Found};
use super::keep::{self, Host, Kept, Manifest};
use super::output::{self, MOST_BYTES, Stream, To};
use super::prepared::{self, Prepared};
use super::spec::{Launch, Status};
use super::tools::{ABORTED, FAILED, Tools};
use super::{Declared, environment, executable, is_json};
use crate::checkpoint::{ApplicationError, Outcome, Point, Request, Session, Sink, Target, offer};
use crate::engine::{Place, Steps, note};

/// What the first image is expected to cost, before one was measured: DMTCP's own pauses, and so many bytes a second.
const FIRST_SAVE_US: u64 = 450_000;
const FIRST_BYTES_PER_US: u64 = 200;

/// Between two looks at the connections of a program: the system tells nobody that one was closed.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

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
        })
    }

    /// Until the program ends, or is to yield.
    async fn drive(mut self) -> Result<Outcome, Stopped> {
        self.expect();
        let timeout = self.time_left();
        let mut timeout =
            std::pin::pin!(tokio::time::sleep(timeout.unwrap_or(Duration::from_secs(365 * 86_400))));
        let too_long = self.too_long.clone();
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
            };
            match happened {
                Happened::Asked => {}
                Happened::Ended(ended) => {
                    let status = ended.map_err(|error| Stopped::unable("the program was lost", &error))?;
                    return self.finished(status).await;
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

    fn time_left(&self) -> Option<Duration> {
        let timeout = self.declared.program.timeout?;
        Some(Duration::from_millis(timeout.ms.saturating_sub(self.ran_ms())))
    }

    /// Tells what saving would cost now: it grows with the program.
    fn expect(&self) {
        let bytes = self.supervisor.resident_bytes();
        let cost_us = match &self.before {
            Some(before) if before.image_bytes > 0 => {
                // What does not depend on the size is not told apart, so a program that shrinks is not trusted to be cheap.
                u128::from(before.cost_us) * u128::from(bytes.max(before.image_bytes))
                    / u128::from(before.image_bytes)
            }
            _ => u128::from(FIRST_SAVE_US + bytes / FIRST_BYTES_PER_US),
        };
        let least_us = self.declared.program.margin.map_or(0, |margin| margin.ms.saturating_mul(1000) / 2);
        let cost_us = u64::try_from(cost_us).unwrap_or(u64::MAX).max(least_us);
        self.expected_us.set(cost_us);
        self.steps.expect_save(cost_us);
    }

    /// Saves the program and ends it; or takes its result, where it was faster.
    async fn yield_now(mut self) -> Result<Outcome, Stopped> {
        let point = Point { number: 0, line: 0, label: format!("an image of program {}", self.name()) };
        let began = Instant::now();
        let Some(mut sink) = self.session.take_sink() else {
            return Err(Stopped::Failed("the program was asked to yield twice".to_owned()));
        };
        let target = match sink.open() {
            Ok(target) => target,
            Err(source) => return Ok(Outcome::SaveFailed { point, source }),
        };
        if let Some(status) = self.disconnected().await? {
            return self.finished(status).await;
        }
        let asked = {
            let asking = async {
                self.tools.ready(&self.private).await?;
                // Images that the program asked for itself are not those of its end.
                folders::renew(&self.paths.of_generation()).map_err(|error| error.to_string())?;
                self.tools.yield_now(&self.private).await
            };
            tokio::select! {
                // It may end while it is being asked.
                ended = self.supervisor.ended() => Ok(Some(ended)),
                asked = asking => asked.map(|()| None),
            }
        };
        let ended = match asked {
            Ok(Some(ended)) => ended,
            Ok(None) => self.supervisor.ended().await,
            Err(why) => return Err(Stopped::Unable(Failure::new(Code::ImageFailed, why))),
        };
        let status = ended.map_err(|error| Stopped::unable("the program was lost", &error))?;
        let found = image::look(&self.paths.of_generation())
            .map_err(|error| Stopped::unable("the images can't be read", &error))?;
        match (found, status) {
            (Found::Complete(_, header), _) => self.save(header, began, (sink, target), point).await,
            (Found::Nothing, Status::Code(code)) if code != FAILED => self.finished(status).await,
            (Found::Nothing, _) => Err(self.unsaved("it wrote no image").await),
            (Found::Partial(why), _) => Err(self.unsaved(&why).await),
        }
    }

    /// Waits until no connection leads out of the program, as long as there is time to save it afterwards. Answers how it ended, where it
    /// did so meanwhile.
    async fn disconnected(&mut self) -> Result<Option<Status>, Stopped> {
        let needed_ms = self.expected_us.get() / 1000 * 3 / 2;
        let until_ms = self.place.deadline_ms.saturating_sub(needed_ms);
        while let Some(other) = self.supervisor.connected_to() {
            if crate::engine::now_us() / 1000 >= until_ms {
                let message = format!(
                    "program `{}` can't be saved: it holds a connection to {other} open, which nobody could restore. Have it close \
                     its connections between requests, or raise the time limit",
                    self.name()
                );
                return Err(Stopped::Unable(Failure::new(Code::SaveFailed, message)));
            }
            tokio::select! {
                ended = self.supervisor.ended() => {
                    return ended.map(Some).map_err(|error| Stopped::unable("the program was lost", &error));
                }
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        Ok(None)
    }

    async fn save(
        mut self,
        header: image::Header,
        began: Instant,
        (mut sink, target): (Box<dyn Sink>, Box<dyn Target>),
        point: Point,
    ) -> Result<Outcome, Stopped> {
        let ran_ms = self.ran_ms();
        let (stdout, begun_stderr) = (self.stdout.end().await, self.stderr.end().await);
        if self.stdout.is_too_long() {
            return Err(Stopped::Failed(too_much(self.name())));
        }
        let is_result = !matches!(self.declared.program.stdout, Stdout::File(_));
        let (output, begun_stdout) = if is_result { (stdout, Vec::new()) } else { (Vec::new(), stdout) };
        let stdin_at = self
            .supervisor
            .stdin_at()
            .map_err(|error| Stopped::unable("the input's position is lost", &error))?;
        let kept =
            Kept { header, paths: self.paths.clone(), stdin_at, output, begun_stdout, begun_stderr, ran_ms };
        let (place, host) = (self.place.clone(), Host::own(&self.tools));
        let saving = self.place.process.spawn(async move {
            let Some(log) = &place.log else { return Err(crate::engine::no_store()) };
            keep::save(log, &place.blob_name(), host, kept).await
        });
        let lost = |_| Failure::new(Code::ImageFailed, "storing the images was interrupted");
        let saved = saving.await.unwrap_or_else(|error| Err(lost(error)));
        let (mut manifest, moved_bytes) = saved.map_err(Stopped::Unable)?;
        manifest.cost_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        // A program that was given no time to run has not moved, however its image differs.
        self.steps.measured(format!("ran for {} tenths of a second", ran_ms / 100), moved_bytes);
        let written = serde_json::to_vec(&manifest).map_err(io::Error::from);
        let write = |json: Vec<u8>| {
            offer(sink.as_mut(), target, &|mut target| target.write_all(&json).and_then(|()| target.seal()))
        };
        let written = written.and_then(write);
        self.paths.remove();
        Ok(match written {
            Ok(()) => Outcome::Suspended(point),
            Err(source) => Outcome::SaveFailed { point, source },
        })
    }

    /// The program is gone, and could not be saved: it goes on from the generation before.
    async fn unsaved(mut self, why: &str) -> Stopped {
        self.stderr.end().await;
        let message =
            format!("program `{}` could not be saved: {why}{}", self.name(), quoted(&self.stderr.tail()));
        Stopped::Unable(Failure::new(Code::ImageFailed, message))
    }

    /// The program has ended by itself.
    async fn finished(mut self, status: Status) -> Result<Outcome, Stopped> {
        let (stdout, rest) = (self.stdout.end().await, self.stderr.end().await);
        output::print(&rest, To::Stderr);
        if matches!(self.declared.program.stdout, Stdout::File(_)) {
            output::print(&stdout, To::Stdout);
        }
        let tail = [self.stderr.tail(), String::from_utf8_lossy(&rest).trim().to_owned()].join("\n");
        let result = match status {
            Status::Code(0) if self.stdout.is_too_long() => Err(Stopped::Failed(too_much(self.name()))),
            Status::Code(0) => self.result(stdout).map_err(Stopped::Failed),
            Status::Code(FAILED | ABORTED) if self.before.is_some() => {
                let message = format!(
                    "program `{}` could not be restarted from its image{}",
                    self.name(),
                    quoted(&tail)
                );
                self.give_up(&message).await;
                Err(Stopped::Unable(Failure::new(Code::ImageFailed, message)))
            }
            Status::Code(FAILED) => Err(Stopped::Failed(format!(
                "DMTCP could not start program `{}`{}",
                self.name(),
                quoted(&tail)
            ))),
            Status::Code(code) => Err(Stopped::Failed(format!(
                "program `{}` ended with status {code}{}",
                self.name(),
                quoted(&tail)
            ))),
            Status::Signal(signal) => Err(Stopped::Failed(format!(
                "program `{}` was ended by signal {signal}{}",
                self.name(),
                quoted(&tail)
            ))),
        };
        self.paths.remove();
        result.map(|json| Outcome::Returned(Ok(json)))
    }

    /// Whoever goes on passes this generation over.
    async fn give_up(&self, why: &str) {
        let (Some(before), Some(log)) = (&self.before, self.place.log.clone()) else { return };
        let (blob, why) = (before.blob.clone(), why.to_owned());
        // If it can't be noted, the same generation is tried once more.
        let _ = self.place.process.spawn(async move { keep::give_up(&log, &blob, why).await }).await;
    }

    fn result(&self, stdout: Vec<u8>) -> Result<Box<RawValue>, String> {
        let (bytes, what, is_json) = match &self.declared.program.stdout {
            Stdout::Json => (stdout, "its standard output".to_owned(), true),
            Stdout::Text => (stdout, "its standard output".to_owned(), false),
            Stdout::File(name) => {
                (self.file(name.as_str())?, format!("`{}`", name.as_str()), is_json(name.as_str()))
            }
        };
        let text = String::from_utf8(bytes).map_err(|_| {
            format!("program `{}` ended, but {what} is no UTF-8 text and can't be a result; encode it, as base64 for one", self.name())
        })?;
        let json = if is_json {
            RawValue::from_string(text.trim().to_owned())
        } else {
            serde_json::value::to_raw_value(&text)
        };
        json.map_err(|error| {
            let shown: String = text.chars().take(200).collect();
            format!("program `{}` ended, but {what} is not one JSON value ({error}): {shown}", self.name())
        })
    }

    fn file(&self, name: &str) -> Result<Vec<u8>, String> {
        let path = self.paths.work.join(name);
        let of = |what: &str| format!("program `{}` ended, but its result `{name}` {what}", self.name());
        match fs::metadata(&path) {
            Err(error) => Err(of(&format!("can't be read: {error}"))),
            Ok(there) if there.len() > MOST_BYTES as u64 => {
                Err(of(&format!("has {} bytes, and a result at most {MOST_BYTES}", there.len())))
            }
            Ok(_) => fs::read(&path).map_err(|error| of(&format!("can't be read: {error}"))),
        }
    }

    async fn stop(self, message: String) -> Stopped {
        self.supervisor.kill().await;
        self.paths.remove();
        Stopped::Failed(message)
    }
}

enum Happened {
    Ended(io::Result<Status>),
    Asked,
    TooLong,
    TimeOut,
}

fn read_manifest(session: &Session) -> Result<Option<Manifest>, Stopped> {
    let Some(mut state) = session.take_from() else { return Ok(None) };
    let bytes = state.rest().map_err(|error| Stopped::unable("the checkpoint can't be read", &error))?;
    let damaged = |error| {
        Stopped::Unable(Failure::new(
            Code::Damaged,
            format!("the checkpoint's manifest can't be read: {error}"),
        ))
    };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err passes")]
fn no_folder(error: io::Error) -> Stopped {
    Stopped::unable("a folder for the program can't be made", &error)
}

fn gone() -> Stopped {
    Stopped::Unable(Failure::new(Code::ImageFailed, "the images that were read are gone"))
}

/// A supervisor that has the folders to itself; they are empty.
async fn supervisor(
    declared: &Declared,
    private: &Private,
    paths: &Paths,
    input: &Value,
    before: Option<&Manifest>,
) -> Result<(Supervisor, Pipes), Stopped> {
    let stdin = private.path.join("stdin");
    let text = declared.program.stdin_text(input).map_err(|error| Stopped::BadInput(error.to_string()))?;
    fs::write(&stdin, text).map_err(no_folder)?;
    let stdin_at = before.map_or(0, |before| before.stdin_at);
    let started = Supervisor::start(private, &paths.locks(), &stdin, stdin_at)
        .await
        .map_err(|error| Stopped::unable("the program's supervisor could not be started", &error))?;
    paths.renew().map_err(no_folder)?;
    Ok(started)
}

/// The command line of a program's first start.
fn first(
    tools: &Tools,
    declared: &Declared,
    private: &Private,
    paths: &Paths,
    input: &Value,
) -> Result<(String, Vec<String>), Stopped> {
    folders::fill(&paths.work, declared).map_err(Stopped::Failed)?;
    let path = std::env::var("PATH").unwrap_or_default();
    let command = executable::find(&declared.program.command, &paths.work, &path).map_err(Stopped::Failed)?;
    executable::check(&command, &path).map_err(Stopped::Failed)?;
    let args =
        declared.program.args.iter().map(|argument| argument.fill(input)).collect::<Result<Vec<_>, _>>();
    let args = args.map_err(|error| Stopped::BadInput(error.to_string()))?;
    Ok(tools.launch(private, &paths.of_generation(), &command, args))
}

/// The command line that goes on from its images, which are put where they were, as is the work folder.
fn again(
    tools: &Tools,
    private: &Private,
    paths: &Paths,
    before: &Manifest,
    mut reader: PiecesReader,
) -> Result<(String, Vec<String>), Stopped> {
    keep::unpack(before, &mut reader)
        .map_err(|error| Stopped::unable("the work folder can't be restored", &error))?;
    let images = prepared::move_images(private, &before.paths)
        .map_err(|error| Stopped::unable("the images can't be put where they were written", &error))?;
    Ok(tools.restart(private, &paths.of_generation(), &images))
}

fn streams(
    declared: &Declared,
    pipes: Pipes,
    before: Option<&Manifest>,
    output: Vec<u8>,
    too_long: &Arc<Notify>,
) -> (Stream, Stream) {
    let begun = |of: fn(&Manifest) -> &Vec<u8>| before.map(|before| of(before).clone()).unwrap_or_default();
    let stdout = match declared.program.stdout {
        Stdout::File(_) => {
            Stream::read(pipes.stdout, To::Stdout, begun(|before| &before.begun_stdout), too_long.clone())
        }
        Stdout::Json | Stdout::Text => Stream::read(pipes.stdout, To::Result, output, too_long.clone()),
    };
    (stdout, Stream::read(pipes.stderr, To::Stderr, begun(|before| &before.begun_stderr), too_long.clone()))
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
