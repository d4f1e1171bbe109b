//! Which of a backend's servers a session gets: the order of its addresses, the roles that `target_session_attrs` admits, and
//! connections made ahead, which are used where a new one would have gone.

use std::cell::RefCell;

use pgtls_wire::SqlState;
use tokio::time::Instant;

use crate::backend::Backend;
use crate::backend::order::put_in_order;
use crate::backend::role::{Pass, Roles};
use crate::backend::servers::Known;
use crate::backend::warm::WarmLink;
use crate::connection::connect::{Link, Target, connect_in_time, targets_of, unreachable};
use crate::connection::ending::Ending;
use crate::connection::peer::Scratch;
use crate::connection::proxy_header::ClientEnds;
use crate::options::{BackendAddress, LoadBalanceHosts};
use crate::report::{CloseReason, FaultSide};

/// A link, and which of the backend's addresses it leads to.
pub(crate) struct Chosen {
    pub(crate) address: usize,
    pub(crate) link: Link,
}

/// A link for a session: a warm one if there is one that leads where a new one would.
pub(crate) async fn connect_backend(
    backend: &Backend,
    ends: Option<&ClientEnds>,
    scratch: &RefCell<Scratch>,
) -> Result<Link, Ending> {
    let choice = Choice {
        backend,
        ends,
        scratch,
        takes_warm: backend.warm.is_some(),
    };
    choice.choose().await.map(|chosen| chosen.link)
}

/// A link that was made just now, chosen as for a session.
pub(crate) async fn choose_cold(
    backend: &Backend,
    scratch: &RefCell<Scratch>,
) -> Result<Chosen, Ending> {
    let choice = Choice {
        backend,
        ends: None,
        scratch,
        takes_warm: false,
    };
    choice.choose().await
}

/// A link to exactly this address, whatever its role: the first place it stands for that lets us in.
async fn connect_address(
    backend: &Backend,
    address: &BackendAddress,
    ends: Option<&ClientEnds>,
    scratch: &RefCell<Scratch>,
) -> Result<Link, Ending> {
    let mut last = unreachable("the name has no address");
    let targets = targets_in_order(backend, address).await;
    for target in targets.map_err(|ending| ending.naming(address))? {
        match connect_in_time(backend, &target, ends, scratch).await {
            Ok(link) => return Ok(link),
            Err(ending) => last = ending,
        }
    }
    Err(last.naming(address))
}

/// Every place the address stands for, in the order in which they are to be tried.
pub(crate) async fn targets_in_order(
    backend: &Backend,
    address: &BackendAddress,
) -> Result<Vec<Target>, Ending> {
    let mut targets = targets_of(address).await.inspect_err(|ending| {
        let meters = &backend.counters.meters;
        meters.add_connect_failure(ending.connect_failure());
    })?;
    put_in_order(backend.load_balance_hosts, &mut targets);
    Ok(targets)
}

#[derive(Clone, Copy)]
struct Choice<'a> {
    backend: &'a Backend,
    /// On whose behalf.
    ends: Option<&'a ClientEnds>,
    scratch: &'a RefCell<Scratch>,
    takes_warm: bool,
}

