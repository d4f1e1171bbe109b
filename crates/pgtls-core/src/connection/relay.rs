//! Phase *relay*: plaintext of one peer becomes what the other is sent, in both directions, until both have ended.
//!
//! One `select!` per mode. Writes are guarded: a peer is read only while nothing waits to be sent to the other, so a session
//! holds at most one read's worth of bytes per direction. The same loop serves authentication and streaming; what differs
//! is the [`Watch`] that looks at the bytes on the way.

use std::cell::RefCell;

use pgtls_tls::ops::TlsConnectionOps;
use pgtls_tls::session::SessionError;
use pgtls_tls::stream::{Received, TlsScratch};
use tokio::sync::oneshot;

use crate::connection::ending::Ending;
use crate::connection::farewell::{Farewell, LastWords, overdue};
use crate::connection::journal::Journal;
use crate::connection::linger::{Lingered, linger, lingered};
use crate::connection::peer::{BackendPeer, ClientPeer, Peer, Scratch};
use crate::connection::relay_state::{EndStep, FirstEnd, Flow, RelayState};
use crate::connection::route::Startup;
use crate::connection::signals::{Signals, Transfers};
use crate::connection::watch::{Step, Watch};
use crate::report::CloseReason;
use crate::responder::{Answer, ResponderHandle};

/// How streaming ended.
#[derive(Debug)]
pub(crate) enum StreamEnd {
    /// The watch has seen what it waited for.
    Left,
    /// Both directions are over.
    Over(CloseReason),
    /// The session shall end, and a message of ours may be sent now.
    Farewell(Farewell),
    /// The responder claims these bytes of the client.
    Claimed(Vec<u8>),
}

/// How another thread's answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerEnd {
    /// It is complete, and flushed.
    Answered,
    /// The other thread gave up or died.
    Abandoned,
    /// The session shall end, and the answer did not come in time.
    Overdue(Farewell),
}

/// Two peers joined.
pub(crate) struct Relay<'s> {
    client: &'s ClientPeer,
    backend: &'s BackendPeer,
    scratch: &'s RefCell<Scratch>,
    journal: &'s mut Journal,
    /// Changes with every transfer, where there is an idle timeout.
    activity: Option<&'s Transfers>,
    /// What a write to the backend failed with, until it turns out whether the backend has left last words.
    broken: Option<Box<SessionError>>,
    /// The session shall end.
    last_words: Option<Box<LastWords>>,
    pub(crate) state: RelayState,
}

impl<'s> Relay<'s> {
    pub(crate) fn new(
        client: &'s ClientPeer,
        backend: &'s BackendPeer,
        scratch: &'s RefCell<Scratch>,
        journal: &'s mut Journal,
        activity: Option<&'s Transfers>,
    ) -> Self {
        Self {
            client,
            backend,
            scratch,
            journal,
            activity,
            broken: None,
            last_words: None,
            state: RelayState::new(),
        }
    }

    /// Sends the startup packet, unless the backend is answering it already, and through `watch` what the client sent right behind.
    pub(crate) fn send_startup<W: Watch>(
        &mut self,
        startup: &Startup,
        is_sent: bool,
        watch: &mut W,
    ) -> Result<(), Ending> {
        let packet = if is_sent { &[] } else { startup.packet() };
        let behind = startup.behind();
        let tls = &mut self.scratch.borrow_mut().tls;
        self.journal.add_bytes_in(startup.bytes.len());
        self.state.client_sent(behind);
        let behind = watch.client_sent(behind)?;
        let sent = self.backend.send(packet, tls);
        if let Err(error) = sent.and_then(|()| self.backend.send(behind, tls)) {
            self.backend_failed(error);
        }
        Ok(())
    }

