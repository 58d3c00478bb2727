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

use super::behind::write_behind;
use super::folders::{Paths, Private};
use super::image::Header;
use super::prepared::{self, Prepared};
use super::split::{self, Split};
use super::tools::Tools;
use super::vdso;
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
    /// Where the kernel has the functions that are part of every image; where that can't be read, which kernel it is.
    pub(super) vdso: Option<[u64; 4]>,
    pub(super) kernel: String,
}

/// One file of the blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) of: Of,
    /// Below the folder of its kind.
    pub(super) path: PathBuf,
    /// Its length as a file.
    pub(super) len: u64,
    /// Its permissions.
    pub(super) mode: u32,
}

impl Part {
    /// How many bytes of the blob it has.
    fn stored_len(&self) -> u64 {
        match self.of {
            Of::Image(split) => split.memory_len + split.heads_len,
            _ => self.len,
        }
    }
}

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Of {
    /// An image, taken apart.
    Image(Split),
    /// A file that DMTCP wrote beside it.
    Beside,
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
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) header: Header,
    pub(super) paths: Paths,
    pub(super) stdin_at: u64,
    pub(super) output: Vec<u8>,
    pub(super) begun_stdout: Vec<u8>,
    pub(super) begun_stderr: Vec<u8>,
    pub(super) ran_ms: u64,
}

