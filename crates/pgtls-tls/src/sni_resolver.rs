//! [`SniResolver`]: which identity a `ClientHello` is answered with.
//!
//! Several identities serve the same names with different kinds of key (RSA and ECDSA side by side): the first whose key
//! can sign in a way the client understands is taken. Identities per host name will be chosen here, too, before that step.

use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::client_hello::record_server_name;

/// Answers a `ClientHello` with one of a listener's identities.
#[derive(Debug)]
pub struct SniResolver {
    default: IdentitySet,
}

impl SniResolver {
    /// A resolver over `identities`, most preferred first.
    #[must_use]
    pub const fn new(identities: Vec<Arc<CertifiedKey>>) -> Self {
        Self {
            default: IdentitySet { identities },
        }
    }
}

impl ResolvesServerCert for SniResolver {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        record_server_name(client_hello.server_name());
        self.default.choose(client_hello.signature_schemes())
    }
}

/// Identities for the same names.
#[derive(Debug)]
struct IdentitySet {
    identities: Vec<Arc<CertifiedKey>>,
}

impl IdentitySet {
    /// The first that can sign with one of `schemes`; failing that the first, so that rustls reports what was not in common.
    fn choose(&self, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let usable = |identity: &&Arc<CertifiedKey>| identity.key.choose_scheme(schemes).is_some();
        self.identities
            .iter()
            .find(usable)
            .or_else(|| self.identities.first())
            .cloned()
    }
}
