//! The memory limit: what a process holds is looked at while it works, and the process is killed above its limit.

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
        match used(pid, limit) {
            Some(used) if used > limit => return,
            Some(_) => {}
            // It has ended, or this system has no /proc.
            None => return std::future::pending().await,
        }
    }
}

/// The memory that the process can't give back: anonymous and shared pages, not mapped files. Cheap to ask while the
/// whole resident set is below `limit`; then that is the answer.
fn used(pid: u32, limit: u64) -> Option<u64> {
    let pages: u64 = read(pid, "statm")?.split(' ').nth(1)?.parse().ok()?;
    let resident = pages.saturating_mul(u64::try_from(rustix::param::page_size()).ok()?);
    if resident <= limit {
        return Some(resident);
    }
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
        let whole = used(std::process::id(), u64::MAX).unwrap();
        let kept = used(std::process::id(), 0).unwrap();
        assert!(kept > 0 && kept <= whole, "{kept} of {whole}");
    }
}
