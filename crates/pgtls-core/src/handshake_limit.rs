//! [`HandshakeLimit`]: how many handshakes may go on at a time, as CPUs are to be had.
//!
//! While the workers wait for CPUs longer than they compute, there are fewer: a login costs the backend far more than a handshake costs here,
//! and running sessions wait in line with all of that. Down to one for each worker, none of which anybody keeps for long (ADR 0028).

use std::time::{Duration, Instant};

use crate::cpu_pressure::Pressure;

/// How long a handshake occupies a slot at most. One that takes longer waits for its client, not for our CPU.
const PATIENCE: Duration = Duration::from_secs(1);
/// The same while there are fewer slots than there may be: so many logins go on in any case.
const SHORT_PATIENCE: Duration = Duration::from_millis(30);
/// Whoever waits longer for a slot shows that there are too few, however short CPUs are: its login has a deadline.
const LONG_WAIT: Duration = Duration::from_secs(3);
/// What was known of the CPUs so long ago says nothing of now.
const STALE: Duration = Duration::from_secs(1);

/// A number from `fewest` to `most`.
#[derive(Debug)]
pub(crate) struct HandshakeLimit {
    fewest: usize,
    most: usize,
    now: usize,
    adapted_at: Instant,
    /// Whoever got a slot last had waited for [`LONG_WAIT`].
    is_late: bool,
}

impl HandshakeLimit {
    /// As many as there may be, to begin with.
    pub(crate) fn new(fewest: usize, most: usize) -> Self {
        let most = most.max(1);
        Self {
            fewest: fewest.clamp(1, most),
            most,
            now: most,
            adapted_at: Instant::now(),
            is_late: false,
        }
    }

    /// How many may go on now.
    pub(crate) fn now(&self) -> usize {
        self.now
    }

    pub(crate) fn allows(&self, taken: usize) -> bool {
        taken < self.now
    }

    /// How long a handshake that begins now may keep its slot.
    pub(crate) fn patience(&self) -> Duration {
        if self.now < self.most {
            SHORT_PATIENCE
        } else {
            PATIENCE
        }
    }

    /// Half as many, twice as many, or a few more.
    pub(crate) fn adapt(&mut self, pressure: Pressure) {
        let wanted = match pressure {
            Pressure::Starved if !self.is_late => self.now / 2,
            Pressure::Starved | Pressure::Strained => self.now.saturating_add(self.fewest),
            Pressure::Relaxed => self.now.saturating_mul(2),
        };
        self.now = wanted.clamp(self.fewest, self.most);
        self.adapted_at = Instant::now();
    }

    /// Somebody gets a slot after so long.
    pub(crate) fn note_wait(&mut self, waited: Duration) {
        self.is_late = waited >= LONG_WAIT;
    }

    /// Somebody comes, and nobody waits: a few logins after a calm are in nobody's way.
    pub(crate) fn forget_what_is_stale(&mut self) {
        if self.now < self.most && self.adapted_at.elapsed() >= STALE {
            self.now = self.most;
            self.is_late = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many there may be after each of these looks at the CPUs.
    fn after<const N: usize>(limit: &mut HandshakeLimit, looks: [Pressure; N]) -> [usize; N] {
        looks.map(|pressure| {
            limit.adapt(pressure);
            limit.now
        })
    }

    #[test]
    fn while_cpus_are_short_there_are_half_as_many_at_each_look_but_never_too_few() {
        let mut limit = HandshakeLimit::new(3, 64);
        let looks = [Pressure::Starved; 6];
        assert_eq!(after(&mut limit, looks), [32, 16, 8, 4, 3, 3]);
        assert!(limit.allows(2) && !limit.allows(3));
    }

    #[test]
    fn under_strain_there_are_a_few_more_at_each_look_and_without_twice_as_many() {
        let mut limit = HandshakeLimit::new(2, 24);
        after(&mut limit, [Pressure::Starved; 4]);
        assert_eq!(after(&mut limit, [Pressure::Strained; 2]), [4, 6]);
        assert_eq!(after(&mut limit, [Pressure::Relaxed; 3]), [12, 24, 24]);
    }

    #[test]
    fn whoever_waited_for_long_shows_that_there_are_too_few() {
        let mut limit = HandshakeLimit::new(1, 8);
        after(&mut limit, [Pressure::Starved; 3]);
        limit.note_wait(LONG_WAIT);
        assert_eq!(after(&mut limit, [Pressure::Starved; 2]), [2, 3]);
        limit.note_wait(Duration::ZERO);
        assert_eq!(after(&mut limit, [Pressure::Starved]), [1]);
    }

    #[test]
    fn slots_are_kept_for_a_short_while_only_as_long_as_there_are_few() {
        let mut limit = HandshakeLimit::new(1, 2);
        assert_eq!(limit.patience(), PATIENCE);
        limit.adapt(Pressure::Starved);
        assert_eq!(limit.patience(), SHORT_PATIENCE);
        limit.adapt(Pressure::Relaxed);
        assert_eq!(limit.patience(), PATIENCE);
    }

    #[test]
    fn after_a_calm_there_are_as_many_as_ever() {
        let mut limit = HandshakeLimit::new(1, 8);
        limit.adapt(Pressure::Starved);
        limit.forget_what_is_stale();
        assert_eq!(limit.now, 4);
        limit.adapted_at = Instant::now().checked_sub(STALE).expect("a time");
        limit.forget_what_is_stale();
        assert_eq!(limit.now, 8);
    }

    #[test]
    fn a_single_slot_stays_one_whatever_the_cpus_do() {
        let mut limit = HandshakeLimit::new(4, 1);
        let looks = [Pressure::Starved, Pressure::Strained, Pressure::Relaxed];
        assert_eq!(after(&mut limit, looks), [1, 1, 1]);
    }
}
