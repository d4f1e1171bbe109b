//! Where a [`TlsConfigError`] belongs in a file that has several tables of one kind.

use crate::config_key::{LISTENER_TICKET_KEYS, Table};
use crate::error::TlsConfigError;

impl TlsConfigError {
    /// The configuration key concerned, relative to `[[proxy]]`, one of [`crate::config_key`].
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Identity(error) => error.key(),
            Self::Within { source, .. } => source.key(),
            Self::FileUnreadable { key, .. }
            | Self::NotAFile { key, .. }
            | Self::PemMalformed { key, .. }
            | Self::CertificateMissing { key }
            | Self::FilesUnpaired { key, .. }
            | Self::NoCertificate { key, .. }
            | Self::CertificateInvalid { key, .. }
            | Self::NoPrivateKey { key, .. }
            | Self::KeyEncrypted { key, .. }
            | Self::KeyUnsupported { key, .. }
            | Self::KeyPermissions { key, .. }
            | Self::KeyMismatch { key, .. }
            | Self::AuthorityMissing { key }
            | Self::RootsMissing { key }
            | Self::SystemRootsMissing { key, .. }
            | Self::SystemRootsNeedNames { key }
            | Self::VersionUnknown { key, .. }
            | Self::VersionRangeEmpty { key, .. }
            | Self::CipherUnknown { key, .. }
            | Self::GroupUnknown { key, .. }
            | Self::NothingLeft { key, .. }
            | Self::CipherKeyMismatch { key, .. }
            | Self::AlpnInvalid { key, .. }
            | Self::UnixSocketUnnameable { key, .. }
            | Self::HostInvalid { key, .. }
            | Self::RevocationList { key, .. }
            | Self::UserMap { key, .. }
            | Self::Refused { key, .. } => key,
            Self::TicketKeys(_) => LISTENER_TICKET_KEYS,
        }
    }

    /// The path of the key concerned, relative to `[[proxy]]`: [`Self::key`], or where several tables have it, that in its own.
    #[must_use]
    pub fn path(&self) -> String {
        if let Self::Within { table, source } = self {
            table.path_of(source.key())
        } else {
            self.key().to_owned()
        }
    }

    /// The same problem in one of several tables.
    #[must_use]
    pub fn within(self, table: Table) -> Self {
        Self::Within {
            table,
            source: Box::new(self),
        }
    }
}
