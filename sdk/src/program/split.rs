//! An image without what differs in every generation of it.
//!
//! Before each stretch of memory an image has a block that describes it, thousands of them, and each carries bytes along that are
//! another's in the next generation, although the memory behind it is the same. So these blocks are set apart and stored compressed, and the
//! memory is cut where each stretch begins. Which block is taken for such a head decides about bytes moved, never about what is restored.

use std::io::{self, Read, Write};

use limitless_faas_store::pieces::PiecesWriter;
use serde::{Deserialize, Serialize};

const BLOCK: usize = 4096;
/// Small pieces, so that a few changed pages move little; large enough that a manifest stays small beside its blob.
const PIECE_BYTES: usize = 16 << 10;
/// So much is read at once, and its pieces are hashed on all CPUs. Whole blocks.
const BATCH_BYTES: usize = 4 << 20;
const ZSTD_LEVEL: i32 = 1;

/// How an image stands in a blob: its memory, then its heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Split {
    pub(super) memory_len: u64,
    pub(super) heads_len: u64,
}

/// Writes an image of `len` bytes.
pub(super) fn write(from: &mut impl Read, len: u64, to: &mut PiecesWriter) -> io::Result<Split> {
    let mut heads = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    let (mut memory_len, mut number, mut left) = (0, 0_u32, len);
    let mut buffer = vec![0; BATCH_BYTES];
    // What stands at the buffer's begin is a piece that has no end yet.
    let mut held = 0;
    while left > 0 {
        let fresh = usize::try_from(left).unwrap_or(BATCH_BYTES).min(BATCH_BYTES - held);
        let filled = held + fresh;
        from.read_exact(&mut buffer[held..filled])?;
        left -= fresh as u64;
        let (mut pieces, mut begin) = (Vec::new(), 0);
        for at in (held..filled).step_by(BLOCK) {
            let end = filled.min(at + BLOCK);
            let block = &buffer[at..end];
            if block.try_into().is_ok_and(is_head) {
                heads.write_all(&number.to_le_bytes())?;
                heads.write_all(block)?;
                pieces.push(&buffer[begin..at]);
                begin = end;
            } else if end - begin >= PIECE_BYTES || left == 0 && end == filled {
                pieces.push(&buffer[begin..end]);
                begin = end;
            }
            number = number.checked_add(1).ok_or_else(|| io::Error::other("the image is too large"))?;
        }
        pieces.retain(|piece| !piece.is_empty());
        memory_len += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        to.write_pieces(&pieces)?;
        buffer.copy_within(begin..filled, 0);
        held = filled - begin;
    }
    let heads = heads.finish()?;
    to.write_all(&heads)?;
    Ok(Split { memory_len, heads_len: heads.len() as u64 })
}

/// Whether this may be the head of a stretch of memory: it begins with where that begins and ends.
fn is_head(block: &[u8; BLOCK]) -> bool {
    const HIGHEST: u64 = 1 << 47;
    let number = |at: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&block[at..at + 8]);
        u64::from_le_bytes(number)
    };
    let (begin, end) = (number(0), number(8));
    let is_page = |address: u64| address.is_multiple_of(BLOCK as u64);
    is_page(begin) && is_page(end) && 0 < begin && begin < end && end < HIGHEST && number(16) == end - begin
}

/// Puts an image together again: `memory` gives its memory, `heads` what was set apart.
pub(super) fn join(memory: &mut impl Read, heads: &[u8], len: u64, to: &mut impl Write) -> io::Result<()> {
    let mut heads = zstd::Decoder::new(heads)?;
    let mut next = next_number(&mut heads)?;
    let mut block = [0; BLOCK];
    let mut number: u32 = 0;
    let mut left = len;
    while left > 0 {
        let size = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        if next == Some(number) {
            heads.read_exact(&mut block)?;
            next = next_number(&mut heads)?;
        } else {
            memory.read_exact(&mut block[..size])?;
        }
        to.write_all(&block[..size])?;
        left -= size as u64;
        number += 1;
    }
    Ok(())
}

fn next_number(heads: &mut impl Read) -> io::Result<Option<u32>> {
    let mut number = Vec::with_capacity(4);
    heads.take(4).read_to_end(&mut number)?;
    Ok(number.try_into().ok().map(u32::from_le_bytes))
}

#[cfg(test)]
mod tests {
    use limitless_faas_store::{Key, Pieces, open};

    use super::*;

    /// Stretches of memory of random pages, each behind a head that carries `mark` along, and an end that is no whole block.
    fn image(mark: u8) -> Vec<u8> {
        let mut image = Vec::new();
        for stretch in 1..400_u64 {
            let mut head = [mark; BLOCK];
            for (at, number) in [(0, stretch << 20), (8, (stretch << 20) + 0x9000), (16, 0x9000)] {
                head[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
            image.extend(head);
            let mut page = blake3::Hasher::new().update(&stretch.to_le_bytes()).finalize_xof();
            // Some are longer than a piece, and all together than a batch.
            let blocks = [1, 3, 4, 9].into_iter().cycle().nth(usize::try_from(stretch).unwrap()).unwrap();
            let mut memory = vec![0; blocks * BLOCK];
            page.fill(&mut memory);
            image.extend(memory);
        }
        image.extend(b"the end");
        image
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_image_comes_back_to_the_byte_and_its_heads_move_little() {
        let pieces = Pieces::new(open("memory:").unwrap(), Key::new("packs").unwrap());
        let mut base = None;
        for (name, mark) in [("images/1", 1), ("images/2", 2)] {
            let (key, image) = (Key::new(name).unwrap(), image(mark));
            let mut writer = pieces.write(&key, base.as_ref()).await.unwrap();
            let split = write(&mut image.as_slice(), image.len() as u64, &mut writer).unwrap();
            let written = writer.finish().unwrap();
            let limit = if base.is_none() { image.len() } else { image.len() / 20 };
            assert!(written.moved_bytes < limit as u64, "{} of {}", written.moved_bytes, image.len());
            let mut reader = pieces.open(&key).await.unwrap().unwrap();
            let (mut memory, mut heads, mut found) = (Vec::new(), Vec::new(), Vec::new());
            (&mut reader).take(split.memory_len).read_to_end(&mut memory).unwrap();
            reader.take(split.heads_len).read_to_end(&mut heads).unwrap();
            join(&mut memory.as_slice(), &heads, image.len() as u64, &mut found).unwrap();
            assert!(found == image, "generation {name}");
            base = Some(written.manifest);
        }
    }
}
