//! Options from JavaScript.

use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use napi_derive::napi;
use pgtls_core as core;
use pgtls_tls::error::TlsConfigError;
use pgtls_tls::options::{
    BackendTlsOptions, BackendVerification, ClientCertificate,
    ListenerTlsOptions as CoreListenerTls, NoServerName, ResumptionOptions, RootCert,
    TicketKeySource, TlsVersion,
};

use crate::choice_options::{HostTlsOptions, NamedBackendOptions, RouteRule};
use crate::questions::HookSet;
use crate::server_options::{RoleOptions, WarmOptions};

/// Everything a data plane is started with.
#[napi(object, use_nullable = true)]
pub struct DataPlaneOptions {
    /// Upper bound of worker threads; 0 is one per CPU.
    pub workers: u32,
    /// Client connections of all routes.
    pub max_client_conn: u32,
    /// Handshakes with clients at the same time.
    pub max_concurrent_handshakes: u32,
    /// Whether each handshake is an event.
    pub report_tls_established: bool,
    /// One per `[[proxy]]`.
    pub routes: Vec<RouteOptions>,
}

/// One `[[proxy]]`.
#[napi(object, use_nullable = true)]
pub struct RouteOptions {
    /// Chosen by the caller.
    pub route_id: u32,
    /// Configured name.
    pub name: String,
    /// 0 is no limit of its own.
    pub max_client_conn: u32,
    /// 0 is no limit.
    pub max_client_conn_per_ip: u32,
    /// Towards clients.
    pub listener: ListenerOptions,
    /// Towards PostgreSQL.
    pub backend: BackendOptions,
    /// Others, which hosts and rules lead to.
    pub backends: Vec<NamedBackendOptions>,
    /// The first that matches picks the backend.
    pub rules: Vec<RouteRule>,
    /// Which questions its connections ask.
    pub hooks: HookSet,
}

/// Towards clients.
#[napi(object, use_nullable = true)]
pub struct ListenerOptions {
    /// Null when `sslmode` is `disable`.
    pub tls: Option<ListenerTlsOptions>,
    /// Whether a session without TLS is refused.
    pub require_tls: bool,
    /// A session without a byte in either direction for so long is ended; 0 is never.
    pub client_idle_timeout_millis: u32,
    /// Of the client's socket.
    pub keepalive: KeepaliveOptions,
}

/// TLS towards clients.
#[napi(object, use_nullable = true)]
pub struct ListenerTlsOptions {
    /// PEM files, paired with the keys.
    pub cert_files: Vec<String>,
    /// PEM files.
    pub key_files: Vec<String>,
    /// OCSP responses in DER, paired with the certificates; or empty.
    pub ocsp_files: Vec<String>,
    /// Prints the passphrase of encrypted keys.
    pub passphrase_command: Option<String>,
    /// Identities of their own for some server names.
    pub hosts: Vec<HostTlsOptions>,
    /// What a ClientHello without server name is answered with.
    #[napi(ts_type = "'default' | 'refuse'")]
    pub no_sni: String,
    /// Authorities of client certificates.
    pub ca_file: Option<String>,
    /// Revocation lists of client certificates, PEM.
    pub crl_file: Option<String>,
    /// Which users client certificates may log in as.
    pub user_map_file: Option<String>,
    /// Whether a client certificate is asked for.
    #[napi(ts_type = "'none' | 'request' | 'require'")]
    pub client_certificate: String,
    /// `TLSv1.2` or `TLSv1.3`.
    pub min_version: String,
    /// Null is the newest.
    pub max_version: Option<String>,
    /// Empty is the provider's.
    pub ciphers: Vec<String>,
    /// Empty is the default.
    pub groups: Vec<String>,
    /// Protocols accepted.
    pub alpn: Vec<String>,
    /// TLS 1.3 tickets sent per handshake; 0 is no resumption at all.
    pub session_tickets: u8,
    /// Keys shared with other instances; null is generated ones.
    pub ticket_key_file: Option<String>,
    /// Of generated keys.
    pub ticket_rotation_millis: u32,
}

