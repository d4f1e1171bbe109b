//! How a server tells its role: by [`Told`] at login (PostgreSQL 14 and later), or by the [`Answers`] to a [`QUESTION`].

use crate::backend::role::ServerRole;

/// What servers before PostgreSQL 14 are asked, in this order.
pub(crate) const QUESTION: &str =
    "SHOW transaction_read_only; SELECT pg_catalog.pg_is_in_recovery()";

/// What ParameterStatus said.
#[derive(Default)]
pub(crate) struct Told {
    in_hot_standby: Option<bool>,
    default_transaction_read_only: Option<bool>,
}

/// The answers to [`QUESTION`] so far.
#[derive(Default)]
pub(crate) struct Answers {
    transaction_read_only: Option<bool>,
    is_in_recovery: Option<bool>,
}

impl Told {
    pub(crate) fn note(&mut self, body: &[u8]) {
        let mut strings = body.split(|byte| *byte == 0);
        let (name, value) = (strings.next(), strings.next());
        let value = value.map(|value| value == b"on");
        match name {
            Some(b"in_hot_standby") => self.in_hot_standby = value,
            Some(b"default_transaction_read_only") => self.default_transaction_read_only = value,
            _ => {}
        }
    }

    pub(crate) fn role(&self) -> Option<ServerRole> {
        let is_in_hot_standby = self.in_hot_standby?;
        Some(ServerRole {
            is_in_hot_standby,
            is_read_only: is_in_hot_standby || self.default_transaction_read_only?,
        })
    }
}

impl Answers {
    /// The one column of a DataRow: `on` or `off` first, then `t` or `f`.
    pub(crate) fn note(&mut self, body: &[u8]) {
        let value = body.get(6..).unwrap_or_default();
        if self.transaction_read_only.is_none() {
            self.transaction_read_only = Some(value == b"on");
        } else {
            self.is_in_recovery = Some(value == b"t");
        }
    }

    pub(crate) fn role(&self) -> Option<ServerRole> {
        Some(ServerRole {
            is_in_hot_standby: self.is_in_recovery?,
            is_read_only: self.transaction_read_only?,
        })
    }
}
