//! [`SessionRules`]: until when a session established now may be resumed, whether its state is in a ticket or kept here.

use std::sync::Arc;
use std::time::Duration;

use rustls::time_provider::TimeProvider;

use crate::certificate_judge::{PeerSide, SharedJudge, may_resume};
use crate::session_value::{UnknownLayout, client_chain, first_expiry};

/// RFC 8446 section 4.6.1: no ticket is good for longer than seven days.
const MAX_LIFETIME: u64 = 7 * 24 * 60 * 60;

/// How long a listener's sessions last.
#[derive(Debug)]
pub(crate) struct SessionRules {
    clock: Arc<dyn TimeProvider>,
    lifetime: u64,
    /// When something a client certificate is verified by ends (Unix seconds): a root, a revocation list.
    trust_ends: Vec<i64>,
    client_judge: Option<SharedJudge>,
}

impl SessionRules {
    pub(crate) fn new(
        clock: Arc<dyn TimeProvider>,
        lifetime: Duration,
        trust_ends: Vec<i64>,
    ) -> Self {
        Self {
            clock,
            lifetime: lifetime.as_secs().clamp(1, MAX_LIFETIME),
            trust_ends,
            client_judge: None,
        }
    }

    /// The same with somebody to ask before a session is resumed.
    pub(crate) fn judged_by(self, client_judge: Option<SharedJudge>) -> Self {
        Self {
            client_judge,
            ..self
        }
    }

    /// Whether the client that `session`, as rustls encodes it, was established with is still welcome.
    pub(crate) fn is_welcome(&self, session: &[u8]) -> bool {
        let Some(judge) = &self.client_judge else {
            return true;
        };
        match client_chain(session) {
            Ok(chain) => chain.is_empty() || may_resume(judge, PeerSide::Client, &chain),
            Err(UnknownLayout) => false,
        }
    }

    /// Unix seconds.
    pub(crate) fn now(&self) -> Option<u64> {
        self.clock.current_time().map(|now| now.as_secs())
    }

    /// How long a session lasts at most, in seconds.
    pub(crate) fn lifetime(&self) -> u32 {
        u32::try_from(self.lifetime).unwrap_or(u32::MAX)
    }

    /// The last second at which `session`, as rustls encodes it, may be resumed; `None` if it may not be at all.
    pub(crate) fn last_second(&self, session: &[u8], now: u64) -> Option<u64> {
        let until = now.saturating_add(self.lifetime);
        let Some(expiry) = first_expiry(session).ok()? else {
            return Some(until);
        };
        let present = i64::try_from(now).ok()?;
        // What has ended already was no part of the verification.
        let ends = self.trust_ends.iter().filter(|&&end| present <= end);
        let earliest = ends.copied().fold(expiry, i64::min);
        let earliest = u64::try_from(earliest).ok()?;
        (now <= earliest).then_some(until.min(earliest))
    }
}
