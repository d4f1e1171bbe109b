//! [`serve`]: the phases of a connection, one after the other, and what becomes of their endings.

use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use pgtls_wire::{MessageWalk, SqlState};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use crate::connection::authentication::Authentication;
use crate::connection::cancel::{CancelEntry, CancelKey, forward_cancel};
use crate::connection::close::{close_client, close_failed};
use crate::connection::connect::{Link, connect_backend};
use crate::connection::ending::Ending;
use crate::connection::handshake::{Client, FailedClient, Greeting, accept_client};
use crate::connection::journal::{Arrival, Journal};
use crate::connection::peer::{BackendPeer, ClientPeer, Scratch};
use crate::connection::relay::{Boundaries, ModeEnd, Relay, RelayMode};
use crate::connection::relay_state::RelayState;
use crate::connection::route::{Request, Startup, read_request};
use crate::connection::socket::Socket;
use crate::data_plane::{ClientEncryption, Shared};
use crate::messages::{Adopted, Control};
use crate::report::{CloseReason, FaultSide, Phase, TlsSide};
use crate::routes::Route;

/// What a connection needs of its worker.
#[derive(Clone, Copy)]
pub(crate) struct Context<'w> {
    pub(crate) shared: &'w Arc<Shared>,
    pub(crate) scratch: &'w RefCell<Scratch>,
}

