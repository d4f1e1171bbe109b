//! [`DataPlane`]: the way in. Starts the threads, takes connections over, reloads routes, drains, closes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pgtls_wire::{Parsed, StartupPacket, parse_startup_packet};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::admission::{Admission, AdoptError, Verdict};
use crate::backend::keeper::Keeper;
use crate::connection::cancel::MAX_STATEMENTS;
use crate::connection::cancel_registry::CancelRegistry;
use crate::connection::farewell::FarewellRequest;
use crate::counters::Snapshot;
use crate::messages::{
    Adopted, COMMAND_QUEUE, CONNECTION_QUEUE, Control, FAREWELL_QUEUE, OverLimit, ProxyMessage,
};
use crate::metrics::TlsConnections;
use crate::options::{DataPlaneOptions, RouteOptions};
use crate::questions::{Answer, Question, Questions};
use crate::report::{ConnectionReport, PeerCertReport, TlsReport, TlsSide};
use crate::responder::Responder;
use crate::routes::{RouteError, RouteProblem, RouteTable};
use crate::runtime::roster::Roster;
use crate::runtime::supervisor;
use crate::runtime::worker_counters::WorkerCounters;

/// What the start-up negotiation left the client's socket in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEncryption {
    /// `S` is owed to the client, and sent before all else; the ClientHello comes next.
    Negotiated,
    /// The ClientHello came first; ALPN is required.
    Direct,
    /// Plaintext; the startup packet comes next.
    None,
}

/// What comes along with a descriptor.
#[derive(Clone, Debug)]
pub struct Handoff {
    /// Names the connection in its report.
    pub connection_id: u64,
    /// Which route serves it.
    pub route_id: u32,
    /// State of the socket.
    pub encryption: ClientEncryption,
    /// Bytes that were read from the socket and belong to what comes next.
    pub prefix: Vec<u8>,
    /// The client's address, `host:port` or `unix:…`.
    pub peer: String,
    /// The address it connected to.
    pub local_address: String,
    /// What is left of `client_login_timeout`.
    pub remaining: Duration,
}

/// What the data plane tells its owner, from any of its threads.
#[derive(Clone, Debug)]
pub enum Event {
    /// Connections are over, in this order.
    ConnectionsClosed(Vec<ConnectionReport>),
    /// A handshake is finished; only with `report_tls_established`.
    TlsEstablished {
        /// From the hand-off.
        connection_id: u64,
        /// From the hand-off.
        route_id: u32,
        /// Which leg.
        side: TlsSide,
        /// What was agreed on.
        tls: TlsReport,
    },
    /// A connection waits for [`DataPlane::answer`].
    Asked {
        /// Goes with the answer.
        question_id: u64,
        /// From the hand-off.
        connection_id: u64,
        /// From the hand-off.
        route_id: u32,
        /// What it wants to know.
        question: Question,
    },
    /// verify-full accepted a backend's certificate by its subject's CN alone; once per certificate.
    CommonNameUsed {
        /// The route concerned.
        route_id: u32,
        /// The backend.
        backend_addr: String,
        /// Its certificate.
        certificate: Option<PeerCertReport>,
    },
    /// A worker died and was replaced.
    WorkerRestarted {
        /// Number of the worker, from 0.
        worker: u32,
        /// What it died of.
        reason: String,
    },
    /// A thread of which there is one panicked and began again; sessions go on.
    ThreadRestarted {
        /// The thread's name.
        thread: &'static str,
        /// What it died of.
        reason: String,
    },
}

/// Receives events; must not block.
pub type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// What the owner of a data plane lends it.
pub struct Hooks {
    /// Receives events.
    pub events: EventSink,
    /// Gives freed memory back to the system; called by the proxy thread after many sessions ended.
    pub release_memory: Option<fn()>,
    /// Answers clients on a thread of its own; none is built in.
    pub responder: Option<Arc<dyn Responder>>,
}

