//! [`SniResolver`]: which identity a `ClientHello` is answered with.
//!
//! The server name picks a row of `[[proxy.listener.host]]`, or the listener's own identities. Several identities serve the same
//! names with different kinds of key (RSA and ECDSA side by side): the first whose key can sign in a way the client understands is
//! taken, with its OCSP staple while that is current.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::client_hello::{record_identity, record_refusal};
use crate::host_table::HostTable;
use crate::options::NoServerName;
use crate::server_name_refusal::ServerNameRefusal;
use crate::staple::Staple;

/// Answers a `ClientHello` with one of a listener's identities.
#[derive(Debug)]
pub struct SniResolver {
    /// The listener's own; may be empty.
    default: IdentitySet,
    table: HostTable,
    /// By row of `table`.
    hosts: Vec<IdentitySet>,
    no_server_name: NoServerName,
}

impl SniResolver {
    /// A resolver over the listener's own identities and those of its rows.
    pub(crate) const fn new(
        default: IdentitySet,
        table: HostTable,
        hosts: Vec<IdentitySet>,
        no_server_name: NoServerName,
    ) -> Self {
        Self {
            default,
            table,
            hosts,
            no_server_name,
        }
    }

    fn choose(
        &self,
        server_name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Result<(Option<usize>, &Arc<CertifiedKey>), ServerNameRefusal> {
        let row = match server_name {
            None if self.no_server_name == NoServerName::Refuse => {
                return Err(ServerNameRefusal::Missing);
            }
            None => None,
            Some(name) => self.table.find(name),
        };
        let set = row.and_then(|row| self.hosts.get(row));
        let identity = set.unwrap_or(&self.default).choose(schemes);
        let refusal = || {
            server_name.map_or(ServerNameRefusal::Missing, |name| {
                ServerNameRefusal::Unknown(name.to_owned())
            })
        };
        Ok((row, identity.ok_or_else(refusal)?.current()))
    }

    /// Answers as if the client had named `chosen_by`; what it really named is what is recorded.
    fn answer(
        &self,
        hello: &ClientHello<'_>,
        chosen_by: Option<&str>,
    ) -> Option<Arc<CertifiedKey>> {
        let server_name = hello.server_name();
        match self.choose(chosen_by, hello.signature_schemes()) {
            Ok((host, certified_key)) => {
                record_identity(server_name, host, certified_key);
                Some(Arc::clone(certified_key))
            }
            Err(refusal) => {
                record_refusal(server_name, refusal);
                None
            }
        }
    }
}

impl ResolvesServerCert for SniResolver {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.answer(&client_hello, client_hello.server_name())
    }
}

/// Answers one client with the identity of another server name than the one it gave.
#[derive(Debug)]
pub(crate) struct AsIfNamed {
    server_name: String,
    resolver: Arc<SniResolver>,
}

impl AsIfNamed {
    pub(crate) const fn new(server_name: String, resolver: Arc<SniResolver>) -> Self {
        Self {
            server_name,
            resolver,
        }
    }
}

impl ResolvesServerCert for AsIfNamed {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.resolver.answer(&client_hello, Some(&self.server_name))
    }
}

/// Answers nobody.
#[derive(Debug)]
pub(crate) struct Nobody;

impl ResolvesServerCert for Nobody {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// Identities for the same names, most preferred first.
#[derive(Debug)]
pub(crate) struct IdentitySet(pub(crate) Vec<ServableIdentity>);

impl IdentitySet {
    /// The first that can sign with one of `schemes`; failing that the first, so that rustls reports what was not in common.
    fn choose(&self, schemes: &[SignatureScheme]) -> Option<&ServableIdentity> {
        let usable =
            |identity: &&ServableIdentity| identity.bare.key.choose_scheme(schemes).is_some();
        self.0.iter().find(usable).or_else(|| self.0.first())
    }
}

/// An identity as it is served: with its staple while that is current.
#[derive(Debug)]
pub(crate) struct ServableIdentity {
    bare: Arc<CertifiedKey>,
    stapled: Option<(Arc<CertifiedKey>, Staple)>,
}

impl ServableIdentity {
    pub(crate) fn new(bare: Arc<CertifiedKey>, staple: Option<Staple>) -> Self {
        let stapled = staple.map(|staple| {
            let mut certified_key = CertifiedKey::clone(&bare);
            certified_key.ocsp = Some(staple.der.clone());
            (Arc::new(certified_key), staple)
        });
        Self { bare, stapled }
    }

    fn current(&self) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some((certified_key, staple)) if staple.is_current(unix_now()) => certified_key,
            _ => &self.bare,
        }
    }
}

/// Seconds since 1970; a clock before that is as wrong as one at it.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
