//! [`ListenerIdentities`]: every identity a listener may show, its own and those of its rows, loaded from the files.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use crate::config_key::{self as keys, Table};
use crate::error::TlsConfigError;
use crate::host_table::HostTable;
use crate::identity::{Identity, IdentityFiles, IdentityKeys, Unlock};
use crate::identity_error::IdentityError;
use crate::options::{HostTlsOptions, ListenerTlsOptions};
use crate::sni_resolver::{IdentitySet, ServableIdentity, SniResolver, unix_now};
use crate::warning::{TlsConfigWarning, coverage_warning, staple_warning};

/// What could be loaded.
#[derive(Debug, Default)]
pub(crate) struct ListenerIdentities {
    /// The listener's own.
    pub(crate) default: Vec<Identity>,
    /// By row of `[[proxy.listener.host]]`.
    pub(crate) hosts: Vec<Vec<Identity>>,
    /// What is doubtful about them.
    pub(crate) warnings: Vec<TlsConfigWarning>,
}

/// The files of one table.
struct Files<'a> {
    certificates: &'a [PathBuf],
    keys: &'a [PathBuf],
    staples: &'a [PathBuf],
}

impl ListenerIdentities {
    /// Loads all of them; every problem is added to `problems`.
    pub(crate) fn load(
        options: &ListenerTlsOptions,
        provider: &CryptoProvider,
        problems: &mut Vec<TlsConfigError>,
    ) -> Self {
        let unlock = Unlock::Listener(options.passphrase_command.as_deref());
        let mut loaded = Self::default();
        if options.hosts.is_empty()
            || !options.cert_files.is_empty()
            || !options.key_files.is_empty()
        {
            let files = Files {
                certificates: &options.cert_files,
                keys: &options.key_files,
                staples: &options.ocsp_files,
            };
            loaded.default = files.load(unlock, provider, problems);
            loaded.warn_of_staples(None);
        }
        for (row, host) in options.hosts.iter().enumerate() {
            let files = Files {
                certificates: &host.cert_files,
                keys: &host.key_files,
                staples: &host.ocsp_files,
            };
            let mut found = Vec::new();
            loaded.hosts.push(files.load(unlock, provider, &mut found));
            problems.extend(
                found
                    .into_iter()
                    .map(|error| error.within(Table::Host(row))),
            );
            loaded.warn_of_staples(Some(row));
            loaded.warn_of_coverage(row, host);
        }
        loaded
    }

    /// Every identity with the row it belongs to, the listener's own first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Option<usize>, &Identity)> {
        let default = self.default.iter().map(|identity| (None, identity));
        let hosts = self.hosts.iter().enumerate();
        default.chain(hosts.flat_map(|(row, identities)| {
            identities.iter().map(move |identity| (Some(row), identity))
        }))
    }

    /// The groups among which one handshake chooses, those that aren't empty.
    pub(crate) fn sets(&self) -> impl Iterator<Item = &[Identity]> {
        let all = std::iter::once(&self.default).chain(&self.hosts);
        all.filter(|set| !set.is_empty()).map(Vec::as_slice)
    }

    /// Who chooses among them.
    pub(crate) fn resolver(&self, options: &ListenerTlsOptions) -> SniResolver {
        let rows = options.hosts.iter().map(|host| host.hostnames.as_slice());
        SniResolver::new(
            servable(&self.default),
            HostTable::new(rows),
            self.hosts.iter().map(|set| servable(set)).collect(),
            options.no_server_name,
        )
    }

    fn warn_of_staples(&mut self, row: Option<usize>) {
        let now = unix_now();
        let set = row.map_or(Some(&self.default), |row| self.hosts.get(row));
        let found = set.into_iter().flatten();
        let messages: Vec<_> = found
            .filter_map(|identity| staple_warning(identity, now))
            .collect();
        self.warn(row, keys::LISTENER_OCSP, messages);
    }

    fn warn_of_coverage(&mut self, row: usize, host: &HostTlsOptions) {
        let identities = self.hosts.get(row).into_iter().flatten();
        let messages: Vec<_> = identities
            .flat_map(|identity| {
                let names = host.hostnames.iter();
                names.filter_map(|name| coverage_warning(identity, name))
            })
            .collect();
        self.warn(Some(row), keys::HOST_NAMES, messages);
    }

    fn warn(&mut self, row: Option<usize>, key: &str, messages: Vec<String>) {
        let path = path_in(row, key);
        let warnings = messages.into_iter().map(|message| TlsConfigWarning {
            path: path.clone(),
            message,
        });
        self.warnings.extend(warnings);
    }
}

/// The path of `key` in the listener's table or in one of its rows.
pub(crate) fn path_in(row: Option<usize>, key: &str) -> String {
    row.map_or_else(|| key.to_owned(), |row| Table::Host(row).path_of(key))
}

fn servable(identities: &[Identity]) -> IdentitySet {
    let servable = identities.iter().map(|identity| {
        ServableIdentity::new(Arc::clone(&identity.certified_key), identity.staple.clone())
    });
    IdentitySet(servable.collect())
}

impl Files<'_> {
    fn load(
        &self,
        unlock: Unlock<'_>,
        provider: &CryptoProvider,
        problems: &mut Vec<TlsConfigError>,
    ) -> Vec<Identity> {
        problems.extend(self.unpaired());
        let mut identities = Vec::new();
        for (index, (certificate, key)) in self.certificates.iter().zip(self.keys).enumerate() {
            let files = IdentityFiles {
                certificate,
                key,
                staple: self.staples.get(index).map(PathBuf::as_path),
            };
            match Identity::load_from(IdentityKeys::LISTENER, files, unlock, provider) {
                Ok(identity) => identities.push(identity),
                Err(found) => problems.extend(found),
            }
        }
        identities
    }

    fn unpaired(&self) -> Option<TlsConfigError> {
        let [certificates, keys, staples] =
            [self.certificates, self.keys, self.staples].map(<[_]>::len);
        if certificates == 0 && keys == 0 {
            return Some(TlsConfigError::CertificateMissing {
                key: keys::LISTENER_CERT,
            });
        }
        if certificates != keys {
            return Some(TlsConfigError::FilesUnpaired {
                key: if certificates > keys {
                    keys::LISTENER_KEY
                } else {
                    keys::LISTENER_CERT
                },
                certificates,
                keys,
            });
        }
        (staples != 0 && staples != certificates).then(|| {
            let key = keys::LISTENER_OCSP;
            IdentityError::StaplesUnpaired {
                key,
                certificates,
                staples,
            }
            .into()
        })
    }
}