/// Towards PostgreSQL.
#[napi(object, use_nullable = true)]
pub struct BackendOptions {
    /// Tried in order.
    pub addresses: Vec<BackendAddress>,
    /// libpq's, without `allow`.
    pub sslmode: String,
    /// libpq's.
    #[napi(ts_type = "'postgres' | 'direct'")]
    pub sslnegotiation: String,
    /// A PEM file or `system`.
    pub sslrootcert: Option<String>,
    /// Revocation lists, PEM.
    pub sslcrl: Option<String>,
    /// Client certificate, PEM.
    pub sslcert: Option<String>,
    /// Its key, PEM.
    pub sslkey: Option<String>,
    /// Whether the server name is sent.
    pub sslsni: bool,
    /// `TLSv1.2` or `TLSv1.3`.
    pub min_version: String,
    /// Null is the newest.
    pub max_version: Option<String>,
    /// Per address.
    pub connect_timeout_millis: u32,
    /// Of the backend's socket.
    pub keepalive: KeepaliveOptions,
    /// libpq's.
    #[napi(ts_type = "'disable' | 'random'")]
    pub load_balance_hosts: String,
    /// Null when `target_session_attrs` is `any`.
    pub roles: Option<RoleOptions>,
    /// Null when `warm_connections` is 0.
    pub warm: Option<WarmOptions>,
    /// Whether each connection begins with a PROXY header.
    pub sends_proxy_header: bool,
    /// Whether `application_name` gets the client's address.
    pub adds_host_to_application_name: bool,
}

/// Where a server listens.
#[napi(object, use_nullable = true)]
pub struct BackendAddress {
    /// `tcp` or `unix`.
    pub kind: String,
    /// Host, or path of the socket.
    pub host: String,
    /// Of no meaning for `unix`.
    pub port: u16,
}

/// TCP keepalive; 0 is the system's value.
#[napi(object, use_nullable = true)]
pub struct KeepaliveOptions {
    /// `SO_KEEPALIVE`.
    pub enabled: bool,
    /// `TCP_KEEPIDLE`.
    pub idle_millis: u32,
    /// `TCP_KEEPINTVL`.
    pub interval_millis: u32,
    /// `TCP_KEEPCNT`.
    pub count: u32,
    /// `TCP_USER_TIMEOUT`.
    pub user_timeout_millis: u32,
}

impl DataPlaneOptions {
    pub(crate) fn into_core(self) -> Result<core::DataPlaneOptions, TlsConfigError> {
        Ok(core::DataPlaneOptions {
            workers: usize::try_from(self.workers).unwrap_or(usize::MAX),
            max_client_conn: self.max_client_conn,
            max_concurrent_handshakes: usize::try_from(self.max_concurrent_handshakes)
                .unwrap_or(usize::MAX),
            report_tls_established: self.report_tls_established,
            routes: routes(self.routes)?,
        })
    }
}

/// All routes, or the first error among them.
pub(crate) fn routes(routes: Vec<RouteOptions>) -> Result<Vec<core::RouteOptions>, TlsConfigError> {
    routes.into_iter().map(RouteOptions::into_core).collect()
}

impl RouteOptions {
    pub(crate) fn into_core(self) -> Result<core::RouteOptions, TlsConfigError> {
        Ok(core::RouteOptions {
            route_id: self.route_id,
            name: self.name,
            max_client_conn: self.max_client_conn,
            max_client_conn_per_ip: self.max_client_conn_per_ip,
            listener: core::ListenerOptions {
                tls: self
                    .listener
                    .tls
                    .map(ListenerTlsOptions::into_core)
                    .transpose()?,
                require_tls: self.listener.require_tls,
                client_idle_timeout: millis(self.listener.client_idle_timeout_millis),
                keepalive: self.listener.keepalive.into_core(),
            },
            backend: self.backend.into_core()?,
            backends: self
                .backends
                .into_iter()
                .map(NamedBackendOptions::into_core)
                .collect::<Result<_, _>>()?,
            rules: self.rules.into_iter().map(RouteRule::into_core).collect(),
            hooks: self.hooks.into_core(),
        })
    }
}

