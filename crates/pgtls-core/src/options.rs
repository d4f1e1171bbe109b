//! What a data plane is started or reloaded with: plain values, as they come over the FFI.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use pgtls_tls::options::{BackendTlsOptions, ListenerTlsOptions};

use crate::questions::HookSet;

/// Everything a data plane needs to know.
#[derive(Clone, Debug)]
pub struct DataPlaneOptions {
    /// Upper bound of worker threads; 0 is one per CPU available to the process.
    pub workers: usize,
    /// Client connections of all routes together.
    pub max_client_conn: u32,
    /// TLS handshakes with clients that may go on at the same time.
    pub max_concurrent_handshakes: usize,
    /// Whether each finished handshake is an event of its own.
    pub report_tls_established: bool,
    /// The routes, each with an id of its own.
    pub routes: Vec<RouteOptions>,
}

/// One `[[proxy]]` section.
#[derive(Clone, Debug)]
pub struct RouteOptions {
    /// Names the route in hand-offs and reports.
    pub route_id: u32,
    /// The configured name.
    pub name: String,
    /// Client connections of this route; 0 is no limit of its own.
    pub max_client_conn: u32,
    /// Client connections of one address on this route; 0 is no limit.
    pub max_client_conn_per_ip: u32,
    /// Towards clients.
    pub listener: ListenerOptions,
    /// Towards PostgreSQL.
    pub backend: BackendOptions,
    /// Which questions its connections ask.
    pub hooks: HookSet,
    /// `[proxy.backends.NAME]`: others, by name, which hosts of the listener and `rules` lead to.
    pub backends: Vec<(String, BackendOptions)>,
    /// `[[proxy.route]]`: the first that matches a startup packet picks the backend.
    pub rules: Vec<RouteRule>,
}

/// One `[[proxy.route]]`; in the patterns `*` stands for any characters, and none matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRule {
    /// Pattern of the user's name.
    pub user: Option<String>,
    /// Pattern of the database's name.
    pub database: Option<String>,
    /// Name of the backend.
    pub backend: String,
}

impl RouteOptions {
    /// Whether one of its backends has work to be done that no session asks for.
    pub(crate) fn needs_keeper(&self) -> bool {
        let named = self.backends.iter().map(|(_, backend)| backend);
        std::iter::once(&self.backend)
            .chain(named)
            .any(BackendOptions::needs_keeper)
    }
}

/// Towards clients.
#[derive(Clone, Debug)]
pub struct ListenerOptions {
    /// None when `sslmode = "disable"`.
    pub tls: Option<ListenerTlsOptions>,
    /// Whether a session without TLS is refused.
    pub require_tls: bool,
    /// A session without a byte in either direction for so long is ended; zero is never.
    pub client_idle_timeout: Duration,
    /// Keepalive of the client's socket.
    pub keepalive: KeepaliveOptions,
}

/// Towards PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendOptions {
    /// Tried in order.
    pub addresses: Vec<BackendAddress>,
    /// libpq's `sslmode`.
    pub sslmode: Sslmode,
    /// libpq's `sslnegotiation`.
    pub sslnegotiation: Sslnegotiation,
    /// Policy and files; not looked at when `sslmode` is `disable`.
    pub tls: BackendTlsOptions,
    /// For each address: name look-up, TCP and TLS together.
    pub connect_timeout: Duration,
    /// Keepalive of the backend's socket.
    pub keepalive: KeepaliveOptions,
    /// libpq's `load_balance_hosts`.
    pub load_balance_hosts: LoadBalanceHosts,
    /// libpq's `target_session_attrs`; none is `any`.
    pub roles: Option<RoleOptions>,
    /// Connections made ahead; none is none.
    pub warm: Option<WarmOptions>,
    /// Whether each connection begins with a PROXY header, version 2. Not together with `warm`, whose connections have no client yet.
    pub sends_proxy_header: bool,
    /// Whether the client's address is appended to `application_name`.
    pub adds_host_to_application_name: bool,
}

impl BackendOptions {
    /// Whether there is work to do for it that no session asks for.
    pub(crate) fn needs_keeper(&self) -> bool {
        self.roles.is_some() || self.warm.is_some()
    }
}

/// In which order addresses, and those of one name, are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadBalanceHosts {
    /// As configured.
    #[default]
    Disable,
    /// At random for each connection.
    Random,
}

/// Which servers sessions may go to, and who asks them for their role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleOptions {
    /// The servers wanted.
    pub wanted: WantedRole,
    /// Logs in to each server about once a second.
    pub probe_user: String,
    /// The user's password; none where the server asks for none.
    pub probe_password_file: Option<PathBuf>,
    /// The database to log in to.
    pub probe_database: String,
}

/// libpq's `target_session_attrs` other than `any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedRole {
    /// Transactions may write by default.
    ReadWrite,
    /// They may not.
    ReadOnly,
    /// Not in hot standby mode.
    Primary,
    /// In hot standby mode.
    Standby,
    /// A standby if there is one, else any server.
    PreferStandby,
}

/// Connections that are connected and TLS-handshaken before a session asks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmOptions {
    /// How many; not 0.
    pub connections: usize,
    /// An older one is not used.
    pub max_age: Duration,
}

/// Where a PostgreSQL server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendAddress {
    /// A host name or IP address.
    Tcp {
        /// Looked up anew for each connection.
        host: String,
        /// TCP port.
        port: u16,
    },
    /// A Unix-domain socket, full path.
    Unix(PathBuf),
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// libpq's `sslmode` without `allow`. How much is verified stands in [`BackendTlsOptions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sslmode {
    /// Never TLS.
    Disable,
    /// TLS where the server offers it, else plaintext.
    Prefer,
    /// TLS or no connection.
    Require,
}

/// libpq's `sslnegotiation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sslnegotiation {
    /// An SSLRequest comes first.
    Postgres,
    /// The ClientHello comes first (PostgreSQL 17).
    Direct,
}

/// TCP keepalive and user timeout; a zero leaves the system's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeepaliveOptions {
    /// `SO_KEEPALIVE`.
    pub is_enabled: bool,
    /// `TCP_KEEPIDLE`.
    pub idle: Duration,
    /// `TCP_KEEPINTVL`.
    pub interval: Duration,
    /// `TCP_KEEPCNT`.
    pub count: u32,
    /// `TCP_USER_TIMEOUT`.
    pub user_timeout: Duration,
}
