//! Every message that crosses between threads. All channels are bounded; what happens when one is full stands here.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use crate::admission::Permit;
use crate::connection::{Arrival, Journal};
use crate::data_plane::{ClientEncryption, DrainReport};

/// Connections that wait for the proxy thread to start a worker for them. When it is full, `adopt` refuses with `TooManyConnections`.
pub(crate) const CONNECTION_QUEUE: usize = 8192;

/// Connections that wait for one worker. When it is full, the next worker is tried, then the connection is closed and reported.
pub(crate) const WORKER_QUEUE: usize = 4096;

/// Sessions that wait for the proxy thread to say their last words. Workers wait while it is full, for at most their farewell's
/// own deadline.
pub(crate) const FAREWELL_QUEUE: usize = 1024;

/// Commands that wait for the proxy thread. Senders block while it is full: they are few, and none is the proxy thread.
pub(crate) const COMMAND_QUEUE: usize = 64;

/// To the proxy thread, beside the connections it places, which have a channel of their own.
pub(crate) enum ProxyMessage {
    /// A worker's thread ended; `cause` is none if it did not panic.
    WorkerStopped {
        worker: usize,
        cause: Option<String>,
    },
    /// The responder's thread ended.
    ResponderStopped,
    /// Tell when no session lives, or cut those left after `grace`.
    Drain {
        /// Sessions that lived when the drain was asked for.
        live: u32,
        grace: Duration,
        done: Box<dyn FnOnce(DrainReport) + Send>,
    },
    /// End every session and every thread.
    Close,
    /// Be struck by a fault, or pass it on to the worker it is for; for tests.
    #[cfg(feature = "fault-injection")]
    Fault(crate::fault::Fault),
}

/// To a worker.
pub(crate) enum WorkerMessage {
    /// A connection to serve to its end.
    Serve(Box<Placed>),
    /// A fault to be struck by, for tests.
    #[cfg(feature = "fault-injection")]
    Fault(crate::fault::Fault),
}

/// To every session at once, through a watch channel, of which only the newest value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// Serve.
    Run,
    /// End now.
    Cut,
}

/// A connection that was taken over and is not placed yet. Owns the duplicated descriptor.
pub(crate) struct Adopted {
    pub(crate) fd: OwnedFd,
    pub(crate) connection_id: u64,
    pub(crate) encryption: ClientEncryption,
    pub(crate) prefix: Vec<u8>,
    pub(crate) peer: String,
    pub(crate) local_address: String,
    pub(crate) since: Instant,
    pub(crate) login_deadline: Instant,
    pub(crate) permit: Permit,
    /// Held by a connection that is over a limit.
    pub(crate) over_limit: Option<OverLimit>,
}

/// A connection on its way to one worker. The journal is open already, so that it is reported even if the worker never looks at it.
pub(crate) struct Placed {
    pub(crate) journal: Journal,
    pub(crate) arrival: Box<Arrival>,
}

/// A connection over a limit only lives to be told so, or to have its CancelRequest forwarded. Until then it occupies a slot.
pub(crate) struct OverLimit {
    pub(crate) _slot: OwnedSemaphorePermit,
}
