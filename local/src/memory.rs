//! The memory limit: what a process and its descendants hold is looked at while it works, and it is killed above its
//! limit. A memory cgroup would be exact, but making one takes rights that a developer's session seldom has.

use std::time::Duration;

/// How often to look. A process may overshoot by what it can touch in this time.
const EVERY: Duration = Duration::from_millis(10);

/// Waits until the process uses more than `limit` bytes; for ever if there is no limit, or nothing to look at.
pub(crate) async fn exceeded(pid: u32, limit: Option<u64>) {
    let Some(limit) = limit else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        match exceeds(pid, limit) {
            Some(true) => return,
            Some(false) => {}
            // It has ended, or this system has no /proc.
            None => return std::future::pending().await,
        }
    }
}

/// Whether the process and its descendants together use more than `limit`. None if the process can't be looked at.
fn exceeds(pid: u32, limit: u64) -> Option<bool> {
    // The resident set is cheap to ask for, and seldom above the limit.
    Some(used_by_tree(pid, resident)? > limit && used_by_tree(pid, kept)? > limit)
}

fn used_by_tree(pid: u32, used: fn(u32) -> Option<u64>) -> Option<u64> {
    let mut whole = used(pid)?;
    let mut next = children(pid);
    while let Some(child) = next.pop() {
        // A child may have ended since it was listed.
        whole = whole.saturating_add(used(child).unwrap_or(0));
        next.extend(children(child));
    }
    Some(whole)
}

/// The processes that the process's threads have started. Empty on a kernel that does not list them.
fn children(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let listed = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    listed.flat_map(|list| list.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

/// All pages in memory, those of mapped files included.
fn resident(pid: u32) -> Option<u64> {
    let pages: u64 = read(pid, "statm")?.split(' ').nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(u64::try_from(rustix::param::page_size()).ok()?))
}

/// The pages that the process can't give back: anonymous and shared ones.
fn kept(pid: u32) -> Option<u64> {
    let status = read(pid, "status")?;
    let kilobytes = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    Some((kilobytes("RssAnon:")? + kilobytes("RssShmem:")?).saturating_mul(1024))
}

fn read(pid: u32, file: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn knows_what_this_process_uses() {
        let this = std::process::id();
        let (whole, kept) = (resident(this).unwrap(), kept(this).unwrap());
        assert!(kept > 0 && kept <= whole, "{kept} of {whole}");
    }

    #[test]
    fn counts_what_children_use() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let listed = children(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(listed.contains(&child.id()), "{listed:?}");
    }
}
