//! Counters of a route and of the whole data plane: relaxed atomics, read by [`Snapshot`].

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::handshake_slots::HandshakeQueue;
use crate::metrics::{RouteMeters, RouteMetrics, TlsConnectionCount};

/// Counts of one route.
#[derive(Debug, Default)]
pub(crate) struct RouteCounters {
    live_sessions: AtomicU32,
    /// Those of them within the limits.
    admitted: AtomicU32,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    warm_hits: AtomicU64,
    warm_misses: AtomicU64,
    probes_ok: AtomicU64,
    probes_failed: AtomicU64,
    channel_binding_conflicts: AtomicU64,
    pub(crate) meters: RouteMeters,
}

impl RouteCounters {
    pub(crate) fn add_bytes_in(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_bytes_out(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A session got a connection that was made ahead.
    pub(crate) fn add_warm_hit(&self) {
        self.warm_hits.fetch_add(1, Ordering::Relaxed);
    }

    /// A session had to make a connection although some are made ahead.
    pub(crate) fn add_warm_miss(&self) {
        self.warm_misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_probe(&self, has_told: bool) {
        let count = if has_told {
            &self.probes_ok
        } else {
            &self.probes_failed
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// A client insisted on channel binding where the two legs have different certificates.
    pub(crate) fn add_channel_binding_conflict(&self) {
        self.channel_binding_conflicts
            .fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn live_sessions(&self) -> &AtomicU32 {
        &self.live_sessions
    }

    pub(crate) fn admitted(&self) -> &AtomicU32 {
        &self.admitted
    }

    pub(crate) fn snapshot(&self, route_id: u32, warm_connections: u32) -> RouteSnapshot {
        RouteSnapshot {
            route_id,
            live_sessions: self.live_sessions.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            warm_connections,
            warm_hits: self.warm_hits.load(Ordering::Relaxed),
            warm_misses: self.warm_misses.load(Ordering::Relaxed),
            probes_ok: self.probes_ok.load(Ordering::Relaxed),
            probes_failed: self.probes_failed.load(Ordering::Relaxed),
            channel_binding_conflicts: self.channel_binding_conflicts.load(Ordering::Relaxed),
            metrics: self.meters.snapshot(),
        }
    }
}

/// The state of a data plane at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Worker threads running.
    pub workers: u32,
    /// Workers that died and were replaced, since the start.
    pub worker_restarts: u64,
    /// Responders that died and were replaced, since the start.
    pub responder_restarts: u64,
    /// How often the proxy thread's loop died and began again, since the start.
    pub supervisor_restarts: u64,
    /// How often the keeper's thread died and began again, since the start.
    pub keeper_restarts: u64,
    /// Sessions of all routes.
    pub live_sessions: u32,
    /// Handshakes with clients: their limit, and who waits.
    pub handshakes: HandshakeQueue,
    /// TLS legs of connections that are open now, as far as there are any.
    pub tls_connections: Vec<TlsConnectionCount>,
    /// Per route, in the order of the options.
    pub routes: Vec<RouteSnapshot>,
}

/// One route's part of a [`Snapshot`].
#[derive(Clone, Debug)]
pub struct RouteSnapshot {
    /// As in the options.
    pub route_id: u32,
    /// Sessions that have not ended.
    pub live_sessions: u32,
    /// Plaintext bytes from clients to the backend or the responder, since the start.
    pub bytes_in: u64,
    /// Plaintext bytes from the backend or the responder to clients, since the start.
    pub bytes_out: u64,
    /// Connections made ahead that wait now.
    pub warm_connections: u32,
    /// Sessions that got one of them.
    pub warm_hits: u64,
    /// Sessions that found none.
    pub warm_misses: u64,
    /// Probes that learnt a server's role.
    pub probes_ok: u64,
    /// Probes that did not.
    pub probes_failed: u64,
    /// Logins refused because channel binding cannot work across the two legs.
    pub channel_binding_conflicts: u64,
    /// What else was counted.
    pub metrics: RouteMetrics,
}
