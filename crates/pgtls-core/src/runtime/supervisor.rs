//! The proxy thread: starts workers on demand and places the connections that ask for one, restarts those that die, says sessions'
//! last words, drains, closes.
//!
//! Should its loop panic, it begins again around the same state (`restart`): whatever was taken out of the inbox is gone by then,
//! a connection with its report, and every method leaves a state behind that the next turn of the loop can go on from.

use std::future::pending;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pgtls_tls::buffer::Buffer;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::connection::farewell::{Farewell, FarewellRequest};
use crate::connection::{Ending, Journal};
use crate::data_plane::{DrainReport, Event, Shared};
#[cfg(feature = "fault-injection")]
use crate::fault::Fault;
use crate::messages::{Adopted, Control, Placed, ProxyMessage, WorkerMessage};
use crate::responder::Responder;
use crate::runtime::crew::Crew;
use crate::runtime::restart::{keep_running, survive};

/// The thread's name.
const NAME: &str = "pgtls-proxy";

/// How long after half of the sessions have gone memory is given back.
const TRIM_PAUSE: Duration = Duration::from_secs(1);

/// What the supervisor listens to.
pub(crate) struct Inbox {
    /// Few and urgent.
    pub(crate) commands: mpsc::Receiver<ProxyMessage>,
    /// Connections to place.
    pub(crate) connections: mpsc::Receiver<Box<Adopted>>,
    /// Clients to say goodbye to.
    pub(crate) farewells: mpsc::Receiver<FarewellRequest>,
}

/// What the data plane's owner lends the proxy thread.
pub(crate) struct Lent {
    pub(crate) release_memory: Option<fn()>,
    pub(crate) responder: Option<Arc<dyn Responder>>,
}

/// Starts the proxy thread. `commands` is what workers report to.
pub(crate) fn start(
    shared: Arc<Shared>,
    commands: mpsc::Sender<ProxyMessage>,
    mut inbox: Inbox,
    lent: Lent,
) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new().name(NAME.to_owned()).spawn(move || {
        thread::scope(|scope| {
            let crew = Crew::new(scope, &shared, commands, lent.responder);
            let mut supervisor = Supervisor {
                shared: &shared,
                crew,
                drain: None,
                is_closing: false,
                release_memory: lent.release_memory,
                trim_at: None,
                scratch: Buffer::default(),
            };
            keep_running(
                || survive(|| runtime.block_on(supervisor.run(&mut inbox))),
                |reason| {
                    shared.workers.add_supervisor_restart();
                    (shared.events)(Event::ThreadRestarted {
                        thread: NAME,
                        reason,
                    });
                },
            );
        });
    })
}

/// A drain that goes on.
struct Drain {
    deadline: Instant,
    at_start: u32,
    cut: Option<u32>,
    done: Box<dyn FnOnce(DrainReport) + Send>,
}

struct Supervisor<'scope, 'env> {
    shared: &'env Arc<Shared>,
    crew: Crew<'scope, 'env>,
    drain: Option<Drain>,
    is_closing: bool,
    release_memory: Option<fn()>,
    /// When memory is to be given back.
    trim_at: Option<Instant>,
    /// For last words.
    scratch: Buffer,
}

