//! What a client that waits for a result does next: a pure decision.
//!
//! The log promises that an execution can always go on, if somebody acts. While a person waits, that is us: a first
//! delivery that was lost is sent again under its key, a lost successor is invoked again, and what a crashed owner left
//! is taken up once its lease has ended.

use std::time::Duration;

use limitless_faas_core::log::{Execution, Phase};

/// What the client knows.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The fold of the log; none before its first entry.
    pub execution: Option<&'a Execution>,
    /// Whether a receiver is to have the result and does not: until then its end is not the end.
    pub is_owed: bool,
    /// Whether an event has happened that it waits for.
    pub has_happened: bool,
    /// Deliveries that the platform works on or has queued; none where we can't see into the platform.
    pub in_flight: Option<usize>,
    /// Now.
    pub now_ms: u64,
    /// When anything last happened: an entry, an event, an invocation of ours.
    pub quiet_since_ms: u64,
    /// Invocations of ours since the log last grew.
    pub attempts: u32,
}

/// How patient the client is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long nothing may happen before a delivery that we can't see counts as lost.
    pub blind: Duration,
    /// The same where we see that the platform has nothing left to deliver.
    pub idle: Duration,
    /// How long a successor that we can't see may take, where we know better than the log.
    pub successor: Option<Duration>,
    /// A lease counts as ended so much later: the largest clock skew.
    pub skew: Duration,
    /// Invocations without effect after which the client gives up.
    pub attempts: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            blind: Duration::from_secs(60),
            idle: Duration::from_millis(250),
            successor: None,
            // The protocol's own skew, and a little, so that the claim is not refused as too early.
            skew: Duration::from_millis(550),
            attempts: 6,
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The execution has ended.
    Done,
    /// Look again when something happened, or after so long.
    Wait(Duration),
    /// Send the first call again under the same key.
    Call,
    /// Invoke a successor.
    Resume,
    /// Nothing we did had any effect.
    GiveUp,
}

impl Patience {
    /// With a platform on this machine whose inside we can't see: it delivers at once or not at all.
    pub fn nearby() -> Self {
        Self { blind: Duration::from_secs(5), successor: Some(Duration::from_secs(3)), ..Self::default() }
    }
}

/// However long there is to wait, the log is looked at so often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What the client does next.
pub fn next(situation: &Situation<'_>, patience: &Patience) -> Next {
    let Some(execution) = situation.execution else {
        return after(due(situation, patience, 0), situation, patience, Next::Call);
    };
    let by_now = |patience: Duration| situation.quiet_since_ms + millis(patience);
    let not_before_ms = match &execution.phase {
        Phase::Owned(owner) => owner.lease_until_ms + millis(patience.skew),
        Phase::Suspended { wake: Some(_), .. } if situation.has_happened => 0,
        Phase::Suspended { wake: Some(wake), .. } => match wake.at_ms {
            Some(at_ms) => at_ms,
            // Whoever makes the event happen sees to it that it goes on.
            None => return Next::Wait(LOOK_AGAIN),
        },
        // Where we see into the platform, we need not wait as long as a stranger must.
        Phase::Suspended { successor_by_ms, .. } if situation.in_flight.is_none() => {
            patience.successor.map_or(*successor_by_ms, |within| by_now(within).min(*successor_by_ms))
        }
        Phase::Suspended { .. } => 0,
        Phase::Completed(_) | Phase::Failed(_) if situation.is_owed => 0,
        Phase::Completed(_) | Phase::Failed(_) | Phase::Cancelled { .. } => return Next::Done,
    };
    after(due(situation, patience, not_before_ms), situation, patience, Next::Resume)
}

/// When to act, if nothing happens until then; none while the platform works on it.
fn due(situation: &Situation<'_>, patience: &Patience, not_before_ms: u64) -> Option<u64> {
    let quiet = match situation.in_flight {
        None if not_before_ms > 0 => patience.idle,
        None => patience.blind,
        Some(0) => patience.idle,
        Some(_) => return None,
    };
    let quiet = quiet * 2u32.saturating_pow(situation.attempts.min(6));
    Some(not_before_ms.max(situation.quiet_since_ms + millis(quiet)))
}

