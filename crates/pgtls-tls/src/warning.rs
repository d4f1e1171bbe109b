//! [`TlsConfigWarning`]: what is doubtful about TLS options and the files they name, but keeps nothing from running.

use std::fmt;

use rustls_pki_types::{CertificateDer, ServerName};

use crate::identity::Identity;
use crate::name_check::check_name;
use crate::ocsp::CertStatus;

/// Something doubtful, with the key it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfigWarning {
    /// Key path relative to `[[proxy]]`.
    pub path: String,
    /// What is doubtful, and what to do.
    pub message: String,
}

impl fmt::Display for TlsConfigWarning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.message)
    }
}

/// What is doubtful about an identity's staple at `now`, Unix seconds.
pub(crate) fn staple_warning(identity: &Identity, now: i64) -> Option<String> {
    let staple = identity.staple.as_ref()?;
    let certificate = identity.file.display();
    match staple.status {
        CertStatus::Revoked { .. } => Some(format!(
            "the OCSP response says that the certificate {certificate} is REVOKED: clients that look at it will refuse this server; replace the certificate"
        )),
        CertStatus::Unknown => Some(format!(
            "the OCSP responder does not know the certificate {certificate}; its response is not sent to clients"
        )),
        CertStatus::Good if staple.is_expired(now) => Some(format!(
            "the OCSP response for {certificate} has expired and is not sent to clients; fetch a new one"
        )),
        CertStatus::Good if !staple.is_current(now) => Some(format!(
            "the OCSP response for {certificate} is from the future and not sent to clients yet; check the clock"
        )),
        CertStatus::Good => None,
    }
}

/// What is said of a host name that `leaf` doesn't cover.
pub(crate) fn coverage_warning(identity: &Identity, hostname: &str) -> Option<String> {
    let leaf = identity.leaf_der()?;
    (!covers(leaf, hostname)).then(|| {
        format!(
            "the certificate {} does not cover \"{hostname}\": clients with sslmode=verify-full will refuse it; it names {}",
            identity.file.display(),
            names(&identity.leaf.sans)
        )
    })
}

fn names(sans: &[String]) -> String {
    if sans.is_empty() {
        "no host".to_owned()
    } else {
        sans.join(", ")
    }
}

/// A wildcard is covered by the same wildcard only: any name below it may be asked for.
fn covers(leaf: &CertificateDer<'_>, hostname: &str) -> bool {
    let any = hostname
        .strip_prefix("*.")
        .map(|domain| format!("any-name-below-the-wildcard.{domain}"));
    let name = any.unwrap_or_else(|| hostname.to_owned());
    ServerName::try_from(name).is_ok_and(|name| check_name(leaf, &name).is_ok())
}
