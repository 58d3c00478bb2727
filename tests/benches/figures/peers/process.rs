//! Processes that end with what started them.

use std::process::{Child, Command, Stdio};

/// A process that is ended when this is dropped.
pub(super) struct Process {
    child: Child,
    /// The signal that ends it, for `kill`.
    signal: &'static str,
}

impl Process {
    /// Starts it; what it says is not heard.
    pub(super) fn start(mut command: Command, signal: &'static str) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let name = command.get_program().display().to_string();
        let child = command.spawn().map_err(|error| format!("{name} did not start: {error}"))?;
        Ok(Self { child, signal })
    }

    /// Memory of it and of its children in megabytes, what several share counted once.
    pub(super) fn megabytes(&self) -> f64 {
        let pid = self.child.id();
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = children.split_whitespace().map(str::to_owned);
        let kilobytes = |pid: String| -> Option<f64> {
            let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        children.chain([pid.to_string()]).filter_map(kilobytes).sum::<f64>() / 1e3
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = Command::new("kill").args([self.signal, &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}
