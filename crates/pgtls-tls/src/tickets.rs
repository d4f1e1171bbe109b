//! [`Tickets`]: stateless session tickets (RFC 8446 section 4.6.1, RFC 5077) under keys of a file or of our own making.
//!
//! A ticket is `key name (16) ‖ nonce (12) ‖ AES-256-GCM-SIV(last second (8) ‖ session) ‖ tag (16)`. Name and key are
//! derived (HKDF-SHA-256) from a file's or a generated key and the [`PolicyHash`], so a ticket made under another policy
//! is one of an unknown key: passed over by its name, and the handshake is a full one. The last second is the end of the
//! ticket's life or of the client's certificate, whichever comes first. GCM-SIV stands the random nonces of instances that
//! share a key for as long as they like (RFC 8452 section 9).

use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

use crate::policy_hash::PolicyHash;
use crate::resumption_state::ResumptionState;
use crate::session_rules::SessionRules;

const NAME_BYTES: usize = 16;
const HEADER_BYTES: usize = NAME_BYTES + NONCE_LEN;
const TIME_BYTES: usize = 8;
const TAG_BYTES: usize = 16;
/// The longest session put into a ticket: clients send tickets back in one ClientHello, which servers bound.
const MAX_SESSION_BYTES: usize = 16_000;

/// One key that makes tickets under one policy.
#[derive(Debug)]
pub(crate) struct TicketKey {
    name: [u8; NAME_BYTES],
    aead: LessSafeKey,
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl TicketKey {
    /// Derives the key for `policy` from `secret`. `None` only if the cryptography refuses its own sizes.
    pub(crate) fn derive(secret: &[u8], policy: &PolicyHash) -> Option<Self> {
        let derivation = Salt::new(HKDF_SHA256, b"pgtls session ticket 1").extract(secret);
        let mut name = [0; NAME_BYTES];
        let mut key = Zeroizing::new([0; 32]);
        expand(&derivation, &[b"name", policy.as_bytes()], &mut name)?;
        expand(
            &derivation,
            &[b"key", policy.as_bytes()],
            key.as_mut_slice(),
        )?;
        let aead = LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key.as_slice()).ok()?);
        Some(Self { name, aead })
    }

    /// A ticket that holds `session` and is good up to the second `until`.
    fn seal(&self, until: u64, session: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let length = HEADER_BYTES + TIME_BYTES + session.len() + TAG_BYTES;
        let mut ticket = Vec::with_capacity(length);
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&until.to_be_bytes());
        ticket.extend_from_slice(session);
        let secret = ticket.get_mut(HEADER_BYTES..)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = self
            .aead
            .seal_in_place_separate_tag(nonce, Aad::from(self.name), secret);
        ticket.extend_from_slice(sealed.ok()?.as_ref());
        Some(ticket)
    }

    /// The session of one of this key's tickets, and up to which second it is good. `None` for any other bytes.
    fn open(&self, ticket: &[u8]) -> Option<(u64, Vec<u8>)> {
        let sealed = ticket.strip_prefix(&self.name)?;
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .aead
            .open_in_place(nonce, Aad::from(self.name), &mut sealed)
            .ok()?;
        let (until, session) = opened.split_first_chunk::<TIME_BYTES>()?;
        Some((u64::from_be_bytes(*until), session.to_vec()))
    }
}

fn expand(derivation: &Prk, info: &[&[u8]], key: &mut [u8]) -> Option<()> {
    let output = derivation.expand(info, Length(key.len())).ok()?;
    output.fill(key).ok()
}

/// Where [`Tickets`] takes its keys from.
#[derive(Debug)]
pub(crate) enum TicketKeys {
    /// Derived from a file's keys, in its order.
    File(Vec<TicketKey>),
    /// Made by ourselves, and made anew every `rotation` seconds.
    Generated {
        state: Arc<ResumptionState>,
        policy: PolicyHash,
        rotation: u64,
    },
}

/// Makes and takes a listener's tickets.
#[derive(Debug)]
pub(crate) struct Tickets {
    pub(crate) keys: TicketKeys,
    pub(crate) rules: Arc<SessionRules>,
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.rules.lifetime()
    }

    fn encrypt(&self, session: &[u8]) -> Option<Vec<u8>> {
        if session.len() > MAX_SESSION_BYTES {
            return None;
        }
        let now = self.rules.now()?;
        let until = self.rules.last_second(session, now)?;
        match &self.keys {
            TicketKeys::File(keys) => keys.first()?.seal(until, session),
            TicketKeys::Generated {
                state,
                policy,
                rotation,
            } => {
                let [current, _] = state.ticket_keys(now, *rotation, policy);
                current?.seal(until, session)
            }
        }
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let now = self.rules.now()?;
        let (until, session) = match &self.keys {
            TicketKeys::File(keys) => keys.iter().find_map(|key| key.open(ticket)),
            TicketKeys::Generated {
                state,
                policy,
                rotation,
            } => {
                let keys = state.ticket_keys(now, *rotation, policy);
                keys.into_iter().flatten().find_map(|key| key.open(ticket))
            }
        }?;
        (now <= until && self.rules.is_welcome(&session)).then_some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ListenerTlsOptions;
    use crate::policy::Policy;
    use crate::policy_hash::{Loaded, listener_policy_hash};

    fn policy(alpn: &str) -> PolicyHash {
        let options = ListenerTlsOptions {
            alpn: vec![alpn.to_owned()],
            ..ListenerTlsOptions::default()
        };
        listener_policy_hash(&options, &Policy::default(), &Loaded::default())
    }

    #[test]
    fn a_ticket_is_opened_by_its_key_under_its_policy_alone() {
        let key = TicketKey::derive(&[1; 64], &policy("one")).unwrap();
        let ticket = key.seal(1_000, b"session").unwrap();
        assert_eq!(key.open(&ticket), Some((1_000, b"session".to_vec())));
        let same = TicketKey::derive(&[1; 64], &policy("one")).unwrap();
        assert_eq!(same.open(&ticket), Some((1_000, b"session".to_vec())));
        let other_key = TicketKey::derive(&[2; 64], &policy("one")).unwrap();
        assert_eq!(other_key.open(&ticket), None);
        let other_policy = TicketKey::derive(&[1; 64], &policy("two")).unwrap();
        assert_eq!(other_policy.open(&ticket), None);
    }

    #[test]
    fn neither_a_changed_nor_a_cut_ticket_is_opened() {
        let key = TicketKey::derive(&[1; 64], &policy("one")).unwrap();
        let ticket = key.seal(1_000, b"session").unwrap();
        for index in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[index] ^= 1;
            assert_eq!(key.open(&changed), None, "byte {index}");
            assert_eq!(key.open(&ticket[..index]), None, "{index} bytes");
        }
    }

    #[test]
    fn two_tickets_of_one_session_look_different_and_show_nothing_of_it() {
        let key = TicketKey::derive(&[1; 64], &policy("one")).unwrap();
        let tickets = [0, 1].map(|_| key.seal(1_000, b"a session's secret").unwrap());
        assert_ne!(tickets[0], tickets[1]);
        assert!(!tickets[0].windows(9).any(|window| window == b"a session"));
    }
}