impl Choice<'_> {
    async fn choose(self) -> Result<Chosen, Ending> {
        let mut addresses: Vec<_> = self.backend.addresses.iter().enumerate().collect();
        put_in_order(self.backend.load_balance_hosts, &mut addresses);
        match &self.backend.roles {
            None => self.choose_any(&addresses).await,
            Some(roles) => self.choose_by_role(roles, &addresses).await,
        }
    }

    /// The first that lets us in; the error is that of the last one tried.
    async fn choose_any(self, addresses: &[(usize, &BackendAddress)]) -> Result<Chosen, Ending> {
        if self.is_random()
            && let Some(chosen) = self.take_warm(|_| true)
        {
            return Ok(chosen);
        }
        let mut last = unreachable("no address is configured");
        for (index, address) in addresses {
            if let Some(chosen) = self.take_warm(|link| link.address == *index) {
                return Ok(chosen);
            }
            match connect_address(self.backend, address, self.ends, self.scratch).await {
                Ok(link) => return Ok(self.cold(*index, link)),
                Err(ending) => last = ending,
            }
        }
        Err(last)
    }

    /// The first that lets us in among those whose role is admitted. The keeper looks names up and probes; the session waits only
    /// where it has not told anything yet, and not for addresses behind the one that serves it.
    async fn choose_by_role(
        self,
        roles: &Roles,
        addresses: &[(usize, &BackendAddress)],
    ) -> Result<Chosen, Ending> {
        let now = Instant::now();
        let deadline = now.checked_add(self.backend.connect_timeout).unwrap_or(now);
        let mut failures = Failures {
            last: unreachable("no address is configured"),
            objections: Vec::new(),
        };
        for pass in roles.wanted.passes() {
            if self.is_random()
                && let Some(chosen) = self.take_warm(|link| is_admitted(roles, *pass, link))
            {
                return Ok(chosen);
            }
            failures.objections.clear();
            let search = Search {
                choice: self,
                roles,
                pass: *pass,
                deadline,
            };
            for (index, address) in addresses {
                let chosen = search.address(*index, address, &mut failures).await;
                if let Some(chosen) = chosen {
                    return Ok(chosen);
                }
            }
        }
        Err(failures.ending(roles))
    }

    async fn connect(self, index: usize, target: &Target) -> Result<Chosen, Ending> {
        if let Some(chosen) = self.take_warm(|link| link.target == *target) {
            return Ok(chosen);
        }
        let link = connect_in_time(self.backend, target, self.ends, self.scratch).await?;
        Ok(self.cold(index, link))
    }

    /// With random order, which server a warm connection leads to was drawn when it was made: any of them will do.
    fn is_random(self) -> bool {
        self.backend.load_balance_hosts == LoadBalanceHosts::Random
    }

    fn take_warm(self, accepts: impl Fn(&WarmLink) -> bool) -> Option<Chosen> {
        let pool = self.backend.warm.as_ref().filter(|_| self.takes_warm)?;
        let (address, link) = pool.take(accepts, self.scratch)?;
        self.backend.counters.add_warm_hit();
        Some(Chosen { address, link })
    }

    fn cold(self, address: usize, link: Link) -> Chosen {
        if self.takes_warm {
            self.backend.counters.add_warm_miss();
        }
        Chosen { address, link }
    }
}

fn is_admitted(roles: &Roles, pass: Pass, link: &WarmLink) -> bool {
    roles
        .role_now(link.address, &link.target)
        .is_some_and(|role| pass.objection(role).is_none())
}

/// One pass over the servers.
struct Search<'a> {
    choice: Choice<'a>,
    roles: &'a Roles,
    pass: Pass,
    deadline: Instant,
}

impl Search<'_> {
    /// The first server behind this address that fits and lets us in.
    async fn address(
        &self,
        index: usize,
        address: &BackendAddress,
        failures: &mut Failures,
    ) -> Option<Chosen> {
        let servers = match self.roles.servers_of(index, self.deadline).await {
            Ok(servers) => self.in_order(servers),
            Err(reason) => {
                failures.last = unreachable(reason).naming(address);
                return None;
            }
        };
        for Known { target, role, .. } in servers {
            let role = match role {
                Some(role) => role,
                None => self.roles.role_of(index, &target, self.deadline).await,
            };
            match role {
                Err(reason) => {
                    failures.last = unreachable(format!("{target}: {reason}")).naming(address);
                }
                Ok(role) => match self.pass.objection(role) {
                    Some(words) => failures.objections.push(format!("{target}: {words}")),
                    None => match self.choice.connect(index, &target).await {
                        Ok(chosen) => return Some(chosen),
                        Err(ending) => failures.last = ending.naming(address),
                    },
                },
            }
        }
        None
    }

    /// Those that a probe told something of before the others, and among either those that the last look-up gave.
    fn in_order(&self, mut servers: Vec<Known>) -> Vec<Known> {
        put_in_order(self.choice.backend.load_balance_hosts, &mut servers);
        servers.sort_by_key(|one| (one.role.is_none(), !one.is_current));
        servers
    }
}

/// Why no server was chosen so far.
struct Failures {
    /// Of the servers that cannot be reached, or whose role is not known.
    last: Ending,
    /// Of the servers that can, in the pass under way.
    objections: Vec<String>,
}

impl Failures {
    fn ending(self, roles: &Roles) -> Ending {
        if self.objections.is_empty() {
            self.last
        } else {
            nobody_fits(roles, &self.objections, &self.last)
        }
    }
}

/// Servers were found, but none that the route wants.
fn nobody_fits(roles: &Roles, objections: &[String], last: &Ending) -> Ending {
    let mut message = objections.join("; ");
    if let Some(reason) = &last.message
        && last.backend_addr.is_some()
    {
        message = format!("{message}; {reason}");
    }
    Ending::by(FaultSide::Backend, CloseReason::BackendUnreachable, message).telling(
        SqlState::SqlclientUnableToEstablish,
        roles.wanted.nobody(),
        Some("The route's target_session_attrs demands it; a failover may be under way."),
    )
}
