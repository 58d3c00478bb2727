//! When to save: deadline, margin and interval, from what was measured.
//!
//! All times are the caller's; this module only does the arithmetic.

use serde::{Deserialize, Serialize};

/// What a delivery may use and how careful it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Policy {
    /// The lease ends so long after the deadline: time for the platform to kill, and the largest clock skew.
    pub grace_ms: u64,
    /// A claim on an expired lease waits so much longer: the largest clock skew between invocations.
    pub skew_ms: u64,
    /// Suspensions in a row without progress, although the handler had computed, after which the execution fails.
    pub idle_limit: u32,
    /// Owners in a row that had no time to compute after which the execution fails: what eats the time before, a cold
    /// start or a busy machine, passes more often than not.
    pub starved_limit: u32,
    /// Lost owners in a row without progress after which the execution fails.
    pub crash_limit: u32,
    /// Invocations of one execution after which it fails.
    pub max_invocations: u64,
    /// Mean time between failures that interval checkpoints assume until crashes were seen.
    pub mtbf_ms: u64,
    /// How often a running owner looks whether it was cancelled or fenced.
    pub peek_ms: u64,
    /// How long a successor may take to claim before it counts as lost.
    pub successor_within_ms: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            grace_ms: 1000,
            skew_ms: 500,
            idle_limit: 3,
            starved_limit: 50,
            crash_limit: 10,
            max_invocations: 10_000,
            mtbf_ms: 60 * 60 * 1000,
            peek_ms: 1000,
            successor_within_ms: 5 * 60 * 1000,
        }
    }
}

/// What saving and handing over cost, as measured so far. Costs grow with the state, so an estimate follows the
/// latest measurement upwards at once and downwards slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pace {
    /// Whether a checkpoint was taken yet; until then `save_us` is a careful guess.
    is_measured: bool,
    save_us: u64,
    /// What the handler itself expects saving to cost, where it can tell.
    expected_us: u64,
    hand_over_us: u64,
    /// What creating an entry takes in this store.
    entry_us: u64,
    hook_gap_us: u64,
    /// What a MiB of state that this store has not yet takes, from the hook to durable; none before one was measured.
    us_per_mib: Option<u64>,
    /// How much more state there may be than when it was last saved.
    grown_bytes: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            is_measured: false,
            save_us: 20_000,
            expected_us: 0,
            hand_over_us: 20_000,
            entry_us: 0,
            hook_gap_us: 0,
            us_per_mib: None,
            grown_bytes: 0,
        }
    }
}

/// The reserve is never less than this, however fast everything was so far.
const FLOOR_US: u64 = 60_000;
/// Nor more than this share of the limit, or there would be no time to compute.
const LARGEST_SHARE: u64 = 2;
/// What a checkpoint costs, for the moment of the first one that only guards against crashes.
const HOPED_SAVE_US: u64 = 5_000;
/// What invoking a successor takes beside the entry, where no hand-over was measured yet.
const HOPED_INVOCATION_US: u64 = 5_000;
/// What a MiB takes in a store that was not measured: 50 MiB a second, as over the networks that functions have.
const HOPED_US_PER_MIB: u64 = 20_000;
/// Fewer bytes tell the store's latency, not its bandwidth.
const LEAST_TELLING_BYTES: u64 = 256 << 10;
/// An interval checkpoint is never taken more often than this.
const SHORTEST_INTERVAL_MS: u64 = 1000;

impl Pace {
    /// The pace that an earlier invocation recorded with its checkpoint.
    pub fn carried_over(save_us: u64, hook_gap_us: u64, us_per_mib: u64) -> Self {
        let mut pace = Self::default();
        pace.saved(save_us);
        pace.hook_gap(hook_gap_us);
        pace.us_per_mib = (us_per_mib > 0).then_some(us_per_mib);
        pace
    }

    /// A checkpoint took so long, from the hook to durable. What it holds is no growth any more.
    pub fn saved(&mut self, us: u64) {
        self.save_us = if self.is_measured { follow(self.save_us, us) } else { us };
        self.is_measured = true;
        self.grown_bytes = 0;
    }

