//! Which worker gets a connection, and when another worker is worth its wake-ups. Pure: no clock, no threads.

/// Above this part of its time, a worker counts as saturated.
const SATURATED: f64 = 0.75;

/// With this many sessions on every worker, another one is started even before any is saturated: sessions stay where they
/// are placed, and those that are idle now may all become busy later.
const SESSIONS_PER_WORKER: u32 = 32;

/// Round robin over the workers that run.
#[derive(Debug, Default)]
pub(crate) struct RoundRobin {
    next: usize,
}

impl RoundRobin {
    /// The next of `running` workers; none when none runs.
    pub(crate) fn next(&mut self, running: usize) -> Option<usize> {
        let place = self.next.checked_rem(running)?;
        self.next = place.wrapping_add(1);
        Some(place)
    }
}

/// Whether another worker should join those that run, of which `busy` tells the part of its time each was busy lately.
pub(crate) fn wants_another(busy: &[f64], live_sessions: u32, max_workers: usize) -> bool {
    if busy.len() >= max_workers {
        return false;
    }
    let capacity = u32::try_from(busy.len())
        .unwrap_or(u32::MAX)
        .saturating_mul(SESSIONS_PER_WORKER);
    busy.iter().all(|part| *part > SATURATED) || live_sessions > capacity
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_round() {
        let mut robin = RoundRobin::default();
        let places: Vec<_> = (0..5).map(|_| robin.next(2)).collect();
        assert_eq!(places, [Some(0), Some(1), Some(0), Some(1), Some(0)]);
        assert_eq!(robin.next(0), None);
    }

    #[test]
    fn wants_the_first_worker_at_once() {
        assert!(wants_another(&[], 0, 1));
    }

    #[test]
    fn wants_another_only_when_all_are_saturated() {
        assert!(wants_another(&[0.9, 0.8], 2, 4));
        assert!(!wants_another(&[0.9, 0.1], 2, 4));
        assert!(!wants_another(&[0.9, 0.9], 2, 2));
    }

    #[test]
    fn wants_another_when_sessions_crowd_idle_workers() {
        assert!(wants_another(&[0.0], 33, 2));
        assert!(!wants_another(&[0.0], 32, 2));
    }
}
