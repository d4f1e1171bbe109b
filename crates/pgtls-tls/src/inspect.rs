//! [`inspect`]: every problem of a route's TLS options at once, and the identities they name; for `validate` and reload.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::time_provider::DefaultTimeProvider;

use crate::client_config::{self, BackendHost, server_name};
use crate::error::TlsConfigError;
use crate::identity::Identity;
use crate::leaf::LeafInfo;
use crate::options::{BackendTlsOptions, ListenerTlsOptions};
use crate::server_config;

/// What [`inspect`] found.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Everything that keeps the options from being used, the listener's first.
    pub problems: Vec<TlsConfigError>,
    /// Every identity that could be loaded, whether or not there are problems elsewhere.
    pub identities: Vec<InspectedIdentity>,
}

/// A certificate a route shows to a peer. Whether its dates hold is the caller's to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedIdentity {
    /// To whom it is shown.
    pub role: IdentityRole,
    /// The certificate file.
    pub file: PathBuf,
    /// The leaf, described.
    pub leaf: LeafInfo,
}

/// Which leg a certificate is shown on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdentityRole {
    /// To clients.
    Listener,
    /// To the backend.
    Backend,
}

impl IdentityRole {
    /// `listener` or `backend`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Backend => "backend",
        }
    }
}

/// Checks both legs' options, a leg without TLS being `None`; `hosts` are the backend's addresses.
#[must_use]
pub fn inspect(
    listener: Option<&ListenerTlsOptions>,
    backend: Option<&BackendTlsOptions>,
    hosts: &[BackendHost<'_>],
) -> Inspection {
    let mut inspection = Inspection::default();
    if let Some(options) = listener {
        let (identities, result) = server_config::assemble(options, &Arc::default());
        inspection.add(IdentityRole::Listener, identities, result.err());
    }
    if let Some(options) = backend {
        let (identity, result) = client_config::assemble(options, DefaultTimeProvider);
        inspection.add(IdentityRole::Backend, identity, result.err());
        let unnameable = hosts
            .iter()
            .filter_map(|&host| server_name(options.verification, host).err());
        inspection.problems.extend(unnameable);
    }
    inspection
}

impl Inspection {
    fn add(
        &mut self,
        role: IdentityRole,
        identities: impl IntoIterator<Item = Identity>,
        problems: Option<Vec<TlsConfigError>>,
    ) {
        let found = identities.into_iter();
        self.identities
            .extend(found.map(|Identity { file, leaf, .. }| InspectedIdentity {
                role,
                file,
                leaf,
            }));
        self.problems.extend(problems.into_iter().flatten());
    }
}
