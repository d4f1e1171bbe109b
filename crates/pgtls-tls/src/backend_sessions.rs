//! [`BackendSessions`]: TLS sessions that backends offer to resume, shared by a route's connections.
//!
//! One belongs to one client configuration, whose verifier and identity rustls compares before it resumes; within it
//! sessions are kept by server name. TLS 1.3 tickets are used once. rustls verifies nothing again, so the sessions of a name
//! go when a certificate ends that one of them was verified with. A backend that never offers a session (PostgreSQL) costs
//! one entry per name, which remembers the group it agreed to: the next ClientHello guesses right.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::NamedGroup;
use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::time_provider::TimeProvider;
use rustls_pki_types::{ServerName, UnixTime};

/// 16 server names, with up to 8 TLS 1.3 tickets each and the newest TLS 1.2 session; the name added first makes room.
const CAPACITY: usize = 128;

/// Sessions verified under one policy.
#[derive(Debug)]
pub(crate) struct BackendSessions {
    sessions: ClientSessionMemoryCache,
    clock: Arc<dyn TimeProvider>,
    /// The last second at which all that the sessions of a name were verified with holds. Guarded for a look-up or a change.
    ends: Mutex<HashMap<ServerName<'static>, u64>>,
}

impl BackendSessions {
    pub(crate) fn with_clock(clock: Arc<dyn TimeProvider>) -> Self {
        Self {
            sessions: ClientSessionMemoryCache::new(CAPACITY),
            clock,
            ends: Mutex::default(),
        }
    }

    /// Notes that `host` was verified at `now` with certificates that end at `ends` (Unix seconds, both inclusive).
    pub(crate) fn note_verified(
        &self,
        host: &ServerName<'_>,
        now: UnixTime,
        ends: impl Iterator<Item = i64>,
    ) {
        let current = ends
            .filter_map(|end| u64::try_from(end).ok())
            .filter(|&end| now.as_secs() <= end);
        let Some(end) = current.min() else { return };
        self.lock()
            .entry(host.to_owned())
            .and_modify(|earlier| *earlier = end.min(*earlier))
            .or_insert(end);
    }

    /// Whether sessions of `host` may be resumed; if not, they are gone.
    fn is_current(&self, host: &ServerName<'static>) -> bool {
        let now = self.clock.current_time().map(|now| now.as_secs());
        let mut ends = self.lock();
        let is_over = match (now, ends.get(host)) {
            (Some(now), Some(end)) => now > *end,
            (Some(_), None) => false,
            (None, _) => true,
        };
        if is_over {
            self.sessions.remove_tls12_session(host);
            while self.sessions.take_tls13_ticket(host).is_some() {}
            ends.remove(host);
        }
        !is_over
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerName<'static>, u64>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for BackendSessions {
    fn set_kx_hint(&self, host: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(host, group);
    }

    fn kx_hint(&self, host: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(host)
    }

    fn set_tls12_session(&self, host: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.sessions.set_tls12_session(host, session);
    }

    fn tls12_session(&self, host: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.is_current(&host.to_owned())
            .then(|| self.sessions.tls12_session(host))?
    }

    fn remove_tls12_session(&self, host: &ServerName<'static>) {
        self.sessions.remove_tls12_session(host);
    }

    fn insert_tls13_ticket(&self, host: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.sessions.insert_tls13_ticket(host, ticket);
    }

    fn take_tls13_ticket(&self, host: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.is_current(host)
            .then(|| self.sessions.take_tls13_ticket(host))?
    }
}
