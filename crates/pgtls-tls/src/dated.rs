//! [`dated_files`]: the authorities and revocation lists that options name, with their dates, for `validate` and warnings.
//!
//! What can't be read is passed over here: [`crate::inspect`] tells it as a problem.

use std::path::{Path, PathBuf};

use crate::config_key as keys;
use crate::leaf::LeafInfo;
use crate::options::{BackendTlsOptions, ListenerTlsOptions, RootCert};
use crate::pem_file::read_certificates;
use crate::revocation::describe_lists;

/// One authority or revocation list of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatedEntry {
    /// The configuration key that names the file.
    pub key: &'static str,
    /// The file.
    pub file: PathBuf,
    /// What it is.
    pub kind: DatedKind,
    /// Whose: an authority's subject, a list's issuer.
    pub subject: String,
    /// notBefore or thisUpdate, Unix seconds.
    pub from: i64,
    /// notAfter or nextUpdate, Unix seconds.
    pub until: i64,
}

/// What has dates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatedKind {
    /// A trusted certificate.
    Authority,
    /// A certificate revocation list.
    RevocationList,
}

impl DatedKind {
    /// `authority` or `crl`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::RevocationList => "crl",
        }
    }
}

/// Every authority and revocation list in the files of both legs, a leg without TLS being `None`.
#[must_use]
pub fn dated_files(
    listener: Option<&ListenerTlsOptions>,
    backend: Option<&BackendTlsOptions>,
) -> Vec<DatedEntry> {
    let mut entries = Vec::new();
    if let Some(options) = listener {
        entries.extend(authorities(keys::LISTENER_CA, options.ca_file.as_deref()));
        entries.extend(lists(keys::LISTENER_CRL, options.crl_file.as_deref()));
    }
    if let Some(options) = backend {
        let roots = match &options.root_cert {
            Some(RootCert::File(path)) => Some(path.as_path()),
            Some(RootCert::System) | None => None,
        };
        entries.extend(authorities(keys::BACKEND_ROOT, roots));
        entries.extend(lists(keys::BACKEND_CRL, options.crl_file.as_deref()));
    }
    entries
}

fn authorities(key: &'static str, file: Option<&Path>) -> Vec<DatedEntry> {
    let read = file.and_then(|file| Some((file, read_certificates(key, file).ok()?)));
    let Some((file, certificates)) = read else {
        return Vec::new();
    };
    certificates
        .iter()
        .filter_map(|der| LeafInfo::from_chain(std::slice::from_ref(der)).ok())
        .map(|info| DatedEntry {
            key,
            file: file.to_owned(),
            kind: DatedKind::Authority,
            subject: info.subject,
            from: info.not_before,
            until: info.not_after,
        })
        .collect()
}

fn lists(key: &'static str, file: Option<&Path>) -> Vec<DatedEntry> {
    let read = file.and_then(|file| Some((file, describe_lists(key, file).ok()?)));
    let Some((file, lists)) = read else {
        return Vec::new();
    };
    lists
        .into_iter()
        .map(|info| DatedEntry {
            key,
            file: file.to_owned(),
            kind: DatedKind::RevocationList,
            subject: info.issuer,
            from: info.this_update,
            until: info.next_update,
        })
        .collect()
}