fn after(due_ms: Option<u64>, situation: &Situation<'_>, patience: &Patience, act: Next) -> Next {
    let Some(due_ms) = due_ms else { return Next::Wait(LOOK_AGAIN) };
    let left = Duration::from_millis(due_ms.saturating_sub(situation.now_ms));
    if !left.is_zero() {
        return Next::Wait(left.min(LOOK_AGAIN));
    }
    if situation.attempts >= patience.attempts { Next::GiveUp } else { act }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use limitless_faas_core::log::Wake;

    use super::*;
    use crate::history::samples::{BEGIN_US, Scribe, three};

    const BEGIN_MS: u64 = BEGIN_US / 1000;

    /// What is done so many ms after the log began, when nothing has happened for `quiet_ms`.
    fn decide(execution: Option<&Execution>, in_flight: Option<usize>, at_ms: u64, quiet_ms: u64) -> Next {
        let (now_ms, is_owed) = (BEGIN_MS + at_ms, false);
        let situation = Situation {
            execution,
            is_owed,
            has_happened: false,
            in_flight,
            now_ms,
            quiet_since_ms: now_ms - quiet_ms,
            attempts: 0,
        };
        next(&situation, &Patience::default())
    }

    fn wait_ms(ms: u64) -> Next {
        Next::Wait(Duration::from_millis(ms))
    }

    #[test]
    fn transitions() {
        let owned = Scribe::new().start().history().execution;
        let suspended = Scribe::new().start().suspend(1).history().execution;
        let done = three().history().execution;
        let table = [
            ("delivered", None, Some(1), 0, 9000, wait_ms(1000)),
            ("just lost", None, Some(0), 0, 100, wait_ms(150)),
            ("lost", None, Some(0), 0, 250, Next::Call),
            ("lost out of sight", None, None, 0, 59_500, wait_ms(500)),
            ("long lost out of sight", None, None, 0, 60_000, Next::Call),
            ("driven", Some(&owned), Some(1), 500, 500, wait_ms(1000)),
            ("driven, but nothing runs", Some(&owned), Some(0), 2900, 400, wait_ms(650)),
            ("lease over", Some(&owned), Some(0), 3550, 400, Next::Resume),
            ("lease over, delivered again", Some(&owned), Some(1), 9000, 400, wait_ms(1000)),
            ("lease over out of sight", Some(&owned), None, 3550, 400, Next::Resume),
            ("successor on its way", Some(&suspended), Some(1), 10, 10, wait_ms(1000)),
            ("successor lost", Some(&suspended), Some(0), 300, 300, Next::Resume),
            ("successor perhaps lost", Some(&suspended), None, 299_500, 5000, wait_ms(500)),
            ("successor lost out of sight", Some(&suspended), None, 300_000, 5000, Next::Resume),
            ("done", Some(&done), Some(3), 0, 0, Next::Done),
        ];
        for (what, execution, in_flight, at_ms, quiet_ms, expected) in table {
            assert_eq!(decide(execution, in_flight, at_ms, quiet_ms), expected, "{what}");
        }
    }

    #[test]
    fn who_sleeps_is_woken_in_time_and_who_waits_for_an_event_once_it_happened() {
        let now_ms = BEGIN_MS + 10_000;
        let decide = |wake: Wake, has_happened| {
            let execution = Scribe::new().start().wait_for(wake).history().execution;
            let (execution, quiet_since_ms) = (Some(&execution), now_ms - 9_000);
            let situation = Situation {
                execution,
                is_owed: false,
                has_happened,
                in_flight: Some(0),
                now_ms,
                quiet_since_ms,
                attempts: 0,
            };
            next(&situation, &Patience::default())
        };
        let at = |at_ms| Wake { at_ms: Some(at_ms), events: vec![] };
        let event = Wake { at_ms: None, events: vec!["word".to_owned()] };
        assert_eq!(decide(at(now_ms + 300), false), wait_ms(300));
        assert_eq!(decide(at(now_ms), false), Next::Resume);
        assert_eq!(decide(event.clone(), false), wait_ms(1000));
        assert_eq!(decide(event.clone(), true), Next::Resume);
        assert_eq!(decide(at(now_ms + 300).or(event), true), Next::Resume);
    }

    #[test]
    fn a_result_that_is_owed_is_delivered() {
        let execution = three().history().execution;
        let (now_ms, quiet_since_ms) = (BEGIN_MS, 0);
        let execution = Some(&execution);
        let decide = |is_owed| {
            let situation = Situation {
                execution,
                is_owed,
                has_happened: false,
                in_flight: Some(0),
                now_ms,
                quiet_since_ms,
                attempts: 0,
            };
            next(&situation, &Patience::default())
        };
        assert_eq!(decide(true), Next::Resume);
        assert_eq!(decide(false), Next::Done);
    }

    #[test]
    fn invocations_without_effect_grow_rarer_and_end() {
        let mut now_ms = BEGIN_MS;
        let mut pauses = Vec::new();
        for attempts in 0.. {
            let quiet_since_ms = now_ms;
            let at = |now_ms| {
                let situation = Situation {
                    execution: None,
                    is_owed: false,
                    has_happened: false,
                    in_flight: Some(0),
                    now_ms,
                    quiet_since_ms,
                    attempts,
                };
                next(&situation, &Patience::default())
            };
            while let Next::Wait(left) = at(now_ms) {
                now_ms += millis(left);
            }
            if at(now_ms) == Next::GiveUp {
                break;
            }
            assert_eq!(at(now_ms), Next::Call);
            pauses.push(now_ms - quiet_since_ms);
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000]);
    }
}
