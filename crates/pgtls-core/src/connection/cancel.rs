//! CancelRequests: which session a key belongs to, and the one-packet connection that forwards the request.
//!
//! A CancelRequest carries nothing but a process id and a secret key. The key is noted when the backend tells it to its client;
//! an unknown key is forwarded to each address of each backend of the route, since another instance may have served the session.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pgtls_wire::encode_cancel_request;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::backends::Backends;
use crate::connection::choose::connect_address;
use crate::connection::connect::{Link, Target, connect_in_time};
use crate::connection::ending::Ending;
use crate::connection::peer::Scratch;
use crate::report::{CloseReason, FaultSide};
use crate::routes::Route;

/// How long the server may take to close the connection after it read the request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// To how many addresses a request with an unknown key is sent at most.
const MAX_TARGETS: usize = 8;

/// A session's key, within its route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CancelKey {
    route_id: u32,
    process_id: u32,
    secret_key: Vec<u8>,
}

impl CancelKey {
    pub(crate) fn new(route: &Route, process_id: u32, secret_key: &[u8]) -> Self {
        Self {
            route_id: route.id,
            process_id,
            secret_key: secret_key.to_vec(),
        }
    }
}

/// Where a session is served: a CancelRequest goes to the same address, in the same backend's mode.
#[derive(Clone, Debug)]
pub(crate) struct CancelPlace {
    pub(crate) backend: Arc<Backend>,
    pub(crate) target: Target,
}

/// Which backend serves which key. The lock is held for one look-up or change of the map.
#[derive(Clone, Debug, Default)]
pub(crate) struct CancelRegistry {
    places: Arc<Mutex<HashMap<CancelKey, CancelPlace>>>,
}

/// A key in the registry for as long as this lives.
#[derive(Debug)]
pub(crate) struct CancelEntry {
    registry: CancelRegistry,
    key: CancelKey,
}

impl CancelRegistry {
    /// Notes where `key` leads, until the entry is dropped.
    pub(crate) fn note(&self, key: CancelKey, place: CancelPlace) -> CancelEntry {
        self.lock().insert(key.clone(), place);
        CancelEntry {
            registry: self.clone(),
            key,
        }
    }

    fn find(&self, key: &CancelKey) -> Option<CancelPlace> {
        self.lock().get(key).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<CancelKey, CancelPlace>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CancelEntry {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.key);
    }
}

/// Forwards a CancelRequest; ends when the server has closed the connection, its only answer.
pub(crate) async fn forward_cancel(
    registry: &CancelRegistry,
    route: &Route,
    key: &CancelKey,
    scratch: &RefCell<Scratch>,
) -> Ending {
    let packet = encode_cancel_request(key.process_id, &key.secret_key);
    let result = match registry.find(key) {
        Some(place) => send_to_place(&place, &packet, scratch).await,
        None => send_to_all(&route.backends, &packet, scratch).await,
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

async fn send_to_place(
    CancelPlace { backend, target }: &CancelPlace,
    packet: &[u8],
    scratch: &RefCell<Scratch>,
) -> Result<(), Ending> {
    let link = connect_in_time(backend, target, scratch).await?;
    send_packet(&link, packet, scratch).await
}

/// The key is unknown here: every address of every backend gets the request, and one success is enough.
async fn send_to_all(
    backends: &Backends,
    packet: &[u8],
    scratch: &RefCell<Scratch>,
) -> Result<(), Ending> {
    let mut result = Err(Ending::quiet(CloseReason::CancelFailed));
    let addresses = backends.iter().flat_map(|backend| {
        let addresses = backend.addresses.iter();
        addresses.map(move |address| (backend, address))
    });
    for (backend, address) in addresses.take(MAX_TARGETS) {
        let sent = match connect_address(backend, address, scratch).await {
            Ok(link) => send_packet(&link, packet, scratch).await,
            Err(ending) => Err(ending),
        };
        if sent.is_ok() || result.is_err() {
            result = sent;
        }
    }
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
