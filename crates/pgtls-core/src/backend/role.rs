//! [`Roles`]: which server of a backend is a primary or a standby, as the last probes found, and which of them
//! `target_session_attrs` admits. The words for those it does not are libpq's.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::backend::probe::Prober;
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

/// The result of a probe, and when it came.
#[derive(Clone, Debug)]
struct Finding {
    /// Or why the server did not tell.
    role: Result<ServerRole, String>,
    at: Instant,
}

/// The roles of a backend's servers.
#[derive(Debug)]
pub(crate) struct Roles {
    pub(crate) wanted: WantedRole,
    pub(crate) prober: Prober,
    /// How old a finding may be.
    max_age: Duration,
    /// By exact address: the addresses of one name may be servers of different roles.
    findings: watch::Sender<HashMap<Target, Finding>>,
}

impl Roles {
    /// Nothing is known yet.
    pub(crate) fn new(wanted: WantedRole, prober: Prober, connect_timeout: Duration) -> Self {
        let intervals = PROBE_INTERVAL.saturating_mul(INTERVALS_KEPT);
        Self {
            wanted,
            prober,
            max_age: connect_timeout.saturating_add(intervals),
            findings: watch::Sender::default(),
        }
    }

    /// Who asks.
    pub(crate) const fn prober(&self) -> &Prober {
        &self.prober
    }

    /// Notes what a probe found, and wakes the sessions that wait for it.
    pub(crate) fn note(&self, target: Target, role: Result<ServerRole, String>) {
        let finding = Finding {
            role,
            at: Instant::now(),
        };
        self.findings.send_modify(|findings| {
            // A name's former addresses are not kept for ever.
            findings.retain(|_, finding| finding.at.elapsed() <= self.max_age);
            findings.insert(target, finding);
        });
    }

    /// The role of a server, or why it is not known. Waits for its first probe, until `deadline`. Cancel-safe.
    pub(crate) async fn role_of(
        &self,
        target: &Target,
        deadline: Instant,
    ) -> Result<ServerRole, String> {
        let mut findings = self.findings.subscribe();
        let first = findings.wait_for(|findings| self.fresh(findings, target).is_some());
        match timeout_at(deadline, first).await {
            Ok(Ok(findings)) => self
                .fresh(&findings, target)
                .map_or_else(|| Err(unknown()), |finding| finding.role.clone()),
            // The sender lives as long as we do.
            Ok(Err(_)) | Err(_) => Err(unknown()),
        }
    }

    /// The role of a server as far as it is known now.
    pub(crate) fn role_now(&self, target: &Target) -> Option<ServerRole> {
        let findings = self.findings.borrow();
        self.fresh(&findings, target)?.role.as_ref().ok().copied()
    }

    fn fresh<'f>(
        &self,
        findings: &'f HashMap<Target, Finding>,
        target: &Target,
    ) -> Option<&'f Finding> {
        findings
            .get(target)
            .filter(|finding| finding.at.elapsed() <= self.max_age)
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
