//! How a step is carried out: tried again, given up after a while, begun once at most.

use std::time::Duration;

/// When a step that failed is tried again.
///
/// The wait doubles with each try, up to the longest, and each is shortened by up to a quarter, so that executions that
/// failed together do not come back together. An error that says so ([`Error::terminal`](crate::Error::terminal)) ends the tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    tries: u32,
    first_wait: Duration,
    longest_wait: Duration,
}

impl Retry {
    /// At most so many tries, the first included.
    pub fn times(tries: u32) -> Self {
        Self {
            tries: tries.max(1),
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(60),
        }
    }

    /// Tries without end: the invocations of an execution are counted nevertheless.
    pub fn forever() -> Self {
        Self::times(u32::MAX)
    }

    /// How long to wait after the first try that failed; 100 ms unless said.
    #[must_use]
    pub fn first_wait(self, first_wait: Duration) -> Self {
        Self { first_wait, ..self }
    }

    /// The longest wait; a minute unless said.
    #[must_use]
    pub fn longest_wait(self, longest_wait: Duration) -> Self {
        Self { longest_wait, ..self }
    }

    /// How long to wait after try `number`, counted from 1, has failed; none where it was the last.
    pub(crate) fn wait_after(&self, number: u32, key: &str) -> Option<Duration> {
        if number >= self.tries {
            return None;
        }
        let doubled = self.first_wait.saturating_mul(2_u32.saturating_pow(number - 1));
        let wait = doubled.min(self.longest_wait);
        // From the key: the same each time the execution comes this way, and another one for other steps.
        let hash = blake3::hash(format!("{key} {number}").as_bytes());
        let drawn = u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]]);
        Some(wait.saturating_mul((4 << 16) - u32::from(drawn)) / (4 << 16))
    }
}

/// How a step is carried out; see [`Context::step_with`](crate::Context::step_with).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepOptions {
    pub(crate) retry: Option<Retry>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) is_at_most_once: bool,
}

impl StepOptions {
    /// Once, without a limit: what [`Context::step`](crate::Context::step) does.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tries again where it fails.
    #[must_use]
    pub fn retry(self, retry: Retry) -> Self {
        Self { retry: Some(retry), ..self }
    }

    /// Gives each try up after so long; that counts as a failure. The effect's future is dropped.
    #[must_use]
    pub fn time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit: Some(time_limit), ..self }
    }

    /// Begins the effect once at most: that it begins is recorded first. Where it was interrupted, whether it happened is not
    /// known, and the step is an error with [`Code::StepInterrupted`](crate::Code::StepInterrupted) from then on. So it is tried
    /// once, whatever [`StepOptions::retry`] says.
    #[must_use]
    pub fn at_most_once(self) -> Self {
        Self { is_at_most_once: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_end() {
        let retry = Retry::times(5).first_wait(Duration::from_secs(1)).longest_wait(Duration::from_secs(3));
        let waits: Vec<_> = (1..=5).map(|number| retry.wait_after(number, "k")).collect();
        for (wait, whole_s) in waits.iter().zip([1, 2, 3, 3]) {
            let (wait, whole) = (wait.unwrap(), Duration::from_secs(whole_s));
            assert!(wait <= whole && wait >= whole * 3 / 4, "{waits:?}");
        }
        assert_eq!(waits[4], None);
        assert_ne!(retry.wait_after(1, "k"), retry.wait_after(1, "l"));
        assert!(Retry::forever().wait_after(u32::MAX - 1, "k").is_some());
    }
}
