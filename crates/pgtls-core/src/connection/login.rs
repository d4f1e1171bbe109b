//! [`log_in`]: the phases from the descriptor to ReadyForQuery, and what becomes of those who do not come so far.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use pgtls_tls::failure::TlsFailureReason;
use pgtls_tls::stream::TrySend;
use pgtls_wire::MessageWalk;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::backends::Wish;
use crate::connection::admission_check::check_admission;
use crate::connection::application_name::add_host;
use crate::connection::ask::{
    about_backend, about_client, about_client_hello, about_route, no_backend_named,
};
use crate::connection::authentication::{Authentication, ChannelBinding};
use crate::connection::cancel::{Canceller, forward_cancel};
use crate::connection::cancel_registry::{CancelEntry, CancelKey, CancelPlace};
use crate::connection::choose::connect_backend;
use crate::connection::close::{close_client, close_told};
use crate::connection::connect::Link;
use crate::connection::ending::Ending;
use crate::connection::handshake::{Client, FailedClient, Greeting, accept_client};
use crate::connection::journal::{Arrival, Journal};
use crate::connection::peer::{BackendPeer, ClientPeer, Peer};
use crate::connection::prefer::{Asked, ask_in_tls};
use crate::connection::proxy_header::ClientEnds;
use crate::connection::relay::{Relay, StreamEnd};
use crate::connection::relay_state::RelayState;
use crate::connection::route::{Request, Startup, read_request};
use crate::connection::serve::Context;
use crate::connection::session::Session;
use crate::connection::signals::Signals;
use crate::connection::socket::Socket;
use crate::connection::user_map::check_user;
use crate::connection::watch::Boundaries;
use crate::data_plane::ClientEncryption;
use crate::report::{CloseReason, FaultSide, Phase, TlsSide};

/// What became of a request.
enum Answered {
    Opened(Box<Opened>),
    /// Nothing is left to do for this client.
    Over(Ending),
}

/// What the login found out about a session, besides its client.
struct Opened {
    backend: BackendPeer,
    state: RelayState,
    walk: MessageWalk,
    cancel_entry: Option<CancelEntry>,
}

