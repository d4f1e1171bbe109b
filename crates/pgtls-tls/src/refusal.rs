//! [`RefusedCertificate`]: which certificate a verifier refused, for the log of the handshake that failed by it.
//!
//! rustls tells neither the certificate nor more than its own words. The verifiers run inside
//! [`crate::ops::TlsConnectionOps::drive`], on the same thread, before it returns: as for the server name, a thread-local
//! slot carries it to the stream that is being driven.

use std::cell::RefCell;
use std::fmt;

use rustls::Error;
use rustls_pki_types::CertificateDer;

use crate::leaf::LeafInfo;

/// A peer's certificate that was refused.
#[derive(Debug)]
pub struct RefusedCertificate {
    /// What rustls was told.
    pub error: Error,
    /// The leaf, when it can be read.
    pub leaf: Option<LeafInfo>,
    /// Better words than the error's.
    pub detail: Option<String>,
}

impl fmt::Display for RefusedCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.detail {
            Some(detail) => formatter.write_str(detail)?,
            None => write!(formatter, "{}", self.error)?,
        }
        match &self.leaf {
            Some(leaf) => write!(
                formatter,
                "; the certificate shown is \"{}\", issued by \"{}\", SHA-256 {}",
                leaf.subject, leaf.issuer, leaf.sha256
            ),
            None => Ok(()),
        }
    }
}

thread_local! {
    static REFUSED: RefCell<Option<Box<RefusedCertificate>>> = const { RefCell::new(None) };
}

/// Called by a verifier that refuses `leaf`; gives the error back.
pub(crate) fn record(error: Error, detail: Option<String>, leaf: &CertificateDer<'_>) -> Error {
    let refused = RefusedCertificate {
        error: error.clone(),
        leaf: LeafInfo::from_chain(std::slice::from_ref(leaf)).ok(),
        detail,
    };
    REFUSED.with_borrow_mut(|slot| *slot = Some(Box::new(refused)));
    error
}

/// What the handshake just driven on this thread refused; empties the slot.
pub(crate) fn take() -> Option<Box<RefusedCertificate>> {
    REFUSED.with_borrow_mut(Option::take)
}
