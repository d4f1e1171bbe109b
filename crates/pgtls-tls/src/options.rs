//! What a listener and a backend are configured with, as plain values: file paths, names and switches, nothing loaded.

use std::fmt;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::str::FromStr;
#[cfg(feature = "rustls")]
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "rustls")]
use crate::alpn_chooser::AlpnChooser;
#[cfg(feature = "rustls")]
use crate::certificate_judge::CertificateJudge;
use crate::error::TlsConfigError;

/// A listener's TLS options; the keys of `[proxy.listener]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListenerTlsOptions {
    /// `ssl_cert_file`: PEM chains, the leaf first; paired by index with `key_files`.
    pub cert_files: Vec<PathBuf>,
    /// `ssl_key_file`: PEM private keys (PKCS#8, PKCS#1 or SEC1).
    pub key_files: Vec<PathBuf>,
    /// `ssl_ocsp_file`: OCSP responses in DER; paired by index with `cert_files`, or none.
    pub ocsp_files: Vec<PathBuf>,
    /// `ssl_passphrase_command`: prints the passphrase of encrypted keys.
    pub passphrase_command: Option<String>,
    /// `[[proxy.listener.host]]`: identities of their own for some server names.
    pub hosts: Vec<HostTlsOptions>,
    /// `no_sni`.
    pub no_server_name: NoServerName,
    /// `ssl_ca_file`: the authorities client certificates must chain to.
    pub ca_file: Option<PathBuf>,
    /// `ssl_crl_file`: revocation lists of client certificates, PEM.
    pub crl_file: Option<PathBuf>,
    /// `user_map_file`: which users a client certificate may log in as.
    pub user_map_file: Option<PathBuf>,
    /// Whether a client certificate is asked for.
    pub client_certificate: ClientCertificate,
    /// `ssl_min_protocol_version`.
    pub min_version: TlsVersion,
    /// `ssl_max_protocol_version`; `None` is the newest.
    pub max_version: Option<TlsVersion>,
    /// `ssl_ciphers`, IANA or OpenSSL spelling, most preferred first; empty is the provider's choice.
    pub ciphers: Vec<String>,
    /// `ssl_groups`, most preferred first; empty is [`crate::policy::DEFAULT_GROUPS`].
    pub groups: Vec<String>,
    /// `alpn`: the protocols accepted; empty turns the check off.
    pub alpn: Vec<String>,
    /// Whether and how sessions are resumed; `None` (`session_tickets = 0`) is never.
    pub resumption: Option<ResumptionOptions>,
    /// Judges client certificates beside all of the above; for programs that embed this crate.
    #[cfg(feature = "rustls")]
    pub client_judge: Option<Arc<dyn CertificateJudge>>,
    /// Chooses among `alpn`, in place of its order; for programs that embed this crate.
    #[cfg(feature = "rustls")]
    pub alpn_chooser: Option<Arc<dyn AlpnChooser>>,
}

/// How a listener lets its clients resume sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumptionOptions {
    /// `session_tickets`: TLS 1.3 tickets sent per handshake, unless the client asks for fewer (RFC 9149).
    pub tickets: NonZeroU8,
    /// Where the keys that encrypt tickets come from.
    pub keys: TicketKeySource,
}

/// Where the keys that encrypt session tickets come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TicketKeySource {
    /// Made here and known to nobody else; a new one every `ticket_rotation`.
    Generated {
        /// `ticket_rotation`: how long tickets are good, and how long a key encrypts; it decrypts for twice that.
        rotation: Duration,
    },
    /// `ticket_key_file`: shared by the instances that read it.
    File(PathBuf),
}

/// One row of `[[proxy.listener.host]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostTlsOptions {
    /// `hostname`: exact, or `*.x` for one label below `x`; the first of two rows with one name counts.
    pub hostnames: Vec<String>,
    /// `ssl_cert_file`, as the listener's.
    pub cert_files: Vec<PathBuf>,
    /// `ssl_key_file`, as the listener's.
    pub key_files: Vec<PathBuf>,
    /// `ssl_ocsp_file`, as the listener's.
    pub ocsp_files: Vec<PathBuf>,
    /// `backend`: for whoever chooses the backend; TLS itself has no use for it.
    pub backend: Option<String>,
}

/// What a ClientHello without server name (SNI) is answered with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NoServerName {
    /// The listener's own identity.
    #[default]
    Default,
    /// An alert.
    Refuse,
}

/// Whether a listener asks its clients for a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientCertificate {
    /// Never asked for.
    #[default]
    None,
    /// Asked for, and verified when shown.
    Request,
    /// Demanded.
    Require,
}

/// A backend's TLS options; the keys of `[proxy.backend]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackendTlsOptions {
    /// How much of the backend's certificate is checked.
    pub verification: BackendVerification,
    /// `sslrootcert`.
    pub root_cert: Option<RootCert>,
    /// `sslcrl`: revocation lists of backend certificates, PEM.
    pub crl_file: Option<PathBuf>,
    /// `sslcert`: the client certificate shown to the backend, PEM, leaf first.
    pub cert_file: Option<PathBuf>,
    /// `sslkey`.
    pub key_file: Option<PathBuf>,
    /// `sslsni`: whether the host name is sent (never for an IP address).
    pub send_server_name: bool,
    /// `ssl_min_protocol_version`.
    pub min_version: TlsVersion,
    /// `ssl_max_protocol_version`; `None` is the newest.
    pub max_version: Option<TlsVersion>,
    /// Judges the backend's certificate beside all of the above; for programs that embed this crate.
    #[cfg(feature = "rustls")]
    pub backend_judge: Option<Arc<dyn CertificateJudge>>,
}

/// How much of a backend's certificate is checked; libpq's sslmode from `require` up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BackendVerification {
    /// Any certificate (`prefer`, `require`); that the peer holds its key is still checked.
    #[default]
    None,
    /// A chain to a trusted root (`verify-ca`).
    Ca,
    /// The chain, and the certificate names the host dialled (`verify-full`).
    Full,
}

/// Where the roots a backend's certificate must chain to come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCert {
    /// The operating system's.
    System,
    /// A PEM file.
    File(PathBuf),
}

/// A TLS protocol version; ordered by age.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl TlsVersion {
    /// `PostgreSQL`'s spelling: `TLSv1.2` or `TLSv1.3`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "TLSv1.2",
            Self::Tls13 => "TLSv1.3",
        }
    }

    /// Reads `PostgreSQL`'s spelling; `key` is the configuration key an error names.
    pub fn parse(key: &'static str, name: &str) -> Result<Self, TlsConfigError> {
        name.parse()
            .map_err(|UnknownTlsVersion| TlsConfigError::VersionUnknown {
                key,
                name: name.to_owned(),
            })
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text is neither `TLSv1.2` nor `TLSv1.3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a supported TLS version; known: TLSv1.2, TLSv1.3")]
pub struct UnknownTlsVersion;

impl FromStr for TlsVersion {
    type Err = UnknownTlsVersion;

    fn from_str(name: &str) -> Result<Self, UnknownTlsVersion> {
        [Self::Tls12, Self::Tls13]
            .into_iter()
            .find(|version| version.as_str().eq_ignore_ascii_case(name))
            .ok_or(UnknownTlsVersion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_postgresql_version_names_whatever_their_case() {
        assert_eq!("TLSv1.2".parse(), Ok(TlsVersion::Tls12));
        assert_eq!("tlsv1.3".parse(), Ok(TlsVersion::Tls13));
        assert_eq!("TLSv1.1".parse::<TlsVersion>(), Err(UnknownTlsVersion));
    }
}
