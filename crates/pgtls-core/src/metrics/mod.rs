//! What happens on a route, counted when it happens: [`RouteMeters`], relaxed atomics that a reload hands on. [`RouteMetrics`] is
//! what they stood at when somebody looked.
//!
//! Every set of reasons is closed, so that each has its place in an array: counting takes no lock and no memory.

mod connect_failure;
mod histogram;
mod meter;
mod tls;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub use connect_failure::ConnectFailure;
pub use histogram::HistogramSnapshot;
pub use tls::{TlsConnectionCount, TlsFailureCount, TlsHandshakeCount, TlsMetrics};

pub(crate) use tls::{TlsConnections, TlsMeters};

use crate::metrics::histogram::Histogram;
use crate::metrics::meter::Meter;
use crate::report::{CloseReason, ConnectionReport, Phase};

/// From half a millisecond, a handshake on one machine, to `client_login_timeout`.
const CONNECTING: [Duration; 14] = [
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// From one query without a pool to a pool's connection of a day.
const LIVING: [Duration; 12] = [
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_hours(1),
    Duration::from_hours(4),
    Duration::from_hours(12),
    Duration::from_hours(24),
];

/// What a client's server name (SNI) led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerNameMatch {
    /// One of `[[proxy.listener.host]]`.
    Host,
    /// The listener's own certificate, since no row has the name.
    Default,
    /// The listener's own certificate, since the client named no server.
    None,
    /// A refusal.
    Refused,
}

impl ServerNameMatch {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Host, Self::Default, Self::None, Self::Refused];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Default => "default",
            Self::None => "none",
            Self::Refused => "refused",
        }
    }
}

/// How a CancelRequest came, and whether it was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelOutcome {
    /// Whether it came inside TLS.
    pub is_in_tls: bool,
    /// Whether a server got it.
    pub is_forwarded: bool,
}

impl CancelOutcome {
    const ALL: [Self; 4] = [
        Self {
            is_in_tls: false,
            is_forwarded: false,
        },
        Self {
            is_in_tls: false,
            is_forwarded: true,
        },
        Self {
            is_in_tls: true,
            is_forwarded: false,
        },
        Self {
            is_in_tls: true,
            is_forwarded: true,
        },
    ];
}

/// What is counted on one route.
#[derive(Debug)]
pub(crate) struct RouteMeters {
    /// Connections that came as far as ReadyForQuery and have not ended.
    sessions: AtomicU32,
    closed: Meter<CloseReason, { CloseReason::ALL.len() }>,
    server_names: Meter<ServerNameMatch, 4>,
    cancels: Meter<CancelOutcome, 4>,
    pub(crate) client_tls: TlsMeters<14>,
    pub(crate) backend_tls: TlsMeters<14>,
    connects: Histogram<14>,
    connect_failures: Meter<ConnectFailure, { ConnectFailure::ALL.len() }>,
    session_durations: Histogram<12>,
}

impl Default for RouteMeters {
    fn default() -> Self {
        Self {
            sessions: AtomicU32::new(0),
            closed: Meter::new(&CloseReason::ALL),
            server_names: Meter::new(&ServerNameMatch::ALL),
            cancels: Meter::new(&CancelOutcome::ALL),
            client_tls: TlsMeters::new(&CONNECTING),
            backend_tls: TlsMeters::new(&CONNECTING),
            connects: Histogram::new(&CONNECTING),
            connect_failures: Meter::new(&ConnectFailure::ALL),
            session_durations: Histogram::new(&LIVING),
        }
    }
}

impl RouteMeters {
    /// A login came as far as ReadyForQuery.
    pub(crate) fn begin_session(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection is over, `lasting` from its adoption on.
    pub(crate) fn end_connection(&self, report: &ConnectionReport, lasting: Duration) {
        self.closed.add(report.reason);
        if report.is_cancel {
            self.cancels.add(CancelOutcome {
                is_in_tls: report.client_tls.is_some(),
                is_forwarded: report.reason == CloseReason::CancelForwarded,
            });
        }
        if report.phase == Phase::Relay {
            self.sessions.fetch_sub(1, Ordering::Relaxed);
            self.session_durations.observe(lasting);
        }
    }

    /// A ClientHello was answered.
    pub(crate) fn add_server_name(&self, found: ServerNameMatch) {
        self.server_names.add(found);
    }

    /// A connection to a server stands, TLS included.
    pub(crate) fn add_connect(&self, took: Duration) {
        self.connects.observe(took);
    }

    /// A connection to a server did not come about.
    pub(crate) fn add_connect_failure(&self, why: ConnectFailure) {
        self.connect_failures.add(why);
    }

    pub(crate) fn snapshot(&self) -> RouteMetrics {
        RouteMetrics {
            sessions: self.sessions.load(Ordering::Relaxed),
            closed: self.closed.snapshot(),
            server_names: self.server_names.snapshot(),
            cancels: self.cancels.snapshot(),
            client_tls: self.client_tls.snapshot(),
            backend_tls: self.backend_tls.snapshot(),
            connects: self.connects.snapshot(),
            connect_failures: self.connect_failures.snapshot(),
            session_durations: self.session_durations.snapshot(),
        }
    }
}

/// What was counted on one route, since the start.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    /// Connections that came as far as ReadyForQuery and have not ended.
    pub sessions: u32,
    /// Connections that are over, by the reason of their report.
    pub closed: Vec<(CloseReason, u64)>,
    /// ClientHellos by what their server name led to.
    pub server_names: Vec<(ServerNameMatch, u64)>,
    /// CancelRequests that are over.
    pub cancels: Vec<(CancelOutcome, u64)>,
    /// Handshakes with clients.
    pub client_tls: TlsMetrics,
    /// Handshakes with servers, whatever for: sessions, connections made ahead, probes, CancelRequests.
    pub backend_tls: TlsMetrics,
    /// How long connecting to a server took, from the first packet until TLS stood; likewise whatever for.
    pub connects: HistogramSnapshot,
    /// Attempts to connect to a server that failed.
    pub connect_failures: Vec<(ConnectFailure, u64)>,
    /// How long connections lasted that came as far as ReadyForQuery, from their adoption on.
    pub session_durations: HistogramSnapshot,
}
