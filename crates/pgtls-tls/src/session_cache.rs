//! [`SessionCache`] and [`ServerSessions`]: sessions of TLS 1.2 clients that resume by session id (RFC 5246 section 7.3).
//!
//! TLS 1.3 is stateless here. Of TLS 1.2 rustls asks for a place for every session, whether or not the client takes
//! tickets, so the cache is small, and the oldest session makes room.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::server::StoresServerSessions;
use zeroize::Zeroizing;

use crate::session_rules::SessionRules;

/// How many sessions are kept: 0.3 MB without client certificates.
const CAPACITY: usize = 1_024;

/// Sessions established under one policy.
#[derive(Default)]
pub(crate) struct SessionCache {
    /// Guards the sessions; a look-up or a change runs under it.
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sessions: HashMap<Vec<u8>, Session>,
    /// Every id there ever was among the last ones, oldest first.
    order: VecDeque<Vec<u8>>,
}

struct Session {
    /// The last second at which it may be resumed.
    until: u64,
    value: Zeroizing<Vec<u8>>,
}

impl SessionCache {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SessionCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SessionCache")
            .finish_non_exhaustive()
    }
}

/// A [`SessionCache`] as one configuration of a listener uses it.
#[derive(Debug)]
pub(crate) struct ServerSessions {
    pub(crate) cache: Arc<SessionCache>,
    pub(crate) rules: Arc<SessionRules>,
}

impl ServerSessions {
    fn is_current(&self, session: &Session) -> bool {
        self.rules.now().is_some_and(|now| now <= session.until)
    }
}

impl StoresServerSessions for ServerSessions {
    fn put(&self, id: Vec<u8>, session: Vec<u8>) -> bool {
        let value = Zeroizing::new(session);
        let now = self.rules.now();
        let Some(until) = now.and_then(|now| self.rules.last_second(&value, now)) else {
            return false;
        };
        let mut kept = self.cache.lock();
        kept.order.push_back(id.clone());
        kept.sessions.insert(id, Session { until, value });
        while kept.order.len() > CAPACITY {
            if let Some(oldest) = kept.order.pop_front() {
                kept.sessions.remove(&oldest);
            }
        }
        true
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        let mut kept = self.cache.lock();
        let session = kept.sessions.get(id)?;
        if self.is_current(session) {
            let value = session.value.to_vec();
            drop(kept);
            return self.rules.is_welcome(&value).then_some(value);
        }
        kept.sessions.remove(id);
        None
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        let session = self.cache.lock().sessions.remove(id)?;
        (self.is_current(&session) && self.rules.is_welcome(&session.value))
            .then(|| session.value.to_vec())
    }

    fn can_cache(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use rustls::time_provider::TimeProvider;
    use rustls_pki_types::UnixTime;

    use super::*;

    #[derive(Debug)]
    struct Clock(AtomicU64);

    impl TimeProvider for Clock {
        fn current_time(&self) -> Option<UnixTime> {
            let seconds = self.0.load(Ordering::Relaxed);
            Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
        }
    }

    fn sessions() -> (ServerSessions, Arc<Clock>) {
        let clock = Arc::new(Clock(AtomicU64::new(1_000)));
        let lifetime = Duration::from_secs(100);
        let sessions = ServerSessions {
            cache: Arc::default(),
            rules: Arc::new(SessionRules::new(clock.clone(), lifetime, Vec::new())),
        };
        (sessions, clock)
    }

    /// A session without a client certificate, as rustls encodes it.
    fn session() -> Vec<u8> {
        let mut session = vec![0, 3, 3, 0xc0, 0x2f, 1, 7, 1, 0, 0, 0, 0];
        session.extend([0; 12]);
        session
    }

    #[test]
    fn a_session_is_kept_for_its_life_and_no_longer() {
        let (sessions, clock) = sessions();
        assert!(sessions.put(vec![1], session()));
        assert_eq!(sessions.get(&[1]), Some(session()));
        clock.0.store(1_100, Ordering::Relaxed);
        assert_eq!(sessions.get(&[1]), Some(session()));
        clock.0.store(1_101, Ordering::Relaxed);
        assert_eq!(sessions.get(&[1]), None);
    }

    #[test]
    fn a_session_taken_is_gone() {
        let (sessions, _) = sessions();
        sessions.put(vec![1], session());
        assert_eq!(sessions.take(&[1]), Some(session()));
        assert_eq!(sessions.get(&[1]), None);
    }

    #[test]
    fn the_oldest_makes_room_for_the_newest() {
        let (sessions, _) = sessions();
        for number in 0..=CAPACITY {
            sessions.put(number.to_be_bytes().to_vec(), session());
        }
        assert_eq!(sessions.get(&0_usize.to_be_bytes()), None);
        assert!(sessions.get(&1_usize.to_be_bytes()).is_some());
        assert!(sessions.get(&CAPACITY.to_be_bytes()).is_some());
        for _ in 0..CAPACITY {
            sessions.put(vec![1], session());
            sessions.take(&[1]);
        }
        assert!(sessions.cache.lock().order.len() <= CAPACITY);
    }

    #[test]
    fn what_is_not_understood_is_not_kept() {
        let (sessions, _) = sessions();
        assert!(!sessions.put(vec![1], b"something else".to_vec()));
        assert_eq!(sessions.get(&[1]), None);
    }
}