/// From the descriptor to ReadyForQuery, within the login deadline; none if the connection is over.
pub(crate) async fn log_in(
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
    let is_over_limit = over_limit.is_some();
    let mut signals = Signals::of_login(context.cuts, login_deadline);
    let socket = match agree(
        Socket::new(fd.into(), &journal.route().listener_keepalive),
        encryption,
    ) {
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
    let greeted = tokio::select! {
        greeted = greet(greeting, is_over_limit, context, journal) => greeted,
        // Nothing can be told to a client in the middle of its handshake.
        farewell = &mut signals => {
            journal.note_ending(ending_in_greeting(farewell.ending(), encryption));
            return None;
        }
    };
    let client = match greeted {
        Ok(client) => client,
        Err(failed) => {
            refuse(&failed.peer, failed.ending, context, journal).await;
            return None;
        }
    };
    let ending = match answer(&client, is_over_limit, context, journal, &mut signals).await {
        Ok(Answered::Opened(opened)) => {
            return Some(session(client.peer, *opened, context, journal));
        }
        Ok(Answered::Over(ending)) | Err(ending) => ending,
    };
    refuse(&client.peer, ending, context, journal).await;
    // Until here a connection over a limit counts among the handshakes, which bounds how many of them there are.
    drop(over_limit);
    None
}

/// Sends the `S` that an SSLRequest is owed: one byte into a socket that nothing waits in, so that the kernel takes it.
fn agree(socket: io::Result<Socket>, encryption: ClientEncryption) -> io::Result<Socket> {
    let socket = socket?;
    if encryption == ClientEncryption::Negotiated {
        socket.try_send(b"S")?;
    }
    Ok(socket)
}

/// The end of a connection whose client says nothing, or not enough.
fn ending_in_greeting(ending: Ending, encryption: ClientEncryption) -> Ending {
    let is_timeout =
        ending.reason == CloseReason::LoginTimeout && encryption != ClientEncryption::None;
    Ending {
        notice: None,
        tls_failure: is_timeout.then_some(TlsFailureReason::Timeout),
        ..ending
    }
}

fn session(client: ClientPeer, opened: Opened, context: Context<'_>, journal: &Journal) -> Session {
    let idle_timeout = journal.route().client_idle_timeout;
    let (signals, activity) = Signals::of_session(context.cuts, idle_timeout);
    Session {
        client,
        backend: opened.backend,
        state: opened.state,
        watch: Boundaries::new(opened.walk),
        signals,
        activity,
        cancel_entry: opened.cancel_entry,
    }
}

/// The client's handshake, in a slot for as long as it keeps us busy: from the client's first byte on, and not while a slow client
/// makes it wait. So those who say nothing keep nobody from logging in. A connection over a limit has a slot already.
async fn greet(
    greeting: Greeting,
    is_over_limit: bool,
    context: Context<'_>,
    journal: &mut Journal,
) -> Result<Client, Box<FailedClient>> {
    let (greeting, tls) = about_client_hello(greeting, context, journal).await?;
    let needs_slot = !is_over_limit && greeting.encryption != ClientEncryption::None;
    let slots = context.shared.admission.handshakes();
    let mut slot = None;
    if needs_slot {
        if greeting.prefix.is_empty() {
            // A failure shows again, with its reason, when the handshake reads.
            let _ = greeting.socket.readable().await;
        }
        slot = slots
            .acquire(journal.route().id, || journal.client_ip())
            .await;
    }
    let since = Instant::now();
    let result = {
        let tls = tls.as_ref().or(journal.route().listener_tls.as_ref());
        let mut handshake = pin!(accept_client(greeting, tls, context.scratch));
        match timeout(slots.patience(), &mut handshake).await {
            Ok(result) => result,
            Err(_slow) => {
                drop(slot.take());
                handshake.await
            }
        }
    };
    journal.note_greeting(&result, since.elapsed());
    result
}

/// Reads what the client wants and does it: a CancelRequest wholly, a startup up to ReadyForQuery.
async fn answer(
    client: &Client,
    is_over_limit: bool,
    context: Context<'_>,
    journal: &mut Journal,
    signals: &mut Signals,
) -> Result<Answered, Ending> {
    journal.note(|report| report.phase = Phase::Route);
    let request = unless(signals, read_request(&client.peer, context.scratch)).await?;
    let mut startup = match request {
        Request::Cancel {
            process_id,
            secret_key,
        } => {
            // Clients send CancelRequests without TLS whatever they connect with: nobody could be asked about those.
            if client.tls.is_some() {
                unless(signals, about_client(client, context, journal)).await?;
            }
            journal.note(|report| report.is_cancel = true);
            let route = journal.route();
            let key = CancelKey::new(route, process_id, &secret_key);
            let ends = journal.ends();
            let from = Canceller {
                ends: ends.as_ref(),
                host: client.shown.as_ref().and_then(|shown| shown.host),
                is_over_limit,
            };
            let forwarding = forward_cancel(context.shared, route, &key, from, context.scratch);
            let forwarded = async { Ok(Answered::Over(forwarding.await)) };
            return unless(signals, forwarded).await;
        }
        Request::Startup(startup) => startup,
    };
    journal.note(|report| {
        report.user.clone_from(&startup.user);
        report.database.clone_from(&startup.database);
        report
            .application_name
            .clone_from(&startup.application_name);
    });
    // First what needs no question: nobody is asked about a client that is turned away anyway.
    check_admission(client, is_over_limit, journal.route())?;
    check_user(client.tls.as_ref(), journal.route(), &startup)?;
    unless(signals, about_client(client, context, journal)).await?;
    journal.note(|report| report.phase = Phase::Backend);
    #[cfg(feature = "fault-injection")]
    crate::fault::strike_session(startup.application_name.as_deref());
    let named = unless(signals, about_route(client, &startup, context, journal)).await?;
    let backend = choose_backend(named.as_deref(), client, &startup, journal)?;
    let ends = backend.tells_client().then(|| journal.ends()).flatten();
    add_host(&mut startup, &backend, ends.as_ref());
    let connecting = connect_backend(&backend, ends.as_ref(), context.scratch);
    let link = unless(signals, connecting).await?;
    let served = Served {
        backend,
        link,
        ends,
    };
    authenticate(client, served, &startup, context, journal, signals).await
}

/// Which of the route's backends the session goes to: the one that a hook named, or the configured one. The report is told its name.
fn choose_backend(
    named: Option<&str>,
    client: &Client,
    startup: &Startup,
    journal: &mut Journal,
) -> Result<Arc<Backend>, Ending> {
    let backends = &journal.route().backends;
    let wish = Wish {
        host: client.shown.as_ref().and_then(|shown| shown.host),
        names: startup.names(),
    };
    let chosen = named.map_or_else(
        || Ok(backends.choose(wish)),
        |name| backends.named(name).ok_or_else(|| no_backend_named(name)),
    )?;
    let (name, backend) = (chosen.name.clone(), Arc::clone(&chosen.backend));
    journal.note(|report| report.backend = name);
    Ok(backend)
}

/// A backend, and the connection to it that this session got.
struct Served {
    backend: Arc<Backend>,
    link: Link,
    ends: Option<ClientEnds>,
}

/// A phase, unless the session shall end first.
async fn unless<T>(
    signals: &mut Signals,
    phase: impl Future<Output = Result<T, Ending>>,
) -> Result<T, Ending> {
    tokio::select! {
        result = phase => result,
        farewell = signals => Err(farewell.ending()),
    }
}

/// Sends the startup packet and relays until ReadyForQuery.
async fn authenticate(
    client: &Client,
    Served {
        backend,
        link,
        ends,
    }: Served,
    startup: &Startup,
    context: Context<'_>,
    journal: &mut Journal,
    signals: &mut Signals,
) -> Result<Answered, Ending> {
    journal.note(|report| {
        report.phase = Phase::Authenticate;
        report.backend_addr = Some(link.target.to_string());
    });
    if let Some(tls) = &link.tls {
        journal.note_tls(TlsSide::Backend, tls);
    }
    unless(signals, about_backend(&link, context, journal)).await?;
    if link.is_first_use_of_common_name(&backend) {
        journal.tell_common_name(&link.target);
    }
    let asking = ask_in_tls(link, &backend, startup.packet(), ends.as_ref(), context);
    let asked = unless(signals, asking).await?;
    let (link, is_asked) = match asked {
        Asked::Answering(link) => (link, true),
        Asked::Fresh(link) => (link, false),
    };
    if link.tls.is_none() {
        journal.forget_backend_tls();
    }
    let route = Arc::clone(journal.route());
    let channel_binding = channel_binding(client, &link);
    let place = CancelPlace {
        backend,
        target: link.target.clone(),
    };
    let mut watch = Authentication::new(&context.shared.cancels, &route, place, channel_binding);
    let mut relay = Relay::new(&client.peer, &link.peer, context.scratch, journal, None);
    relay.send_startup(startup, is_asked, &mut watch)?;
    let end = relay.stream(&mut watch, signals, None).await?;
    let state = relay.state;
    match end {
        StreamEnd::Over(reason) => Ok(Answered::Over(Ending::quiet(reason))),
        StreamEnd::Farewell(farewell) => Err(farewell.ending()),
        StreamEnd::Left | StreamEnd::Claimed(_) => Ok(Answered::Opened(Box::new(Opened {
            walk: watch.walk,
            cancel_entry: watch.cancel_entry.take(),
            backend: link.peer,
            state,
        }))),
    }
}

/// With TLS on both legs and another certificate shown to the client than the backend's, SCRAM-SHA-256-PLUS cannot succeed.
fn channel_binding(client: &Client, link: &Link) -> ChannelBinding {
    let Some(tls) = &link.tls else {
        return ChannelBinding::Passes;
    };
    if matches!(client.peer, Peer::Plain(_)) {
        return ChannelBinding::Hidden;
    }
    match (&client.shown, tls.peer_certificate.as_deref()) {
        (Some(shown), Some(leaf)) if shown.leaf().is_none_or(|ours| **ours != *leaf) => {
            ChannelBinding::Conflicts
        }
        _ => ChannelBinding::Passes,
    }
}

/// Tells the client, as far as it can be told, and notes the ending.
async fn refuse(client: &ClientPeer, ending: Ending, context: Context<'_>, journal: &mut Journal) {
    if ending.reason == CloseReason::ClientTlsHandshakeFailed {
        close_told(client, context.scratch).await;
    } else {
        close_client(client, ending.notice.as_ref(), context.scratch).await;
    }
    journal.note_ending(ending);
}
