//! [`TlsConfigError`]: everything that can be wrong with TLS options and the files they name.
//!
//! Each variant knows the configuration key it concerns, relative to `[[proxy]]`, and its message says which object, what
//! is wrong and what to do.

use std::io;
use std::path::PathBuf;

use crate::config_key::Table;
use crate::identity_error::IdentityError;
use crate::options::TlsVersion;
pub use crate::revocation_error::RevocationListError;
use crate::ticket_key_file::TicketKeyError;
use crate::user_map::UserMapError;

/// TLS options, or a file they name, that can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// A file could not be opened or read.
    #[error("{}: cannot be read: {source}; give a readable file", path.display())]
    FileUnreadable {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A path names something other than a regular file.
    #[error("{}: is not a regular file; give the path of a file", path.display())]
    NotAFile {
        /// The configuration key.
        key: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// The file's PEM armour is broken.
    #[error("{}: is not valid PEM ({detail}); write it again from its source", path.display())]
    PemMalformed {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the parser met.
        detail: String,
    },
    /// The listener has no certificate at all.
    #[error(
        "no certificate is configured; set ssl_cert_file and ssl_key_file, or sslmode = \"disable\""
    )]
    CertificateMissing {
        /// The configuration key.
        key: &'static str,
    },
    /// Certificate and key files come in different numbers.
    #[error(
        "{certificates} certificate file(s) but {keys} key file(s); give one key file for each certificate file, in the same order"
    )]
    FilesUnpaired {
        /// The configuration key.
        key: &'static str,
        /// How many certificate files there are.
        certificates: usize,
        /// How many key files there are.
        keys: usize,
    },
    /// The file has no `CERTIFICATE` section.
    #[error("{}: contains no certificate; expected a PEM section \"BEGIN CERTIFICATE\"", path.display())]
    NoCertificate {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A certificate can't be parsed or used.
    #[error("{}: certificate {position} in the file cannot be used: {detail}; issue it again or remove it", path.display())]
    CertificateInvalid {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Which certificate in the file, counted from 1.
        position: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// The file has no private key section.
    #[error(
        "{}: contains no private key; expected a PEM section \"BEGIN PRIVATE KEY\", \"BEGIN RSA PRIVATE KEY\" or \"BEGIN EC PRIVATE KEY\"",
        path.display()
    )]
    NoPrivateKey {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The private key is encrypted.
    #[error(
        "{}: the private key is encrypted with a passphrase; write a decrypted copy with `openssl pkey -in {} -out …` and protect it with mode 0600",
        path.display(), path.display()
    )]
    KeyEncrypted {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The private key is of a kind or size that isn't supported.
    #[error(
        "{}: the private key cannot be used: {detail}; use RSA of 2048 to 8192 bits, ECDSA P-256, P-384 or P-521, or Ed25519",
        path.display()
    )]
    KeyUnsupported {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The provider's reason.
        detail: String,
    },
    /// The private key is readable by others.
    #[error(
        "{}: the private key has group or world access (mode {mode:04o}); use mode 0600 or less, or 0640 or less when root owns the file (for a Kubernetes Secret: `defaultMode: 0440` with fsGroup)",
        path.display()
    )]
    KeyPermissions {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The file's permission bits.
        mode: u32,
    },
    /// The private key belongs to another certificate.
    #[error("{}: the private key does not belong to the certificate in {}{hint}", path.display(), certificate.display())]
    KeyMismatch {
        /// The configuration key.
        key: &'static str,
        /// The key file.
        path: PathBuf,
        /// The certificate file.
        certificate: PathBuf,
        /// What to do, beginning with punctuation.
        hint: String,
    },
    /// Client certificates are asked for but nothing says whom to trust.
    #[error(
        "client certificates are asked for, but there is no authority to verify them; set ssl_ca_file"
    )]
    AuthorityMissing {
        /// The configuration key.
        key: &'static str,
    },
    /// verify-ca or verify-full without roots.
    #[error(
        "the backend's certificate is to be verified, but there are no roots to verify it with; set sslrootcert to a PEM file or \"system\", or use sslmode = \"require\""
    )]
    RootsMissing {
        /// The configuration key.
        key: &'static str,
    },
    /// The operating system gave no usable root.
    #[error(
        "no root certificate was found in the operating system ({detail}); install ca-certificates, or set sslrootcert to a PEM file"
    )]
    SystemRootsMissing {
        /// The configuration key.
        key: &'static str,
        /// What the look-up said.
        detail: String,
    },
    /// Public roots without a name check trust everybody.
    #[error(
        "sslrootcert = \"system\" needs sslmode = \"verify-full\": without the name check, anybody with a public certificate is trusted"
    )]
    SystemRootsNeedNames {
        /// The configuration key.
        key: &'static str,
    },
    /// An unknown protocol version.
    #[error("unknown TLS version \"{name}\"; known: TLSv1.2, TLSv1.3")]
    VersionUnknown {
        /// The configuration key.
        key: &'static str,
        /// As written.
        name: String,
    },
    /// The newest version allowed is older than the oldest.
    #[error("the newest version allowed ({max}) is older than the oldest ({min}); exchange them")]
    VersionRangeEmpty {
        /// The configuration key.
        key: &'static str,
        /// The oldest.
        min: TlsVersion,
        /// The newest.
        max: TlsVersion,
    },
    /// An unknown cipher suite.
    #[error("unknown cipher suite \"{name}\"; known: {known}")]
    CipherUnknown {
        /// The configuration key.
        key: &'static str,
        /// As written.
        name: String,
        /// All names known.
        known: String,
    },
    /// An unknown key exchange group.
    #[error("unknown group \"{name}\"; known: {known}")]
    GroupUnknown {
        /// The configuration key.
        key: &'static str,
        /// As written.
        name: String,
        /// All names known.
        known: String,
    },
    /// The options exclude each other.
    #[error("{what} left for {version}; {remedy}")]
    NothingLeft {
        /// The configuration key.
        key: &'static str,
        /// What is missing, e.g. "no cipher suite is".
        what: &'static str,
        /// The version that can't be negotiated.
        version: TlsVersion,
        /// What to do.
        remedy: &'static str,
    },
    /// No certificate of the listener can be used with the cipher suites.
    #[error(
        "none of the cipher suites for TLSv1.2 can be used with the configured certificates' keys ({keys}); add suites for that kind of key, or set ssl_min_protocol_version = \"TLSv1.3\""
    )]
    CipherKeyMismatch {
        /// The configuration key.
        key: &'static str,
        /// The kinds of key there are.
        keys: String,
    },
    /// An ALPN protocol name out of bounds.
    #[error(
        "the ALPN protocol \"{name}\" is not 1 to 255 bytes long; the usual one is \"postgresql\""
    )]
    AlpnInvalid {
        /// The configuration key.
        key: &'static str,
        /// As written.
        name: String,
    },
    /// verify-full over a unix socket.
    #[error(
        "the unix socket {path} has no host name that a certificate could be checked against; use sslmode = \"verify-ca\" or \"disable\" for it"
    )]
    UnixSocketUnnameable {
        /// The configuration key.
        key: &'static str,
        /// The socket.
        path: String,
    },
    /// A host that is neither a DNS name nor an IP address.
    #[error("\"{host}\" is neither a DNS name nor an IP address; TLS needs one of them")]
    HostInvalid {
        /// The configuration key.
        key: &'static str,
        /// As written.
        host: String,
    },
    /// An encrypted key, a staple or a row that can't be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A problem in a table of which there may be several.
    #[error("{source}")]
    Within {
        /// Which one.
        table: Table,
        /// The problem; its key is that of the table it resembles.
        source: Box<TlsConfigError>,
    },
    /// A file of certificate revocation lists can't be used.
    #[error("{}: {source}", path.display())]
    RevocationList {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: RevocationListError,
    },
    /// A line of a user map can't be used.
    #[error("{}: {source}", path.display())]
    UserMap {
        /// The configuration key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The line, and what is wrong with it.
        source: UserMapError,
    },
    /// The keys of session tickets can't be used.
    #[error(transparent)]
    TicketKeys(#[from] TicketKeyError),
    /// rustls refused the assembled configuration.
    #[error("the TLS library refused the configuration: {source}")]
    Refused {
        /// The configuration key.
        key: &'static str,
        /// The library's reason.
        source: rustls::Error,
    },
}

