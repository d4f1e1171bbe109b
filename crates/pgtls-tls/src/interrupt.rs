//! [`Interrupt`]: ends, from another thread, what the loading of files waits for.
//!
//! Only `ssl_passphrase_command` takes its time; whoever runs it asks [`is_interrupted`] while it waits. Which interrupt counts is
//! a matter of the thread, so that nothing between the two has to hand it down.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Raised once and for all; clones are the same interrupt.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

thread_local! {
    /// What the work on this thread is ended by.
    static CURRENT: RefCell<Option<Interrupt>> = const { RefCell::new(None) };
}

/// Puts the interrupt back that counted before, also when the work panics.
struct Restore(Option<Interrupt>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

impl Interrupt {
    /// Ends what waits [`during`](Self::during) some work, now and in future.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was raised.
    #[must_use]
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Runs `work`, which fails soon after the interrupt is raised if it loads files on this thread.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        work()
    }
}

/// Whether the work on this thread is to end.
pub(crate) fn is_interrupted() -> bool {
    CURRENT.with_borrow(|current| current.as_ref().is_some_and(Interrupt::is_raised))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_interrupted_by_its_own_interrupt_and_only_while_it_runs() {
        let (outer, inner) = (Interrupt::default(), Interrupt::default());
        inner.raise();
        outer.during(|| {
            assert!(!is_interrupted());
            inner.during(|| assert!(is_interrupted()));
            assert!(!is_interrupted());
            outer.raise();
            assert!(is_interrupted());
        });
        assert!(!is_interrupted());
    }

    #[test]
    fn work_that_panics_leaves_no_interrupt_behind() {
        let raised = Interrupt::default();
        raised.raise();
        let result = std::panic::catch_unwind(|| raised.during(|| panic!("on purpose")));
        assert!(result.is_err() && !is_interrupted());
    }
}
