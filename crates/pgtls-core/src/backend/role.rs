//! [`Roles`]: which server of a backend is a primary or a standby, as the last probes found (`servers`), and which of them
//! `target_session_attrs` admits. The words for those it does not are libpq's.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::backend::probe::Prober;
use crate::backend::servers::{Known, Servers};
use crate::connection::Target;
use crate::options::WantedRole;

/// From the start of one probe of a server to the start of the next.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// How often a probe may fail to come before its predecessor's result is forgotten.
const INTERVALS_KEPT: u32 = 3;

/// What a server is at the moment of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServerRole {
    /// `in_hot_standby`.
    pub(crate) is_in_hot_standby: bool,
    /// Whether a transaction is read-only unless it says otherwise: on every standby, and by `default_transaction_read_only`.
    pub(crate) is_read_only: bool,
}

/// One way of choosing; `prefer-standby` is two of them, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    Any,
}

impl Pass {
    /// Why a server is not admitted, in libpq's words; none if it is.
    pub(crate) fn objection(self, role: ServerRole) -> Option<&'static str> {
        match self {
            Self::ReadWrite if role.is_read_only => Some("session is read-only"),
            Self::ReadOnly if !role.is_read_only => Some("session is not read-only"),
            Self::Primary if role.is_in_hot_standby => Some("server is in hot standby mode"),
            Self::Standby if !role.is_in_hot_standby => Some("server is not in hot standby mode"),
            Self::ReadWrite | Self::ReadOnly | Self::Primary | Self::Standby | Self::Any => None,
        }
    }
}

impl WantedRole {
    /// The passes over all servers, in order.
    pub(crate) fn passes(self) -> &'static [Pass] {
        match self {
            Self::ReadWrite => &[Pass::ReadWrite],
            Self::ReadOnly => &[Pass::ReadOnly],
            Self::Primary => &[Pass::Primary],
            Self::Standby => &[Pass::Standby],
            Self::PreferStandby => &[Pass::Standby, Pass::Any],
        }
    }

    /// What a client is told when no server is admitted.
    pub(crate) fn nobody(self) -> &'static str {
        match self {
            Self::ReadWrite => "no PostgreSQL server behind the proxy accepts read-write sessions",
            Self::ReadOnly => "no PostgreSQL server behind the proxy is read-only",
            Self::Primary => "no PostgreSQL server behind the proxy is a primary",
            Self::Standby => "no PostgreSQL server behind the proxy is a standby",
            Self::PreferStandby => "no PostgreSQL server behind the proxy can be reached",
        }
    }
}

/// The roles of a backend's servers.
#[derive(Debug)]
pub(crate) struct Roles {
    pub(crate) wanted: WantedRole,
    pub(crate) prober: Prober,
    /// How old a finding may be, and for how long a server counts that no look-up names any more.
    max_age: Duration,
    /// By index of the backend's address.
    servers: watch::Sender<Vec<Servers>>,
}

impl Roles {
    /// Nothing is known yet of the servers behind `addresses` addresses.
    pub(crate) fn new(
        wanted: WantedRole,
        prober: Prober,
        connect_timeout: Duration,
        addresses: usize,
    ) -> Self {
        let intervals = PROBE_INTERVAL.saturating_mul(INTERVALS_KEPT);
        let servers = std::iter::repeat_with(Servers::default).take(addresses);
        Self {
            wanted,
            prober,
            max_age: connect_timeout.saturating_add(intervals),
            servers: watch::Sender::new(servers.collect()),
        }
    }

    /// Who asks.
    pub(crate) const fn prober(&self) -> &Prober {
        &self.prober
    }

    /// Notes how a look-up of the address with this index ended.
    pub(crate) fn note_look_up(&self, address: usize, answer: Result<Vec<Target>, String>) {
        self.change(address, |servers| {
            servers.note_look_up(answer, Instant::now(), self.max_age);
        });
    }