/// Every value of [`TlsConfigError::code`], with its meaning.
pub const CODES: [(&str, &str); 6] = [
    (
        "PGTLS_TLS_CONFIG_INVALID",
        "TLS options contradict each other or name something unknown",
    ),
    (
        "PGTLS_TLS_FILE_UNREADABLE",
        "a certificate, key or CA file cannot be read",
    ),
    (
        "PGTLS_TLS_CERTIFICATE_INVALID",
        "a certificate or CA file has no usable certificate",
    ),
    (
        "PGTLS_TLS_KEY_INVALID",
        "a key file has no usable private key, or no usable ticket key",
    ),
    (
        "PGTLS_TLS_KEY_PERMISSIONS",
        "a private key is readable by group or world",
    ),
    (
        "PGTLS_TLS_KEY_MISMATCH",
        "a private key does not belong to its certificate",
    ),
];

impl TlsConfigError {
    /// The stable code, one of [`CODES`].
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Identity(error) => error.code(),
            Self::Within { source, .. } => source.code(),
            Self::FileUnreadable { .. } | Self::NotAFile { .. } => "PGTLS_TLS_FILE_UNREADABLE",
            Self::PemMalformed { .. }
            | Self::NoCertificate { .. }
            | Self::CertificateInvalid { .. }
            | Self::RevocationList { .. }
            | Self::SystemRootsMissing { .. } => "PGTLS_TLS_CERTIFICATE_INVALID",
            Self::NoPrivateKey { .. } | Self::KeyEncrypted { .. } | Self::KeyUnsupported { .. } => {
                "PGTLS_TLS_KEY_INVALID"
            }
            Self::TicketKeys(problem) => problem.code(),
            Self::KeyPermissions { .. } => "PGTLS_TLS_KEY_PERMISSIONS",
            Self::KeyMismatch { .. } => "PGTLS_TLS_KEY_MISMATCH",
            Self::CertificateMissing { .. }
            | Self::FilesUnpaired { .. }
            | Self::AuthorityMissing { .. }
            | Self::RootsMissing { .. }
            | Self::SystemRootsNeedNames { .. }
            | Self::VersionUnknown { .. }
            | Self::VersionRangeEmpty { .. }
            | Self::CipherUnknown { .. }
            | Self::GroupUnknown { .. }
            | Self::NothingLeft { .. }
            | Self::CipherKeyMismatch { .. }
            | Self::AlpnInvalid { .. }
            | Self::UnixSocketUnnameable { .. }
            | Self::HostInvalid { .. }
            | Self::UserMap { .. }
            | Self::Refused { .. } => "PGTLS_TLS_CONFIG_INVALID",
        }
    }
}