    /// So many bytes of a state of `all_bytes`, which the store had not, took so long from the hook to durable.
    ///
    /// It says something about the store's bandwidth where they are more than a few, and a good part of the state: where little is
    /// moved the time goes into finding that out. What an entry takes is latency and does not count.
    pub fn moved(&mut self, bytes: u64, all_bytes: u64, us: u64) {
        if bytes < LEAST_TELLING_BYTES || bytes < all_bytes / 4 {
            return;
        }
        let measured = u128::from(us.saturating_sub(self.entry_us)) << 20;
        let measured = u64::try_from(measured / u128::from(bytes)).unwrap_or(u64::MAX).max(1);
        self.us_per_mib = Some(self.us_per_mib.map_or(measured, |estimate| follow(estimate, measured)));
    }

    /// What a MiB of new state takes in this store, 0 where none was measured, µs.
    pub fn us_per_mib(&self) -> u64 {
        self.us_per_mib.unwrap_or(0)
    }

    /// The state may be so much larger than when it was last saved.
    pub fn grown(&mut self, bytes: u64) {
        self.grown_bytes = bytes;
    }

    /// What the growth is expected to cost in this store, µs.
    fn growth_us(&self) -> u64 {
        let us_per_mib = u128::from(self.us_per_mib.unwrap_or(HOPED_US_PER_MIB));
        u64::try_from((u128::from(self.grown_bytes) * us_per_mib) >> 20).unwrap_or(u64::MAX)
    }

    /// A checkpoint has taken so long, and is not durable yet.
    pub fn saved_at_least(&mut self, us: u64) {
        if us > self.save_us {
            self.saved(us);
        }
    }

    /// The handler expects that saving what it holds now takes so long.
    pub fn expected(&mut self, us: u64) {
        self.expected_us = us;
    }

    /// What the handler expects saving to cost, 0 where it says nothing, µs.
    pub fn expected_us(&self) -> u64 {
        self.expected_us
    }

    /// Entry, invocation of the successor and acceptance took so long.
    pub fn handed_over(&mut self, us: u64) {
        self.hand_over_us = follow(self.hand_over_us, us);
    }

    /// An entry was created in so long: handing over takes that at least, and what invoking the successor takes.
    pub fn stored(&mut self, us: u64) {
        self.entry_us = follow(self.entry_us, us);
    }

    /// A request to the hook was noticed only after so long.
    ///
    /// The longest way counts; it is forgotten by a tenth with each shorter one, so that one moment in which the machine
    /// was busy does not shorten every invocation that follows.
    pub fn hook_gap(&mut self, us: u64) {
        self.hook_gap_us = us.max(self.hook_gap_us - self.hook_gap_us.div_ceil(10));
    }

    /// The longest time between two hooks that was seen and is not forgotten, µs.
    pub fn longest_hook_gap_us(&self) -> u64 {
        self.hook_gap_us
    }

    /// The reserve before the deadline, in milliseconds: twice what saving and handing over should take, and one
    /// and a half times the longest way to the next hook, within a floor and a share of the limit.
    ///
    /// Saving takes what it took, and what has grown since then takes what this store takes for so much.
    pub fn margin_ms(&self, limit_ms: u64) -> u64 {
        self.margin_for(self.save_us.saturating_add(self.growth_us()), limit_ms)
    }

    fn margin_for(&self, save_us: u64, limit_ms: u64) -> u64 {
        let hand_over_us = self.hand_over_us.max(self.entry_us + HOPED_INVOCATION_US);
        let all_us = save_us.max(self.expected_us).saturating_add(hand_over_us);
        let wanted = all_us.saturating_mul(2).saturating_add(self.hook_gap_us + self.hook_gap_us / 2);
        let most = limit_ms.saturating_mul(1000) / LARGEST_SHARE;
        // The floor gives way too where the limit is tiny.
        wanted.max(FLOOR_US).min(most).div_ceil(1000)
    }

    /// The moment to ask for the last checkpoint: the latest safe one.
    pub fn suspend_at_ms(&self, deadline_ms: u64, limit_ms: u64) -> u64 {
        deadline_ms.saturating_sub(self.margin_ms(limit_ms))
    }

    /// The same, were there no growth.
    pub fn suspend_at_without_growth_ms(&self, deadline_ms: u64, limit_ms: u64) -> u64 {
        deadline_ms.saturating_sub(self.margin_for(self.save_us, limit_ms))
    }

