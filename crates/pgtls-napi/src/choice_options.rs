//! Options from JavaScript for what is chosen per connection: the identity by server name, the backend by server name and startup
//! packet.

use napi_derive::napi;
use pgtls_core as core;
use pgtls_tls::config_key::Table;
use pgtls_tls::error::TlsConfigError;
use pgtls_tls::options::HostTlsOptions as CoreHostTls;

use crate::options::{BackendOptions, paths};

/// One `[proxy.backends.NAME]`.
#[napi(object, use_nullable = true)]
pub struct NamedBackendOptions {
    /// Its name.
    pub name: String,
    /// As of `[proxy.backend]`.
    pub backend: BackendOptions,
}

/// One `[[proxy.route]]`.
#[napi(object, use_nullable = true)]
pub struct RouteRule {
    /// Pattern; null matches everybody.
    pub user: Option<String>,
    /// Pattern; null matches every database.
    pub database: Option<String>,
    /// Name of the backend.
    pub backend: String,
}

/// One `[[proxy.listener.host]]`.
#[napi(object, use_nullable = true)]
pub struct HostTlsOptions {
    /// Exact, or `*.x`.
    pub hostnames: Vec<String>,
    /// As the listener's.
    pub cert_files: Vec<String>,
    /// As the listener's.
    pub key_files: Vec<String>,
    /// As the listener's.
    pub ocsp_files: Vec<String>,
    /// Name of the backend; null leaves the choice to the rules.
    pub backend: Option<String>,
}

impl NamedBackendOptions {
    pub(crate) fn into_core(self) -> Result<(String, core::BackendOptions), TlsConfigError> {
        let backend = self.backend.into_core();
        match backend {
            Ok(backend) => Ok((self.name, backend)),
            Err(error) => Err(error.within(Table::Backend(self.name))),
        }
    }
}

impl RouteRule {
    pub(crate) fn into_core(self) -> core::RouteRule {
        core::RouteRule {
            user: self.user,
            database: self.database,
            backend: self.backend,
        }
    }
}

impl HostTlsOptions {
    pub(crate) fn into_core(self) -> CoreHostTls {
        CoreHostTls {
            hostnames: self.hostnames,
            cert_files: paths(self.cert_files),
            key_files: paths(self.key_files),
            ocsp_files: paths(self.ocsp_files),
            backend: self.backend,
        }
    }
}
