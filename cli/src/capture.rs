//! What function processes print, kept per activation so that it can be read afterwards.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use limitless_faas_core::ExecutionId;
use limitless_faas_local::{Event, EventKind};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::exit::Exit;
use crate::state::create_folder;

/// Files kept open at once.
const OPEN: usize = 32;

/// What is kept of an activation's output: a function that prints without end must not fill the disk.
const MOST_BYTES: u64 = 32 << 20;

/// A line that a function printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When, µs since 1970.
    pub at_us: u64,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The line without its end.
    pub text: String,
}

/// The file of one activation, and how long it is.
#[derive(Debug)]
struct Output {
    file: File,
    len_bytes: u64,
}

/// Writes down what functions print, up to 32 MiB of each activation.
#[derive(Debug)]
pub struct Capture {
    folder: PathBuf,
    open: HashMap<String, Output>,
    /// The execution that all activations belong to, and those that are noted down as its own.
    of: Option<(ExecutionId, Vec<String>)>,
}

impl Capture {
    /// Writes into this folder, which is made if need be.
    ///
    /// # Errors
    /// Where it can't be made.
    pub fn into(folder: PathBuf) -> Result<Self> {
        create_folder(&folder)?;
        Ok(Self { folder, open: HashMap::new(), of: None })
    }

    /// All that is written down from now on belongs to this execution: its log does not name every delivery.
    #[must_use]
    pub fn of(mut self, id: ExecutionId) -> Self {
        self.of = Some((id, Vec::new()));
        self
    }

    /// Writes down the event, if it is a printed line.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn on(&mut self, event: &Event) -> Result<()> {
        let EventKind::Log { stream, line } = &event.kind else { return Ok(()) };
        let stream = match stream {
            limitless_faas_local::Stream::Stdout => "stdout",
            limitless_faas_local::Stream::Stderr => "stderr",
        };
        let line = Line { at_us: event.at_us, stream: stream.to_owned(), text: line.clone() };
        self.write(&event.activation, &line).context(Exit::Store, || {
            format!("failed to keep the function's output in {}", self.folder.display())
        })
    }

    fn write(&mut self, activation: &str, line: &Line) -> io::Result<()> {
        if let Some((id, noted)) =
            self.of.as_mut().filter(|(_, noted)| !noted.iter().any(|one| one == activation))
        {
            let mut file = OpenOptions::new().create(true).append(true).open(index(&self.folder, id))?;
            file.write_all(format!("{}\n", serde_json::to_string(activation)?).as_bytes())?;
            noted.push(activation.to_owned());
        }
        if self.open.len() >= OPEN && !self.open.contains_key(activation) {
            self.open.clear();
        }
        let output = match self.open.entry(activation.to_owned()) {
            std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::hash_map::Entry::Vacant(empty) => {
                empty.insert(Output::open(&file(&self.folder, activation))?)
            }
        };
        output.write(line)
    }
}

impl Output {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let len_bytes = file.metadata()?.len();
        Ok(Self { file, len_bytes })
    }

    /// The line that would make it too long says so, and those after it are dropped.
    fn write(&mut self, line: &Line) -> io::Result<()> {
        if self.len_bytes >= MOST_BYTES {
            return Ok(());
        }
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.len_bytes += text.len() as u64;
        if self.len_bytes >= MOST_BYTES {
            let note = format!("it printed more than {} MiB, of which no more is kept", MOST_BYTES >> 20);
            text = serde_json::to_vec(&Line { text: note, ..line.clone() })?;
            text.push(b'\n');
            // Shorter lines might fit still.
            self.len_bytes = MOST_BYTES;
        }
        self.file.write_all(&text)
    }
}

/// What the deliveries of one activation printed; nothing where nothing was kept.
///
/// # Errors
/// Where the file can't be read.
pub fn read(folder: &Path, activation: &str) -> Result<Vec<Line>> {
    let path = file(folder, activation);
    let failed = || format!("failed to read {}", path.display());
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context(Exit::Store, failed)?,
    };
    let mut lines = Vec::new();
    for line in BufReader::new(file).lines() {
        let line = line.context(Exit::Store, failed)?;
        // The last line of a run that was killed may be cut short.
        lines.extend(serde_json::from_str::<Line>(&line));
    }
    Ok(lines)
}

