//! A program's checkpoint: its images, its work folder and its output so far, in pieces; and the manifest that says what they are.
//!
//! The manifest is the state in the ordinary envelope. All else is one blob in pieces, cut where a part ends, so that what a
//! generation shares with the one before is not moved again: most pages of a process stay as they were.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use limitless_faas_core::invocation::Verdict;
use limitless_faas_core::{Code, Failure, key};
use limitless_faas_store::pieces::{PiecesReader, PiecesWriter, Written};
use limitless_faas_store::{Key, Log, StoreError, StoreErrorKind};
use serde::{Deserialize, Serialize};

use super::folders::{Paths, Private};
use super::image::Header;
use super::prepared::{self, Prepared};
use super::tools::Tools;
use crate::engine::pieces;

const FORMAT: u32 = 1;
const BUFFER_BYTES: usize = 1 << 20;

/// What a checkpoint of a program says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// The blob with everything else.
    pub(super) blob: String,
    /// What stands in it, one after the other.
    pub(super) parts: Vec<Part>,
    /// The image's own words.
    pub(super) header: Header,
    pub(super) host: Host,
    /// Where it works, and where the images were written.
    pub(super) paths: Paths,
    /// How far it has read its standard input.
    pub(super) stdin_at: u64,
    /// The line that it has begun on each stream and not ended.
    pub(super) begun_stdout: Vec<u8>,
    pub(super) begun_stderr: Vec<u8>,
    /// How long it ran, in all invocations so far.
    pub(super) ran_ms: u64,
    /// What writing the images and storing them cost, and how large they were: for the next moment to save.
    pub(super) cost_us: u64,
    pub(super) image_bytes: u64,
}

/// What an image needs of the machine that it goes on on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Host {
    pub(super) dmtcp: String,
    pub(super) architecture: String,
    /// What this CPU can do, as the kernel names it.
    pub(super) cpu: Vec<String>,
    /// The kernel, whose build places functions that are part of every image.
    pub(super) kernel: String,
}

/// One file of the blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) of: Of,
    /// Below the folder of its kind.
    pub(super) path: PathBuf,
    pub(super) len: u64,
    /// Its permissions.
    pub(super) mode: u32,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Of {
    /// A file that DMTCP wrote.
    Image,
    /// What the program printed for its result.
    Output,
    /// A file of the work folder.
    Work,
    /// A folder of it.
    Folder,
    /// A symbolic link of it, to this.
    Link(PathBuf),
}

/// All that is needed to write a manifest.
pub(super) struct Kept {
    pub(super) header: Header,
    pub(super) paths: Paths,
    pub(super) stdin_at: u64,
    pub(super) output: Vec<u8>,
    pub(super) begun_stdout: Vec<u8>,
    pub(super) begun_stderr: Vec<u8>,
    pub(super) ran_ms: u64,
}

impl Host {
    /// This machine.
    pub(super) fn own(tools: &Tools) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let flags =
            cpu.lines().find_map(|line| line.strip_prefix("flags").or_else(|| line.strip_prefix("Features")));
        let mut flags: Vec<String> =
            flags.unwrap_or_default().split_whitespace().skip(1).map(str::to_owned).collect();
        flags.sort();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            dmtcp: tools.version.clone(),
            architecture: std::env::consts::ARCH.to_owned(),
            cpu: flags,
            kernel: kernel.trim().to_owned(),
        }
    }

    /// Why an image of `self` can't go on here, if so.
    fn misfit(&self, here: &Self) -> Option<String> {
        if self.architecture != here.architecture {
            return Some(format!("it was saved on {}, and this is {}", self.architecture, here.architecture));
        }
        if self.dmtcp != here.dmtcp {
            return Some(format!(
                "DMTCP {} saved it, and DMTCP {} is installed here",
                self.dmtcp, here.dmtcp
            ));
        }
        if self.kernel != here.kernel {
            return Some(format!("it was saved under Linux {}, and this is {}", self.kernel, here.kernel));
        }
        let missing: Vec<&str> =
            self.cpu.iter().filter(|flag| !here.cpu.contains(flag)).map(String::as_str).collect();
        let shown = missing.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        (!missing.is_empty())
            .then(|| format!("the CPU that it was saved on has what this one lacks: {shown}"))
    }
}

