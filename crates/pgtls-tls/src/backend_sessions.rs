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
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate_judge::{PeerSide, SharedJudge, may_resume};

/// 16 server names, with up to 8 TLS 1.3 tickets each and the newest TLS 1.2 session; the name added first makes room.
const CAPACITY: usize = 128;
/// So many chains of one name are told apart; with another one its sessions begin anew.
const MAX_CHAINS: usize = 8;

/// Sessions verified under one policy.
#[derive(Debug)]
pub(crate) struct BackendSessions {
    sessions: ClientSessionMemoryCache,
    clock: Arc<dyn TimeProvider>,
    /// The last second at which all that the sessions of a name were verified with holds. Guarded for a look-up or a change.
    ends: Mutex<HashMap<ServerName<'static>, u64>>,
    /// Asked again before a session is resumed.
    judge: Option<SharedJudge>,
    /// With a judge: the chains that sessions of a name may rest on. Guarded for a look-up or a change, never while the judge is asked.
    chains: Mutex<HashMap<ServerName<'static>, Chains>>,
}

/// Chains of one name; several servers may answer to it.
type Chains = Vec<Arc<[CertificateDer<'static>]>>;

impl BackendSessions {
    pub(crate) fn with_clock(clock: Arc<dyn TimeProvider>) -> Self {
        Self {
            sessions: ClientSessionMemoryCache::new(CAPACITY),
            clock,
            ends: Mutex::default(),
            judge: None,
            chains: Mutex::default(),
        }
    }

    /// The same with somebody to ask before a session is resumed.
    pub(crate) fn judged_by(self, judge: Option<SharedJudge>) -> Self {
        Self { judge, ..self }
    }

    /// Notes what `host` has shown and was accepted with: the sessions that come of it rest on that.
    pub(crate) fn note_chain(
        &self,
        host: &ServerName<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) {
        let host = host.to_owned();
        let shown: Vec<_> = std::iter::once(leaf).chain(intermediates).collect();
        let is_shown =
            |chain: &Arc<[CertificateDer<'static>]>| chain.iter().eq(shown.iter().copied());
        let mut chains = self.lock_chains();
        let of_host = chains.entry(host.clone()).or_default();
        if of_host.iter().any(is_shown) {
            return;
        }
        if of_host.len() >= MAX_CHAINS {
            of_host.clear();
            self.forget_sessions(&host);
        }
        let owned = shown
            .iter()
            .map(|der| CertificateDer::clone(der).into_owned());
        of_host.push(owned.collect());
    }

    /// Whether every chain that sessions of `host` may rest on is still welcome; if not, the sessions are gone.
    fn is_welcome(&self, host: &ServerName<'static>) -> bool {
        let Some(judge) = &self.judge else {
            return true;
        };
        let chains = self.lock_chains().get(host).cloned().unwrap_or_default();
        let name = host.to_str();
        let is_welcome = chains.iter().all(|chain| {
            let ders: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
            may_resume(judge, PeerSide::Backend { host: &name }, &ders)
        });
        if !is_welcome {
            self.lock_chains().remove(host);
            self.forget_sessions(host);
        }
        is_welcome
    }

    fn forget_sessions(&self, host: &ServerName<'static>) {
        self.sessions.remove_tls12_session(host);
        while self.sessions.take_tls13_ticket(host).is_some() {}
    }

    fn lock_chains(&self) -> MutexGuard<'_, HashMap<ServerName<'static>, Chains>> {
        self.chains.lock().unwrap_or_else(PoisonError::into_inner)
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
            self.forget_sessions(host);
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
        let host = host.to_owned();
        let session = self
            .is_current(&host)
            .then(|| self.sessions.tls12_session(&host))??;
        self.is_welcome(&host).then_some(session)
    }

    fn remove_tls12_session(&self, host: &ServerName<'static>) {
        self.sessions.remove_tls12_session(host);
    }

    fn insert_tls13_ticket(&self, host: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.sessions.insert_tls13_ticket(host, ticket);
    }

    fn take_tls13_ticket(&self, host: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let ticket = self
            .is_current(host)
            .then(|| self.sessions.take_tls13_ticket(host))??;
        self.is_welcome(host).then_some(ticket)
    }
}
