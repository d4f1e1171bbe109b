//! [`signals`]: what ends a session on our initiative, as one future that a session polls for life.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until};

use crate::connection::farewell::Farewell;
use crate::data_plane::Shared;
use crate::messages::Control;
use crate::responder::Answer;

/// What happens in a session, shared by its relay and its signals.
pub(crate) type Activity = Rc<Transfers>;

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

/// Ready once, with the reason, when the session shall end. Boxed and polled in place, so that a transfer costs no registration.
pub(crate) type Signals = Pin<Box<dyn Future<Output = Farewell>>>;

/// The signals of a login: a drain, or its deadline.
pub(crate) fn login_signals(shared: &Arc<Shared>, deadline: Instant) -> Signals {
    let cut = cut(shared);
    Box::pin(async move {
        tokio::select! {
            farewell = cut => farewell,
            () = sleep_until(deadline.into()) => Farewell::LoginOverdue,
        }
    })
}

/// The signals of one session; an `idle_timeout` of zero is none.
pub(crate) fn signals(
    shared: &Arc<Shared>,
    idle_timeout: Duration,
    activity: &Activity,
) -> Signals {
    let cut = cut(shared);
    if idle_timeout.is_zero() {
        return Box::pin(cut);
    }
    let activity = Rc::clone(activity);
    Box::pin(async move {
        tokio::select! {
            farewell = cut => farewell,
            () = idle(idle_timeout, activity) => Farewell::Idle,
        }
    })
}

/// Ready when every session shall end.
fn cut(shared: &Arc<Shared>) -> impl Future<Output = Farewell> + 'static {
    let mut control = shared.control.subscribe();
    async move {
        // The sender lives as long as the data plane, and no session outlives that.
        let _ = control.wait_for(|control| *control == Control::Cut).await;
        Farewell::Drained
    }
}

/// Ready when `activity` has not changed for `timeout`, or up to one tick longer.
async fn idle(timeout: Duration, activity: Activity) {
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