/// The files that go into a blob, in an order that is the same in each generation.
pub(super) fn parts(images: &Path, work: &Path, output_len: usize) -> io::Result<Vec<Part>> {
    let mut parts = Vec::new();
    collect(images, Path::new(""), &Of::Image, &mut parts)?;
    parts.push(Part { of: Of::Output, path: PathBuf::new(), len: output_len as u64, mode: 0 });
    collect(work, Path::new(""), &Of::Work, &mut parts)?;
    // Scripts for people, which say nothing that is needed.
    parts.retain(|part| !part.path.to_string_lossy().starts_with("dmtcp_restart_script"));
    Ok(parts)
}

fn collect(root: &Path, below: &Path, of: &Of, parts: &mut Vec<Part>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(root.join(below))?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, there) = (below.join(entry.file_name()), entry.metadata()?);
        let mode = there.permissions().mode();
        if there.is_dir() {
            if *of == Of::Work {
                parts.push(Part { of: Of::Folder, path: path.clone(), len: 0, mode });
            }
            collect(root, &path, of, parts)?;
        } else if there.is_symlink() {
            if *of == Of::Work {
                parts.push(Part { of: Of::Link(fs::read_link(entry.path())?), path, len: 0, mode });
            }
        } else if there.is_file() {
            parts.push(Part { of: of.clone(), path, len: there.len(), mode });
        }
        // A socket or a pipe is made by whoever listens at it, and DMTCP makes those of its programs.
    }
    Ok(())
}

/// Stores a checkpoint; answers its manifest and how many bytes were moved for it.
///
/// # Errors
/// [`Code::StoreAway`] where another try may help.
pub(super) async fn save(log: &Log, name: &str, host: Host, kept: Kept) -> Result<(Manifest, u64), Failure> {
    let failed = |error: StoreError| limitless_faas_store::log::failure(&error);
    let key = blob_key(log, name).map_err(failed)?;
    let writer = pieces::of(log)
        .map_err(failed)?
        .write(&key, pieces::base(log.id()).as_ref())
        .await
        .map_err(failed)?;
    let manifest = Manifest {
        format: FORMAT,
        blob: name.to_owned(),
        parts: parts(&kept.paths.of_generation(), &kept.paths.work, kept.output.len())
            .map_err(|error| unsaved(&error))?,
        header: kept.header,
        host,
        paths: kept.paths,
        stdin_at: kept.stdin_at,
        begun_stdout: kept.begun_stdout,
        begun_stderr: kept.begun_stderr,
        ran_ms: kept.ran_ms,
        cost_us: 0,
        image_bytes: 0,
    };
    let written =
        tokio::task::spawn_blocking(move || write(writer, &manifest, &kept.output).map(|w| (manifest, w)));
    let lost = |_| Failure::new(Code::ImageFailed, "storing the images was interrupted");
    let (mut manifest, written) = written.await.map_err(lost)??;
    pieces::remember(log.id(), &written.manifest);
    manifest.image_bytes =
        manifest.parts.iter().filter(|part| part.of == Of::Image).map(|part| part.len).sum();
    Ok((manifest, written.moved_bytes))
}

fn write(mut writer: PiecesWriter, manifest: &Manifest, output: &[u8]) -> Result<Written, Failure> {
    let images = manifest.paths.of_generation();
    for part in &manifest.parts {
        let root = if part.of == Of::Image { &images } else { &manifest.paths.work };
        let copied = match part.of {
            Of::Image | Of::Work => copy(File::open(root.join(&part.path)), part.len, &mut writer),
            Of::Output => writer.write_all(output),
            Of::Folder | Of::Link(_) => Ok(()),
        };
        copied.and_then(|()| writer.cut()).map_err(|error| unsaved(&error))?;
    }
    writer.finish().map_err(|error| limitless_faas_store::log::failure(&error))
}

fn copy(from: io::Result<File>, len: u64, to: &mut impl Write) -> io::Result<()> {
    let mut from = from?.take(len);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut copied = 0;
    loop {
        let count = fill(&mut from, &mut buffer)?;
        if count == 0 {
            break;
        }
        to.write_all(&buffer[..count])?;
        copied += count as u64;
    }
    if copied == len {
        Ok(())
    } else {
        Err(io::Error::other("a file became shorter while it was being saved"))
    }
}

/// As much as there is, so that whole pieces are passed on.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

fn unsaved(error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<StoreError>()) {
        Some(error) => limitless_faas_store::log::failure(error),
        None => Failure::new(Code::ImageFailed, format!("the image of the program can't be stored: {error}")),
    }
}

fn blob_key(log: &Log, name: &str) -> Result<Key, StoreError> {
    Ok(Key::new(&key::checkpoint(log.id(), name))?)
}

