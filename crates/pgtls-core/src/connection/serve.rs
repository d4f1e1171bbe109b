//! [`serve`]: a connection from its adoption to its report. Whatever panics inside costs this connection alone.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::Notify;

use crate::connection::cancel::cancel_statement;
use crate::connection::close::{close_client, close_told};
use crate::connection::journal::{Arrival, Journal};
use crate::connection::login::log_in;
use crate::connection::peer::Scratch;
use crate::connection::session::{Session, SessionEnd, run_session};
use crate::connection::signals::Cuts;
use crate::data_plane::Shared;
use crate::messages::Placed;
use crate::report::CloseReason;
use crate::responder::ResponderHandle;

/// What a connection needs of its worker.
#[derive(Clone, Copy)]
pub(crate) struct Context<'w> {
    pub(crate) shared: &'w Arc<Shared>,
    pub(crate) scratch: &'w RefCell<Scratch>,
    pub(crate) cuts: &'w Rc<Cuts>,
    /// The responder that this worker was started with.
    pub(crate) responder: Option<&'w ResponderHandle>,
}

/// What the connections of one worker share.
pub(crate) struct WorkerLocal {
    shared: Arc<Shared>,
    scratch: RefCell<Scratch>,
    cuts: Rc<Cuts>,
    responder: Option<ResponderHandle>,
    /// Connections that are being served.
    live: Cell<usize>,
    /// Told when that becomes zero.
    none_left: Notify,
}

impl WorkerLocal {
    pub(crate) fn new(shared: Arc<Shared>, responder: Option<ResponderHandle>) -> Rc<Self> {
        Rc::new(Self {
            shared,
            scratch: RefCell::default(),
            cuts: Rc::default(),
            responder,
            live: Cell::new(0),
            none_left: Notify::new(),
        })
    }

    /// Where every session of this worker can be told to end.
    pub(crate) fn cuts(&self) -> &Cuts {
        &self.cuts
    }

    /// Ready when no connection is left.
    pub(crate) async fn none_left(&self) {
        while self.live.get() > 0 {
            self.none_left.notified().await;
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            shared: &self.shared,
            scratch: &self.scratch,
            cuts: &self.cuts,
            responder: self.responder.as_ref(),
        }
    }
}

/// A place among the connections of a worker, until it is dropped.
struct Served(Rc<WorkerLocal>);

impl Served {
    fn new(worker: &Rc<WorkerLocal>) -> Self {
        worker.live.set(worker.live.get().saturating_add(1));
        Self(Rc::clone(worker))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let left = self.0.live.get().saturating_sub(1);
        self.0.live.set(left);
        if left == 0 {
            self.0.none_left.notify_one();
        }
    }
}

/// Serves a connection to its end. Never panics: a panic inside costs this connection alone.
///
/// Not an `async fn`, which would keep room for its argument, unused, for as long as the session lasts.
pub(crate) fn serve(placed: Placed, worker: &Rc<WorkerLocal>) -> impl Future<Output = ()> + use<> {
    let served = Served::new(worker);
    let Placed {
        mut journal,
        arrival,
    } = placed;
    async move {
        let panic = {
            let mut phases = pin!(run_phases(arrival, served.0.context(), &mut journal));
            poll_fn(
                |cx| match catch_unwind(AssertUnwindSafe(|| phases.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(())) => Poll::Ready(None),
                    Err(panic) => Poll::Ready(Some(panic_text(panic.as_ref()))),
                },
            )
            .await
        };
        if let Some(text) = panic {
            journal.note_panic(text);
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

async fn run_phases(arrival: Box<Arrival>, context: Context<'_>, journal: &mut Journal) {
    // Boxed, so that an idle session does not carry the login's state.
    let Some(mut session) = Box::pin(log_in(arrival, context, journal)).await else {
        return;
    };
    journal.begin_session();
    let end = run_session(&mut session, &context, journal).await;
    Box::pin(end_session(end, &session, context, journal)).await;
}

/// Tells the client what it has not been told yet, and notes the ending.
async fn end_session(
    end: SessionEnd,
    session: &Session,
    context: Context<'_>,
    journal: &mut Journal,
) {
    let SessionEnd {
        ending,
        is_told,
        is_busy,
    } = end;
    let is_abandoned = is_busy && ending.reason == CloseReason::Drained;
    let client = &session.client;
    let closing = async {
        if is_told {
            close_told(client, context.scratch).await;
        } else if ending.notice.is_some() {
            close_client(client, ending.notice.as_ref(), context.scratch).await;
        }
    };
    let stopping = async {
        if is_abandoned && let Some(entry) = &session.cancel_entry {
            // PostgreSQL completes a statement whose client has gone: a session that a drain cuts takes its statement along.
            cancel_statement(context.shared, entry, context.scratch).await;
        }
    };
    tokio::join!(closing, stopping);
    journal.note_ending(ending);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn future_bytes<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// A session's task, its largest piece of memory that is ours, is kept for life. tokio adds some 110 bytes and rounds up to 128.
    #[test]
    fn an_idle_session_is_a_small_task() {
        let task = |placed, worker: &'static Rc<WorkerLocal>| serve(placed, worker);
        let bytes = future_bytes(task);
        assert!(bytes <= 728, "the task of a session takes {bytes} bytes");
    }
}
