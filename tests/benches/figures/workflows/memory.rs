//! What sandboxes hold: the memory of a platform's function processes and of the processes that these started.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use limitless_faas_local::{Event, EventKind};
use tokio::sync::broadcast::Receiver;

/// The function processes that were started so far and live.
#[derive(Default)]
pub(super) struct Sandboxes(BTreeSet<u32>);

impl Sandboxes {
    /// Hears what happened meanwhile.
    pub(super) fn hear(&mut self, events: &mut Receiver<Event>) {
        while let Ok(event) = events.try_recv() {
            if let EventKind::Started { pid, .. } = event.kind {
                self.0.insert(pid);
            }
        }
    }

    /// How many there are, and the megabytes of all of them and their processes. Shared pages count once in all.
    pub(super) fn measure(&self) -> (usize, f64) {
        let mut parents: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for pid in fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = pid.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            if let Some(parent) = parent(pid) {
                parents.entry(parent).or_default().push(pid);
            }
        }
        let alive = self.0.iter().copied().filter(|pid| parent(*pid).is_some());
        let mut next: Vec<u32> = alive.collect();
        let (count, mut kilobytes) = (next.len(), 0);
        while let Some(pid) = next.pop() {
            kilobytes += proportional_kb(pid).unwrap_or(0);
            next.extend(parents.get(&pid).into_iter().flatten());
        }
        (count, f64::from(kilobytes) / 1024.0)
    }
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
}

fn proportional_kb(pid: u32) -> Option<u32> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
