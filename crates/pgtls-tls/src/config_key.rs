//! The configuration keys that errors point at, relative to `[[proxy]]`, and [`Table`] for those that are there several times.

/// The listener's certificate chains.
pub const LISTENER_CERT: &str = "listener.ssl_cert_file";
/// The listener's private keys.
pub const LISTENER_KEY: &str = "listener.ssl_key_file";
/// The OCSP responses of the listener's certificates.
pub const LISTENER_OCSP: &str = "listener.ssl_ocsp_file";
/// The command that prints the passphrase of the listener's keys.
pub const LISTENER_PASSPHRASE_COMMAND: &str = "listener.ssl_passphrase_command";
/// The server names of a row of the listener's.
pub const HOST_NAMES: &str = "listener.hostname";
/// The backend that a row of the listener's leads to.
pub const HOST_BACKEND: &str = "listener.backend";
/// The backend that a rule leads to.
pub const ROUTE_BACKEND: &str = "route.backend";
/// The authorities of client certificates.
pub const LISTENER_CA: &str = "listener.ssl_ca_file";
/// The revocation lists of client certificates.
pub const LISTENER_CRL: &str = "listener.ssl_crl_file";
/// Which users client certificates may log in as.
pub const LISTENER_USER_MAP: &str = "listener.user_map_file";
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
/// The revocation lists of backend certificates.
pub const BACKEND_CRL: &str = "backend.sslcrl";
/// The certificate shown to the backend.
pub const BACKEND_CERT: &str = "backend.sslcert";
/// The key of the certificate shown to the backend.
pub const BACKEND_KEY: &str = "backend.sslkey";
/// The backend's oldest version.
pub const BACKEND_MIN_VERSION: &str = "backend.ssl_min_protocol_version";
/// The backend's newest version.
pub const BACKEND_MAX_VERSION: &str = "backend.ssl_max_protocol_version";

/// A table of which there may be several; its keys are those of the table it resembles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Table {
    /// A row of `[[proxy.listener.host]]`, from 0.
    Host(usize),
    /// `[proxy.backends.NAME]`.
    Backend(String),
    /// A row of `[[proxy.route]]`, from 0.
    Route(usize),
}

impl Table {
    /// The path of `key`, one of the constants above, in this table.
    #[must_use]
    pub fn path_of(&self, key: &str) -> String {
        // What concerns the whole listener stands there, whichever row it was found for.
        if key == LISTENER_PASSPHRASE_COMMAND || key == LISTENER_CIPHERS {
            return key.to_owned();
        }
        let name = key.rsplit('.').next().unwrap_or(key);
        match self {
            Self::Host(row) => format!("listener.host[{row}].{name}"),
            Self::Backend(backend) => format!("backends.{backend}.{name}"),
            Self::Route(row) => format!("route[{row}].{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_placed_in_its_table() {
        let paths = [
            Table::Host(1).path_of(LISTENER_KEY),
            Table::Backend("b".to_owned()).path_of(BACKEND_ROOT),
            Table::Route(0).path_of(ROUTE_BACKEND),
            Table::Host(1).path_of(LISTENER_PASSPHRASE_COMMAND),
        ];
        assert_eq!(
            paths,
            [
                "listener.host[1].ssl_key_file",
                "backends.b.sslrootcert",
                "route[0].backend",
                "listener.ssl_passphrase_command",
            ]
        );
    }
}
