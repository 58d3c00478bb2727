//! What processes computed, as the kernel counts it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Clock ticks a second in `/proc`, which is this on every Linux.
const TICKS: f64 = 100.0;

/// CPU time of this process, of `pids` and of all that these started, in milliseconds; those that ended count no more.
pub(super) fn spent_ms(pids: &BTreeSet<u32>) -> f64 {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let mut ticks: BTreeMap<u32, u64> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Some((parent, spent)) = stat(pid) else { continue };
        children.entry(parent).or_default().push(pid);
        ticks.insert(pid, spent);
    }
    let mut next: Vec<u32> = pids.iter().copied().collect();
    let mut seen = BTreeSet::from([std::process::id()]);
    while let Some(pid) = next.pop() {
        if seen.insert(pid) {
            next.extend(children.get(&pid).into_iter().flatten());
        }
    }
    let spent: u64 = seen.iter().filter_map(|pid| ticks.get(pid)).sum();
    f64::from(u32::try_from(spent).unwrap_or(u32::MAX)) / TICKS * 1000.0
}

/// A process's parent, and the ticks that it computed.
fn stat(pid: u32) -> Option<(u32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Its name, in parentheses, may hold anything.
    let fields: Vec<&str> = text.rsplit(") ").next()?.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((u32::try_from(number(1)?).ok()?, number(11)? + number(12)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_computed_is_counted() {
        let before = spent_ms(&BTreeSet::new());
        let mut number = 1_u64;
        while spent_ms(&BTreeSet::new()) < before + 50.0 {
            number = (0..100_000).fold(number, |number, at| number.wrapping_mul(at | 1));
        }
        assert_ne!(number, 0);
    }
}
