//! [`Signals`]: what ends a session on our initiative, as one future that a session polls for life, and [`Cuts`], through which
//! a worker tells all of its sessions at once.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until};

use crate::connection::farewell::Farewell;
use crate::responder::Answer;

/// What happens in a session, shared by its relay and its idle timeout; none where nobody wants to know.
pub(crate) type Activity = Option<Rc<Transfers>>;

/// Counts a session's transfers; what stays the same for long enough is idle.
#[derive(Debug, Default)]
pub(crate) struct Transfers {
    /// The worker's.
    own: Cell<u64>,
    /// Of the last answer of another thread.
    answer: RefCell<Option<Answer>>,
}

impl Transfers {
    /// Notes one of the worker's.
    pub(crate) fn note(&self) {
        self.own.set(self.own.get().wrapping_add(1));
    }

    /// What `answer` sends counts from now on.
    pub(crate) fn follow(&self, answer: Answer) {
        self.own.set(self.count().wrapping_add(1));
        self.answer.replace(Some(answer));
    }

    fn count(&self) -> u64 {
        let answer = self.answer.borrow();
        let sent = answer.as_ref().map_or(0, Answer::sent);
        self.own.get().wrapping_add(sent)
    }
}

/// Into how many parts the idle timeout is divided: it is kept to one part of itself without a clock read per transfer.
const IDLE_TICKS: u32 = 8;

/// The sessions of one worker that wait to be cut, a waker each. That takes a sixth of the memory of a subscription each.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    is_cut: Cell<bool>,
    waiting: RefCell<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// None where a place is free, or its session was not polled yet.
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Cuts {
    /// Every session shall end, those to come as well.
    pub(crate) fn cut(&self) {
        self.is_cut.set(true);
        let mut waiting = self.waiting.borrow_mut();
        let wakers = waiting.wakers.iter_mut().filter_map(Option::take);
        let wakers = wakers.collect::<Vec<_>>();
        // What is woken may come back here.
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether that is so.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.get()
    }

    fn take_place(&self) -> usize {
        let Waiting { wakers, free } = &mut *self.waiting.borrow_mut();
        free.pop().unwrap_or_else(|| {
            wakers.push(None);
            wakers.len().saturating_sub(1)
        })
    }

    fn wait(&self, place: usize, waker: &Waker) {
        if let Some(slot) = self.waiting.borrow_mut().wakers.get_mut(place) {
            match slot {
                Some(known) => known.clone_from(waker),
                None => *slot = Some(waker.clone()),
            }
        }
    }

    fn give_back(&self, place: usize) {
        let Waiting { wakers, free } = &mut *self.waiting.borrow_mut();
        if let Some(slot) = wakers.get_mut(place) {
            *slot = None;
            free.push(place);
        }
        if free.len() == wakers.len() {
            *wakers = Vec::new();
            *free = Vec::new();
        }
    }
}

/// What else than a cut ends a session.
type Timer = Pin<Box<dyn Future<Output = Farewell>>>;

/// Ready once, with the reason, when the session shall end. Polled in place, so that a transfer costs no registration.
pub(crate) struct Signals {
    cuts: Rc<Cuts>,
    /// In `cuts`.
    place: usize,
    timer: Option<Timer>,
}

impl Signals {
    fn new(cuts: &Rc<Cuts>, timer: Option<Timer>) -> Self {
        Self {
            cuts: Rc::clone(cuts),
            place: cuts.take_place(),
            timer,
        }
    }

    /// Those of a login: a cut, or its deadline.
    pub(crate) fn of_login(cuts: &Rc<Cuts>, deadline: Instant) -> Self {
        let timer = async move {
            sleep_until(deadline.into()).await;
            Farewell::LoginOverdue
        };
        Self::new(cuts, Some(Box::pin(timer)))
    }

    /// Those of a session: a cut, or that nothing happens for `idle_timeout`, unless that is zero.
    pub(crate) fn of_session(cuts: &Rc<Cuts>, idle_timeout: Duration) -> (Self, Activity) {
        if idle_timeout.is_zero() {
            return (Self::new(cuts, None), None);
        }
        let activity = Rc::new(Transfers::default());
        let watched = Rc::clone(&activity);
        let timer = async move {
            idle(idle_timeout, watched).await;
            Farewell::Idle
        };
        (Self::new(cuts, Some(Box::pin(timer))), Some(activity))
    }
}

impl Future for Signals {
    type Output = Farewell;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Farewell> {
        if self.cuts.is_cut() {
            return Poll::Ready(Farewell::Drained);
        }
        self.cuts.wait(self.place, cx.waker());
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.cuts.give_back(self.place);
    }
}

/// Ready when `activity` has not changed for `timeout`, or up to one tick longer.
async fn idle(timeout: Duration, activity: Rc<Transfers>) {
    let tick = timeout
        .checked_div(IDLE_TICKS)
        .unwrap_or(timeout)
        .max(Duration::from_millis(1));
    let mut seen = activity.count();
    let mut quiet_ticks = 0;
    while quiet_ticks < IDLE_TICKS {
        sleep(tick).await;
        quiet_ticks = if activity.count() == seen {
            u32::saturating_add(quiet_ticks, 1)
        } else {
            0
        };
        seen = activity.count();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct CountsWakes(AtomicUsize);

    impl Wake for CountsWakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_cut_wakes_every_session_once_and_meets_those_to_come() {
        let count = Arc::new(CountsWakes::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let cuts = Rc::new(Cuts::default());
        let mut sessions = [(); 3].map(|()| Signals::of_session(&cuts, Duration::ZERO).0);
        for session in &mut sessions {
            assert!(Pin::new(&mut *session).poll(&mut cx).is_pending());
            assert!(Pin::new(session).poll(&mut cx).is_pending());
        }
        cuts.cut();
        assert_eq!(count.0.load(Ordering::Relaxed), 3);
        let late = Signals::of_session(&cuts, Duration::ZERO).0;
        for mut session in sessions.into_iter().chain([late]) {
            let ready = Pin::new(&mut session).poll(&mut cx);
            assert_eq!(ready, Poll::Ready(Farewell::Drained));
        }
    }

    #[test]
    fn places_are_used_again_and_their_memory_is_given_back_with_the_last() {
        let cuts = Rc::new(Cuts::default());
        let first = Signals::of_session(&cuts, Duration::ZERO).0;
        for _ in 0..100 {
            drop(Signals::of_session(&cuts, Duration::ZERO));
        }
        assert_eq!(cuts.waiting.borrow().wakers.len(), 2);
        drop(first);
        assert_eq!(cuts.waiting.borrow().wakers.capacity(), 0);
    }
}
