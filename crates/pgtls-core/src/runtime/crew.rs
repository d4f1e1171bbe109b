//! [`Crew`]: the threads below the supervisor: workers, and the responder if there is one. Starts them, replaces those that die.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, Scope};

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::data_plane::{Event, Shared};
use crate::messages::{ProxyMessage, WORKER_QUEUE, WorkerMessage};
use crate::responder::{Responder, ResponderHandle};
use crate::runtime::backoff::Backoff;
use crate::runtime::roster::{Roster, Tried, Worker};
use crate::runtime::worker;

/// The responder that runs, or does not.
struct Answering {
    responder: Arc<dyn Responder>,
    /// None while it is down.
    requests: Option<mpsc::Sender<crate::responder::Request>>,
    started_at: Instant,
    backoff: Backoff,
}

pub(crate) struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    shared: &'env Arc<Shared>,
    commands: mpsc::Sender<ProxyMessage>,
    /// Workers that take nothing more, but whose threads are not over yet.
    dying: Vec<Worker>,
    /// Workers without the responder that runs: they end with the last connection they serve.
    retired: Vec<usize>,
    /// Threads that have not ended.
    threads: usize,
    /// Workers started so far: the next one's number.
    started: usize,
    backoff: Backoff,
    answering: Option<Answering>,
}

impl<'scope, 'env> Crew<'scope, 'env> {
    /// Starts the responder, if there is one; workers come on demand.
    pub(crate) fn new(
        scope: &'scope Scope<'scope, 'env>,
        shared: &'env Arc<Shared>,
        commands: mpsc::Sender<ProxyMessage>,
        responder: Option<Arc<dyn Responder>>,
    ) -> Self {
        let answering = responder.map(|responder| Answering {
            responder,
            requests: None,
            started_at: Instant::now(),
            backoff: Backoff::default(),
        });
        let mut crew = Self {
            scope,
            shared,
            commands,
            dying: Vec::new(),
            retired: Vec::new(),
            threads: 0,
            started: 0,
            backoff: Backoff::default(),
            answering,
        };
        crew.start_responder();
        crew
    }

