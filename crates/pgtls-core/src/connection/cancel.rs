//! CancelRequests: the one-packet connection that forwards the request.
//!
//! A CancelRequest carries nothing but a process id and a secret key (`cancel_registry.rs` knows whose it is). An unknown key is
//! forwarded to each server where its session may be (`cancel_unknown.rs`), since another instance may serve it. Anybody can send one,
//! so few are on their way at a time; the others wait.

use std::cell::RefCell;
use std::time::Duration;

use pgtls_wire::encode_cancel_request;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::connection::cancel_registry::{CancelEntry, CancelKey, Known};
use crate::connection::cancel_unknown::send_to_all;
use crate::connection::connect::{Link, Target, connect_in_time};
use crate::connection::ending::Ending;
use crate::connection::peer::Scratch;
use crate::connection::proxy_header::ClientEnds;
use crate::data_plane::Shared;
use crate::report::{CloseReason, FaultSide};
use crate::routes::Route;

/// How long the server may take to close the connection after it read the request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How many requests with unknown keys may be on their way at a time. Those that wait are bounded by the limits of connections.
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
    let result = if let Some(place) = shared.cancels.find(key) {
        request.send_to(&place.backend, &place.target).await
    } else {
        let _slot = shared.unknown_cancels.acquire().await;
        send_to_all(route, host, request).await
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
pub(crate) struct Forwarded<'a> {
    packet: &'a [u8],
    ends: Option<&'a ClientEnds>,
    scratch: &'a RefCell<Scratch>,
}

impl Forwarded<'_> {
    pub(crate) async fn send_to(self, backend: &Backend, target: &Target) -> Result<(), Ending> {
        let link = connect_in_time(backend, target, self.ends, self.scratch).await?;
        send_packet(&link, self.packet, self.scratch).await
    }
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
