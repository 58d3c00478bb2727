//! What a folder of images says: whether the program yielded, ended, or could not be saved.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const MARK: &[u8] = b"DMTCP_CHECKPOINT_IMAGE";
const HEADER_BYTES: usize = 4096;
/// Where the header has the number of processes that belong together, and the four offsets into the kernel's vDSO.
const PEERS_AT: usize = 128;
const VDSO_AT: usize = 136;

/// What an image says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// How many processes were saved together.
    pub(super) peers: u32,
    /// Where the kernel had its functions for clocks; another build of the kernel has them elsewhere.
    pub(super) vdso: [u64; 4],
}

/// What became of a program that was asked to yield.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// All of its processes were saved.
    Complete(Vec<PathBuf>, Header),
    /// None was.
    Nothing,
    /// Some were, which is as good as none.
    Partial(String),
}

/// Looks at the folder that was empty when the program was asked to yield, after the program has ended.
pub(super) fn look(folder: &Path) -> io::Result<Found> {
    let (mut images, mut unfinished) = (Vec::new(), 0);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("dmtcp") => images.push(path),
            Some("temp") => unfinished += 1,
            _ => {}
        }
    }
    images.sort();
    if unfinished > 0 {
        return Ok(Found::Partial(format!("{unfinished} images were not finished")));
    }
    let Some(first) = images.first() else { return Ok(Found::Nothing) };
    let Some(header) = read(first)? else {
        return Ok(Found::Partial(format!("{} is no image", first.display())));
    };
    if images.len() != header.peers as usize {
        return Ok(Found::Partial(format!("{} of {} processes have an image", images.len(), header.peers)));
    }
    Ok(Found::Complete(images, header))
}

fn read(image: &Path) -> io::Result<Option<Header>> {
    let mut bytes = Vec::new();
    File::open(image)?.take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(MARK) {
        return Ok(None);
    }
    let mut peers = [0; 4];
    peers.copy_from_slice(&bytes[PEERS_AT..PEERS_AT + 4]);
    let mut vdso = [0; 4];
    for (offset, bytes) in vdso.iter_mut().zip(bytes[VDSO_AT..].chunks_exact(8)) {
        let mut number = [0; 8];
        number.copy_from_slice(bytes);
        *offset = u64::from_le_bytes(number);
    }
    Ok(Some(Header { peers: u32::from_le_bytes(peers), vdso }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(folder: &Path, name: &str, peers: u32) {
        let mut bytes = vec![0; HEADER_BYTES + 10];
        bytes[..MARK.len()].copy_from_slice(MARK);
        bytes[PEERS_AT..PEERS_AT + 4].copy_from_slice(&peers.to_le_bytes());
        bytes[VDSO_AT + 8] = 7;
        fs::write(folder.join(name), bytes).unwrap();
    }

    #[test]
    fn files_and_not_exit_codes_say_whether_a_program_yielded() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert_eq!(look(folder).unwrap(), Found::Nothing);
        fs::create_dir(folder.join("ckpt_a_files")).unwrap();
        image(folder, "ckpt_a.dmtcp", 2);
        assert!(matches!(look(folder).unwrap(), Found::Partial(why) if why.contains("1 of 2")));
        image(folder, "ckpt_b.dmtcp", 2);
        let Found::Complete(images, header) = look(folder).unwrap() else { panic!("both are there") };
        assert_eq!((images.len(), header), (2, Header { peers: 2, vdso: [0, 7, 0, 0] }));
        fs::write(folder.join("ckpt_c.dmtcp.temp"), "").unwrap();
        assert!(matches!(look(folder).unwrap(), Found::Partial(why) if why.contains("not finished")));
        fs::remove_file(folder.join("ckpt_c.dmtcp.temp")).unwrap();
        fs::write(folder.join("ckpt_a.dmtcp"), "short").unwrap();
        assert!(matches!(look(folder).unwrap(), Found::Partial(why) if why.contains("no image")));
    }
}
