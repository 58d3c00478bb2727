//! Faults on demand. What happens to the n-th delivery depends on the seed and n alone, so a run can be repeated.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use fastrand::Rng;

use crate::duration;

/// Which faults the platform makes, each with the probability per delivery that it happens. None by default.
///
/// As text: `duplicate=0.2,lose=10%,delay=0.2:300ms,kill=0.3,store-fail=0.1,store-lost-ack=0.1,store-slow=20ms`.
/// A word alone takes a sensible value, `all` makes all of them moderately, `none` makes none.
///
/// ```
/// let faults: limitless_faas_local::Faults = "duplicate=20%,kill".parse()?;
/// assert_eq!(faults.to_string(), "duplicate=0.2,kill=0.3");
/// # Ok::<(), limitless_faas_local::InvalidFaults>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// The call is delivered twice, at the same time.
    pub duplicate: f64,
    /// The call is accepted (202) and never runs. A caller who waits for the answer is spared.
    pub lose: f64,
    /// The call waits for [`Faults::delay_by`] before it runs.
    pub delay: f64,
    /// For how long a delayed call waits.
    pub delay_by: Duration,
    /// The process is killed at a random moment of the invocation.
    pub kill: f64,
    /// An operation of the function's store fails (passed on to the function process).
    pub store_fail: f64,
    /// An operation of the function's store happens but looks failed (passed on).
    pub store_lost_ack: f64,
    /// Every operation of the function's store takes this much longer (passed on).
    pub store_slow: Duration,
}

const DELAY_BY: Duration = Duration::from_millis(300);
const STORE_SLOW: Duration = Duration::from_millis(20);

impl Faults {
    /// Everything, moderately.
    pub fn all() -> Self {
        Self {
            duplicate: 0.1,
            lose: 0.05,
            delay: 0.1,
            delay_by: Duration::from_millis(100),
            kill: 0.2,
            store_fail: 0.05,
            store_lost_ack: 0.05,
            store_slow: Duration::from_millis(5),
        }
    }

    /// Whether no fault is ever made.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// What happens to delivery number `number`.
    pub(crate) fn plan(&self, seed: u64, number: u64) -> Plan {
        let mut rng = Rng::with_seed(mix(seed, number));
        // Every value is drawn whatever the probabilities are, so that changing one fault leaves the others alone.
        let [duplicate, lose, delay, kill] = [(); 4].map(|()| rng.f64());
        let (shape, at) = (rng.u8(0..3), rng.f64());
        Plan {
            duplicate: duplicate < self.duplicate,
            lose: lose < self.lose,
            delay: (delay < self.delay).then_some(self.delay_by),
            kill: (kill < self.kill).then_some(KillMoment { shape, at }),
        }
    }

    /// The value of `LIMITLESS_STORE_FAULTS` for process number `number`. Each process gets its own seed: with the
    /// same one, a process whose first operation fails would be replaced by one that fails in the same way, for ever.
    pub(crate) fn for_store(&self, seed: u64, number: u64) -> Option<String> {
        let mut parts = Vec::new();
        if self.store_fail > 0.0 {
            parts.push(format!("fail={}", self.store_fail));
        }
        if self.store_lost_ack > 0.0 {
            parts.push(format!("lost-ack={}", self.store_lost_ack));
        }
        if !self.store_slow.is_zero() {
            parts.push(format!("slow={}", duration::format(self.store_slow)));
        }
        (!parts.is_empty()).then(|| format!("seed={},{}", mix(seed, number) >> 32, parts.join(",")))
    }
}

/// What happens to one delivery.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) duplicate: bool,
    pub(crate) lose: bool,
    pub(crate) delay: Option<Duration>,
    pub(crate) kill: Option<KillMoment>,
}

/// When a process is killed: early, anywhere, or late.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KillMoment {
    shape: u8,
    at: f64,
}

impl KillMoment {
    /// The moment within an invocation that may take `limit`. A third each is spread evenly, crowds at the start
    /// (claiming, restoring) and crowds before the limit (saving, handing over): the moments that matter most.
    pub(crate) fn within(&self, limit: Duration) -> Duration {
        let whole = limit.as_secs_f64();
        let near = 0.0005 * (whole / 0.0005).max(1.0).powf(self.at);
        let at = match self.shape {
            0 => whole * self.at,
            1 => near,
            _ => whole - near,
        };
        Duration::try_from_secs_f64(at).unwrap_or(limit)
    }
}

/// One well-mixed number from two (the finaliser of `SplitMix64`).
fn mix(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A text that describes no faults: says which part, and what would be right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidFaults {
    /// No fault has this name.
    #[error(
        "no fault is called {0:?}; there are duplicate, lose, delay, kill, store-fail, store-lost-ack, store-slow, all and none"
    )]
    Name(String),
    /// The probability can't be read.
    #[error("{fault}={value:?} is no probability; write a number from 0 to 1, such as 0.2, or 20%")]
    Probability {
        /// The fault.
        fault: String,
        /// What was written.
        value: String,
    },
    /// The duration can't be read.
    #[error("{fault}: {value:?} is no duration; write for example 300ms or 2s")]
    Duration {
        /// The fault.
        fault: String,
        /// What was written.
        value: String,
    },
}

impl FromStr for Faults {
    type Err = InvalidFaults;

    fn from_str(text: &str) -> Result<Self, InvalidFaults> {
        let mut faults = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) =
                part.split_once('=').map_or((part, None), |(n, v)| (n.trim(), Some(v.trim())));
            faults.set(name, value)?;
        }
        Ok(faults)
    }
}