impl ListenerTlsOptions {
    fn into_core(self) -> Result<CoreListenerTls, TlsConfigError> {
        let hosts = self.hosts.into_iter().map(HostTlsOptions::into_core);
        Ok(CoreListenerTls {
            cert_files: paths(self.cert_files),
            key_files: paths(self.key_files),
            ocsp_files: paths(self.ocsp_files),
            passphrase_command: self.passphrase_command,
            hosts: hosts.collect(),
            no_server_name: match self.no_sni.as_str() {
                "refuse" => NoServerName::Refuse,
                _ => NoServerName::Default,
            },
            ca_file: self.ca_file.map(PathBuf::from),
            crl_file: self.crl_file.map(PathBuf::from),
            user_map_file: self.user_map_file.map(PathBuf::from),
            client_certificate: match self.client_certificate.as_str() {
                "require" => ClientCertificate::Require,
                "request" => ClientCertificate::Request,
                _ => ClientCertificate::None,
            },
            min_version: TlsVersion::parse("listener.ssl_min_protocol_version", &self.min_version)?,
            max_version: version("listener.ssl_max_protocol_version", self.max_version)?,
            ciphers: self.ciphers,
            groups: self.groups,
            alpn: self.alpn,
            resumption: NonZeroU8::new(self.session_tickets).map(|tickets| ResumptionOptions {
                tickets,
                keys: match self.ticket_key_file {
                    Some(file) => TicketKeySource::File(PathBuf::from(file)),
                    None => TicketKeySource::Generated {
                        rotation: millis(self.ticket_rotation_millis),
                    },
                },
            }),
            ..CoreListenerTls::default()
        })
    }
}

impl BackendOptions {
    pub(crate) fn into_core(self) -> Result<core::BackendOptions, TlsConfigError> {
        let sslmode = match self.sslmode.as_str() {
            "disable" => core::Sslmode::Disable,
            "prefer" => core::Sslmode::Prefer,
            _ => core::Sslmode::Require,
        };
        // libpq verifies the authority in every mode as soon as it is told one.
        let verification = match (self.sslmode.as_str(), &self.sslrootcert) {
            ("verify-full", _) => BackendVerification::Full,
            ("verify-ca", _) | (_, Some(_)) => BackendVerification::Ca,
            (_, None) => BackendVerification::None,
        };
        Ok(core::BackendOptions {
            addresses: self
                .addresses
                .into_iter()
                .map(BackendAddress::into_core)
                .collect(),
            sslmode,
            sslnegotiation: match self.sslnegotiation.as_str() {
                "direct" => core::Sslnegotiation::Direct,
                _ => core::Sslnegotiation::Postgres,
            },
            tls: BackendTlsOptions {
                verification,
                root_cert: self.sslrootcert.map(|root| match root.as_str() {
                    "system" => RootCert::System,
                    _ => RootCert::File(PathBuf::from(root)),
                }),
                crl_file: self.sslcrl.map(PathBuf::from),
                cert_file: self.sslcert.map(PathBuf::from),
                key_file: self.sslkey.map(PathBuf::from),
                send_server_name: self.sslsni,
                min_version: TlsVersion::parse(
                    "backend.ssl_min_protocol_version",
                    &self.min_version,
                )?,
                max_version: version("backend.ssl_max_protocol_version", self.max_version)?,
                ..BackendTlsOptions::default()
            },
            connect_timeout: millis(self.connect_timeout_millis),
            keepalive: self.keepalive.into_core(),
            load_balance_hosts: match self.load_balance_hosts.as_str() {
                "random" => core::LoadBalanceHosts::Random,
                _ => core::LoadBalanceHosts::Disable,
            },
            roles: self.roles.map(RoleOptions::into_core),
            warm: self.warm.map(WarmOptions::into_core),
            sends_proxy_header: self.sends_proxy_header,
            adds_host_to_application_name: self.adds_host_to_application_name,
        })
    }
}

impl BackendAddress {
    fn into_core(self) -> core::BackendAddress {
        match self.kind.as_str() {
            "unix" => core::BackendAddress::Unix(PathBuf::from(self.host)),
            _ => core::BackendAddress::Tcp {
                host: self.host,
                port: self.port,
            },
        }
    }
}

impl KeepaliveOptions {
    fn into_core(self) -> core::KeepaliveOptions {
        core::KeepaliveOptions {
            is_enabled: self.enabled,
            idle: millis(self.idle_millis),
            interval: millis(self.interval_millis),
            count: self.count,
            user_timeout: millis(self.user_timeout_millis),
        }
    }
}

pub(crate) fn paths(files: Vec<String>) -> Vec<PathBuf> {
    files.into_iter().map(PathBuf::from).collect()
}

fn version(key: &'static str, name: Option<String>) -> Result<Option<TlsVersion>, TlsConfigError> {
    name.map(|name| TlsVersion::parse(key, &name)).transpose()
}

pub(crate) fn millis(millis: u32) -> Duration {
    Duration::from_millis(u64::from(millis))
}
