//! CancelRequests: the one-packet connection that forwards the request.
//!
//! A CancelRequest carries nothing but a process id and a secret key (`cancel_registry.rs` knows whose it is). An unknown key is forwarded to each server where its session may be, since another instance may have served it. Anybody can send
//! one, so few are on their way at a time.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use pgtls_wire::encode_cancel_request;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::connection::cancel_registry::{CancelEntry, CancelKey, Known};
use crate::connection::choose::targets_in_order;
use crate::connection::connect::{Link, Target, connect_in_time};
use crate::connection::ending::Ending;
use crate::connection::peer::Scratch;
use crate::connection::proxy_header::ClientEnds;
use crate::data_plane::Shared;
use crate::options::BackendAddress;
use crate::report::{CloseReason, FaultSide};
use crate::routes::Route;

/// How long the server may take to close the connection after it read the request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// To how many servers a request with an unknown key is sent at most.
const MAX_TARGETS: usize = 8;

/// How many requests with unknown keys may be on their way at a time.
pub(crate) const MAX_UNKNOWN: usize = 32;

/// How many requests for sessions that a drain has cut may be on their way at a time.
pub(crate) const MAX_STATEMENTS: usize = 32;

/// How long the end of a session may wait for its statement to be cancelled: no longer than for its client to read the last words.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Forwards a CancelRequest; ends when the server has closed the connection, its only answer. `host` is the row of
/// `[[proxy.listener.host]]` whose identity the client was shown.
pub(crate) async fn forward_cancel(
    shared: &Shared,
    route: &Route,
    key: &CancelKey,
    host: Option<usize>,
    ends: Option<&ClientEnds>,
    scratch: &RefCell<Scratch>,
) -> Ending {
    let request = Forwarded {
        packet: &encode_cancel_request(key.process_id, &key.secret_key),
        ends,
        scratch,
    };
    let result = match shared.cancels.find(key) {
        Some(place) => request.send_to(&place.backend, &place.target).await,
        None => match shared.unknown_cancels.try_acquire() {
            Ok(_slot) => send_to_all(route, host, request).await,
            Err(_) => Err(too_many()),
        },
    };
    match result {
        Ok(()) => Ending::quiet(CloseReason::CancelForwarded),
        // Nothing can be told to a client that sent a CancelRequest: it reads until the close.
        Err(ending) => Ending {
            reason: CloseReason::CancelFailed,
            notice: None,
            fault: ending.fault.or(Some(FaultSide::Backend)),
            ..ending
        },
    }
}

fn too_many() -> Ending {
    let message = format!(
        "its key is unknown, and {MAX_UNKNOWN} requests with unknown keys are being forwarded already"
    );
    Ending::by(FaultSide::Proxy, CloseReason::CancelFailed, message)
}

/// Asks the server to cancel what the entry's own session runs, in at most [`STATEMENT_TIMEOUT`] and with few at a time. Whether it
/// worked is for nobody to know: the session is over.
pub(crate) async fn cancel_statement(
    shared: &Shared,
    entry: &CancelEntry,
    scratch: &RefCell<Scratch>,
) {
    let Known { key, place } = &*entry.known;
    let request = Forwarded {
        packet: &encode_cancel_request(key.process_id, &key.secret_key),
        ends: None,
        scratch,
    };
    let sending = async {
        let _slot = shared.statement_cancels.acquire().await;
        request.send_to(&place.backend, &place.target).await
    };
    let _ = timeout(STATEMENT_TIMEOUT, sending).await;
}

/// A CancelRequest on its way, and the client it comes from.
#[derive(Clone, Copy)]
struct Forwarded<'a> {
    packet: &'a [u8],
    ends: Option<&'a ClientEnds>,
    scratch: &'a RefCell<Scratch>,
}

impl Forwarded<'_> {
    async fn send_to(self, backend: &Backend, target: &Target) -> Result<(), Ending> {
        let link = connect_in_time(backend, target, self.ends, self.scratch).await?;
        send_packet(&link, self.packet, self.scratch).await
    }
}

/// The key is unknown here: all servers where its session may be get the request at the same time, and one success is enough.
async fn send_to_all(
    route: &Route,
    host: Option<usize>,
    request: Forwarded<'_>,
) -> Result<(), Ending> {
    // A hook may have led the session away from its host's backend.
    let of_host = host
        .filter(|_| !route.hooks.route)
        .and_then(|row| route.backends.of_host(row));
    let only = of_host.map(|named| &named.backend);
    let all = route.backends.iter().filter(|_| only.is_none());
    let addresses = only.into_iter().chain(all).flat_map(|backend| {
        let addresses = backend.addresses.iter();
        addresses.map(move |address| (backend, address))
    });
    let left = &Cell::new(MAX_TARGETS);
    let sending = addresses.take(MAX_TARGETS).map(|(backend, address)| {
        let sent = send_to_address(backend, address, left, request);
        async move { sent.await.map_err(|ending| ending.naming(address)) }
    });
    at_the_same_time(sending).await
}

/// Sends the request to every server that the address stands for, but to no more than are `left`.
async fn send_to_address(
    backend: &Backend,
    address: &BackendAddress,
    left: &Cell<usize>,
    request: Forwarded<'_>,
) -> Result<(), Ending> {
    let mut targets = targets_in_order(backend, address).await?;
    targets.truncate(left.get());
    left.set(left.get().saturating_sub(targets.len()));
    let sending = targets
        .iter()
        .map(|target| request.send_to(backend, target));
    at_the_same_time(sending).await
}

/// Waits for all of them; the error is that of the last.
async fn at_the_same_time<F: Future<Output = Result<(), Ending>>>(
    sending: impl Iterator<Item = F>,
) -> Result<(), Ending> {
    let mut pending: Vec<_> = sending.map(Box::pin).collect();
    let mut result = Err(Ending::quiet(CloseReason::CancelFailed));
    poll_fn(|context| {
        pending.retain_mut(|sending| match sending.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(sent) => {
                if result.is_err() {
                    result = sent;
                }
                false
            }
        });
        if pending.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    result
}

async fn send_packet(link: &Link, packet: &[u8], scratch: &RefCell<Scratch>) -> Result<(), Ending> {
    let peer = &link.peer;
    let lost = |error| Ending::of_backend(&error);
    peer.send(packet, &mut scratch.borrow_mut().tls)
        .map_err(lost)?;
    peer.flush().await.map_err(lost)?;
    // The server answers by closing, with or without an error on our side; nothing it sends matters.
    let _ = timeout(ANSWER_TIMEOUT, peer.receive(scratch)).await;
    Ok(())
}
