//! Options from JavaScript for what is kept about a backend's servers: their roles, and connections made ahead.

use std::path::PathBuf;

use napi_derive::napi;
use pgtls_core as core;

use crate::options::millis;

/// Which servers sessions may go to, and who asks them for their role.
#[napi(object, use_nullable = true)]
pub struct RoleOptions {
    /// libpq's, without `any`.
    #[napi(ts_type = "'read-write' | 'read-only' | 'primary' | 'standby' | 'prefer-standby'")]
    pub target_session_attrs: String,
    /// Logs in to each server about once a second.
    pub probe_user: String,
    /// One line with the password.
    pub probe_password_file: Option<String>,
    /// The database to log in to.
    pub probe_database: String,
}

/// Connections made ahead.
#[napi(object, use_nullable = true)]
pub struct WarmOptions {
    /// How many.
    pub connections: u32,
    /// An older one is not used.
    pub max_age_millis: u32,
}

impl RoleOptions {
    pub(crate) fn into_core(self) -> core::RoleOptions {
        core::RoleOptions {
            wanted: match self.target_session_attrs.as_str() {
                "read-only" => core::WantedRole::ReadOnly,
                "primary" => core::WantedRole::Primary,
                "standby" => core::WantedRole::Standby,
                "prefer-standby" => core::WantedRole::PreferStandby,
                _ => core::WantedRole::ReadWrite,
            },
            probe_user: self.probe_user,
            probe_password_file: self.probe_password_file.map(PathBuf::from),
            probe_database: self.probe_database,
        }
    }
}

impl WarmOptions {
    pub(crate) fn into_core(self) -> core::WarmOptions {
        core::WarmOptions {
            connections: usize::try_from(self.connections).unwrap_or(usize::MAX),
            max_age: millis(self.max_age_millis),
        }
    }
}