    /// Those that connections may be placed on.
    fn roster(&self) -> &'env Roster {
        &self.shared.roster
    }

    /// Whether every thread has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.threads == 0
    }

    /// Closes every channel: threads end with the last of their work.
    pub(crate) fn dismiss(&mut self) {
        self.roster().clear();
        self.dying.clear();
        if let Some(answering) = self.answering.as_mut() {
            answering.requests = None;
        }
    }

    /// Hands a message to a worker that lives and has room in its queue; drops it when there is none.
    pub(crate) fn place(&mut self, mut message: WorkerMessage) {
        self.grow();
        // All that run, and one more in case that they are all dying.
        for _ in 0..=self.roster().len() {
            match self.roster().try_next(message) {
                Tried::Placed | Tried::Nobody => return,
                Tried::Full(back) => message = back,
                Tried::Dying(worker, back) => {
                    message = back;
                    self.dying.push(worker);
                    self.grow();
                }
            }
        }
    }

    /// Starts another worker where the load asks for one.
    fn grow(&mut self) {
        // Somebody waits for the first worker, however young the last one died.
        let may_start = !self.backoff.is_waiting() || self.roster().len() == 0;
        if may_start && self.roster().wants_another(self.shared) {
            self.start_worker();
        }
    }

    /// When a thread that died young may be replaced.
    pub(crate) fn next_start(&self) -> Option<Instant> {
        let responder = self
            .answering
            .as_ref()
            .and_then(|answering| answering.backoff.until());
        [self.backoff.until(), responder]
            .into_iter()
            .flatten()
            .min()
    }

    /// Replaces the threads whose time has come.
    pub(crate) fn start_those_due(&mut self) {
        let now = Instant::now();
        if self.backoff.take_due(now) {
            self.start_worker();
        }
        if self
            .answering
            .as_mut()
            .is_some_and(|answering| answering.backoff.take_due(now))
        {
            self.start_responder();
        }
    }

    /// A worker's thread is over. Unless it was told to go, another takes its place, after a pause if it died young.
    pub(crate) fn worker_stopped(
        &mut self,
        number: usize,
        cause: Option<String>,
        is_closing: bool,
    ) {
        self.threads = self.threads.saturating_sub(1);
        self.shared.workers.remove_running();
        let retired = self.retired.iter().position(|retired| *retired == number);
        if let Some(place) = retired {
            self.retired.swap_remove(place);
        }
        if is_closing || (retired.is_some() && cause.is_none()) {
            return;
        }
        self.shared.workers.add_restart();
        (self.shared.events)(Event::WorkerRestarted {
            worker: u32::try_from(number).unwrap_or(u32::MAX),
            reason: cause.unwrap_or_else(|| "its loop ended".to_owned()),
        });
        // One that was set aside or retired was made up for then, as far as the load asked for it.
        self.dying.retain(|worker| worker.number != number);
        if let Some(worker) = self.roster().remove(number)
            && self.backoff.died(worker.started_at, Instant::now())
        {
            self.start_worker();
        }
    }

    /// The responder's thread is over: its workers retire, and a fresh responder serves those to come.
    pub(crate) fn responder_stopped(&mut self, is_closing: bool) {
        self.threads = self.threads.saturating_sub(1);
        let Some(answering) = self.answering.as_mut() else {
            return;
        };
        answering.requests = None;
        if is_closing {
            return;
        }
        self.shared.workers.add_responder_restart();
        let may_start = answering.backoff.died(answering.started_at, Instant::now());
        self.retire_workers();
        if may_start {
            self.start_responder();
        }
    }

    /// The workers that run end with the last connection they serve; others are started for those to come.
    fn retire_workers(&mut self) {
        let workers = self.roster().clear();
        self.retired
            .extend(workers.iter().map(|worker| worker.number));
    }

    fn start_worker(&mut self) {
        let number = self.started;
        let (messages, receiver) = mpsc::channel(WORKER_QUEUE);
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
            self.backoff.failed(Instant::now());
            return;
        };
        let metrics = runtime.metrics();
        let (shared, commands) = (Arc::clone(self.shared), self.commands.clone());
        let responder = self.answering.as_ref().and_then(Answering::handle);
        let body = move || {
            worker::run(number, &runtime, &shared, receiver, responder, &commands);
            // A name look-up that hangs in the resolver must not hold the end of this thread up.
            runtime.shutdown_background();
        };
        let name = format!("pgtls-worker-{number}");
        if thread::Builder::new()
            .name(name)
            .spawn_scoped(self.scope, body)
            .is_err()
        {
            self.backoff.failed(Instant::now());
            return;
        }
        self.started = self.started.saturating_add(1);
        self.threads = self.threads.saturating_add(1);
        self.shared.workers.add_running();
        self.backoff.end();
        self.roster().add(Worker::new(number, messages, metrics));
    }

    fn start_responder(&mut self) {
        let Some(answering) = self.answering.as_mut() else {
            return;
        };
        let (requests, receiver) = mpsc::channel(answering.responder.queue_length().max(1));
        let (responder, commands) = (Arc::clone(&answering.responder), self.commands.clone());
        let body = move || {
            let answer = || {
                if let Ok(runtime) = Builder::new_current_thread().enable_all().build() {
                    LocalSet::new().block_on(&runtime, responder.run(receiver));
                }
            };
            // What it died of is its own to tell; here it counts that it is gone.
            let _ = catch_unwind(AssertUnwindSafe(answer));
            // Fails only once the proxy thread is over.
            let _ = commands.blocking_send(ProxyMessage::ResponderStopped);
        };
        let name = "pgtls-responder".to_owned();
        answering.started_at = Instant::now();
        match thread::Builder::new()
            .name(name)
            .spawn_scoped(self.scope, body)
        {
            Ok(_) => {
                answering.requests = Some(requests);
                self.threads = self.threads.saturating_add(1);
                // Those that were started while there was no responder would never have one.
                self.retire_workers();
            }
            Err(_) => answering.backoff.failed(Instant::now()),
        }
    }
}

impl Answering {
    fn handle(&self) -> Option<ResponderHandle> {
        let requests = self.requests.clone()?;
        Some(ResponderHandle {
            responder: Arc::clone(&self.responder),
            requests,
        })
    }
}
