//! The data plane of pgtls: takes over a client's socket after the start-up negotiation and owns every byte from then on.
//!
//! `data_plane` is the way in, `runtime` the threads, `connection` the life of one connection, a file per phase.
//! May import pgtls-tls and pgtls-wire; is imported by pgtls-napi alone.

mod admission;
mod backend;
mod backends;
mod connection;
mod counters;
mod cpu_pressure;
mod data_plane;
#[cfg(feature = "fault-injection")]
pub mod fault;
mod handshake_limit;
mod handshake_slots;
mod messages;
mod metrics;
mod options;
mod questions;
mod report;
pub mod responder;
mod routes;
mod runtime;

pub use admission::AdoptError;
pub use backend::password_file::{PasswordFileError, read_password_file};
pub use counters::{RouteSnapshot, Snapshot};
pub use data_plane::{
    ClientEncryption, DataPlane, DrainReport, Event, EventSink, Handoff, Hooks, StartError,
};
pub use handshake_slots::HandshakeQueue;
pub use metrics::{
    CancelOutcome, ConnectFailure, HistogramSnapshot, RouteMetrics, ServerNameMatch,
    TlsConnectionCount, TlsFailureCount, TlsHandshakeCount, TlsMetrics,
};
pub use options::{
    BackendAddress, BackendOptions, DataPlaneOptions, KeepaliveOptions, ListenerOptions,
    LoadBalanceHosts, RoleOptions, RouteOptions, RouteRule, Sslmode, Sslnegotiation, WantedRole,
    WarmOptions,
};
pub use questions::{Answer, HookSet, PeerCertificate, Question};
pub use report::{
    AlertDirection, AlertReport, CloseReason, ConnectionReport, FaultSide, PeerCertReport, Phase,
    TlsReport, TlsSide,
};
pub use routes::{RouteError, RouteProblem};
