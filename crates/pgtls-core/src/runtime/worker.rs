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

/// Runs a worker to its end and tells the supervisor what it was. Sessions still alive when it dies report `WorkerLost`.
pub(crate) fn run(
    worker: usize,
    runtime: &Runtime,
    shared: &Arc<Shared>,
    messages: mpsc::Receiver<WorkerMessage>,
    supervisor: &mpsc::Sender<ProxyMessage>,
) {
    let work = || LocalSet::new().block_on(runtime, serve_all(Arc::clone(shared), messages));
    let cause = catch_unwind(AssertUnwindSafe(work))
        .err()
        .map(|panic| panic_text(panic.as_ref()));
    // Closed only when the supervisor is gone, and then nobody needs to know.
    let _ = supervisor.blocking_send(ProxyMessage::WorkerStopped { worker, cause });
}

/// Serves every connection that comes, each in a task of its own, until the channel is closed and the last task is over.
async fn serve_all(shared: Arc<Shared>, mut messages: mpsc::Receiver<WorkerMessage>) {
    let scratch = Rc::new(RefCell::new(Scratch::default()));
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(WorkerMessage::Adopt(adopted)) => {
                    let (shared, scratch) = (Arc::clone(&shared), Rc::clone(&scratch));
                    sessions.spawn_local(async move {
                        serve(adopted, Context { shared: &shared, scratch: &scratch }).await;
                    });
                }
                None => break,
            },
            // serve() catches its panics; there is nothing to learn from the result.
            Some(_) = sessions.join_next() => {}
        }
    }
    while sessions.join_next().await.is_some() {}
}
