//! Carries the server name from the certificate resolver to the session that is being driven.
//!
//! rustls' unbuffered server connection does not tell the SNI, only the resolver sees it. The resolver runs inside
//! [`crate::ops::TlsConnectionOps::drive`], on the same thread, before it returns: a thread-local slot is race-free.

use std::cell::RefCell;

thread_local! {
    static SERVER_NAME: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Called by the resolver with the name in the ClientHello.
pub(crate) fn record_server_name(server_name: Option<&str>) {
    SERVER_NAME.with_borrow_mut(|slot| *slot = server_name.map(str::to_owned));
}

/// The name recorded by the handshake just driven on this thread; empties the slot.
pub(crate) fn take_server_name() -> Option<String> {
    SERVER_NAME.with_borrow_mut(Option::take)
}