impl Supervisor<'_, '_> {
    /// Until it is told to close and the last thread is over; the scope joins them.
    async fn run(&mut self, inbox: &mut Inbox) {
        while !(self.is_closing && self.crew.is_gone()) {
            let drain_deadline = self
                .drain
                .as_ref()
                .filter(|drain| drain.cut.is_none())
                .map(|drain| drain.deadline);
            let next_start = self.crew.next_start();
            tokio::select! {
                biased;
                Some(command) = inbox.commands.recv() => self.obey(command),
                Some(request) = inbox.farewells.recv() => self.say(request),
                () = self.shared.admission.idle.notified(), if self.drain.is_some() => self.finish_drain(),
                () = self.shared.admission.shrunk.notified(), if self.may_trim() => self.trim_soon(),
                () = sleep_until_some(self.trim_at), if self.trim_at.is_some() => self.trim(),
                () = sleep_until_some(drain_deadline), if drain_deadline.is_some() => self.cut(),
                () = sleep_until_some(next_start), if next_start.is_some() && !self.is_closing => {
                    self.crew.start_those_due();
                }
                Some(adopted) = inbox.connections.recv() => self.place(*adopted),
            }
        }
        // Closed first, so that nothing is sent behind the last look.
        inbox.connections.close();
        while let Some(adopted) = inbox.connections.recv().await {
            self.turn_away(*adopted);
        }
        inbox.commands.close();
        while let Some(command) = inbox.commands.recv().await {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: ProxyMessage) {
        match command {
            ProxyMessage::WorkerStopped { worker, cause } => {
                self.crew.worker_stopped(worker, cause, self.is_closing);
            }
            ProxyMessage::ResponderStopped => self.crew.responder_stopped(self.is_closing),
            ProxyMessage::Drain { live, grace, done } => self.start_drain(live, grace, done),
            ProxyMessage::Close => self.close(),
            #[cfg(feature = "fault-injection")]
            ProxyMessage::Fault(fault @ Fault::PanicInSupervisor) => fault.strike(),
            #[cfg(feature = "fault-injection")]
            ProxyMessage::Fault(fault) => {
                self.shared.roster.send_first(WorkerMessage::Fault(fault));
            }
        }
    }

    /// Threads end once their channels are closed and their sessions, which are told to, are over.
    fn close(&mut self) {
        self.is_closing = true;
        self.shared.control.send_replace(Control::Cut);
        self.crew.dismiss();
        if let Some(drain) = self.drain.take() {
            let cut = drain.cut.unwrap_or_else(|| self.shared.admission.live());
            (drain.done)(DrainReport {
                drained: drain.at_start.saturating_sub(cut),
                cut,
            });
        }
    }

    /// Has a connection served. If no worker can take it, its journal reports it as lost.
    fn place(&mut self, adopted: Adopted) {
        if self.is_closing {
            self.turn_away(adopted);
            return;
        }
        let (journal, arrival) = Journal::open(adopted, self.shared);
        self.crew
            .place(WorkerMessage::Serve(Box::new(Placed { journal, arrival })));
    }

    /// Reports a connection that came too late.
    fn turn_away(&self, adopted: Adopted) {
        let (mut journal, _arrival) = Journal::open(adopted, self.shared);
        journal.note_ending(Ending {
            notice: None,
            ..Farewell::Drained.ending()
        });
    }

    /// Says a session's last words. A panic in that session's TLS is that session's, not this thread's: its worker learns by the
    /// dropped request that nothing was said.
    fn say(&mut self, request: FarewellRequest) {
        let _ = survive(|| request.say(&mut self.scratch));
    }

    fn may_trim(&self) -> bool {
        self.release_memory.is_some() && self.trim_at.is_none()
    }

    /// Sessions that end together shall be gone before memory is given back: what still lives pins its pages.
    fn trim_soon(&mut self) {
        self.trim_at = Instant::now().checked_add(TRIM_PAUSE);
    }

    fn trim(&mut self) {
        self.trim_at = None;
        if let Some(release_memory) = self.release_memory {
            release_memory();
        }
        self.shared.admission.reset_peak();
    }

    fn start_drain(
        &mut self,
        live: u32,
        grace: Duration,
        done: Box<dyn FnOnce(DrainReport) + Send>,
    ) {
        let now = Instant::now();
        let deadline = now.checked_add(grace).unwrap_or(now);
        let earlier = self.drain.replace(Drain {
            deadline,
            at_start: live,
            cut: None,
            done,
        });
        self.finish_drain();
        if let Some(earlier) = earlier {
            (earlier.done)(DrainReport { drained: 0, cut: 0 });
        }
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

async fn sleep_until_some(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
