//! [`CancelRegistry`]: which session a cancel key belongs to.
//!
//! A key is noted when the backend tells it to its client, and forgotten with the session.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::backend::Backend;
use crate::connection::connect::Target;
use crate::routes::Route;

/// A session's key, within its route.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CancelKey {
    route_id: u32,
    pub(crate) process_id: u32,
    pub(crate) secret_key: Box<[u8]>,
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
pub(crate) struct Known {
    pub(crate) key: CancelKey,
    pub(crate) place: Arc<CancelPlace>,
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
    pub(crate) known: Arc<Known>,
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

    pub(crate) fn find(&self, key: &CancelKey) -> Option<Arc<CancelPlace>> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