impl Hooks {
    /// Events alone.
    #[must_use]
    pub fn events(events: EventSink) -> Self {
        Self {
            events,
            release_memory: None,
            responder: None,
        }
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainReport {
    /// Sessions that ended by themselves.
    pub drained: u32,
    /// Sessions that were cut when the grace was over.
    pub cut: u32,
}

/// Why a data plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A route's configuration does not hold.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The operating system refused a thread or a poller.
    #[error("the data plane's threads cannot be started: {0}")]
    Threads(#[from] io::Error),
}

/// What every thread of the data plane shares.
pub(crate) struct Shared {
    pub(crate) admission: Arc<Admission>,
    pub(crate) routes: RouteTable,
    pub(crate) cancels: CancelRegistry,
    /// Places for CancelRequests of our own.
    pub(crate) statement_cancels: Semaphore,
    pub(crate) questions: Questions,
    pub(crate) workers: WorkerCounters,
    pub(crate) roster: Roster,
    pub(crate) tls_connections: TlsConnections,
    pub(crate) control: watch::Sender<Control>,
    pub(crate) events: EventSink,
    pub(crate) farewells: mpsc::Sender<FarewellRequest>,
    pub(crate) max_workers: usize,
    pub(crate) reports_tls: bool,
    is_closed: AtomicBool,
}

/// The running data plane. Dropping it ends its sessions and joins its threads.
pub struct DataPlane {
    shared: Arc<Shared>,
    commands: mpsc::Sender<ProxyMessage>,
    connections: mpsc::Sender<Box<Adopted>>,
    keeper: Keeper,
    /// Guards the handle that `close` joins; nothing else runs under it.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl DataPlane {
    /// Builds every route and starts the proxy thread. Nothing runs when it fails.
    pub fn start(options: &DataPlaneOptions, hooks: Hooks) -> Result<Self, StartError> {
        let routes = RouteTable::default();
        routes.replace(&options.routes)?;
        let max_workers = if options.workers == 0 {
            std::thread::available_parallelism().map_or(1, usize::from)
        } else {
            options.workers
        };
        let (farewells, farewell_inbox) = mpsc::channel(FAREWELL_QUEUE);
        let shared = Arc::new(Shared {
            admission: Admission::new(
                options.max_client_conn,
                max_workers,
                options.max_concurrent_handshakes,
            ),
            routes,
            cancels: CancelRegistry::default(),
            statement_cancels: Semaphore::new(MAX_STATEMENTS),
            questions: Questions::default(),
            workers: WorkerCounters::default(),
            roster: Roster::default(),
            tls_connections: TlsConnections::default(),
            control: watch::Sender::new(Control::Run),
            events: hooks.events,
            farewells,
            max_workers,
            reports_tls: options.report_tls_established,
            is_closed: AtomicBool::new(false),
        });
        let (commands, command_inbox) = mpsc::channel(COMMAND_QUEUE);
        let (connections, connection_inbox) = mpsc::channel(CONNECTION_QUEUE);
        let inbox = supervisor::Inbox {
            commands: command_inbox,
            connections: connection_inbox,
            farewells: farewell_inbox,
        };
        let lent = supervisor::Lent {
            release_memory: hooks.release_memory,
            responder: hooks.responder,
        };
        let keeper = Keeper::new(&shared);
        start_keeper(&keeper, &options.routes)?;
        let thread = supervisor::start(Arc::clone(&shared), commands.clone(), inbox, lent)?;
        keeper.tend(shared.routes.backends());
        Ok(Self {
            shared,
            commands,
            connections,
            keeper,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Replaces the routes for connections to come; all or nothing.
    pub fn reload(&self, routes: &[RouteOptions]) -> Result<(), RouteError> {
        start_keeper(&self.keeper, routes)?;
        self.shared.routes.replace(routes)?;
        self.keeper.tend(self.shared.routes.backends());
        Ok(())
    }

    /// Takes over the socket behind `fd`: duplicates the descriptor, so that the caller closes its own in any case.
    pub fn adopt(&self, fd: BorrowedFd<'_>, handoff: Handoff) -> Result<(), AdoptError> {
        if self.is_closed() {
            return Err(AdoptError::Closed);
        }
        let route = self
            .shared
            .routes
            .find(handoff.route_id)
            .ok_or(AdoptError::RouteUnknown(handoff.route_id))?;
        let is_cancel =
            handoff.encryption == ClientEncryption::None && is_cancel_request(&handoff.prefix);
        let verdict = self
            .shared
            .admission
            .admit(&route, &handoff.peer, is_cancel)?;
        let (permit, over_limit) = match verdict {
            Verdict::Admitted(permit) => (permit, None),
            Verdict::OverLimit(permit, slot) => (permit, Some(OverLimit { _slot: slot })),
        };
        let now = Instant::now();
        let adopted = Adopted {
            fd: fd.as_fd().try_clone_to_owned()?,
            connection_id: handoff.connection_id,
            encryption: handoff.encryption,
            prefix: handoff.prefix,
            peer: handoff.peer,
            local_address: handoff.local_address,
            since: now,
            login_deadline: now.checked_add(handoff.remaining).unwrap_or(now),
            permit,
            over_limit,
        };
        let Err(adopted) = self.shared.roster.place(Box::new(adopted), &self.shared) else {
            return Ok(());
        };
        self.connections
            .try_send(adopted)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => AdoptError::TooManyConnections,
                mpsc::error::TrySendError::Closed(_) => AdoptError::Closed,
            })
    }

    /// Answers an [`Event::Asked`]; false when its connection does not wait any more.
    pub fn answer(&self, question_id: u64, answer: Answer) -> bool {
        self.shared.questions.answer(question_id, answer)
    }

    /// Counters at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            workers: self.shared.workers.running(),
            worker_restarts: self.shared.workers.restarts(),
            responder_restarts: self.shared.workers.responder_restarts(),
            supervisor_restarts: self.shared.workers.supervisor_restarts(),
            keeper_restarts: self.shared.workers.keeper_restarts(),
            live_sessions: self.shared.admission.live(),
            handshakes: self.shared.admission.handshakes().snapshot(),
            tls_connections: self.shared.tls_connections.snapshot(),
            routes: self.shared.routes.snapshot(),
        }
    }

    /// Calls `done` once no session lives; sessions left after `grace` are cut. The caller stops accepting first.
    pub fn drain(&self, grace: Duration, done: Box<dyn FnOnce(DrainReport) + Send>) {
        let live = self.shared.admission.live();
        for backend in self.shared.routes.backends() {
            backend.close_warm();
        }
        if let Err(mpsc::error::SendError(ProxyMessage::Drain { done, .. })) = self
            .commands
            .blocking_send(ProxyMessage::Drain { live, grace, done })
        {
            done(DrainReport { drained: 0, cut: 0 });
        }
    }

    /// Lets the thread that it is for be struck by `fault`; of the workers, the first of those that get connections.
    #[cfg(feature = "fault-injection")]
    pub fn inject(&self, fault: crate::fault::Fault) {
        if fault == crate::fault::Fault::PanicInKeeper {
            return self.keeper.inject(fault);
        }
        // Fails only once the proxy thread is over.
        let _ = self.commands.blocking_send(ProxyMessage::Fault(fault));
    }

    /// Whether [`DataPlane::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.load(Ordering::Acquire)
    }

