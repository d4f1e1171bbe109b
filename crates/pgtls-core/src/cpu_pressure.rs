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
    /// Something in between.
    Strained,
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

/// Of the calling thread since the last look; None = too little, too long ago, or not to be known.
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
    Some(judge(computed, waited))
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

fn judge(computed: Duration, waited: Duration) -> Pressure {
    if waited > computed {
        Pressure::Starved
    } else if waited < computed / 3 {
        Pressure::Relaxed
    } else {
        Pressure::Strained
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
        assert_eq!(of(10, 11), Pressure::Starved);
        assert_eq!(of(10, 10), Pressure::Strained);
        assert_eq!(of(12, 4), Pressure::Strained);
        assert_eq!(of(12, 3), Pressure::Relaxed);
    }

    #[test]
    fn what_the_kernel_writes_is_two_times_and_a_count() {
        let times = (Duration::from_nanos(124_385), Duration::from_nanos(72));
        assert_eq!(parse("124385 72 2\n"), Some(times));
        assert_eq!(parse("124385"), None);
        assert_eq!(parse("no schedstat"), None);
    }

    /// Of a thread of its own: whatever it shares the CPUs with, it computes or waits all the time.
    #[test]
    fn a_thread_that_always_has_work_is_counted_as_computing_or_waiting() {
        let counted = std::thread::spawn(|| {
            let first = Look::now(Instant::now())?;
            let busy = Duration::from_millis(200);
            while first.at.elapsed() < busy {
                std::hint::black_box(());
            }
            let (computed, waited) = Look::now(Instant::now())?.since(first);
            Some((computed.saturating_add(waited), busy))
        });
        // None: this system does not count.
        if let Some((counted, busy)) = counted.join().expect("a thread that ends") {
            assert!(counted >= busy / 2, "{counted:?}");
        }
    }

    #[test]
    fn the_first_look_of_a_thread_compares_nothing() {
        let first = std::thread::spawn(of_this_thread);
        assert_eq!(first.join().expect("a thread that ends"), None);
    }
}