/// Serves an adopted connection to its end. Never panics: a panic inside costs this connection alone.
pub(crate) async fn serve(adopted: Box<Adopted>, context: Context<'_>) {
    let (mut journal, arrival) = Journal::open(*adopted, context.shared);
    let panic = {
        let mut phases = pin!(run_phases(arrival, context, &mut journal));
        poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| phases.as_mut().poll(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(())) => Poll::Ready(None),
                Err(panic) => Poll::Ready(Some(panic_text(panic.as_ref()))),
            },
        )
        .await
    };
    if let Some(text) = panic {
        journal.note_panic(text);
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// A session that came as far as ReadyForQuery.
struct Session {
    client: ClientPeer,
    opened: Opened,
}

/// What the login found out about a session.
struct Opened {
    backend: BackendPeer,
    state: RelayState,
    walk: MessageWalk,
    /// Keeps the cancel key known.
    _cancel_entry: Option<CancelEntry>,
}

/// What became of a request.
enum Answered {
    Opened(Opened),
    /// Nothing is left to do for this client.
    Over(Ending),
}

async fn run_phases(arrival: Box<Arrival>, context: Context<'_>, journal: &mut Journal) {
    // Boxed, so that an idle session does not carry the login's state.
    let Some(mut session) = Box::pin(log_in(arrival, context, journal)).await else {
        return;
    };
    journal.note(|report| report.phase = Phase::Relay);
    let ending = stream(&mut session, context, journal).await;
    if ending.notice.is_some() {
        close_client(&session.client, ending.notice.as_ref(), context.scratch).await;
    }
    journal.note_ending(ending);
}

/// From the descriptor to ReadyForQuery, within the login deadline; none if the connection is over.
async fn log_in(
    arrival: Box<Arrival>,
    context: Context<'_>,
    journal: &mut Journal,
) -> Option<Session> {
    let Arrival {
        fd,
        encryption,
        prefix,
        login_deadline,
        over_limit,
    } = *arrival;
    let deadline = Instant::from_std(login_deadline);
    let is_over_limit = over_limit.is_some();
    let socket = match Socket::new(fd.into(), &journal.route().listener_keepalive) {
        Ok(socket) => socket,
        Err(error) => {
            let message = format!("the adopted socket cannot be used: {error}");
            journal.note_ending(Ending::by(
                FaultSide::Client,
                CloseReason::ClientReset,
                message,
            ));
            return None;
        }
    };
    let greeting = Greeting {
        socket,
        prefix,
        encryption,
    };
    let client = match timeout_at(deadline, greet(greeting, over_limit, context, journal)).await {
        Ok(Ok(client)) => client,
        Ok(Err(failed)) => {
            refuse(&failed.peer, failed.ending, context, journal).await;
            return None;
        }
        // Nothing can be told to a client in the middle of its handshake.
        Err(_elapsed) => {
            journal.note_ending(Ending {
                notice: None,
                ..login_timeout()
            });
            return None;
        }
    };
    let answer = answer(&client, is_over_limit, context, journal);
    let ending = match timeout_at(deadline, answer).await {
        Ok(Ok(Answered::Opened(opened))) => {
            return Some(Session {
                client: client.peer,
                opened,
            });
        }
        Ok(Ok(Answered::Over(ending)) | Err(ending)) => ending,
        Err(_elapsed) => login_timeout(),
    };
    refuse(&client.peer, ending, context, journal).await;
    None
}

/// The client's handshake. A connection over a limit brought its own slot.
async fn greet(
    greeting: Greeting,
    over_limit: Option<OwnedSemaphorePermit>,
    context: Context<'_>,
    journal: &mut Journal,
) -> Result<Client, Box<FailedClient>> {
    let slots = Arc::clone(context.shared.admission.handshakes());
    let _slot = match over_limit {
        Some(slot) => Some(slot),
        None if greeting.encryption == ClientEncryption::None => None,
        None => slots.acquire_owned().await.ok(),
    };
    let result = accept_client(greeting, journal.route(), context.scratch).await;
    match &result {
        Ok(client) => {
            journal.note(|report| report.sni.clone_from(&client.sni));
            if let Some(tls) = &client.tls {
                journal.note_tls(TlsSide::Client, tls);
            }
        }
        Err(failed) => journal.note(|report| report.sni.clone_from(&failed.sni)),
    }
    result
}

/// Reads what the client wants and does it: a CancelRequest wholly, a startup up to ReadyForQuery.
async fn answer(
    client: &Client,
    is_over_limit: bool,
    context: Context<'_>,
    journal: &mut Journal,
) -> Result<Answered, Ending> {
    journal.note(|report| report.phase = Phase::Route);
    match read_request(&client.peer, context.scratch).await? {
        Request::Cancel {
            process_id,
            secret_key,
        } => {
            journal.note(|report| report.is_cancel = true);
            let route = journal.route();
            let key = CancelKey::new(route, process_id, &secret_key);
            let cancels = &context.shared.cancels;
            Ok(Answered::Over(
                forward_cancel(cancels, route, &key, context.scratch).await,
            ))
        }
        Request::Startup(startup) => {
            journal.note(|report| {
                report.user.clone_from(&startup.user);
                report.database.clone_from(&startup.database);
                report
                    .application_name
                    .clone_from(&startup.application_name);
                report.phase = Phase::Backend;
            });
            check_admission(client, is_over_limit, journal.route())?;
            let backend = &journal.route().backend;
            let link = connect_backend(backend, &backend.addresses, context.scratch).await?;
            authenticate(client, link, &startup, context, journal).await
        }
    }
}

/// What is refused only now, because a CancelRequest would have been served.
fn check_admission(client: &Client, is_over_limit: bool, route: &Route) -> Result<(), Ending> {
    if is_over_limit {
        return Err(Ending::by(
            FaultSide::Proxy,
            CloseReason::TooManyConnections,
            "over a connection limit",
        )
        .telling(
            SqlState::TooManyConnections,
            "sorry, too many clients already",
            Some("The proxy's max_client_conn is reached."),
        ));
    }
    if client.tls.is_none() && route.requires_tls {
        return Err(Ending::by(
            FaultSide::Client,
            CloseReason::TlsRequired,
            "startup without TLS",
        )
        .telling(
            SqlState::InvalidAuthorization,
            "this server accepts TLS connections only",
            Some("Connect with sslmode=require or stronger."),
        ));
    }
    Ok(())
}

/// Sends the startup packet and relays until ReadyForQuery.
async fn authenticate(
    client: &Client,
    link: Link,
    startup: &Startup,
    context: Context<'_>,
    journal: &mut Journal,
) -> Result<Answered, Ending> {
    journal.note(|report| {
        report.phase = Phase::Authenticate;
        report.backend_addr = Some(link.target.to_string());
    });
    if let Some(tls) = &link.tls {
        journal.note_tls(TlsSide::Backend, tls);
    }
    let route = Arc::clone(journal.route());
    let conflict = has_channel_binding_conflict(client, &link, &route);
    let mut watch = Authentication::new(&context.shared.cancels, &route, &link.target, conflict);
    let mut relay = Relay::new(&client.peer, &link.peer, context.scratch, journal);
    relay.send_startup(&startup.bytes, startup.packet_bytes, &mut watch)?;
    let cut = pin!(cut(context.shared));
    let end = relay
        .run(RelayMode::Streaming {
            watch: &mut watch,
            cut,
        })
        .await?;
    let state = relay.state;
    match end {
        ModeEnd::Over(reason) => Ok(Answered::Over(Ending::quiet(reason))),
        ModeEnd::Left => Ok(Answered::Opened(Opened {
            walk: watch.walk,
            _cancel_entry: watch.cancel_entry.take(),
            backend: link.peer,
            state,
        })),
    }
}

/// With TLS on both legs and another certificate than the backend's, SCRAM-SHA-256-PLUS cannot succeed.
fn has_channel_binding_conflict(client: &Client, link: &Link, route: &Route) -> bool {
    let backend_leaf = link
        .tls
        .as_ref()
        .and_then(|tls| tls.peer_certificate.as_deref());
    match (&client.tls, backend_leaf, &route.listener_tls) {
        (Some(_), Some(leaf), Some(listener)) => {
            !listener.leaves.iter().any(|ours| ours.as_ref() == leaf)
        }
        _ => false,
    }
}

/// The session itself.
async fn stream(session: &mut Session, context: Context<'_>, journal: &mut Journal) -> Ending {
    let opened = &session.opened;
    let mut watch = Boundaries::new(opened.walk);
    let mut relay = Relay::new(&session.client, &opened.backend, context.scratch, journal);
    relay.state = opened.state;
    let cut = pin!(cut(context.shared));
    match relay
        .run(RelayMode::Streaming {
            watch: &mut watch,
            cut,
        })
        .await
    {
        Ok(ModeEnd::Over(reason)) => Ending::quiet(reason),
        Ok(ModeEnd::Left) => Ending::quiet(CloseReason::ClientClosed),
        Err(ending) => ending,
    }
}

/// Ready when every session shall end.
async fn cut(shared: &Shared) {
    let mut control = shared.control.subscribe();
    // The sender lives as long as `shared`.
    let _ = control.wait_for(|control| *control == Control::Cut).await;
}

/// Tells the client, as far as it can be told, and notes the ending.
async fn refuse(client: &ClientPeer, ending: Ending, context: Context<'_>, journal: &mut Journal) {
    if ending.reason == CloseReason::ClientTlsHandshakeFailed {
        close_failed(client, context.scratch).await;
    } else {
        close_client(client, ending.notice.as_ref(), context.scratch).await;
    }
    journal.note_ending(ending);
}

fn login_timeout() -> Ending {
    Ending::by(
        FaultSide::Client,
        CloseReason::LoginTimeout,
        "client_login_timeout passed",
    )
    .telling(
        SqlState::QueryCanceled,
        "canceling authentication due to timeout",
        Some("The proxy's client_login_timeout passed before the session was ready."),
    )
}
