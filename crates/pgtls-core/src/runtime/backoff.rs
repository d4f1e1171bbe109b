//! [`Backoff`]: how soon a thread that died is replaced. At once if it had lived; after a growing pause if it died young.

use std::time::Duration;

use tokio::time::Instant;

/// A thread that lived at least this long is replaced at once.
const STABLE_AFTER: Duration = Duration::from_secs(1);

/// Bounds of the pause, which doubles from one to the other.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// The pause before the next start of one kind of thread.
#[derive(Debug)]
pub(crate) struct Backoff {
    pause: Duration,
    until: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            pause: SHORTEST,
            until: None,
        }
    }
}

impl Backoff {
    /// A thread died: whether it may be replaced at once.
    pub(crate) fn died(&mut self, started_at: Instant, now: Instant) -> bool {
        if now.duration_since(started_at) >= STABLE_AFTER {
            *self = Self::default();
            return true;
        }
        self.failed(now);
        false
    }

    /// A thread could not be started, or did not live long.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.until = now.checked_add(self.pause);
        self.pause = self.pause.saturating_mul(2).min(LONGEST);
    }

    /// Somebody could not wait for the end of the pause, and started a thread.
    pub(crate) fn end(&mut self) {
        self.until = None;
    }

    /// When the pause is over; none if there is none.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether there is a pause.
    pub(crate) fn is_waiting(&self) -> bool {
        self.until.is_some()
    }

    /// Whether the pause is over by `now`; ends it then.
    pub(crate) fn take_due(&mut self, now: Instant) -> bool {
        let is_due = self.until.is_some_and(|until| until <= now);
        if is_due {
            self.until = None;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_at_once_what_had_lived() {
        let mut backoff = Backoff::default();
        let born = Instant::now();
        assert!(backoff.died(born, born + Duration::from_secs(2)));
        assert!(!backoff.is_waiting());
    }

    #[test]
    fn pauses_longer_each_time_a_thread_dies_young_up_to_a_second() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let pauses: Vec<_> = (0..9)
            .map(|_| {
                assert!(!backoff.died(now, now));
                backoff
                    .until()
                    .map(|until| (until - now).as_millis())
                    .unwrap_or_default()
            })
            .collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    }

    #[test]
    fn is_not_due_once_it_was_ended_and_goes_on_from_there() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        backoff.failed(now);
        backoff.end();
        assert!(!backoff.take_due(now + Duration::from_secs(1)));
        backoff.failed(now);
        assert_eq!(backoff.until(), Some(now + Duration::from_millis(20)));
    }

    #[test]
    fn is_due_once() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        backoff.failed(now);
        assert!(!backoff.take_due(now));
        assert!(backoff.take_due(now + Duration::from_millis(10)));
        assert!(!backoff.take_due(now + Duration::from_millis(10)));
    }
}