    /// The servers to be probed behind the address with this index.
    pub(crate) fn targets(&self, address: usize) -> Vec<Target> {
        let all = self.servers.borrow();
        all.get(address).map(Servers::targets).unwrap_or_default()
    }

    /// Notes what a probe found.
    pub(crate) fn note_role(
        &self,
        address: usize,
        target: &Target,
        role: Result<ServerRole, String>,
    ) {
        self.change(address, |servers| {
            servers.note_role(target, role, Instant::now());
        });
    }

    /// Wakes the sessions that wait.
    fn change(&self, address: usize, change: impl FnOnce(&mut Servers)) {
        self.servers.send_modify(|all| {
            if let Some(servers) = all.get_mut(address) {
                change(servers);
            }
        });
    }

    /// The servers behind the address with this index, or why there is none. Waits for the first look-up, until `deadline`.
    /// Cancel-safe.
    pub(crate) async fn servers_of(
        &self,
        address: usize,
        deadline: Instant,
    ) -> Result<Vec<Known>, String> {
        let mut all = self.servers.subscribe();
        let looked_up = all.wait_for(|all| all.get(address).is_none_or(Servers::is_looked_up));
        // Should it take too long, there is a reason, too; the sender lives as long as we do.
        let _ = timeout_at(deadline, looked_up).await;
        let all = self.servers.borrow();
        let servers = all.get(address).ok_or_else(unknown)?;
        let known = servers.all(Instant::now(), self.max_age);
        if known.is_empty() {
            return Err(servers.failure().to_owned());
        }
        Ok(known)
    }

    /// The role of a server behind the address with this index, or why it is not known. Waits for its first probe, until `deadline`.
    /// Cancel-safe.
    pub(crate) async fn role_of(
        &self,
        address: usize,
        target: &Target,
        deadline: Instant,
    ) -> Result<ServerRole, String> {
        let role = |all: &Vec<Servers>| {
            let servers = all.get(address)?;
            servers.role_of(target, Instant::now(), self.max_age)
        };
        let mut all = self.servers.subscribe();
        let told = all.wait_for(|all| role(all).is_some());
        match timeout_at(deadline, told).await {
            Ok(Ok(all)) => role(&all).unwrap_or_else(|| Err(unknown())),
            // The sender lives as long as we do.
            Ok(Err(_)) | Err(_) => Err(unknown()),
        }
    }

    /// The role of a server as far as it is known now.
    pub(crate) fn role_now(&self, address: usize, target: &Target) -> Option<ServerRole> {
        let all = self.servers.borrow();
        let role = all
            .get(address)?
            .role_of(target, Instant::now(), self.max_age);
        role?.ok()
    }
}

fn unknown() -> String {
    "no probe has told the server's role yet".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIMARY: ServerRole = ServerRole {
        is_in_hot_standby: false,
        is_read_only: false,
    };
    const READ_ONLY_PRIMARY: ServerRole = ServerRole {
        is_in_hot_standby: false,
        is_read_only: true,
    };
    const STANDBY: ServerRole = ServerRole {
        is_in_hot_standby: true,
        is_read_only: true,
    };

    #[test]
    fn each_value_of_target_session_attrs_admits_what_libpq_admits() {
        let admitted = |pass: Pass| {
            [PRIMARY, READ_ONLY_PRIMARY, STANDBY].map(|role| pass.objection(role).is_none())
        };
        assert_eq!(admitted(Pass::ReadWrite), [true, false, false]);
        assert_eq!(admitted(Pass::ReadOnly), [false, true, true]);
        assert_eq!(admitted(Pass::Primary), [true, true, false]);
        assert_eq!(admitted(Pass::Standby), [false, false, true]);
        assert_eq!(admitted(Pass::Any), [true, true, true]);
        assert_eq!(
            WantedRole::PreferStandby.passes(),
            [Pass::Standby, Pass::Any]
        );
    }
}
