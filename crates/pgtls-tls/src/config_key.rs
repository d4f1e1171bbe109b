//! The configuration keys that errors point at, relative to `[[proxy]]`.

/// The listener's certificate chains.
pub const LISTENER_CERT: &str = "listener.ssl_cert_file";
/// The listener's private keys.
pub const LISTENER_KEY: &str = "listener.ssl_key_file";
/// The authorities of client certificates.
pub const LISTENER_CA: &str = "listener.ssl_ca_file";
/// The listener's cipher suites.
pub const LISTENER_CIPHERS: &str = "listener.ssl_ciphers";
/// The listener's key exchange groups.
pub const LISTENER_GROUPS: &str = "listener.ssl_groups";
/// The listener's oldest version.
pub const LISTENER_MIN_VERSION: &str = "listener.ssl_min_protocol_version";
/// The listener's newest version.
pub const LISTENER_MAX_VERSION: &str = "listener.ssl_max_protocol_version";
/// The listener's application protocols.
pub const LISTENER_ALPN: &str = "listener.alpn";
/// The keys of the listener's session tickets.
pub const LISTENER_TICKET_KEYS: &str = "listener.ticket_key_file";
/// The backend's address.
pub const BACKEND_ADDRESS: &str = "backend.address";
/// The backend's sslmode.
pub const BACKEND_SSLMODE: &str = "backend.sslmode";
/// The backend's roots.
pub const BACKEND_ROOT: &str = "backend.sslrootcert";
/// The certificate shown to the backend.
pub const BACKEND_CERT: &str = "backend.sslcert";
/// The key of the certificate shown to the backend.
pub const BACKEND_KEY: &str = "backend.sslkey";
/// The backend's oldest version.
pub const BACKEND_MIN_VERSION: &str = "backend.ssl_min_protocol_version";
/// The backend's newest version.
pub const BACKEND_MAX_VERSION: &str = "backend.ssl_max_protocol_version";
