//! Saving a program before its deadline, or taking its result where it was faster.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use limitless_faas_core::program::Stdout;
use limitless_faas_core::{Advice, Code, Failure};

use super::{Runner, Stopped, lost, quoted, too_much};
use crate::checkpoint::{Outcome, Point, Sink, Target, offer};
use crate::engine::{Place, note, now_us};
use crate::program::folders;
use crate::program::image::{self, Found};
use crate::program::keep::{self, Host, Kept, Manifest};
use crate::program::spec::Status;
use crate::program::tools::FAILED;

/// Between two looks at the connections of a program: the system tells nobody that one was closed.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// What it takes to end a program that does not stop, and to say so before the platform kills.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Before images are offered to a store again that refused them; then twice that, and so on, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

impl Runner<'_> {
    /// Saves the program and ends it; or takes its result, where it was faster.
    pub(super) async fn yield_now(mut self) -> Result<Outcome, Stopped> {
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
        if !self.is_ready {
            let until = self.ready_by();
            tokio::select! {
                ended = self.supervisor.ended() => return self.finished(ended.map_err(lost)?).await,
                ready = self.tools.ready(&self.private.path, until) => {
                    if let Err(why) = ready {
                        return Err(self.unready(&why).await);
                    }
                }
            }
        }
        let patience = self.patience();
        let asked = {
            let asking = async {
                // Images that the program asked for itself are not those of its end.
                folders::renew(&self.paths.of_generation()).map_err(|error| error.to_string())?;
                self.tools.yield_now(&self.private).await
            };
            tokio::select! {
                // It may end while it is being asked.
                ended = self.supervisor.ended() => Ok(Some(ended)),
                asked = asking => asked.map(|()| None),
                () = tokio::time::sleep(patience) => Ok(None),
            }
        };
        let ended = match asked {
            Ok(Some(ended)) => ended,
            // Its coordinator goes when it has ended: whether it did shows in a moment.
            Ok(None) | Err(_) => match self.ended_in_time().await {
                Some(ended) => ended,
                None => return Err(self.unstopped(asked.err().as_deref()).await),
            },
        };
        let status = ended.map_err(lost)?;
        let found = image::look(&self.paths.of_generation())
            .map_err(|error| Stopped::unable("the images can't be read", &error))?;
        match (found, status) {
            (Found::Complete(_, header), _) => self.save(header, began, (sink, target), point).await,
            (_, Status::Crowded) => self.finished(status).await,
            (Found::Nothing, Status::Code(code)) if code != FAILED => self.finished(status).await,
            (Found::Nothing, _) => Err(self.unsaved("it wrote no image").await),
            (Found::Partial(why), _) => Err(self.unsaved(&why).await),
        }
    }

    /// Waits until the program has ended, as long as its invocation can still say that it did not.
    async fn ended_in_time(&mut self) -> Option<io::Result<Status>> {
        tokio::time::timeout(self.patience(), self.supervisor.ended()).await.ok()
    }

    /// How long its invocation can still wait for that.
    fn patience(&self) -> Duration {
        let left_ms = self.place.deadline_ms.saturating_sub(now_us() / 1000);
        Duration::from_millis(left_ms).saturating_sub(LAST_WORDS)
    }

    /// The program was asked to stop for its image, and did not.
    async fn unstopped(self, why: Option<&str>) -> Stopped {
        let message = format!(
            "program `{}` could not be saved: it did not stop for its image before the limit{}. Give it more time with `margin` in \
             faas.toml; a program that keeps signals from itself by other means than its C library can't be saved{}",
            self.name(),
            why.map(|why| format!(" ({why})")).unwrap_or_default(),
            quoted(&self.stderr.tail())
        );
        self.supervisor.kill().await;
        self.paths.remove();
        Stopped::Unable(Failure::new(Code::ImageFailed, message))
    }

    /// Waits until no connection leads out of the program, as long as there is time to save it afterwards. Answers how it ended, where it
    /// did so meanwhile.
    async fn disconnected(&mut self) -> Result<Option<Status>, Stopped> {
        let needed_ms = self.expected_us.get() / 1000 * 3 / 2;
        let until_ms = self.place.deadline_ms.saturating_sub(needed_ms);
        while let Some(other) = self.supervisor.connected_to() {
            if now_us() / 1000 >= until_ms {
                let message = format!(
                    "program `{}` can't be saved: it holds a connection to {other} open, which nobody could restore. Have it close \
                     its connections between requests, or raise the time limit",
                    self.name()
                );
                return Err(Stopped::Unable(Failure::new(Code::SaveFailed, message)));
            }
            tokio::select! {
                ended = self.supervisor.ended() => {
                    return ended.map(Some).map_err(lost);
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
        let saving = self.place.process.spawn(store(self.place.clone(), Host::own(&self.tools), kept));
        let lost = |_| Failure::new(Code::ImageFailed, "storing the images was interrupted");
        let saved = saving.await.unwrap_or_else(|error| Err(lost(error)));
        if saved.is_err() {
            self.paths.remove();
        }
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
        self.paths.remove();
        let message =
            format!("program `{}` could not be saved: {why}{}", self.name(), quoted(&self.stderr.tail()));
        Stopped::Unable(Failure::new(Code::ImageFailed, message))
    }
}

/// Stores the images: they are all that there is of what the program did, so a store that refuses them is asked again, as long as there
/// is time before the deadline.
async fn store(place: Place, host: Host, kept: Kept) -> Result<(Manifest, u64), Failure> {
    let Some(log) = &place.log else { return Err(crate::engine::no_store()) };
    let mut wait = FIRST_WAIT;
    loop {
        let began = Instant::now();
        // A checkpoint without them would look like one.
        if !matches!(image::look(&kept.paths.of_generation()), Ok(Found::Complete(..))) {
            return Err(Failure::new(Code::ImageFailed, "the images were removed before they were stored"));
        }
        let failure = match keep::save(log, &place.blob_name(), host.clone(), kept.clone()).await {
            Err(failure) if failure.code.advice() == Advice::Retry => failure,
            decided => return decided,
        };
        let left_ms = place.deadline_ms.saturating_sub(now_us() / 1000);
        if (wait + began.elapsed()).as_millis() >= u128::from(left_ms) {
            return Err(failure);
        }
        note(&format!("the images are offered again in {} ms: {failure}", wait.as_millis()));
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}
