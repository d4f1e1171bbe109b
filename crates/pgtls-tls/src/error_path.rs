//! Where a [`TlsConfigError`] belongs in a file that has several tables of one kind.

use crate::config_key::Table;
use crate::error::TlsConfigError;

impl TlsConfigError {
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
