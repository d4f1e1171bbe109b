//! [`Roster`]: the workers that connections may be placed on. Whoever adopts a connection hands it to one of them at once; only
//! when there is more to do than that (another worker is wanted, or one takes nothing more) it goes to the proxy thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::RuntimeMetrics;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

use crate::connection::Journal;
use crate::data_plane::Shared;
use crate::messages::{Adopted, Placed, WorkerMessage};
use crate::runtime::placement::{RoundRobin, wants_another};

/// Over how long a worker's load is measured at least.
const LOAD_WINDOW: Duration = Duration::from_millis(50);

/// A worker that connections may be placed on.
pub(crate) struct Worker {
    pub(crate) number: usize,
    pub(crate) started_at: Instant,
    messages: mpsc::Sender<WorkerMessage>,
    metrics: RuntimeMetrics,
    /// Load of the last window, and where the next one begins.
    busy: f64,
    window: (Instant, Duration),
}

/// What became of a message for the next worker.
pub(crate) enum Tried {
    Placed,
    /// Its queue is full.
    Full(WorkerMessage),
    /// It takes nothing more: it is dying, and out of the roster.
    Dying(Worker, WorkerMessage),
    /// None runs.
    Nobody,
}

/// Shared by the proxy thread, which starts and removes workers, and whoever adopts. Nothing blocks under the lock.
#[derive(Default)]
pub(crate) struct Roster {
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    workers: Vec<Worker>,
    robin: RoundRobin,
}

impl Worker {
    pub(crate) fn new(
        number: usize,
        messages: mpsc::Sender<WorkerMessage>,
        metrics: RuntimeMetrics,
    ) -> Self {
        let now = Instant::now();
        Self {
            number,
            started_at: now,
            messages,
            metrics,
            busy: 0.0,
            window: (now, Duration::ZERO),
        }
    }

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

impl Roster {
    /// Hands a connection to the next worker, and its journal along with it; gives it back where the proxy thread is to place it.
    pub(crate) fn place(
        &self,
        adopted: Box<Adopted>,
        shared: &Arc<Shared>,
    ) -> Result<(), Box<Adopted>> {
        let mut running = self.lock();
        if running.wants_another(shared) {
            return Err(adopted);
        }
        let Some(worker) = running.next() else {
            return Err(adopted);
        };
        let Ok(slot) = worker.messages.try_reserve() else {
            return Err(adopted);
        };
        let (journal, arrival) = Journal::open(*adopted, shared);
        slot.send(WorkerMessage::Serve(Box::new(Placed { journal, arrival })));
        Ok(())
    }

    /// Hands a message to the next worker; one that is dying leaves the roster.
    pub(crate) fn try_next(&self, message: WorkerMessage) -> Tried {
        let mut running = self.lock();
        let Some(place) = running.next_place() else {
            return Tried::Nobody;
        };
        let Some(worker) = running.workers.get(place) else {
            return Tried::Nobody;
        };
        match worker.messages.try_send(message) {
            Ok(()) => Tried::Placed,
            Err(TrySendError::Full(back)) => Tried::Full(back),
            Err(TrySendError::Closed(back)) => {
                Tried::Dying(running.workers.swap_remove(place), back)
            }
        }
    }

    /// Whether the load asks for another worker.
    pub(crate) fn wants_another(&self, shared: &Shared) -> bool {
        self.lock().wants_another(shared)
    }

    /// How many run.
    pub(crate) fn len(&self) -> usize {
        self.lock().workers.len()
    }

    pub(crate) fn add(&self, worker: Worker) {
        self.lock().workers.push(worker);
    }

    /// Takes the worker of this number out.
    pub(crate) fn remove(&self, number: usize) -> Option<Worker> {
        let mut running = self.lock();
        let place = running
            .workers
            .iter()
            .position(|worker| worker.number == number)?;
        Some(running.workers.swap_remove(place))
    }

    /// Takes all out: they end with the last of their work.
    pub(crate) fn clear(&self) -> Vec<Worker> {
        std::mem::take(&mut self.lock().workers)
    }

    /// What the first of them gets, if one runs; for tests.
    #[cfg(feature = "fault-injection")]
    pub(crate) fn send_first(&self, message: WorkerMessage) {
        if let Some(worker) = self.lock().workers.first() {
            let _ = worker.messages.try_send(message);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn wants_another(&mut self, shared: &Shared) -> bool {
        if self.workers.len() >= shared.max_workers {
            return false;
        }
        let now = Instant::now();
        for worker in &mut self.workers {
            worker.measure(now);
        }
        let busy: Vec<f64> = self.workers.iter().map(|worker| worker.busy).collect();
        wants_another(&busy, shared.admission.live(), shared.max_workers)
    }

    fn next_place(&mut self) -> Option<usize> {
        self.robin.next(self.workers.len())
    }

    fn next(&mut self) -> Option<&Worker> {
        let place = self.next_place()?;
        self.workers.get(place)
    }
}
