//! One worker thread: a current_thread runtime and a LocalSet that serve connections until the supervisor lets go.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, LocalSet};

use crate::connection::{Context, Scratch, panic_text, serve};
use crate::data_plane::Shared;
use crate::messages::{ProxyMessage, WorkerMessage};
use crate::responder::ResponderHandle;

/// Runs a worker to its end and tells the supervisor what it was. Sessions still alive when it dies report `WorkerLost`.
pub(crate) fn run(
    worker: usize,
    runtime: &Runtime,
    shared: &Arc<Shared>,
    messages: mpsc::Receiver<WorkerMessage>,
    responder: Option<ResponderHandle>,
    supervisor: &mpsc::Sender<ProxyMessage>,
) {
    let work = || {
        let serving = serve_all(Arc::clone(shared), messages, responder);
        LocalSet::new().block_on(runtime, serving);
    };
    let cause = catch_unwind(AssertUnwindSafe(work))
        .err()
        .map(|panic| panic_text(panic.as_ref()));
    // Closed only when the supervisor is gone, and then nobody needs to know.
    let _ = supervisor.blocking_send(ProxyMessage::WorkerStopped { worker, cause });
}

/// Serves every connection that comes, each in a task of its own, until the channel is closed and the last task is over.
async fn serve_all(
    shared: Arc<Shared>,
    mut messages: mpsc::Receiver<WorkerMessage>,
    responder: Option<ResponderHandle>,
) {
    let local = Rc::new(Local {
        shared,
        scratch: RefCell::default(),
        responder,
    });
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(WorkerMessage::Serve(placed)) => {
                    let local = Rc::clone(&local);
                    sessions.spawn_local(async move { serve(*placed, local.context()).await });
                }
                #[cfg(feature = "fault-injection")]
                Some(WorkerMessage::Fault(fault)) => fault.strike(),
                None => break,
            },
            // serve() catches its panics; there is nothing to learn from the result.
            Some(_) = sessions.join_next() => {}
        }
    }
    while sessions.join_next().await.is_some() {}
}

/// What the sessions of one worker share.
struct Local {
    shared: Arc<Shared>,
    scratch: RefCell<Scratch>,
    responder: Option<ResponderHandle>,
}

impl Local {
    fn context(&self) -> Context<'_> {
        Context {
            shared: &self.shared,
            scratch: &self.scratch,
            responder: self.responder.as_ref(),
        }
    }
}
