//! [`ResumptionState`]: what one listener remembers of its sessions from one configuration to the next.
//!
//! Generated ticket keys, and the sessions of TLS 1.2 clients without tickets. A reload hands the state on; what was
//! made under another [`PolicyHash`] is out of reach then, since keys are derived with it and sessions are kept under it. Two
//! listeners never share one.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use zeroize::Zeroizing;

use crate::policy_hash::PolicyHash;
use crate::session_cache::SessionCache;
use crate::tickets::TicketKey;

/// A listener's resumption across reloads.
#[derive(Debug)]
pub struct ResumptionState {
    clock: Arc<dyn TimeProvider>,
    /// Guards the generated keys; under it a key is made or derived, tickets are made outside.
    keys: Mutex<Generations>,
    /// Guards which cache is current; nothing else runs under it.
    cache: Mutex<Option<(PolicyHash, Arc<SessionCache>)>>,
}

impl Default for ResumptionState {
    fn default() -> Self {
        Self::with_clock(Arc::new(DefaultTimeProvider))
    }
}

impl ResumptionState {
    /// A state of which, and of whose configurations, `clock` tells the time.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn TimeProvider>) -> Self {
        Self {
            clock,
            keys: Mutex::default(),
            cache: Mutex::default(),
        }
    }

    pub(crate) const fn clock(&self) -> &Arc<dyn TimeProvider> {
        &self.clock
    }

    /// The key that encrypts at `now`, and the one before it while it decrypts; both rotated as far as time has come.
    pub(crate) fn ticket_keys(
        &self,
        now: u64,
        rotation: u64,
        policy: &PolicyHash,
    ) -> [Option<Arc<TicketKey>>; 2] {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.rotate(now, rotation);
        let Generations { current, previous } = &mut *keys;
        [current, previous].map(|key| key.as_mut().and_then(|key| key.for_policy(policy)))
    }

    /// The cache for sessions under `policy`; a cache of another policy is dropped.
    pub(crate) fn session_cache(&self, policy: PolicyHash) -> Arc<SessionCache> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        match &*cache {
            Some((known, sessions)) if *known == policy => Arc::clone(sessions),
            _ => {
                let sessions = Arc::<SessionCache>::default();
                *cache = Some((policy, Arc::clone(&sessions)));
                sessions
            }
        }
    }
}

/// The generated keys there are.
#[derive(Debug, Default)]
struct Generations {
    current: Option<Generation>,
    previous: Option<Generation>,
}

impl Generations {
    /// A key encrypts for one rotation and decrypts for one more. Keys of the future are of a clock that was wrong.
    fn rotate(&mut self, now: u64, rotation: u64) {
        let age = |key: &Generation| now.checked_sub(key.made_at);
        let decrypts =
            |key: &Generation| age(key).is_some_and(|age| age < rotation.saturating_mul(2));
        let encrypts = |key: &Generation| age(key).is_some_and(|age| age < rotation);
        if !self.current.as_ref().is_some_and(encrypts) {
            self.previous = self.current.take();
            self.current = Generation::new(now);
        }
        self.previous.take_if(|key| !decrypts(key));
    }
}

/// One generated key.
struct Generation {
    secret: Zeroizing<[u8; 32]>,
    made_at: u64,
    /// What was derived from it last: a reload seldom changes the policy.
    derived: Option<(PolicyHash, Arc<TicketKey>)>,
}

impl Generation {
    /// `None` only if there is no randomness: no ticket is made then.
    fn new(now: u64) -> Option<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        rand::fill(secret.as_mut_slice()).ok()?;
        Some(Self {
            secret,
            made_at: now,
            derived: None,
        })
    }

    fn for_policy(&mut self, policy: &PolicyHash) -> Option<Arc<TicketKey>> {
        match &self.derived {
            Some((known, key)) if known == policy => Some(Arc::clone(key)),
            _ => {
                let key = Arc::new(TicketKey::derive(self.secret.as_slice(), policy)?);
                self.derived = Some((*policy, Arc::clone(&key)));
                Some(key)
            }
        }
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Generation")
            .field("made_at", &self.made_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ListenerTlsOptions;
    use crate::policy::Policy;
    use crate::policy_hash::{Loaded, listener_policy_hash};

    const ROTATION: u64 = 100;

    fn policy() -> PolicyHash {
        let options = ListenerTlsOptions::default();
        listener_policy_hash(&options, &Policy::default(), &Loaded::default())
    }

    /// The keys at each of these seconds, of one state.
    fn keys_at(seconds: &[u64]) -> Vec<[Option<Arc<TicketKey>>; 2]> {
        let state = ResumptionState::default();
        seconds
            .iter()
            .map(|&now| state.ticket_keys(now, ROTATION, &policy()))
            .collect()
    }

    fn is_same(one: Option<&Arc<TicketKey>>, other: Option<&Arc<TicketKey>>) -> bool {
        one.zip(other)
            .is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }

    #[test]
    fn a_key_encrypts_for_one_rotation_and_decrypts_for_two() {
        let keys = keys_at(&[1_000, 1_099, 1_100, 1_199, 1_200]);
        let first = keys[0][0].as_ref();
        assert!(first.is_some() && keys[0][1].is_none());
        assert!(is_same(first, keys[1][0].as_ref()));
        assert!(!is_same(first, keys[2][0].as_ref()));
        assert!(is_same(first, keys[2][1].as_ref()));
        assert!(is_same(first, keys[3][1].as_ref()));
        // The second key is the previous one now; the first is gone.
        assert!(is_same(keys[2][0].as_ref(), keys[4][1].as_ref()));
    }

    #[test]
    fn a_key_nobody_used_for_long_does_not_live_longer() {
        let keys = keys_at(&[1_000, 1_150, 1_199, 1_200]);
        assert!(is_same(keys[0][0].as_ref(), keys[1][1].as_ref()));
        assert!(is_same(keys[0][0].as_ref(), keys[2][1].as_ref()));
        assert!(keys[3][1].is_none());
        let keys = keys_at(&[1_000, 5_000]);
        assert!(keys[1][1].is_none());
    }

    #[test]
    fn a_clock_set_back_takes_the_keys_of_the_future_away() {
        let keys = keys_at(&[1_000, 900]);
        assert!(keys[1][0].is_some() && keys[1][1].is_none());
        assert!(!is_same(keys[0][0].as_ref(), keys[1][0].as_ref()));
    }

    #[test]
    fn what_it_holds_is_not_shown() {
        let state = ResumptionState::default();
        let _ = state.ticket_keys(1_000, ROTATION, &policy());
        let keys = state.keys.lock().unwrap();
        let secret = format!("{:?}", keys.current.as_ref().unwrap().secret.as_slice());
        assert!(!format!("{state:?} {keys:?}").contains(&secret));
    }
}
