//! Carries what the certificate resolver saw and chose to the session that is being driven.
//!
//! rustls' unbuffered server connection tells neither the SNI nor the identity it serves, only the resolver knows them. The
//! resolver runs inside [`crate::ops::TlsConnectionOps::drive`], on the same thread, before it returns: a thread-local slot is
//! race-free.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

use crate::server_name_refusal::ServerNameRefusal;

thread_local! {
    static SLOT: RefCell<Slot> = const { RefCell::new(Slot { hello: None, refusal: None }) };
}

struct Slot {
    hello: Option<AnsweredHello>,
    refusal: Option<ServerNameRefusal>,
}

/// A ClientHello, and what it was answered with.
#[derive(Debug, Clone)]
pub struct AnsweredHello {
    /// The server name (SNI).
    pub server_name: Option<String>,
    /// None if it was refused.
    pub identity: Option<ServedIdentity>,
}

/// The identity a client is shown.
#[derive(Debug, Clone)]
pub struct ServedIdentity {
    certified_key: Arc<CertifiedKey>,
    /// The row of `[[proxy.listener.host]]` it comes from, from 0; none is the listener's own.
    pub host: Option<usize>,
}

impl ServedIdentity {
    /// The leaf as DER.
    #[must_use]
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.certified_key.cert.first()
    }
}

/// Called by the resolver with what it chose.
pub(crate) fn record_identity(
    server_name: Option<&str>,
    host: Option<usize>,
    certified_key: &Arc<CertifiedKey>,
) {
    let identity = ServedIdentity {
        certified_key: Arc::clone(certified_key),
        host,
    };
    record(server_name, Some(identity), None);
}

/// Called by the resolver when it chose nothing.
pub(crate) fn record_refusal(server_name: Option<&str>, refusal: ServerNameRefusal) {
    record(server_name, None, Some(refusal));
}

fn record(
    server_name: Option<&str>,
    identity: Option<ServedIdentity>,
    refusal: Option<ServerNameRefusal>,
) {
    let hello = AnsweredHello {
        server_name: server_name.map(str::to_owned),
        identity,
    };
    SLOT.set(Slot {
        hello: Some(hello),
        refusal,
    });
}

/// The hello answered by the handshake just driven on this thread; empties the slot.
pub(crate) fn take_answered_hello() -> Option<AnsweredHello> {
    SLOT.with_borrow_mut(|slot| slot.hello.take())
}

/// Why the handshake just driven on this thread was given no identity; empties that half of the slot.
pub(crate) fn take_refusal() -> Option<ServerNameRefusal> {
    SLOT.with_borrow_mut(|slot| slot.refusal.take())
}
