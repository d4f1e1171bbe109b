//! Sessions as they are kept: rustls' encoding of them, and the tickets they are put into.

use std::sync::Arc;
use std::time::Duration;

use pgtls_testkit::fuzz::Fuzz;
use pgtls_testkit::{CertificateSpec, TestCa};
use rustls::server::ProducesTickets as _;
use rustls::time_provider::DefaultTimeProvider;

use crate::options::ListenerTlsOptions;
use crate::policy::Policy;
use crate::policy_hash::{Loaded, listener_policy_hash};
use crate::session_rules::SessionRules;
use crate::session_value::first_expiry;
use crate::tickets::{TicketKey, TicketKeys, Tickets};

/// A session as rustls 0.23 encodes it.
fn session(server_name: Option<&str>, chain: &[&[u8]], alpn: Option<&[u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let short = |text: Option<&[u8]>, bytes: &mut Vec<u8>| {
        bytes.push(u8::from(text.is_some()));
        if let Some(text) = text {
            bytes.push(u8::try_from(text.len()).unwrap());
            bytes.extend_from_slice(text);
        }
    };
    short(server_name.map(str::as_bytes), &mut bytes);
    bytes.extend([3, 4, 0x13, 1, 4, 7, 7, 7, 7, 1]);
    bytes.push(u8::from(!chain.is_empty()));
    if !chain.is_empty() {
        let length = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
        let whole: usize = chain.iter().map(|certificate| certificate.len() + 3).sum();
        bytes.extend_from_slice(&length(whole)[1..]);
        for certificate in chain {
            bytes.extend_from_slice(&length(certificate.len())[1..]);
            bytes.extend_from_slice(certificate);
        }
    }
    short(alpn, &mut bytes);
    bytes.extend([0, 2, 1, 2]);
    bytes.extend([0; 12]);
    bytes
}

#[test]
fn a_kept_session_is_understood_whole_or_not_at_all() {
    let ca = TestCa::new("Session CA");
    let leaf = ca.issue(&CertificateSpec::client("alice")).cert_der;
    let corpus = [
        session(None, &[], None),
        session(Some("db.example"), &[], Some(b"postgresql")),
        session(Some("db.example"), &[&leaf], Some(b"postgresql")),
        session(None, &[&leaf, ca.cert_der()], None),
    ];
    for session in &corpus {
        assert!(first_expiry(session).is_ok(), "rustls' own");
    }
    Fuzz::new("session-value", 60_000)
        .from(corpus)
        .run(|input| {
            let expiry = first_expiry(input);
            if expiry.is_ok() {
                assert!(first_expiry(&input[..input.len() - 1]).is_err());
                assert!(first_expiry(&[input, b"\0"].concat()).is_err());
            }
            expiry
                .map(|expiry| expiry.is_some())
                .map_err(|_| input.len().min(64))
        });
}

#[test]
fn a_ticket_opens_as_it_was_sealed_or_not_at_all() {
    let policy = listener_policy_hash(
        &ListenerTlsOptions::default(),
        &Policy::default(),
        &Loaded::default(),
    );
    let rules = SessionRules::new(
        Arc::new(DefaultTimeProvider),
        Duration::from_hours(1),
        Vec::new(),
    );
    let keys = [b"first secret", b"other secret"].map(|secret| TicketKey::derive(secret, &policy));
    let tickets = Tickets {
        keys: TicketKeys::File(keys.into_iter().flatten().collect()),
        rules: Arc::new(rules),
    };
    let sessions = [
        session(None, &[], None),
        session(Some("db.example"), &[], Some(b"postgresql")),
    ];
    let sealed: Vec<_> = sessions
        .iter()
        .map(|session| tickets.encrypt(session).unwrap())
        .collect();
    Fuzz::new("ticket", 60_000)
        .from(sealed.clone())
        .run(|input| {
            let original = sealed.iter().position(|ticket| ticket == input);
            let expected = original.map(|index| sessions[index].clone());
            assert_eq!(tickets.decrypt(input), expected);
            (
                original,
                input.len().min(48),
                input.get(..16) == sealed[0].get(..16),
            )
        });
}