/// The activations in which this execution printed something, as far as that was noted down.
///
/// # Errors
/// Where the file can't be read.
pub fn activations(folder: &Path, id: &ExecutionId) -> Result<Vec<String>> {
    let path = index(folder, id);
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        text => {
            let text = text.context(Exit::Store, || format!("failed to read {}", path.display()))?;
            Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
        }
    }
}

fn index(folder: &Path, id: &ExecutionId) -> PathBuf {
    folder.join(format!("{id}.activations"))
}

/// Removes what an execution printed.
///
/// # Errors
/// Where a file can't be removed.
pub fn remove<'a>(folder: &Path, id: &ExecutionId, activations: impl Iterator<Item = &'a str>) -> Result<()> {
    let noted = self::activations(folder, id)?;
    let named = activations.filter(|name| !name.is_empty()).map(|name| file(folder, name));
    let files = named.chain(noted.iter().map(|name| file(folder, name))).chain([index(folder, id)]);
    for path in files {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context(Exit::Store, || format!("failed to remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A caller may choose a call id: only a plain one becomes a file name as it is, any other by its hash.
fn file(folder: &Path, activation: &str) -> PathBuf {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let plain = (1..=64).contains(&activation.len()) && activation.bytes().all(is_plain);
    let name =
        if plain { activation.to_owned() } else { ExecutionId::derive("output", activation).to_string() };
    folder.join(format!("{name}.jsonl"))
}

#[cfg(test)]
mod tests {
    use limitless_faas_local::Stream;

    use super::*;

    fn print(activation: &str, line: &str) -> Event {
        let kind = EventKind::Log { stream: Stream::Stdout, line: line.to_owned() };
        Event { at_us: 1, activation: activation.to_owned(), function: "f".to_owned(), kind }
    }

    #[test]
    fn an_activation_that_prints_without_end_does_not_fill_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().to_owned();
        let line = "x".repeat(60 << 10);
        for _ in 0..2 {
            // Another process goes on where this one was.
            let mut capture = Capture::into(logs.clone()).unwrap();
            for _ in 0..(MOST_BYTES >> 10) / 60 + 10 {
                capture.on(&print("a1", &line)).unwrap();
            }
        }
        let lines = read(&logs, "a1").unwrap();
        assert!(lines.last().unwrap().text.contains("more than 32 MiB"), "{:?}", lines.last());
        assert!(fs::metadata(file(&logs, "a1")).unwrap().len() <= MOST_BYTES + (1 << 10));
    }

    #[test]
    fn printed_lines_are_read_back_whatever_the_activation_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        let mut capture = Capture::into(logs.clone()).unwrap();
        for activation in ["a1", "../../escape", "", "x\0y"] {
            capture.on(&print(activation, "hello \u{1b}[31m")).unwrap();
            capture.on(&print(activation, "bye")).unwrap();
            let lines: Vec<String> =
                read(&logs, activation).unwrap().into_iter().map(|line| line.text).collect();
            assert_eq!(lines, ["hello \u{1b}[31m", "bye"]);
        }
        assert_eq!(fs::read_dir(&logs).unwrap().count(), 4);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let id = ExecutionId::derive("f", "k");
        let mut capture = Capture::into(logs.clone()).unwrap().of(id.clone());
        capture.on(&print("b2", "hello")).unwrap();
        capture.on(&print("b2", "again")).unwrap();
        assert_eq!(activations(&logs, &id).unwrap(), ["b2"]);
        remove(&logs, &id, ["a1"].into_iter()).unwrap();
        for activation in ["a1", "b2"] {
            assert_eq!(read(&logs, activation).unwrap(), []);
        }
        assert_eq!(fs::read_dir(&logs).unwrap().count(), 3);
    }
}
