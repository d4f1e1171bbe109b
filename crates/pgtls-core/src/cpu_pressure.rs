//! How long a thread waits for a CPU, compared with how long it has one: the kernel counts both for every thread.
//!
//! Linux only (`/proc/thread-self/schedstat`); elsewhere, and where that cannot be read, there is nothing to tell.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What became of the time in which a thread had work to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    /// It waited for a CPU longer than it had one.
    Starved,
    /// It had a CPU at least three quarters of that time.
    Relaxed,
}

/// Looks are at least so far apart: a turn of the scheduler takes milliseconds.
const SHORTEST: Duration = Duration::from_millis(10);
/// A look says nothing of what was longer ago.
const LONGEST: Duration = Duration::from_secs(1);
/// Whoever had less to do than this was not in anybody's way.
const ENOUGH: Duration = Duration::from_millis(1);

thread_local! {
    static LAST: Cell<Option<Look>> = const { Cell::new(None) };
}

/// Of the calling thread since the last look; None = too little, too long ago, in between, or not to be known.
pub(crate) fn of_this_thread() -> Option<Pressure> {
    let now = Instant::now();
    let last = LAST.get();
    if last.is_some_and(|last| now.saturating_duration_since(last.at) < SHORTEST) {
        return None;
    }
    let look = Look::now(now)?;
    let Some(last) = last.filter(|last| now.saturating_duration_since(last.at) <= LONGEST) else {
        LAST.set(Some(look));
        return None;
    };
    let (computed, waited) = look.since(last);
    if computed.saturating_add(waited) < ENOUGH {
        return None;
    }
    LAST.set(Some(look));
    judge(computed, waited)
}

/// A thread's counters at a moment.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    computed: Duration,
    waited: Duration,
}

impl Look {
    fn now(at: Instant) -> Option<Self> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let (computed, waited) = parse(&text)?;
        Some(Self {
            at,
            computed,
            waited,
        })
    }

    fn since(self, last: Self) -> (Duration, Duration) {
        (
            self.computed.saturating_sub(last.computed),
            self.waited.saturating_sub(last.waited),
        )
    }
}

/// Nanoseconds on a CPU, nanoseconds in the queue for one, and how often (`Documentation/scheduler/sched-stats.rst` of Linux).
fn parse(text: &str) -> Option<(Duration, Duration)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse);
    let mut next = || Some(Duration::from_nanos(numbers.next()?.ok()?));
    Some((next()?, next()?))
}

fn judge(computed: Duration, waited: Duration) -> Option<Pressure> {
    if waited > computed {
        Some(Pressure::Starved)
    } else if waited < computed / 3 {
        Some(Pressure::Relaxed)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_longer_than_it_computes_is_starved_and_who_hardly_waits_relaxed() {
        let of = |computed, waited| {
            judge(
                Duration::from_millis(computed),
                Duration::from_millis(waited),
            )
        };
        assert_eq!(of(10, 11), Some(Pressure::Starved));
        assert_eq!(of(10, 10), None);
        assert_eq!(of(12, 4), None);
        assert_eq!(of(12, 3), Some(Pressure::Relaxed));
    }

    #[test]
    fn what_the_kernel_writes_is_two_times_and_a_count() {
        let times = (Duration::from_nanos(124_385), Duration::from_nanos(72));
        assert_eq!(parse("124385 72 2\n"), Some(times));
        assert_eq!(parse("124385"), None);
        assert_eq!(parse("no schedstat"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_computes_is_told_apart_from_one_that_idles() {
        assert_eq!(of_this_thread(), None, "the first look compares nothing");
        std::thread::sleep(SHORTEST);
        let deadline = Instant::now() + LONGEST / 2;
        let mut numbers = 0..u64::MAX;
        while Instant::now() < deadline {
            std::hint::black_box(numbers.next());
        }
        let look = Look::now(Instant::now()).expect("this kernel counts");
        let (computed, waited) = look.since(LAST.get().expect("a first look"));
        assert!(computed.saturating_add(waited) >= LONGEST / 4, "{look:?}");
        assert_eq!(of_this_thread(), judge(computed, waited));
    }
}