    /// Ends every session and joins every thread; idempotent.
    pub fn close(&self) {
        self.shared.is_closed.store(true, Ordering::Release);
        self.shared.control.send_replace(Control::Cut);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.keeper.close();
        let Some(thread) = thread else { return };
        // Fails only when the proxy thread is over already.
        let _ = self.commands.blocking_send(ProxyMessage::Close);
        // It may pause after a panic.
        thread.thread().unpark();
        // The proxy thread catches its workers' panics and its own.
        let _ = thread.join();
    }
}

/// Starts the keeper's thread if one of the routes needs it.
fn start_keeper(keeper: &Keeper, routes: &[RouteOptions]) -> Result<(), RouteError> {
    match routes.iter().find(|route| route.needs_keeper()) {
        None => Ok(()),
        Some(route) => keeper.start().map_err(|error| RouteError {
            route: route.name.clone(),
            source: RouteProblem::Keeper(error),
        }),
    }
}

/// Whether `prefix` is a whole CancelRequest: only that is served whatever the limits say.
fn is_cancel_request(prefix: &[u8]) -> bool {
    matches!(
        parse_startup_packet(prefix),
        Ok(Parsed::Packet {
            packet: StartupPacket::CancelRequest(_),
            ..
        })
    )
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.close();
    }
}
