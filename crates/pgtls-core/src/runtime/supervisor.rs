//! The proxy thread: places connections on workers, starts workers on demand, restarts those that die, drains, closes.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle, Scope};
use std::time::Duration;

use tokio::runtime::{Builder, RuntimeMetrics};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::connection::Journal;
use crate::data_plane::{DrainReport, Event, Shared};
use crate::messages::{Adopted, Control, ProxyMessage, WORKER_QUEUE, WorkerMessage};
use crate::runtime::placement::{RoundRobin, wants_another};
use crate::runtime::worker;

/// Over how long a worker's load is measured at least.
const LOAD_WINDOW: Duration = Duration::from_millis(50);

/// A worker that lived at least this long is replaced at once when it dies.
const STABLE_AFTER: Duration = Duration::from_secs(1);

/// Bounds of the pause before a worker is replaced that died young; it doubles from one to the other.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What the supervisor listens to.
pub(crate) struct Inbox {
    /// Few and urgent.
    pub(crate) commands: mpsc::Receiver<ProxyMessage>,
    /// Connections to place.
    pub(crate) connections: mpsc::Receiver<Box<Adopted>>,
}

/// Starts the proxy thread. `commands` is what workers report to.
pub(crate) fn start(
    shared: Arc<Shared>,
    commands: mpsc::Sender<ProxyMessage>,
    inbox: Inbox,
) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new()
        .name("pgtls-proxy".to_owned())
        .spawn(move || {
            thread::scope(|scope| {
                let supervisor = Supervisor {
                    scope,
                    shared: &shared,
                    commands,
                    workers: Vec::new(),
                    robin: RoundRobin::default(),
                    started: 0,
                    backoff: BACKOFF.0,
                    blocked_until: None,
                    drain: None,
                };
                runtime.block_on(supervisor.run(inbox));
            });
        })
}

/// A worker that runs.
struct Worker {
    number: usize,
    messages: mpsc::Sender<WorkerMessage>,
    metrics: RuntimeMetrics,
    started_at: Instant,
    /// Load of the last window, and where the next one begins.
    busy: f64,
    window: (Instant, Duration),
}

/// A drain that goes on.
struct Drain {
    deadline: Instant,
    at_start: u32,
    cut: Option<u32>,
    done: Box<dyn FnOnce(DrainReport) + Send>,
}

struct Supervisor<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    shared: &'env Arc<Shared>,
    commands: mpsc::Sender<ProxyMessage>,
    workers: Vec<Worker>,
    robin: RoundRobin,
    /// Workers started so far: the next one's number.
    started: usize,
    backoff: Duration,
    /// No worker is started before this moment.
    blocked_until: Option<Instant>,
    drain: Option<Drain>,
}

impl Supervisor<'_, '_> {
    async fn run(mut self, mut inbox: Inbox) {
        loop {
            let drain_deadline = self
                .drain
                .as_ref()
                .filter(|drain| drain.cut.is_none())
                .map(|drain| drain.deadline);
            tokio::select! {
                biased;
                Some(command) = inbox.commands.recv() => match command {
                    ProxyMessage::WorkerStopped { worker, cause } => self.worker_stopped(worker, cause),
                    ProxyMessage::Drain { grace, done } => self.start_drain(grace, done),
                    ProxyMessage::Close => break,
                },
                () = self.shared.admission.idle.notified(), if self.drain.is_some() => self.finish_drain(),
                () = sleep_until_some(drain_deadline), if drain_deadline.is_some() => self.cut(),
                () = sleep_until_some(self.blocked_until), if self.blocked_until.is_some() => {
                    self.blocked_until = None;
                    self.start_worker();
                }
                Some(adopted) = inbox.connections.recv() => self.place(adopted),
            }
        }
        // Workers end once their channel is closed and their sessions, which are told to, are over; the scope joins them.
        self.shared.control.send_replace(Control::Cut);
        if let Some(drain) = self.drain.take() {
            let cut = drain.cut.unwrap_or_else(|| self.shared.admission.live());
            (drain.done)(DrainReport { drained: drain.at_start.saturating_sub(cut), cut });
        }
        self.workers.clear();
    }

