//! [`Backend`]: one `[proxy.backend]` section made ready to dial.

use std::time::Duration;

use pgtls_tls::client_config::{ClientTls, resume_client_config};
use pgtls_tls::error::TlsConfigError;

use crate::options::{BackendAddress, BackendOptions, KeepaliveOptions, Sslmode, Sslnegotiation};

/// The backend side of a route.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) addresses: Vec<BackendAddress>,
    pub(crate) sslmode: Sslmode,
    pub(crate) sslnegotiation: Sslnegotiation,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: KeepaliveOptions,
}

impl Backend {
    /// Loads what TLS towards the backend needs; nothing is dialled. Sessions of the backend it replaces go on if nothing
    /// that TLS rests on has changed.
    pub(crate) fn build(
        options: &BackendOptions,
        previous: Option<&Self>,
    ) -> Result<Self, TlsConfigError> {
        let tls = match options.sslmode {
            Sslmode::Disable => None,
            Sslmode::Prefer | Sslmode::Require => {
                let previous = previous.and_then(|backend| backend.tls.as_ref());
                Some(resume_client_config(&options.tls, previous)?)
            }
        };
        Ok(Self {
            addresses: options.addresses.clone(),
            sslmode: options.sslmode,
            sslnegotiation: options.sslnegotiation,
            tls,
            connect_timeout: options.connect_timeout,
            keepalive: options.keepalive.clone(),
        })
    }
}
