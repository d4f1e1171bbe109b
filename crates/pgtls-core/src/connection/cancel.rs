//! CancelRequests: the one-packet connection that forwards the request.
//!
//! A CancelRequest carries nothing but a process id and a secret key (`cancel_registry.rs` knows whose it is). An unknown key is
//! forwarded to each server where its session may be (`cancel_unknown.rs`), since another instance may serve it. Anybody can send one,
//! so few are on their way at a time (`cancel_queue.rs`).

use std::cell::RefCell;
use std::time::Duration;

use pgtls_wire::encode_cancel_request;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::connection::cancel_queue::too_many;
use crate::connection::cancel_registry::{CancelEntry, CancelKey, Known};
use crate::connection::cancel_unknown::send_to_all;
use crate::connection::connect::{Link, Target, connect_in_time, connect_within};
use crate::connection::ending::Ending;
use crate::connection::peer::Scratch;
use crate::connection::proxy_header::ClientEnds;
use crate::data_plane::Shared;
use crate::report::{CloseReason, FaultSide};
use crate::routes::Route;

/// How long the server may take to close the connection after it read the request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How many requests for sessions that a drain has cut may be on their way at a time.
pub(crate) const MAX_STATEMENTS: usize = 32;

/// How long the end of a session may wait for its statement to be cancelled: no longer than for its client to read the last words.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Who sends a CancelRequest.
#[derive(Clone, Copy)]
pub(crate) struct Canceller<'a> {
    pub(crate) ends: Option<&'a ClientEnds>,
    /// The row of `[[proxy.listener.host]]` whose identity it was shown.
    pub(crate) host: Option<usize>,
    pub(crate) is_over_limit: bool,
}

/// Forwards a CancelRequest; ends when the server has closed the connection, its only answer.
pub(crate) async fn forward_cancel(
    shared: &Shared,
    route: &Route,
    key: &CancelKey,
    from: Canceller<'_>,
    scratch: &RefCell<Scratch>,
) -> Ending {
    let request = Forwarded {
        packet: &encode_cancel_request(key.process_id, &key.secret_key),
        ends: from.ends,
        scratch,
    };
    let result = match shared.cancels.find(key) {
        Some(place) => request.send_to(&place.backend, &place.target).await,
        None => forward_unknown(shared, route, from, request).await,
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

/// Forwards one whose key is unknown, once there is a place for it.
async fn forward_unknown(
    shared: &Shared,
    route: &Route,
    from: Canceller<'_>,
    request: Forwarded<'_>,
) -> Result<(), Ending> {
    let admission = &shared.admission;
    let admitted = from.is_over_limit.then(|| admission.admit_unknown_cancel());
    if let Some(None) = admitted {
        return Err(too_many("those over a limit of connections have no place"));
    }
    let _place = route.unknown_cancels.enter(!from.is_over_limit).await?;
    send_to_all(route, from.host, request).await
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
    async fn send_to(self, backend: &Backend, target: &Target) -> Result<(), Ending> {
        let link = connect_in_time(backend, target, self.ends, self.scratch).await?;
        self.send_over(&link).await
    }

    /// Connects to be sent, within what is left of `connect_timeout`.
    pub(crate) async fn connect(
        self,
        patience: Duration,
        backend: &Backend,
        target: &Target,
    ) -> Result<Link, Ending> {
        connect_within(patience, backend, target, self.ends, self.scratch).await
    }

    pub(crate) async fn send_over(self, link: &Link) -> Result<(), Ending> {
        send_packet(link, self.packet, self.scratch).await
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
