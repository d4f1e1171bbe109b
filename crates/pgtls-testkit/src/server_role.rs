//! `ServerRole`: what a fake backend says it is, which a test can change while it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Primary or standby, writable or not. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ServerRole {
    in_hot_standby: Arc<AtomicBool>,
    default_transaction_read_only: Arc<AtomicBool>,
}

impl ServerRole {
    /// A primary that takes writes.
    #[must_use]
    pub fn primary() -> Self {
        Self::default()
    }

    /// A server in hot standby mode.
    #[must_use]
    pub fn standby() -> Self {
        let role = Self::default();
        role.demote();
        role
    }

    /// A primary whose transactions are read-only unless they say otherwise.
    #[must_use]
    pub fn read_only_primary() -> Self {
        let role = Self::default();
        role.default_transaction_read_only
            .store(true, Ordering::Relaxed);
        role
    }

    /// From now on it is a primary.
    pub fn promote(&self) {
        self.in_hot_standby.store(false, Ordering::Relaxed);
    }

    /// From now on it is a standby.
    pub fn demote(&self) {
        self.in_hot_standby.store(true, Ordering::Relaxed);
    }

    /// What it reports at login.
    pub(crate) fn parameters(&self) -> [(&'static str, &'static str); 2] {
        let word = |is_on: &AtomicBool| {
            if is_on.load(Ordering::Relaxed) {
                "on"
            } else {
                "off"
            }
        };
        [
            ("in_hot_standby", word(&self.in_hot_standby)),
            (
                "default_transaction_read_only",
                word(&self.default_transaction_read_only),
            ),
        ]
    }
}