impl Manifest {
    /// How many bytes of it are files of the work folder.
    pub(super) fn work_bytes(&self) -> u64 {
        self.parts.iter().filter(|part| part.of == Of::Work).map(|part| part.len).sum()
    }
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
            vdso: vdso::offsets(),
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
        let has_moved = self.vdso.zip(here.vdso).map(|(there, here)| there != here);
        if has_moved.unwrap_or(self.kernel != here.kernel) {
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
    collect(images, Path::new(""), &Of::Beside, &mut parts)?;
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
    let writing = tokio::task::spawn_blocking(move || {
        let mut manifest = manifest;
        write(writer, &mut manifest, &kept.output).map(|written| (manifest, written))
    });
    let lost = |_| Failure::new(Code::ImageFailed, "storing the images was interrupted");
    let (mut manifest, written) = writing.await.map_err(lost)??;
    pieces::remember(log.id(), "", &written.manifest);
    manifest.image_bytes =
        manifest.parts.iter().filter(|part| matches!(part.of, Of::Image(_))).map(|part| part.len).sum();
    Ok((manifest, written.moved_bytes))
}

fn write(mut writer: PiecesWriter, manifest: &mut Manifest, output: &[u8]) -> Result<Written, Failure> {
    let images = manifest.paths.of_generation();
    let work = manifest.paths.work.clone();
    for part in &mut manifest.parts {
        let written = write_part(&mut writer, part, &images, &work, output);
        written.and_then(|()| writer.cut()).map_err(|error| unsaved(&error))?;
    }
    writer.finish().map_err(|error| limitless_faas_store::log::failure(&error))
}

fn write_part(
    writer: &mut PiecesWriter,
    part: &mut Part,
    images: &Path,
    work: &Path,
    output: &[u8],
) -> io::Result<()> {
    match part.of {
        Of::Beside if part.path.extension().is_some_and(|extension| extension == "dmtcp") => {
            part.of = Of::Image(split::write(&mut File::open(images.join(&part.path))?, part.len, writer)?);
            Ok(())
        }
        Of::Image(_) | Of::Beside => copy(File::open(images.join(&part.path)), part.len, writer),
        Of::Work => copy(File::open(work.join(&part.path)), part.len, writer),
        Of::Output => writer.write_all(output),
        Of::Folder | Of::Link(_) => Ok(()),
    }
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

/// Where it is noted that a blob can't be gone on from, although it is whole.
fn bad_key(log: &Log, name: &str) -> Result<Key, StoreError> {
    blob_key(log, &format!("{name}-bad"))
}

/// Notes that the program could not be restarted from this blob: whoever claims next passes it over for the generation before.
pub(super) async fn give_up(log: &Log, blob: &str, why: String) -> Result<(), StoreError> {
    log.store().create(&bad_key(log, blob)?, why.into_bytes().into()).await.map(drop)
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
    if let Some(why) = log
        .store()
        .read(&bad_key(log, &manifest.blob).map_err(|error| away(&error))?)
        .await
        .map_err(|error| away(&error))?
    {
        return Err(Verdict::Damaged(String::from_utf8_lossy(&why).into_owned()));
    }
    let opened =
        pieces::of(log).map_err(|error| away(&error))?.open(&key).await.map_err(|error| away(&error))?;
    let reader = opened.ok_or(Verdict::Missing)?;
    pieces::remember(log.id(), "", reader.manifest());
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
    let (mut output, mut at) = (Vec::new(), 0);
    for part in &manifest.parts {
        let copied = match part.of {
            Of::Image(split) => {
                below(&root, &part.path).and_then(|path| image(&path, part.len, split, at, &mut reader))
            }
            Of::Beside => below(&root, &part.path).and_then(|path| file(&path, part, &mut reader)),
            Of::Output => copy_exactly(&mut reader, part.len, &mut output),
            // What is in the work folder now may still be somebody's: it is written once the execution is ours.
            Of::Work => copy_exactly(&mut reader, part.len, &mut io::sink()),
            Of::Folder | Of::Link(_) => Ok(()),
        };
        copied.map_err(flaw)?;
        at += part.stored_len();
    }
    Ok(Prepared { blob: manifest.blob.clone(), private, output, reader })
}

/// Puts the work folder back as it was.
pub(super) fn unpack(manifest: &Manifest, reader: &mut PiecesReader) -> io::Result<()> {
    let mut at = 0;
    for part in &manifest.parts {
        let path = below(&manifest.paths.work, &part.path)?;
        match &part.of {
            Of::Image(_) | Of::Beside | Of::Output => {}
            Of::Work => {
                reader.seek(SeekFrom::Start(at))?;
                file(&path, part, reader)?;
            }
            Of::Folder => fs::create_dir_all(&path)?,
            Of::Link(to) => symlink(to, &path)?,
        }
        at += part.stored_len();
    }
    // Last, and from the inside out: a folder that may not be written into must be filled first.
    let folders = manifest.parts.iter().rev().filter(|part| part.of == Of::Folder);
    for part in folders {
        fs::set_permissions(manifest.paths.work.join(&part.path), fs::Permissions::from_mode(part.mode))?;
    }
    Ok(())
}

/// Its heads stand behind its memory.
fn image(path: &Path, len: u64, split: Split, at: u64, from: &mut PiecesReader) -> io::Result<()> {
    let mut heads = Vec::new();
    from.seek(SeekFrom::Start(at + split.memory_len))?;
    copy_exactly(from, split.heads_len, &mut heads)?;
    from.seek(SeekFrom::Start(at))?;
    write_behind(&File::create(path)?, |to| split::join(from, &heads, len, to))?;
    from.seek(SeekFrom::Start(at + split.memory_len + split.heads_len)).map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_goes_on_where_kernel_cpu_and_dmtcp_fit() {
        let host = Host {
            dmtcp: "5.0".to_owned(),
            architecture: "x86_64".to_owned(),
            cpu: vec!["avx".to_owned(), "avx2".to_owned()],
            vdso: Some([1, 2, 3, 4]),
            kernel: "6.1.0".to_owned(),
        };
        let with = |change: fn(&mut Host)| {
            let mut here = host.clone();
            change(&mut here);
            host.misfit(&here)
        };
        assert_eq!(with(|_| {}), None);
        // Another build that has its functions at the same places will do, and so will a CPU that can do more.
        assert_eq!(with(|here| here.kernel = "6.1.1".to_owned()), None);
        assert_eq!(with(|here| here.cpu.push("avx512".to_owned())), None);
        for (change, word) in [
            ((|here| here.dmtcp = "4.2".to_owned()) as fn(&mut Host), "DMTCP 4.2 is installed here"),
            (|here| here.architecture = "aarch64".to_owned(), "aarch64"),
            (|here| here.vdso = Some([1, 2, 3, 5]), "Linux 6.1.0"),
            (|here| (here.vdso, here.kernel) = (None, "6.2".to_owned()), "this is 6.2"),
            (|here| here.cpu = vec!["avx".to_owned()], "avx2"),
        ] {
            let why = with(change).unwrap();
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn no_part_leads_out_of_its_folder() {
        for path in ["../x", "/etc/passwd", "a/../../b"] {
            assert!(below(Path::new("/root"), Path::new(path)).is_err(), "{path}");
        }
        assert_eq!(below(Path::new("/root"), Path::new("a/b")).unwrap(), Path::new("/root/a/b"));
    }
}