    /// Hands a connection to the next worker with room in its queue.
    fn place(&mut self, adopted: Box<Adopted>) {
        self.grow();
        let mut message = WorkerMessage::Adopt(adopted);
        for _ in 0..self.workers.len() {
            let next = self.robin.next(self.workers.len());
            let Some(worker) = next.and_then(|place| self.workers.get(place)) else {
                break;
            };
            match worker.messages.try_send(message) {
                Ok(()) => return,
                Err(
                    mpsc::error::TrySendError::Full(back) | mpsc::error::TrySendError::Closed(back),
                ) => {
                    message = back;
                }
            }
        }
        let WorkerMessage::Adopt(adopted) = message;
        // No worker can take it: dropping the journal reports the connection as lost.
        drop(Journal::open(*adopted, self.shared));
    }

    /// Starts another worker where the load asks for one.
    fn grow(&mut self) {
        let now = Instant::now();
        for worker in &mut self.workers {
            worker.measure(now);
        }
        let busy: Vec<f64> = self.workers.iter().map(|worker| worker.busy).collect();
        let is_blocked = self.blocked_until.is_some() && !self.workers.is_empty();
        if !is_blocked
            && wants_another(&busy, self.shared.admission.live(), self.shared.max_workers)
        {
            self.start_worker();
        }
    }

    fn start_worker(&mut self) {
        let number = self.started;
        let (messages, receiver) = mpsc::channel(WORKER_QUEUE);
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
            return;
        };
        let metrics = runtime.metrics();
        let (shared, commands) = (Arc::clone(self.shared), self.commands.clone());
        let body = move || worker::run(number, &runtime, &shared, receiver, &commands);
        let name = format!("pgtls-worker-{number}");
        if thread::Builder::new()
            .name(name)
            .spawn_scoped(self.scope, body)
            .is_err()
        {
            return;
        }
        let now = Instant::now();
        self.started = self.started.saturating_add(1);
        self.shared.workers.add_running();
        self.workers.push(Worker {
            number,
            messages,
            metrics,
            started_at: now,
            busy: 0.0,
            window: (now, Duration::ZERO),
        });
    }

    /// A worker's thread is over: another one takes its place, after a pause if this one died young.
    fn worker_stopped(&mut self, number: usize, cause: Option<String>) {
        let Some(place) = self
            .workers
            .iter()
            .position(|worker| worker.number == number)
        else {
            return;
        };
        let worker = self.workers.swap_remove(place);
        self.shared.workers.remove_running();
        self.shared.workers.add_restart();
        (self.shared.events)(Event::WorkerRestarted {
            worker: u32::try_from(number).unwrap_or(u32::MAX),
            reason: cause.unwrap_or_else(|| "its loop ended".to_owned()),
        });
        let now = Instant::now();
        if now.duration_since(worker.started_at) >= STABLE_AFTER {
            self.backoff = BACKOFF.0;
            self.start_worker();
        } else {
            self.blocked_until = now.checked_add(self.backoff);
            self.backoff = self.backoff.saturating_mul(2).min(BACKOFF.1);
        }
    }

    fn start_drain(&mut self, grace: Duration, done: Box<dyn FnOnce(DrainReport) + Send>) {
        let live = self.shared.admission.live();
        let now = Instant::now();
        let deadline = now.checked_add(grace).unwrap_or(now);
        if let Some(earlier) = self.drain.replace(Drain {
            deadline,
            at_start: live,
            cut: None,
            done,
        }) {
            (earlier.done)(DrainReport { drained: 0, cut: 0 });
        }
        self.finish_drain();
    }

    /// The grace is over.
    fn cut(&mut self) {
        if let Some(drain) = self.drain.as_mut() {
            drain.cut = Some(self.shared.admission.live());
            self.shared.control.send_replace(Control::Cut);
        }
    }

    /// Tells that the drain is over if no session is left.
    fn finish_drain(&mut self) {
        if self.shared.admission.live() > 0 {
            return;
        }
        if let Some(drain) = self.drain.take() {
            let cut = drain.cut.unwrap_or(0);
            (drain.done)(DrainReport {
                drained: drain.at_start.saturating_sub(cut),
                cut,
            });
        }
    }
}

impl Worker {
    /// Updates `busy` if a whole window has passed.
    fn measure(&mut self, now: Instant) {
        let (since, busy_before) = self.window;
        let elapsed = now.duration_since(since);
        if elapsed >= LOAD_WINDOW {
            let busy = self.metrics.worker_total_busy_duration(0);
            self.busy = busy.saturating_sub(busy_before).as_secs_f64() / elapsed.as_secs_f64();
            self.window = (now, busy);
        }
    }
}

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
