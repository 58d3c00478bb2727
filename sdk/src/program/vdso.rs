//! Where this kernel has the functions that it lends to every process (the vDSO). They are part of an image, and an image goes on only where
//! they are at the same places.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use super::executable::number;

/// In the order of an image's header.
const NAMES: [&str; 4] = ["__vdso_clock_gettime", "__vdso_getcpu", "__vdso_gettimeofday", "__vdso_time"];
const SYMBOL_BYTES: usize = 24;
/// Longer than any.
const MOST_BYTES: u64 = 1 << 20;

/// The offsets of the four functions; none where they can't be read.
pub(super) fn offsets() -> Option<[u64; 4]> {
    offsets_in(&mapped()?)
}

/// The vDSO of this process.
fn mapped() -> Option<Vec<u8>> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"))?;
    let (begin, end) = line.split_whitespace().next()?.split_once('-')?;
    let (begin, end) = (u64::from_str_radix(begin, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let mut memory = File::open("/proc/self/mem").ok()?;
    memory.seek(SeekFrom::Start(begin)).ok()?;
    let mut bytes = Vec::new();
    memory.take((end - begin).min(MOST_BYTES)).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn offsets_in(elf: &[u8]) -> Option<[u64; 4]> {
    const DYNAMIC: u64 = 2;
    const NAMES_TABLE: u64 = 5;
    const SYMBOLS_TABLE: u64 = 6;
    let (at, size, count) = (number::<8>(elf, 32)?, number::<2>(elf, 54)?, number::<2>(elf, 56)?);
    let mut headers = (0..count).filter_map(|i| usize::try_from(at.saturating_add(i * size)).ok());
    let dynamic = headers.find(|at| number::<4>(elf, *at) == Some(DYNAMIC))?;
    let (from, len) = (place(elf, dynamic + 8)?, place(elf, dynamic + 32)?);
    let entry = |tag: u64| {
        let mut entries = (from..from.saturating_add(len).min(elf.len())).step_by(16);
        entries.find(|at| number::<8>(elf, *at) == Some(tag)).and_then(|at| place(elf, at + 8))
    };
    let (names, symbols) = (entry(NAMES_TABLE)?, entry(SYMBOLS_TABLE)?);
    let mut offsets = [0; 4];
    // The names stand behind the symbols.
    for symbol in (symbols..names).step_by(SYMBOL_BYTES) {
        let name =
            elf.get(names.checked_add(place_of::<4>(elf, symbol)?)?..)?.split(|byte| *byte == 0).next()?;
        if let Some(known) = NAMES.iter().position(|known| known.as_bytes() == name) {
            offsets[known] = number::<8>(elf, symbol + 8)?;
        }
    }
    offsets.iter().all(|offset| *offset > 0).then_some(offsets)
}

fn place(bytes: &[u8], at: usize) -> Option<usize> {
    place_of::<8>(bytes, at)
}

fn place_of<const N: usize>(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(number::<N>(bytes, at)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_vdso_has_no_offsets() {
        assert_eq!(offsets_in(b"\x7fELF"), None);
        assert_eq!(offsets_in(&vec![0xff; 4096]), None);
        assert_eq!(offsets_in(&vec![0; 4096]), None);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn this_kernels_functions_are_found() {
        let Some(mapped) = mapped() else { return };
        let offsets = offsets_in(&mapped).unwrap();
        assert!(offsets.iter().all(|offset| *offset < mapped.len() as u64), "{offsets:?}");
    }
}
