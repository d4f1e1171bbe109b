//! CancelRequests: which session a key belongs to, and the one-packet connection that forwards the request.
//!
//! A CancelRequest carries nothing but a process id and a secret key. The key is noted when the backend tells it to its client;
//! an unknown key is forwarded to each server where its session may be, since another instance may have served it. Anybody can send
//! one, so few are on their way at a time.

use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::future::poll_fn;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use pgtls_wire::encode_cancel_request;
use tokio::time::timeout;

use crate::backend::Backend;
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

/// A session's key, within its route.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CancelKey {
    route_id: u32,
    process_id: u32,
    secret_key: Box<[u8]>,
}

impl CancelKey {
    pub(crate) fn new(route: &Route, process_id: u32, secret_key: &[u8]) -> Self {
        Self {
            route_id: route.id,
            process_id,
            secret_key: secret_key.into(),
        }
    }
}

/// Where a session is served: a CancelRequest goes to the same address, in the same backend's mode.
#[derive(Clone, Debug)]
pub(crate) struct CancelPlace {
    pub(crate) backend: Arc<Backend>,
    pub(crate) target: Target,
}

/// Which backend serves which key. The lock is held for one look-up or change.
#[derive(Clone, Debug, Default)]
pub(crate) struct CancelRegistry {
    sessions: Arc<Mutex<Sessions>>,
}

#[derive(Debug, Default)]
struct Sessions {
    /// What each session keeps of its own, once.
    known: HashSet<Arc<Known>>,
    /// Sessions are many and the places they lead to are few: each is kept once.
    places: Vec<Weak<CancelPlace>>,
}

/// A key and where it leads, found by the key.
#[derive(Debug)]
struct Known {
    key: CancelKey,
    place: Arc<CancelPlace>,
}

impl Borrow<CancelKey> for Arc<Known> {
    fn borrow(&self) -> &CancelKey {
        &self.key
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Known {}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

/// A key in the registry for as long as this lives.
#[derive(Debug)]
pub(crate) struct CancelEntry {
    registry: CancelRegistry,
    known: Arc<Known>,
}

impl CancelRegistry {
    /// Notes where `key` leads, until the entry is dropped. A key that was known already leads there from now on.
    pub(crate) fn note(&self, key: CancelKey, place: &CancelPlace) -> CancelEntry {
        let mut sessions = self.lock();
        let place = sessions.share(place);
        let known = Arc::new(Known { key, place });
        sessions.known.replace(Arc::clone(&known));
        CancelEntry {
            registry: self.clone(),
            known,
        }
    }

    fn find(&self, key: &CancelKey) -> Option<Arc<CancelPlace>> {
        let sessions = self.lock();
        let known = sessions.known.get(key)?;
        Some(Arc::clone(&known.place))
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    fn share(&mut self, place: &CancelPlace) -> Arc<CancelPlace> {
        self.places.retain(|shared| shared.strong_count() > 0);
        let is_same = |shared: &Arc<CancelPlace>| {
            Arc::ptr_eq(&shared.backend, &place.backend) && shared.target == place.target
        };
        let mut shared = self.places.iter().filter_map(Weak::upgrade);
        if let Some(shared) = shared.find(is_same) {
            return shared;
        }
        let shared = Arc::new(place.clone());
        self.places.push(Arc::downgrade(&shared));
        shared
    }

    fn forget(&mut self, known: &Arc<Known>) {
        let is_ours = |found: &Arc<Known>| Arc::ptr_eq(found, known);
        // A backend may have given the same key again: then that session's entry stands here.
        if self.known.get(&known.key).is_some_and(is_ours) {
            self.known.remove(&known.key);
        }
        if self.known.is_empty() {
            *self = Self::default();
        }
    }
}

impl Drop for CancelEntry {
    fn drop(&mut self) {
        self.registry.lock().forget(&self.known);
    }
}

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

#[cfg(test)]
mod tests {
    use pgtls_tls::options::BackendTlsOptions;

    use super::*;
    use crate::options::{
        BackendOptions, KeepaliveOptions, LoadBalanceHosts, Sslmode, Sslnegotiation,
    };

    fn key(process_id: u32) -> CancelKey {
        CancelKey {
            route_id: 1,
            process_id,
            secret_key: Box::new([1, 2, 3, 4]),
        }
    }

    fn backend() -> Arc<Backend> {
        let options = BackendOptions {
            addresses: Vec::new(),
            sslmode: Sslmode::Disable,
            sslnegotiation: Sslnegotiation::Postgres,
            tls: BackendTlsOptions::default(),
            connect_timeout: Duration::ZERO,
            keepalive: KeepaliveOptions::default(),
            load_balance_hosts: LoadBalanceHosts::Disable,
            roles: None,
            warm: None,
            sends_proxy_header: false,
            adds_host_to_application_name: false,
        };
        Backend::build(&options, &Arc::default(), None).unwrap()
    }

    fn place(backend: &Arc<Backend>, path: &str) -> CancelPlace {
        CancelPlace {
            backend: Arc::clone(backend),
            target: Target::Unix(path.into()),
        }
    }

    /// Where `key` leads.
    fn found(registry: &CancelRegistry, key: &CancelKey) -> Option<String> {
        registry.find(key).map(|place| place.target.to_string())
    }

    #[test]
    fn keeps_each_place_once_and_nothing_once_all_sessions_are_over() {
        let (registry, backend) = (CancelRegistry::default(), backend());
        let a = registry.note(key(1), &place(&backend, "a"));
        let b = registry.note(key(2), &place(&backend, "a"));
        let c = registry.note(key(3), &place(&backend, "b"));
        assert_eq!(found(&registry, &key(2)).as_deref(), Some("unix:a"));
        assert_eq!(registry.lock().places.len(), 2);
        drop((a, b));
        assert_eq!(found(&registry, &key(1)), None);
        let d = registry.note(key(4), &place(&backend, "c"));
        assert_eq!(registry.lock().places.len(), 2, "nobody leads to a");
        drop((c, d));
        assert_eq!(registry.lock().places.capacity(), 0);
    }

    #[test]
    fn the_same_address_of_two_backends_is_two_places() {
        let (registry, one, other) = (CancelRegistry::default(), backend(), backend());
        let _first = registry.note(key(1), &place(&one, "a"));
        let _second = registry.note(key(2), &place(&other, "a"));
        let place = registry.find(&key(2)).unwrap();
        assert!(Arc::ptr_eq(&place.backend, &other));
    }

    #[test]
    fn a_key_given_twice_belongs_to_the_later_session() {
        let (registry, backend) = (CancelRegistry::default(), backend());
        let earlier = registry.note(key(1), &place(&backend, "a"));
        let later = registry.note(key(1), &place(&backend, "b"));
        drop(earlier);
        assert_eq!(found(&registry, &key(1)).as_deref(), Some("unix:b"));
        drop(later);
        assert_eq!(found(&registry, &key(1)), None);
    }
}
