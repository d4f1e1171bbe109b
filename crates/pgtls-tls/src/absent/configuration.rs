//! Configurations: each is refused.

pub mod channel_binding {
    /// Nothing here can hash a certificate.
    #[must_use]
    pub const fn server_end_point(_leaf: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

pub mod client_config {
    use crate::absent::Absent;
    use crate::config_key::BACKEND_SSLMODE;
    use crate::error::TlsConfigError;
    use crate::options::{BackendTlsOptions, BackendVerification};

    #[derive(Debug, Clone)]
    pub struct ClientTls(pub(crate) Absent);

    impl ClientTls {
        #[must_use]
        pub const fn is_same_as(&self, _other: &Self) -> bool {
            match self.0 {}
        }

        #[must_use]
        pub const fn verification(&self) -> BackendVerification {
            match self.0 {}
        }

        #[must_use]
        pub const fn is_first_use_of_common_name(&self, _leaf: &[u8], _host: &str) -> bool {
            match self.0 {}
        }
    }

    pub const fn resume_client_config(
        _options: &BackendTlsOptions,
        _previous: Option<&ClientTls>,
    ) -> Result<ClientTls, TlsConfigError> {
        Err(TlsConfigError::Absent {
            key: BACKEND_SSLMODE,
        })
    }
}

pub mod error {
    use crate::config_key::Table;
    use crate::identity_error::IdentityError;

    /// A configuration that can't be used.
    #[derive(Debug, thiserror::Error)]
    #[non_exhaustive]
    pub enum TlsConfigError {
        /// It asks for TLS.
        #[error(
            "this build has no TLS; set sslmode = \"disable\", or build with the feature \"tls\""
        )]
        Absent {
            /// The configuration key.
            key: &'static str,
        },
        #[error("unknown TLS version \"{name}\"; known: TLSv1.2, TLSv1.3")]
        VersionUnknown { key: &'static str, name: String },
        #[error(transparent)]
        Identity(#[from] IdentityError),
        #[error("{source}")]
        Within {
            table: Table,
            source: Box<TlsConfigError>,
        },
    }

    impl TlsConfigError {
        #[must_use]
        pub fn within(self, table: Table) -> Self {
            Self::Within {
                table,
                source: Box::new(self),
            }
        }
    }
}

pub mod identity_error {
    #[derive(Debug, thiserror::Error)]
    #[non_exhaustive]
    pub enum IdentityError {
        #[error("there is no backend \"{name}\"; name one of [proxy.backends]")]
        BackendUnknown { key: &'static str, name: String },
    }
}

pub mod resumption_state {
    /// No session, so nothing of one.
    #[derive(Debug, Default)]
    pub struct ResumptionState;
}

pub mod server_config {
    use std::sync::Arc;

    use crate::absent::Absent;
    use crate::config_key::LISTENER_CERT;
    use crate::options::ListenerTlsOptions;
    use crate::resumption_state::ResumptionState;
    use crate::{error::TlsConfigError, user_map::UserMap};

    #[derive(Debug, Clone)]
    pub struct ServerTls {
        pub user_map: Option<Arc<UserMap>>,
        pub(crate) absent: Absent,
    }

    impl ServerTls {
        #[must_use]
        pub fn answering(&self, _server_name: Option<String>, _alpn: Option<Vec<String>>) -> Self {
            match self.absent {}
        }

        #[must_use]
        pub const fn refusing(&self) -> Self {
            match self.absent {}
        }
    }

    pub const fn resume_server_config(
        _options: &ListenerTlsOptions,
        _state: &Arc<ResumptionState>,
    ) -> Result<ServerTls, TlsConfigError> {
        Err(TlsConfigError::Absent { key: LISTENER_CERT })
    }
}

pub mod user_map {
    use crate::absent::Absent;

    #[derive(Debug)]
    pub struct UserMap(Absent);

    impl UserMap {
        #[must_use]
        pub const fn allows(&self, _names: &[String], _user: &str) -> bool {
            match self.0 {}
        }
    }

    /// Nothing here can read a certificate: it names nobody.
    #[must_use]
    pub const fn system_users(_leaf: &[u8]) -> Vec<String> {
        Vec::new()
    }
}
