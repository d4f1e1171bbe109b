//! [`BackendSessions`]: TLS sessions that backends offer to resume, shared by a route's connections.
//!
//! One belongs to one client configuration, whose verifier and identity rustls compares before it resumes; within it
//! sessions are kept by server name. TLS 1.3 tickets are used once. rustls verifies nothing again, so all sessions go, and a new
//! generation of them begins, when a certificate ends that one of them was verified with, or its chain is not welcome any more. A backend that never offers a session (PostgreSQL) costs
//! one entry per name, which remembers the group it agreed to: the next ClientHello guesses right.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue,
    Tls13ClientSessionValue,
};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, NamedGroup};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate_judge::{PeerSide, SharedJudge, may_resume};

/// 16 server names, with up to 8 TLS 1.3 tickets each and the newest TLS 1.2 session; the name added first makes room.
const CAPACITY: usize = 128;
/// So many chains of one name are told apart; with another one the sessions begin anew.
const MAX_CHAINS: usize = 8;

/// Sessions verified under one policy, and the configuration that leads to them.
#[derive(Debug)]
pub(crate) struct BackendSessions {
    clock: Arc<dyn TimeProvider>,
    /// Asked again before a session is resumed.
    judge: Option<SharedJudge>,
    /// Guarded for a look-up or a change.
    current: Mutex<Current>,
}

/// What connections are dialled with now.
#[derive(Debug)]
struct Current {
    generation: Arc<Generation>,
    /// Leads to that generation; made when it is first asked for.
    config: Option<Arc<ClientConfig>>,
}

/// Sessions that no doubt has fallen on. When one of them may not be resumed any more, all of them go, and so does whatever the
/// connections that were dialled meanwhile are offered later: a ticket does not say what it rests on, and may come at any time.
#[derive(Debug)]
pub(crate) struct Generation {
    sessions: ClientSessionMemoryCache,
    clock: Arc<dyn TimeProvider>,
    judge: Option<SharedJudge>,
    /// Nothing is resumed of it, and nothing added.
    is_over: AtomicBool,
    /// The last second at which all that the sessions of a name were verified with holds. Guarded for a look-up or a change.
    ends: Mutex<HashMap<ServerName<'static>, u64>>,
    /// With a judge: the chains that sessions of a name may rest on. Guarded for a look-up or a change, never while the judge is asked.
    chains: Mutex<HashMap<ServerName<'static>, Chains>>,
}

/// Chains of one name; several servers may answer to it.
type Chains = Vec<Arc<[CertificateDer<'static>]>>;

impl BackendSessions {
    /// None yet; `judge` is asked before a session is resumed.
    pub(crate) fn new(clock: Arc<dyn TimeProvider>, judge: Option<SharedJudge>) -> Self {
        let current = Current {
            generation: Arc::new(Generation::new(&clock, judge.as_ref())),
            config: None,
        };
        Self {
            clock,
            judge,
            current: Mutex::new(current),
        }
    }

    /// What `config`, which knows of no sessions yet, has to be dialled with now.
    pub(crate) fn config(&self, config: &ClientConfig) -> Arc<ClientConfig> {
        let mut current = self.current();
        let Current {
            generation,
            config: known,
        } = &mut *current;
        let config = known.get_or_insert_with(|| {
            let mut config = config.clone();
            let store: Arc<Generation> = Arc::clone(generation);
            config.resumption = Resumption::store(store);
            Arc::new(config)
        });
        Arc::clone(config)
    }

    /// Notes what `host` has shown and was accepted with: the sessions that come of it rest on that.
    pub(crate) fn note_chain(
        &self,
        host: &ServerName<'_>,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) {
        let shown: Vec<_> = std::iter::once(leaf).chain(intermediates).collect();
        self.current().generation.note_chain(host, &shown);
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
        if let Some(end) = current.min() {
            self.current().generation.note_end(host, end);
        }
    }

    /// Whoever dialled before it began may note here what it then showed: that adds doubts, never a session.
    fn current(&self) -> MutexGuard<'_, Current> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.generation.is_over() {
            *current = Current {
                generation: Arc::new(Generation::new(&self.clock, self.judge.as_ref())),
                config: None,
            };
        }
        current
    }
}

impl Generation {
    fn new(clock: &Arc<dyn TimeProvider>, judge: Option<&SharedJudge>) -> Self {
        Self {
            sessions: ClientSessionMemoryCache::new(CAPACITY),
            clock: Arc::clone(clock),
            judge: judge.cloned(),
            is_over: AtomicBool::new(false),
            ends: Mutex::default(),
            chains: Mutex::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    fn note_chain(&self, host: &ServerName<'_>, shown: &[&CertificateDer<'_>]) {
        let is_shown =
            |chain: &Arc<[CertificateDer<'static>]>| chain.iter().eq(shown.iter().copied());
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = chains.entry(host.to_owned()).or_default();
        if of_host.iter().any(is_shown) {
            return;
        }
        if of_host.len() >= MAX_CHAINS {
            return self.end();
        }
        let owned = shown
            .iter()
            .map(|der| CertificateDer::clone(der).into_owned());
        of_host.push(owned.collect());
    }

    fn note_end(&self, host: &ServerName<'_>, end: u64) {
        self.ends()
            .entry(host.to_owned())
            .and_modify(|earlier| *earlier = end.min(*earlier))
            .or_insert(end);
    }

    /// Whether sessions of `host` may be resumed; if not, that was the end of all of them.
    fn may_resume(&self, host: &ServerName<'static>) -> bool {
        let may = !self.is_over() && self.is_current(host) && self.is_welcome(host);
        if !may {
            self.end();
        }
        may
    }

    /// Whether all that the sessions of `host` were verified with still holds.
    fn is_current(&self, host: &ServerName<'static>) -> bool {
        let now = self.clock.current_time().map(|now| now.as_secs());
        match (now, self.ends().get(host)) {
            (Some(now), Some(end)) => now <= *end,
            // Nothing of it was verified.
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// Whether every chain that sessions of `host` may rest on is still welcome.
    fn is_welcome(&self, host: &ServerName<'static>) -> bool {
        let Some(judge) = &self.judge else {
            return true;
        };
        let chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(chains) = chains.get(host).cloned() else {
            return false;
        };
        let name = host.to_str();
        chains.iter().all(|chain| {
            let ders: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
            may_resume(judge, PeerSide::Backend { host: &name }, &ders)
        })
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<ServerName<'static>, u64>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Generation {
    fn set_kx_hint(&self, host: ServerName<'static>, group: NamedGroup) {
        self.sessions.set_kx_hint(host, group);
    }

    fn kx_hint(&self, host: &ServerName<'_>) -> Option<NamedGroup> {
        self.sessions.kx_hint(host)
    }

    fn set_tls12_session(&self, host: ServerName<'static>, session: Tls12ClientSessionValue) {
        if !self.is_over() {
            self.sessions.set_tls12_session(host, session);
        }
    }

    fn tls12_session(&self, host: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let session = self.sessions.tls12_session(host)?;
        self.may_resume(&host.to_owned()).then_some(session)
    }

    fn remove_tls12_session(&self, host: &ServerName<'static>) {
        self.sessions.remove_tls12_session(host);
    }

    fn insert_tls13_ticket(&self, host: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        if !self.is_over() {
            self.sessions.insert_tls13_ticket(host, ticket);
        }
    }

    fn take_tls13_ticket(&self, host: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let ticket = self.sessions.take_tls13_ticket(host)?;
        self.may_resume(host).then_some(ticket)
    }
}
