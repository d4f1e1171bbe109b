//! [`inspect`]: every problem of a route's TLS options at once, and the identities they name; for `validate` and reload.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::time_provider::DefaultTimeProvider;

use crate::client_config::{self, BackendHost, server_name};
use crate::config_key::{self as keys, Table};
use crate::error::TlsConfigError;
use crate::identity::Identity;
use crate::leaf::LeafInfo;
use crate::listener_identities::path_in;
use crate::options::{BackendTlsOptions, ListenerTlsOptions};
use crate::server_config;
use crate::staple::Staple;
use crate::warning::TlsConfigWarning;

/// What [`inspect`] found.
#[derive(Debug, Default)]
pub struct Inspection {
    /// Everything that keeps the options from being used, the listener's first.
    pub problems: Vec<TlsConfigError>,
    /// Every identity that could be loaded, whether or not there are problems elsewhere.
    pub identities: Vec<InspectedIdentity>,
    /// What is doubtful, but keeps nothing from running.
    pub warnings: Vec<TlsConfigWarning>,
}

/// A certificate a route shows to a peer. Whether its dates hold is the caller's to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InspectedIdentity {
    /// To whom it is shown.
    pub role: IdentityRole,
    /// The key that names it, relative to `[[proxy]]`.
    pub path: String,
    /// The server names of its row in `[[proxy.listener.host]]`; none for all others.
    pub hostnames: Vec<String>,
    /// The certificate file.
    pub file: PathBuf,
    /// The leaf, described.
    pub leaf: LeafInfo,
    /// The OCSP response about it.
    pub staple: Option<Staple>,
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
        inspection.add_listener(options);
    }
    if let Some(options) = backend {
        inspection.add_backend(options, hosts);
    }
    inspection
}

impl Inspection {
    fn add_listener(&mut self, options: &ListenerTlsOptions) {
        let (identities, result) = server_config::assemble(options, &Arc::default());
        let hostnames = |row: usize| options.hosts.get(row).map(|host| host.hostnames.clone());
        for (row, identity) in identities.iter() {
            self.identities.push(InspectedIdentity {
                role: IdentityRole::Listener,
                path: listener_path(options, row, &identity.file),
                hostnames: row.and_then(hostnames).unwrap_or_default(),
                file: identity.file.clone(),
                leaf: identity.leaf.clone(),
                staple: identity.staple.clone(),
            });
        }
        self.warnings.extend(identities.warnings);
        self.problems.extend(result.err().into_iter().flatten());
    }

    fn add_backend(&mut self, options: &BackendTlsOptions, hosts: &[BackendHost<'_>]) {
        let (identity, result) = client_config::assemble(options, DefaultTimeProvider);
        let shown = identity.map(|Identity { file, leaf, .. }| InspectedIdentity {
            role: IdentityRole::Backend,
            path: keys::BACKEND_CERT.to_owned(),
            hostnames: Vec::new(),
            file,
            leaf,
            staple: None,
        });
        self.identities.extend(shown);
        self.problems.extend(result.err().into_iter().flatten());
        let unnameable = hosts
            .iter()
            .filter_map(|&host| server_name(options.verification, host).err());
        self.problems.extend(unnameable);
    }

    /// The same, of a backend that has a table of its own.
    #[must_use]
    pub fn within(mut self, table: &Table) -> Self {
        let problems = self.problems.into_iter();
        self.problems = problems.map(|error| error.within(table.clone())).collect();
        for identity in &mut self.identities {
            identity.path = table.path_of(&identity.path);
        }
        self
    }

    /// Adds what another inspection found.
    pub fn extend(&mut self, other: Self) {
        self.problems.extend(other.problems);
        self.identities.extend(other.identities);
        self.warnings.extend(other.warnings);
    }
}

/// Where a listener's certificate is configured, with its index.
fn listener_path(options: &ListenerTlsOptions, row: Option<usize>, file: &Path) -> String {
    let host = row.and_then(|row| options.hosts.get(row));
    let files = host.map_or(&options.cert_files, |host| &host.cert_files);
    let path = path_in(row, keys::LISTENER_CERT);
    match files.iter().position(|other| other == file) {
        Some(index) => format!("{path}[{index}]"),
        None => path,
    }
}