    /// Mode *streaming*: the worker forwards both directions. It owns the session's signals while it lasts.
    pub(crate) async fn stream<W: Watch>(
        &mut self,
        watch: &mut W,
        signals: &mut Signals,
        responder: Option<&ResponderHandle>,
    ) -> Result<StreamEnd, Ending> {
        loop {
            self.pass_ends_on();
            if self.state.is_over() {
                return Ok(StreamEnd::Over(self.reason()));
            }
            if let Some(words) = &self.last_words
                && watch.is_at_boundary()
            {
                return Ok(StreamEnd::Farewell(words.farewell));
            }
            let (client, backend) = (self.client, self.backend);
            let is_client_busy = client
                .has_residue()
                .map_err(|error| Ending::of_client(&error))?;
            let is_backend_busy = backend
                .has_residue()
                .map_err(|error| Ending::of_backend(&error))?;
            let is_unread = self.state.inward == Flow::Open && is_backend_busy;
            let mut linger = linger(self.state, is_unread, client);
            tokio::select! {
                received = client.receive(self.scratch),
                    if self.state.inward == Flow::Open && !is_backend_busy => {
                    if let Some(bytes) = self.claimed(&received, watch, responder) {
                        return Ok(StreamEnd::Claimed(bytes));
                    }
                    self.inward(received, watch)?;
                }
                received = backend.receive(self.scratch),
                    if self.state.outward == Flow::Open && !is_client_busy => {
                    if self.outward(received, watch)? == Step::Leave {
                        return Ok(StreamEnd::Left);
                    }
                }
                flushed = client.flush(), if is_client_busy && self.state.outward != Flow::Over => {
                    if let Err(error) = flushed { self.client_failed(&error)?; }
                }
                flushed = backend.flush(), if is_backend_busy && self.state.inward != Flow::Over => {
                    if let Err(error) = flushed { self.backend_failed(error); }
                }
                farewell = &mut *signals, if self.last_words.is_none() => self.end_soon(farewell),
                farewell = overdue(&mut self.last_words), if self.last_words.is_some() => {
                    return Err(Ending { notice: None, ..farewell.ending() });
                }
                end = lingered(&mut linger), if linger.is_some() => match end {
                    Lingered::Silence => return Ok(StreamEnd::Over(self.reason())),
                    Lingered::ClientLost(error) => self.client_failed(&error)?,
                },
            }
        }
    }

    /// Mode *answer read*: another thread writes to the client until it tells `done`, which this mode owns; the worker flushes
    /// what the other leaves, and reads from neither peer.
    pub(crate) async fn read_answer(
        &mut self,
        mut done: oneshot::Receiver<()>,
        signals: &mut Signals,
    ) -> Result<AnswerEnd, Ending> {
        let client = self.client;
        let mut end = None;
        loop {
            let is_busy = client
                .has_residue()
                .map_err(|error| Ending::of_client(&error))?;
            if let Some(end) = end
                && !is_busy
            {
                return Ok(end);
            }
            tokio::select! {
                answered = &mut done, if end.is_none() => {
                    end = Some(if answered.is_ok() { AnswerEnd::Answered } else { AnswerEnd::Abandoned });
                }
                flushed = client.flush(), if is_busy => {
                    flushed.map_err(|error| Ending::of_client(&error))?;
                    self.note_transfer();
                }
                seen = client.attention(), if !is_busy => {
                    seen.map_err(|error| Ending::of_client(&error))?;
                }
                farewell = &mut *signals, if self.last_words.is_none() => self.end_soon(farewell),
                farewell = overdue(&mut self.last_words), if self.last_words.is_some() => {
                    return Ok(AnswerEnd::Overdue(farewell));
                }
            }
        }
    }

    /// The client is another thread's to answer: what that sends keeps the session from being idle.
    pub(crate) fn follow(&self, answer: Answer) {
        self.activity.inspect(|activity| activity.follow(answer));
    }

    fn note_transfer(&self) {
        self.activity.inspect(|activity| activity.note());
    }

    fn end_soon(&mut self, farewell: Farewell) {
        self.last_words = Some(Box::new(LastWords::new(farewell)));
    }

    /// The client's bytes, if they are the responder's to answer.
    fn claimed<W: Watch>(
        &mut self,
        received: &Result<Received, SessionError>,
        watch: &W,
        responder: Option<&ResponderHandle>,
    ) -> Option<Vec<u8>> {
        let responder = responder?;
        let scratch = self.scratch.borrow();
        let bytes = scratch.plaintext.filled();
        let is_claimed = matches!(received, Ok(Received::Data))
            && watch.is_at_boundary()
            && responder.claims(bytes);
        is_claimed.then(|| {
            self.journal.add_bytes_in(bytes.len());
            bytes.to_vec()
        })
    }

    /// Counts what another thread has answered.
    pub(crate) fn count_answer(&mut self, answer: &Answer) {
        self.journal.add_bytes_out(answer.bytes());
    }

    /// Sends claimed bytes of the client on to the backend after all: nobody else answers them.
    pub(crate) fn pass_through(&mut self, bytes: &[u8]) {
        self.note_transfer();
        self.state.client_sent(bytes);
        let sent = self.backend.send(bytes, &mut self.scratch.borrow_mut().tls);
        if let Err(error) = sent {
            self.backend_failed(error);
        }
    }

    /// The client's bytes go to the backend.
    fn inward<W: Watch>(
        &mut self,
        received: Result<Received, SessionError>,
        watch: &mut W,
    ) -> Result<(), Ending> {
        match received {
            Ok(Received::Data) => self.send_inward(watch),
            Ok(Received::End(_)) => {
                self.state.client_ended();
                Ok(())
            }
            Err(error) => self.client_failed(&error),
        }
    }