/// Reads a checkpoint's blob before the execution is claimed: every piece is verified, and the images are made ready to go on from.
pub(crate) async fn verify(log: &Log, state: &[u8]) -> Result<(), Verdict> {
    let manifest: Manifest = serde_json::from_slice(state)
        .map_err(|error| Verdict::Damaged(format!("its manifest can't be read: {error}")))?;
    if manifest.format != FORMAT {
        let message = format!("the image has format {}, and this version reads {FORMAT}", manifest.format);
        return Err(Verdict::Incompatible(Failure::new(Code::Incompatible, message)));
    }
    let tools = Tools::find().map_err(|why| Verdict::Away(Failure::new(Code::NotConfigured, why)))?;
    if let Some(why) = manifest.host.misfit(&Host::own(&tools)) {
        let message = format!(
            "the image of the program can't go on here: {why}. It is left as it is: resume it where it fits"
        );
        return Err(Verdict::Incompatible(Failure::new(Code::Incompatible, message)));
    }
    let away = |error: &StoreError| match error.kind() {
        StoreErrorKind::Damaged => Verdict::Damaged(error.to_string()),
        _ => Verdict::Away(limitless_faas_store::log::failure(error)),
    };
    let key = blob_key(log, &manifest.blob).map_err(|error| away(&error))?;
    let opened =
        pieces::of(log).map_err(|error| away(&error))?.open(&key).await.map_err(|error| away(&error))?;
    let reader = opened.ok_or(Verdict::Missing)?;
    pieces::remember(log.id(), reader.manifest());
    let bringing = tokio::task::spawn_blocking(move || bring(reader, &manifest));
    let lost = |_| Verdict::Away(Failure::new(Code::StoreAway, "verifying was interrupted"));
    prepared::put(bringing.await.map_err(lost)??);
    Ok(())
}

fn bring(mut reader: PiecesReader, manifest: &Manifest) -> Result<Prepared, Verdict> {
    let flaw = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Verdict::Damaged(error.to_string()),
        _ => Verdict::Away(Failure::new(
            Code::ImageFailed,
            format!("the image of the program can't be made ready: {error}"),
        )),
    };
    let private = Private::new().map_err(flaw)?;
    let root = private.path.join(prepared::FROM);
    fs::create_dir_all(&root).map_err(flaw)?;
    let mut output = Vec::new();
    for part in &manifest.parts {
        let copied = match part.of {
            Of::Image => below(&root, &part.path).and_then(|path| file(&path, part, &mut reader)),
            Of::Output => copy_exactly(&mut reader, part.len, &mut output),
            // What is in the work folder now may still be somebody's: it is written once the execution is ours.
            Of::Work => copy_exactly(&mut reader, part.len, &mut io::sink()),
            Of::Folder | Of::Link(_) => Ok(()),
        };
        copied.map_err(flaw)?;
    }
    Ok(Prepared { blob: manifest.blob.clone(), private, output, reader })
}

/// Puts the work folder back as it was.
pub(super) fn unpack(manifest: &Manifest, reader: &mut PiecesReader) -> io::Result<()> {
    let mut at = 0;
    for part in &manifest.parts {
        let path = below(&manifest.paths.work, &part.path)?;
        match &part.of {
            Of::Image | Of::Output => {}
            Of::Work => {
                reader.seek(SeekFrom::Start(at))?;
                file(&path, part, reader)?;
            }
            Of::Folder => fs::create_dir_all(&path)?,
            Of::Link(to) => symlink(to, &path)?,
        }
        at += part.len;
    }
    // Last, and from the inside out: a folder that may not be written into must be filled first.
    let folders = manifest.parts.iter().rev().filter(|part| part.of == Of::Folder);
    for part in folders {
        fs::set_permissions(manifest.paths.work.join(&part.path), fs::Permissions::from_mode(part.mode))?;
    }
    Ok(())
}

fn file(path: &Path, part: &Part, from: &mut impl Read) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut to = File::create(path)?;
    copy_exactly(from, part.len, &mut to)?;
    to.set_permissions(fs::Permissions::from_mode(part.mode))
}

fn copy_exactly(from: &mut impl Read, len: u64, to: &mut impl Write) -> io::Result<()> {
    let copied = io::copy(&mut from.take(len), to)?;
    if copied == len {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the blob is too short"))
    }
}

/// `path` below `root`, never beside it.
fn below(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let is_below = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if is_below {
        Ok(root.join(path))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "a path leads out of its folder"))
    }
}
