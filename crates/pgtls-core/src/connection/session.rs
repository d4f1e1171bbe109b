//! [`Session`]: what is left of a connection once it is logged in, and the modes it is relayed in, each with its own receiver.

use pgtls_wire::SqlState;
use tokio::sync::{mpsc, oneshot};

use crate::connection::cancel_registry::CancelEntry;
use crate::connection::ending::Ending;
use crate::connection::farewell::{FAREWELL_TIMEOUT, Farewell, FarewellRequest};
use crate::connection::journal::Journal;
use crate::connection::peer::{BackendPeer, ClientPeer};
use crate::connection::relay::{AnswerEnd, Relay, StreamEnd};
use crate::connection::relay_state::RelayState;
use crate::connection::serve::Context;
use crate::connection::signals::{Activity, Signals};
use crate::connection::watch::Boundaries;
use crate::report::{CloseReason, FaultSide};
use crate::responder::Asked;

/// A session that came as far as ReadyForQuery.
pub(crate) struct Session {
    pub(crate) client: ClientPeer,
    pub(crate) backend: BackendPeer,
    pub(crate) state: RelayState,
    pub(crate) watch: Boundaries,
    pub(crate) signals: Signals,
    pub(crate) activity: Activity,
    /// Keeps the cancel key known; none where the backend gave none.
    pub(crate) cancel_entry: Option<CancelEntry>,
}

/// Who writes to the client. A mode that waits for another thread owns the receiver of that thread's word.
enum RelayMode {
    /// The worker.
    Streaming,
    /// The responder, in answer to these bytes.
    ResponderRead(Asked, Vec<u8>),
    /// The proxy thread, its last words.
    FarewellRead(Farewell, oneshot::Receiver<()>),
}

/// How a session ended.
pub(crate) struct SessionEnd {
    pub(crate) ending: Ending,
    /// What the client has to be told was told already.
    pub(crate) is_told: bool,
    /// The backend may be in the middle of a statement.
    pub(crate) is_busy: bool,
}

impl SessionEnd {
    fn untold(ending: Ending) -> Self {
        Self {
            ending,
            is_told: false,
            is_busy: false,
        }
    }
}

/// Relays until the session is over.
pub(crate) async fn run_session(
    session: &mut Session,
    context: &Context<'_>,
    journal: &mut Journal,
) -> SessionEnd {
    let Session {
        client,
        backend,
        state,
        watch,
        signals,
        activity,
        ..
    } = session;
    let mut relay = Relay::new(
        client,
        backend,
        context.scratch,
        journal,
        activity.as_deref(),
    );
    relay.state = *state;
    loop {
        let end = relay.stream(watch, signals, context.responder).await;
        // Boxed: an idle session carries streaming alone.
        if let Err(end) = Box::pin(until_streaming(end, client, &mut relay, context, signals)).await
        {
            let is_busy = relay.state.is_busy();
            return SessionEnd { is_busy, ..end };
        }
    }
}

/// What follows the end of streaming, until the worker streams again or the session is over.
async fn until_streaming(
    end: Result<StreamEnd, Ending>,
    client: &ClientPeer,
    relay: &mut Relay<'_>,
    context: &Context<'_>,
    signals: &mut Signals,
) -> Result<(), SessionEnd> {
    match after_streaming(end, client, relay, context).await? {
        RelayMode::Streaming => Ok(()),
        RelayMode::ResponderRead(asked, bytes) => {
            after_answer(asked, &bytes, client, relay, signals).await
        }
        RelayMode::FarewellRead(farewell, said) => {
            Err(after_farewell(farewell, said, relay, signals).await)
        }
    }
}

async fn after_streaming(
    end: Result<StreamEnd, Ending>,
    client: &ClientPeer,
    relay: &mut Relay<'_>,
    context: &Context<'_>,
) -> Result<RelayMode, SessionEnd> {
    match end.map_err(SessionEnd::untold)? {
        StreamEnd::Left => Ok(RelayMode::Streaming),
        StreamEnd::Over(reason) => Err(SessionEnd::untold(Ending::quiet(reason))),
        StreamEnd::Farewell(farewell) => {
            let said = ask_for_farewell(farewell, client, context).await;
            said.map(|said| RelayMode::FarewellRead(farewell, said))
        }
        StreamEnd::Claimed(bytes) => {
            let socket = client.socket_source().client_socket().ok();
            let asked = context
                .responder
                .zip(socket)
                .and_then(|(responder, socket)| responder.ask(bytes.clone(), socket));
            if let Some(asked) = asked {
                relay.follow(asked.answer.clone());
                return Ok(RelayMode::ResponderRead(asked, bytes));
            }
            relay.pass_through(&bytes);
            Ok(RelayMode::Streaming)
        }
    }
}

/// Hands the client over to the proxy thread. If that cannot be, the worker says the words itself when it closes.
async fn ask_for_farewell(
    farewell: Farewell,
    client: &ClientPeer,
    context: &Context<'_>,
) -> Result<oneshot::Receiver<()>, SessionEnd> {
    let farewells: &mpsc::Sender<FarewellRequest> = &context.shared.farewells;
    let (done, said) = oneshot::channel();
    let Ok(socket) = client.socket_source().client_socket() else {
        return Err(SessionEnd::untold(farewell.ending()));
    };
    let request = FarewellRequest {
        socket,
        farewell,
        done,
    };
    match farewells.send_timeout(request, FAREWELL_TIMEOUT).await {
        Ok(()) => Ok(said),
        Err(_full_or_gone) => Err(SessionEnd::untold(farewell.ending())),
    }
}

async fn after_farewell(
    farewell: Farewell,
    said: oneshot::Receiver<()>,
    relay: &mut Relay<'_>,
    signals: &mut Signals,
) -> SessionEnd {
    match relay.read_answer(said, signals).await {
        Ok(AnswerEnd::Answered) => SessionEnd {
            ending: farewell.ending(),
            is_told: true,
            is_busy: false,
        },
        Ok(AnswerEnd::Abandoned | AnswerEnd::Overdue(_)) => SessionEnd::untold(Ending {
            notice: None,
            ..farewell.ending()
        }),
        Err(ending) => SessionEnd::untold(ending),
    }
}

async fn after_answer(
    asked: Asked,
    bytes: &[u8],
    client: &ClientPeer,
    relay: &mut Relay<'_>,
    signals: &mut Signals,
) -> Result<(), SessionEnd> {
    let Asked { done, answer } = asked;
    let end = tokio::select! {
        biased;
        end = relay.read_answer(done, signals) => end,
        // Nobody is left to hear it.
        () = client.failed() => Err(Ending::of_client(&client.failure())),
    };
    relay.count_answer(&answer);
    match end.map_err(SessionEnd::untold)? {
        AnswerEnd::Answered => Ok(()),
        AnswerEnd::Abandoned if !answer.has_begun() => {
            relay.pass_through(bytes);
            Ok(())
        }
        AnswerEnd::Abandoned => Err(SessionEnd::untold(
            Ending::by(
                FaultSide::Proxy,
                CloseReason::ResponderLost,
                "the responder died in its answer",
            )
            .telling(
                SqlState::InternalError,
                "the answer to this query was lost",
                None,
            ),
        )),
        AnswerEnd::Overdue(farewell) => Err(SessionEnd::untold(Ending {
            notice: None,
            ..farewell.ending()
        })),
    }
}
