//! How many workers run, and how many threads of each kind died: written by the supervisor and the keeper, read by snapshots.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Counts of threads.
#[derive(Debug, Default)]
pub(crate) struct WorkerCounters {
    running: AtomicU32,
    restarts: AtomicU64,
    responder_restarts: AtomicU64,
    supervisor_restarts: AtomicU64,
    keeper_restarts: AtomicU64,
}

impl WorkerCounters {
    pub(crate) fn running(&self) -> u32 {
        self.running.load(Ordering::Relaxed)
    }

    pub(crate) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn responder_restarts(&self) -> u64 {
        self.responder_restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn add_responder_restart(&self) {
        self.responder_restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn supervisor_restarts(&self) -> u64 {
        self.supervisor_restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn add_supervisor_restart(&self) {
        self.supervisor_restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn keeper_restarts(&self) -> u64 {
        self.keeper_restarts.load(Ordering::Relaxed)
    }

    pub(crate) fn add_keeper_restart(&self) {
        self.keeper_restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_running(&self) {
        self.running.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn remove_running(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn add_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }
}
