//! A program that has ended by itself, and what its result is.

use std::fs;

use limitless_faas_core::program::Stdout;
use limitless_faas_core::{Code, Failure};
use serde_json::value::RawValue;

use super::{Runner, Stopped, quoted, too_much};
use crate::checkpoint::Outcome;
use crate::program::output::{self, MOST_BYTES, To};
use crate::program::relay::MOST_PROCESSES;
use crate::program::spec::Status;
use crate::program::tools::{ABORTED, FAILED};
use crate::program::{is_json, keep};

impl Runner<'_> {
    /// The program has ended by itself.
    pub(super) async fn finished(mut self, status: Status) -> Result<Outcome, Stopped> {
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
            Status::Crowded => Err(Stopped::Failed(format!(
                "program `{}` was ended: it had more than {MOST_PROCESSES} processes at once",
                self.name()
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
    pub(super) async fn give_up(&self, why: &str) {
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
}
