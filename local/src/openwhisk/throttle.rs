//! How many invocations are accepted: so many a minute, so many at once.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::StatusCode;

use super::Refusal;
use crate::limits::Limits;
use crate::sync::lock;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Throttle {
    per_minute: u32,
    at_once: u32,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    minute: Instant,
    in_minute: u32,
    now: u32,
}

/// One invocation under way.
#[derive(Debug)]
pub(super) struct Slot(Arc<Throttle>);

impl Throttle {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let counts = Mutex::new(Counts { minute: Instant::now(), in_minute: 0, now: 0 });
        Arc::new(Self {
            per_minute: limits.invocations_per_minute,
            at_once: limits.concurrent_invocations,
            counts,
        })
    }

    /// Counts one more invocation, or refuses it with 429.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Slot, Refusal> {
        let mut counts = lock(&self.counts);
        if counts.minute.elapsed() >= MINUTE {
            counts.minute = Instant::now();
            counts.in_minute = 0;
        }
        let (in_minute, now) = (counts.in_minute + 1, counts.now + 1);
        let refused = |what, count, allowed| {
            let message = format!("Too many {what} (count: {count}, allowed: {allowed}).");
            Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, message))
        };
        if now > self.at_once {
            return refused("concurrent requests in flight", now, self.at_once);
        }
        if in_minute > self.per_minute {
            return refused("requests in the last minute", in_minute, self.per_minute);
        }
        (counts.in_minute, counts.now) = (in_minute, now);
        Ok(Slot(Arc::clone(self)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.0.counts).now -= 1;
    }
}
