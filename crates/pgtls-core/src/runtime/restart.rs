//! [`keep_running`]: what a thread of which there is one does again when it dies of a panic, on that same thread.
//!
//! Workers and responders are replaced by their supervisor instead (`crew`), since their threads' state is gone with them.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::time::Instant;

use crate::connection::panic_text;
use crate::runtime::backoff::Backoff;

/// Why work that was to go on did not.
pub(crate) type Death = String;

/// Runs `work`, which panics for what it dies of. State that `work` shares with what comes after it must bear that.
pub(crate) fn survive<T>(work: impl FnOnce() -> T) -> Result<T, Death> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panic_text(panic.as_ref()))
}

/// Does `work` until it succeeds. Each death is told; work that had lived begins again at once, work that dies young after a pause
/// that grows, and that [`thread::Thread::unpark`] ends early.
pub(crate) fn keep_running(
    mut work: impl FnMut() -> Result<(), Death>,
    mut tell: impl FnMut(Death),
) {
    let mut backoff = Backoff::default();
    let mut started_at = Instant::now();
    while let Err(death) = work() {
        // It is somebody else's code that is told, and its panic must not end what is kept running.
        let _ = survive(|| tell(death));
        let now = Instant::now();
        if !backoff.died(started_at, now)
            && let Some(until) = backoff.until()
        {
            thread::park_timeout(until.duration_since(now));
        }
        started_at = Instant::now();
    }
}

/// That the system refuses what work needs is a death like others.
pub(crate) fn refused(error: &io::Error) -> Death {
    format!("its runtime cannot be built: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_dies_is_done_again_until_it_succeeds_and_each_death_is_told() {
        let mut deaths = Vec::new();
        let mut runs = 0;
        let begun = Instant::now();
        keep_running(
            || {
                runs += 1;
                match runs {
                    1 => survive(|| panic!("of the first")),
                    2 => Err(refused(&io::ErrorKind::OutOfMemory.into())),
                    _ => Ok(()),
                }
            },
            |death| {
                deaths.push(death);
                panic!("and so does who is told");
            },
        );
        assert_eq!((runs, deaths.len()), (3, 2));
        assert_eq!(deaths[0], "of the first");
        assert!(deaths[1].contains("cannot be built"), "{deaths:?}");
        assert!(begun.elapsed().as_millis() >= 30, "two pauses");
    }
}