impl Faults {
    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), InvalidFaults> {
        match name {
            "duplicate" => self.duplicate = probability(name, value, 0.2)?,
            "lose" => self.lose = probability(name, value, 0.1)?,
            "kill" => self.kill = probability(name, value, 0.3)?,
            "delay" => {
                let (chance, by) = match value.and_then(|value| value.split_once(':')) {
                    Some((chance, by)) => (Some(chance), Some(by)),
                    None => (value, None),
                };
                self.delay = probability(name, chance, 0.2)?;
                self.delay_by = length(name, by, DELAY_BY)?;
            }
            "store-fail" => self.store_fail = probability(name, value, 0.1)?,
            "store-lost-ack" => self.store_lost_ack = probability(name, value, 0.1)?,
            "store-slow" => self.store_slow = length(name, value, STORE_SLOW)?,
            "all" if value.is_none() => *self = Self::all(),
            "none" if value.is_none() => *self = Self::default(),
            _ => return Err(InvalidFaults::Name(name.to_owned())),
        }
        Ok(())
    }
}

fn probability(fault: &str, value: Option<&str>, default: f64) -> Result<f64, InvalidFaults> {
    let Some(value) = value else { return Ok(default) };
    let number = match value.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => value.parse::<f64>(),
    };
    match number {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err(InvalidFaults::Probability { fault: fault.to_owned(), value: value.to_owned() }),
    }
}

fn length(fault: &str, value: Option<&str>, default: Duration) -> Result<Duration, InvalidFaults> {
    let Some(value) = value else { return Ok(default) };
    duration::parse(value)
        .ok_or_else(|| InvalidFaults::Duration { fault: fault.to_owned(), value: value.to_owned() })
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut chance = |name: &str, value: f64, more: String| {
            if value > 0.0 {
                parts.push(format!("{name}={value}{more}"));
            }
        };
        chance("duplicate", self.duplicate, String::new());
        chance("lose", self.lose, String::new());
        chance("delay", self.delay, format!(":{}", duration::format(self.delay_by)));
        chance("kill", self.kill, String::new());
        chance("store-fail", self.store_fail, String::new());
        chance("store-lost-ack", self.store_lost_ack, String::new());
        if !self.store_slow.is_zero() {
            parts.push(format!("store-slow={}", duration::format(self.store_slow)));
        }
        f.write_str(if parts.is_empty() { "none" } else { "" })?;
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_reads_back() {
        let text = "duplicate=0.2,lose=0.1,delay=0.2:300ms,kill=0.3,store-fail=0.1,store-lost-ack=0.1,store-slow=20ms";
        let faults: Faults = text.parse().unwrap();
        assert_eq!(faults.to_string(), text);
        let words = "duplicate,lose,delay,kill,store-fail,store-lost-ack,store-slow";
        assert_eq!(words.parse(), Ok(faults));
        assert_eq!("all".parse::<Faults>().unwrap().to_string().parse(), Ok(Faults::all()));
        assert_eq!("".parse(), Ok(Faults::default()));
        assert_eq!(Faults::default().to_string(), "none");
        assert_eq!("none".parse(), Ok(Faults::default()));
        assert_eq!("all, kill=50%".parse(), Ok(Faults { kill: 0.5, ..Faults::all() }));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, said) in [
            ("kil=0.2", "no fault is called \"kil\""),
            ("kill=2", "kill=\"2\" is no probability"),
            ("kill=NaN", "is no probability"),
            ("lose=-1%", "lose=\"-1%\" is no probability"),
            ("delay=0.1:soon", "delay: \"soon\" is no duration"),
            ("store-slow=0.1x", "store-slow: \"0.1x\" is no duration"),
            ("all=1", "no fault is called \"all\""),
        ] {
            let error = text.parse::<Faults>().unwrap_err().to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn plans_follow_from_the_seed() {
        let faults = Faults { duplicate: 0.5, lose: 0.3, delay: 0.4, kill: 0.5, ..Faults::default() };
        let plans = |seed| (0..1000).map(|n| faults.plan(seed, n)).collect::<Vec<_>>();
        assert_eq!(plans(7), plans(7));
        assert_ne!(plans(7), plans(8));
        let share = |count: fn(&Plan) -> bool| plans(7).iter().filter(|plan| count(plan)).count();
        assert!((450..550).contains(&share(|plan| plan.duplicate)));
        assert!((250..350).contains(&share(|plan| plan.lose)));
        let only_kill = Faults { kill: 0.5, ..Faults::default() };
        assert!((0..1000).all(|n| only_kill.plan(7, n).kill == faults.plan(7, n).kill));
    }

    #[test]
    fn a_kill_falls_within_the_invocation() {
        let limit = Duration::from_millis(300);
        let faults = Faults { kill: 1.0, ..Faults::default() };
        for n in 0..3000 {
            let at = faults.plan(1, n).kill.unwrap().within(limit);
            assert!(at <= limit, "{at:?}");
        }
    }

    #[test]
    fn store_faults_are_passed_on_with_a_seed_per_process() {
        let faults: Faults = "store-fail=0.1,store-slow=20ms".parse().unwrap();
        let first = faults.for_store(7, 0).unwrap();
        assert!(first.starts_with("seed=") && first.ends_with(",fail=0.1,slow=20ms"), "{first}");
        assert_eq!(faults.for_store(7, 0), Some(first.clone()));
        assert_ne!(faults.for_store(7, 1), Some(first));
        assert_eq!(Faults { kill: 1.0, ..Faults::default() }.for_store(7, 0), None);
    }
}
