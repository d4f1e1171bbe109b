//! One worker thread: a current_thread runtime and a LocalSet that serve connections until the supervisor lets go.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

use crate::connection::{WorkerLocal, panic_text, serve};
use crate::data_plane::Shared;
use crate::messages::{Control, ProxyMessage, WorkerMessage};
use crate::responder::ResponderHandle;
use crate::runtime::reports::Gatherer;

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

/// Serves every connection that comes, each in a task of its own, until the channel is closed and the last task is over. The
/// tasks belong to the worker's `LocalSet`, which drops them with itself.
async fn serve_all(
    shared: Arc<Shared>,
    mut messages: mpsc::Receiver<WorkerMessage>,
    responder: Option<ResponderHandle>,
) {
    let mut control = shared.control.subscribe();
    let gatherer = Gatherer::begin(&shared.events);
    let mut gathering = pin!(gatherer.run());
    let local = WorkerLocal::new(shared, responder);
    let mut is_open = true;
    loop {
        tokio::select! {
            message = messages.recv(), if is_open => match message {
                Some(WorkerMessage::Serve(placed)) => {
                    // Nothing is to be learnt from its end: it catches its panics.
                    drop(spawn_local(serve(*placed, &local)));
                }
                #[cfg(feature = "fault-injection")]
                Some(WorkerMessage::Fault(fault)) => fault.strike(),
                None => is_open = false,
            },
            // The sender lives as long as the data plane, and no worker outlives that.
            _ = control.wait_for(|control| *control == Control::Cut), if !local.cuts().is_cut() => {
                local.cuts().cut();
            }
            () = local.none_left(), if !is_open => break,
            () = &mut gathering => {}
        }
    }
}
