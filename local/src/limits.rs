//! What functions may use, and how patient the platform is.

use std::time::Duration;

/// What functions may use and how patient the platform is. The default is what OpenWhisk and OpenFaaS set out of the box.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The shortest time limit an action may ask for.
    pub time_min: Duration,
    /// The longest time limit an action may ask for.
    pub time_max: Duration,
    /// The time limit of an action that asks for none, and of an OpenFaaS function without `exec_timeout`.
    pub time_default: Duration,
    /// The least memory an action may ask for, in MB.
    pub memory_min_mb: u64,
    /// The most memory an action may ask for, in MB. What a process and its descendants hold is looked at every 10 ms
    /// (on Linux), so a fast one can overshoot.
    pub memory_max_mb: u64,
    /// The memory of an action that asks for none, in MB. An OpenFaaS function that asks for none has no limit.
    pub memory_default_mb: u64,
    /// The most log an activation may ask to keep, and keeps by default, in MB.
    pub logs_max_mb: u64,
    /// The largest parameters of an action, of an invocation, and the largest result (OpenWhisk).
    pub payload_bytes: usize,
    /// The largest code in an action, Base64 and all.
    pub code_bytes: usize,
    /// The largest body of a synchronous OpenFaaS call, and of its answer.
    pub http_body_bytes: usize,
    /// The largest body of an asynchronous OpenFaaS call.
    pub async_body_bytes: usize,
    /// Invocations accepted in a minute (OpenWhisk); more get 429. Self-invocations count.
    pub invocations_per_minute: u32,
    /// Invocations under way at once (OpenWhisk); more get 429. Self-invocations count.
    pub concurrent_invocations: u32,
    /// How long a blocking invocation waits for its result before it is answered 202.
    pub blocking_wait: Duration,
    /// OpenFaaS functions that can be deployed.
    pub functions: usize,
    /// Asynchronous OpenFaaS calls that are delivered at once: one by each worker.
    pub queue_workers: usize,
    /// Asynchronous OpenFaaS calls that may wait for a worker; more are refused with 500.
    pub queue_length: usize,
    /// After how long an unfinished asynchronous OpenFaaS call is delivered again.
    pub ack_wait: Duration,
    /// Function processes at once, idle ones included. Further calls wait for one.
    pub processes: usize,
    /// How long an idle process keeps running before it is stopped (OpenWhisk).
    pub pause_after: Duration,
    /// How long an idle process is kept.
    pub idle_after: Duration,
    /// How long to wait after an answer for the end marks of the activation's logs.
    pub log_wait: Duration,
    /// How long an OpenFaaS function has from SIGTERM to SIGKILL.
    pub stop_grace: Duration,
    /// How often the watchdog delivers a call again whose process died.
    pub redeliveries: u32,
    /// How many activation records are kept.
    pub records: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time_min: Duration::from_millis(100),
            time_max: Duration::from_secs(300),
            time_default: Duration::from_secs(60),
            memory_min_mb: 128,
            memory_max_mb: 512,
            memory_default_mb: 256,
            logs_max_mb: 10,
            payload_bytes: 1 << 20,
            code_bytes: 48 << 20,
            http_body_bytes: 32 << 20,
            async_body_bytes: 256_000,
            invocations_per_minute: 60,
            concurrent_invocations: 30,
            blocking_wait: Duration::from_secs(60),
            functions: 15,
            queue_workers: 4,
            queue_length: 10_000,
            ack_wait: Duration::from_secs(60),
            processes: 64,
            pause_after: Duration::from_millis(50),
            idle_after: Duration::from_secs(600),
            log_wait: Duration::from_secs(2),
            stop_grace: Duration::from_secs(30),
            redeliveries: 3,
            records: 10_000,
        }
    }
}

impl Limits {
    /// For development: as the default, but a chain of short invocations is not throttled, and an action may ask for
    /// little time and much memory.
    pub fn generous() -> Self {
        Self {
            time_min: Duration::from_millis(1),
            time_max: Duration::from_secs(24 * 3600),
            memory_min_mb: 1,
            memory_max_mb: 64 << 10,
            invocations_per_minute: 1_000_000,
            concurrent_invocations: 1000,
            functions: 1000,
            ..Self::default()
        }
    }
}