    /// Sends what the client's last read brought on to the backend.
    fn send_inward<W: Watch>(&mut self, watch: &mut W) -> Result<(), Ending> {
        let Scratch { plaintext, tls } = &mut *self.scratch.borrow_mut();
        self.note_transfer();
        self.journal.add_bytes_in(plaintext.len());
        self.state.client_sent(plaintext.filled());
        let bytes = watch.client_sent(plaintext.filled())?;
        if !bytes.is_empty()
            && let Err(error) = self.backend.send(bytes, tls)
        {
            self.backend_failed(error);
        }
        Ok(())
    }

    /// The backend's bytes go to the client.
    fn outward<W: Watch>(
        &mut self,
        received: Result<Received, SessionError>,
        watch: &mut W,
    ) -> Result<Step, Ending> {
        match received {
            Ok(Received::Data) => self.send_outward(watch),
            Ok(Received::End(_)) => {
                // Once the client has left, the backend does no more than follow it.
                if !self.state.has_client_left()
                    && let Some(ending) = watch.backend_ended()
                {
                    let notice = ending.notice.filter(|_| watch.is_at_boundary());
                    return Err(Ending { notice, ..ending });
                }
                if let Some(error) = self.broken.take() {
                    return Err(Ending::lost_backend(&error, watch.is_at_boundary()));
                }
                self.state.backend_ended();
                Ok(Step::Stay)
            }
            Err(error) if self.broken.take().is_some() => {
                Err(Ending::lost_backend(&error, watch.is_at_boundary()))
            }
            Err(SessionError::Io(_))
                if self.state.first_end.is_some() && watch.is_at_boundary() =>
            {
                // It was leaving anyway, and resets what it was still sent: that is the end.
                self.state.backend_ended();
                Ok(Step::Stay)
            }
            Err(error) => Err(Ending::lost_backend(&error, watch.is_at_boundary())),
        }
    }

    fn send_outward<W: Watch>(&mut self, watch: &mut W) -> Result<Step, Ending> {
        let Scratch { plaintext, tls } = &mut *self.scratch.borrow_mut();
        let mut bytes = plaintext.filled();
        let step = if self.last_words.is_none() {
            watch.backend_sent(bytes)?
        } else {
            // Our last words follow the message that is under way; what the backend sent behind it is for nobody.
            let length = watch.to_boundary(bytes)?;
            bytes = bytes.get(..length).unwrap_or(bytes);
            Step::Stay
        };
        let bytes = watch.for_client(bytes);
        // Last words: that the backend left is no news to the client any more.
        self.broken = None;
        self.note_transfer();
        self.journal.add_bytes_out(bytes.len());
        self.state.backend_sent(bytes);
        match self.client.send(bytes, tls) {
            Ok(()) => Ok(step),
            Err(error) => self.client_failed(&error).map(|()| step),
        }
    }

    /// The backend takes nothing more. What it said before it left may still be read, and the client shall see it.
    fn backend_failed(&mut self, error: SessionError) {
        if self.state.first_end.is_none() {
            self.broken = Some(Box::new(error));
        }
        self.state.backend_broken();
    }

    /// A client that is gone when one of the two has already left is no fault.
    fn client_failed(&mut self, error: &SessionError) -> Result<(), Ending> {
        match self.state.first_end {
            None => return Err(Ending::of_client(error)),
            Some(FirstEnd::Client) => {}
            Some(FirstEnd::Backend) => self.state.inward = Flow::Over,
        }
        self.state.outward = Flow::Over;
        Ok(())
    }

    /// Tells each peer of the other's end as soon as all that came before it is sent.
    fn pass_ends_on(&mut self) {
        if self.state.first_end.is_some() {
            let tls = &mut self.scratch.borrow_mut().tls;
            self.state.inward = pass_end_on(self.state.inward, self.backend, tls);
            self.state.outward = pass_end_on(self.state.outward, self.client, tls);
        }
    }

    fn reason(&self) -> CloseReason {
        match self.state.who_left() {
            FirstEnd::Client => CloseReason::ClientClosed,
            FirstEnd::Backend => CloseReason::BackendClosed,
        }
    }
}

/// Takes a flow as far as its destination's outbox allows. A peer that cannot be told any more is told enough.
fn pass_end_on<C: TlsConnectionOps>(mut flow: Flow, to: &Peer<C>, tls: &mut TlsScratch) -> Flow {
    loop {
        match flow.step(to.has_residue().unwrap_or(false)) {
            EndStep::None => return flow,
            EndStep::Notify => {
                flow = if to.send_close_notify(tls).is_ok() {
                    Flow::Notified
                } else {
                    Flow::Over
                };
            }
            EndStep::Shutdown => {
                let _ = to.shutdown_write();
                return Flow::Over;
            }
        }
    }
}