    /// How long to compute between checkpoints that only guard against crashes: Young's first-order optimum
    /// `sqrt(2 · cost · MTBF)` (J. W. Young, 1974, eq. 1; J. T. Daly, 2006).
    pub fn interval_ms(&self, policy: &Policy, crashes: u32, ran_ms: u64) -> u64 {
        let mtbf_ms =
            if crashes == 0 { policy.mtbf_ms } else { (ran_ms / u64::from(crashes)).min(policy.mtbf_ms) };
        // A guess that is careful about the deadline would be careless about crashes: the first checkpoint tells the cost.
        let cost_us = if self.is_measured { self.save_us } else { HOPED_SAVE_US };
        let square_ms2 = 2 * cost_us.saturating_mul(mtbf_ms) / 1000;
        square_ms2.isqrt().max(SHORTEST_INTERVAL_MS)
    }
}

fn follow(estimate: u64, measured: u64) -> u64 {
    if measured >= estimate { measured } else { (estimate * 3 + measured) / 4 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_covers_saving_handing_over_and_the_way_to_the_hook() {
        let mut pace = Pace::default();
        assert_eq!(pace.margin_ms(60_000), 80);
        pace.saved(400_000);
        pace.handed_over(100_000);
        pace.hook_gap(1_000_000);
        assert_eq!(pace.margin_ms(60_000), 1000 + 1500);
        assert_eq!(pace.suspend_at_ms(100_000, 60_000), 97_500);
    }

    #[test]
    fn a_store_that_is_far_away_is_given_its_time_before_the_first_hand_over() {
        let mut pace = Pace::default();
        pace.stored(15_000);
        assert_eq!(pace.margin_ms(60_000), 80);
        pace.stored(200_000);
        assert_eq!(pace.margin_ms(60_000), 450);
        pace.handed_over(300_000);
        assert_eq!(pace.margin_ms(60_000), 640);
    }

    #[test]
    fn what_is_being_saved_costs_what_it_took_so_far() {
        let mut pace = Pace::default();
        pace.saved(100_000);
        pace.saved_at_least(50_000);
        assert_eq!(pace.margin_ms(60_000), 240);
        pace.saved_at_least(1_000_000);
        assert_eq!(pace.margin_ms(60_000), 2040);
    }

    #[test]
    fn a_handler_that_grows_says_so_before_it_is_measured() {
        let mut pace = Pace::default();
        pace.expected(300_000);
        assert_eq!(pace.margin_ms(60_000), 640);
        pace.saved(400_000);
        assert_eq!(pace.margin_ms(60_000), 840);
        pace.expected(0);
        assert_eq!(pace.margin_ms(60_000), 840);
    }

    #[test]
    fn a_tiny_limit_still_leaves_half_of_it_for_work() {
        let mut pace = Pace::default();
        pace.hook_gap(10_000_000);
        assert_eq!(pace.margin_ms(100), 50);
        assert_eq!(pace.margin_ms(0), 0);
        assert_eq!(pace.suspend_at_ms(0, 100), 0);
    }

    #[test]
    fn estimates_rise_at_once_and_fall_slowly() {
        let mut pace = Pace::default();
        pace.saved(1_000_000);
        pace.saved(0);
        assert_eq!(pace.save_us, 750_000);
    }

    #[test]
    fn one_long_way_to_the_hook_is_forgotten_in_time() {
        let mut pace = Pace::default();
        pace.hook_gap(500_000);
        pace.hook_gap(1_000);
        assert_eq!(pace.longest_hook_gap_us(), 450_000);
        for _ in 0..60 {
            pace.hook_gap(1_000);
        }
        assert_eq!(pace.longest_hook_gap_us(), 1_000);
    }

    #[test]
    fn the_interval_is_youngs() {
        let policy = Policy::default();
        let mut pace = Pace { is_measured: true, save_us: 5000, ..Pace::default() };
        // sqrt(2 · 5 ms · 3.6e6 ms) = 6 s
        assert_eq!(pace.interval_ms(&policy, 0, 0), 6000);
        // Two crashes in 20 s: sqrt(2 · 5 · 10_000) = 316 ms, and not more often than each second.
        assert_eq!(pace.interval_ms(&policy, 2, 20_000), 1000);
        pace.save_us = 2_000_000;
        assert_eq!(pace.interval_ms(&policy, 2, 20_000), 6324);
    }
}
