//! All processes below this one, and their end.

use std::collections::{BTreeMap, BTreeSet};

use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal};

/// Ends all processes below this one. Where there are several, they are stopped first, until none is left that could start another: those
/// that start others faster than they are ended would never be gone. Orphans become children of this process, and are met again.
pub(super) fn kill_all() {
    let mut met = BTreeSet::new();
    loop {
        let below = below(own(), &parents());
        let new: Vec<i32> = below.into_iter().filter(|pid| met.insert(*pid)).collect();
        if new.is_empty() || met.len() == 1 {
            break;
        }
        for pid in new {
            signal(pid, Signal::STOP);
        }
    }
    for pid in met {
        signal(pid, Signal::KILL);
    }
}

fn own() -> i32 {
    getpid().as_raw_nonzero().get()
}

/// Signals a process, if it is below this one: it may have ended meanwhile, and another may have its number.
fn signal(pid: i32, signal: Signal) {
    let Some(process) = Pid::from_raw(pid) else { return };
    // Held, it is the same one whatever happens to its number; where the system can't do that, the moment is short.
    let held = pidfd_open(process, PidfdFlags::empty());
    let mut above = pid;
    while above > 1 && above != own() {
        above = parent(above).unwrap_or_default();
    }
    if above == own() {
        // One that has ended needs no signal.
        let _ = match held {
            Ok(held) => pidfd_send_signal(&held, signal),
            Err(_) => kill_process(process, signal),
        };
    }
}

/// Each process of this machine, and its parent.
fn parents() -> BTreeMap<i32, i32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

fn parent(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn below(own: i32, parents: &BTreeMap<i32, i32>) -> Vec<i32> {
    let is_below = |pid: i32| {
        let mut above = parents.get(&pid);
        // A chain that is read while it changes might have no end.
        for _ in 0..parents.len() {
            match above {
                Some(parent) if *parent == own => return true,
                Some(parent) => above = parents.get(parent),
                None => return false,
            }
        }
        false
    };
    parents.keys().copied().filter(|pid| is_below(*pid)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_is_found_at_any_depth_and_nothing_else() {
        let parents = BTreeMap::from([(2, 1), (10, 2), (11, 10), (12, 11), (20, 1), (30, 31), (31, 30)]);
        assert_eq!(below(2, &parents), [10, 11, 12]);
        assert_eq!(below(12, &parents), [0; 0]);
    }
}
