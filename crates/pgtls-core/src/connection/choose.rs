//! Which of a backend's servers a session gets: the order of its addresses, the roles that `target_session_attrs` admits, and
//! connections made ahead, which are used where a new one would have gone.

use std::cell::RefCell;

use pgtls_wire::SqlState;
use tokio::time::Instant;

use crate::backend::Backend;
use crate::backend::order::put_in_order;
use crate::backend::role::{Pass, Roles};
use crate::backend::warm::WarmLink;
use crate::connection::connect::{Link, Target, connect_in_time, targets_of, unreachable};
use crate::connection::ending::Ending;
use crate::connection::peer::Scratch;
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
    scratch: &RefCell<Scratch>,
) -> Result<Link, Ending> {
    let choice = Choice {
        backend,
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
        scratch,
        takes_warm: false,
    };
    choice.choose().await
}

/// A link to exactly this address, whatever its role: the first place it stands for that lets us in.
async fn connect_address(
    backend: &Backend,
    address: &BackendAddress,
    scratch: &RefCell<Scratch>,
) -> Result<Link, Ending> {
    let mut last = unreachable("the name has no address");
    let targets = targets_in_order(backend, address).await;
    for target in targets.map_err(|ending| ending.naming(address))? {
        match connect_in_time(backend, &target, scratch).await {
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
    let mut targets = targets_of(address).await?;
    put_in_order(backend.load_balance_hosts, &mut targets);
    Ok(targets)
}

#[derive(Clone, Copy)]
struct Choice<'a> {
    backend: &'a Backend,
    scratch: &'a RefCell<Scratch>,
    takes_warm: bool,
}

/// A server that a session may go to, as far as its place in the order says.
struct Candidate<'a> {
    index: usize,
    address: &'a BackendAddress,
    target: Target,
}

impl<'a> Choice<'a> {
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
            match connect_address(self.backend, address, self.scratch).await {
                Ok(link) => return Ok(self.cold(*index, link)),
                Err(ending) => last = ending,
            }
        }
        Err(last)
    }

    /// The first that lets us in among those whose role is admitted. Waits for a role that no probe has told yet.
    async fn choose_by_role(
        self,
        roles: &Roles,
        addresses: &[(usize, &'a BackendAddress)],
    ) -> Result<Chosen, Ending> {
        let now = Instant::now();
        let deadline = now.checked_add(self.backend.connect_timeout).unwrap_or(now);
        let mut last = unreachable("no address is configured");
        let candidates = self.candidates(addresses, &mut last).await;
        let mut objections = Vec::new();
        for pass in roles.wanted.passes() {
            if self.is_random()
                && let Some(chosen) = self.take_warm(|link| is_admitted(roles, *pass, link))
            {
                return Ok(chosen);
            }
            objections.clear();
            for candidate in &candidates {
                match roles.role_of(&candidate.target, deadline).await {
                    Err(reason) => {
                        let message = format!("{}: {reason}", candidate.target);
                        last = unreachable(message).naming(candidate.address);
                    }
                    Ok(role) => match pass.objection(role) {
                        Some(words) => objections.push(format!("{}: {words}", candidate.target)),
                        None => match self.connect(candidate).await {
                            Ok(chosen) => return Ok(chosen),
                            Err(ending) => last = ending.naming(candidate.address),
                        },
                    },
                }
            }
        }
        Err(if objections.is_empty() {
            last
        } else {
            nobody_fits(roles, &objections, &last)
        })
    }

    /// Every server, in order. A name that cannot be looked up is left out, and is the `last` failure.
    async fn candidates(
        self,
        addresses: &[(usize, &'a BackendAddress)],
        last: &mut Ending,
    ) -> Vec<Candidate<'a>> {
        let mut candidates = Vec::new();
        for (index, address) in addresses.iter().copied() {
            match targets_in_order(self.backend, address).await {
                Ok(targets) => candidates.extend(targets.into_iter().map(|target| Candidate {
                    index,
                    address,
                    target,
                })),
                Err(ending) => *last = ending.naming(address),
            }
        }
        candidates
    }

    async fn connect(self, candidate: &Candidate<'_>) -> Result<Chosen, Ending> {
        if let Some(chosen) = self.take_warm(|link| link.target == candidate.target) {
            return Ok(chosen);
        }
        let link = connect_in_time(self.backend, &candidate.target, self.scratch).await?;
        Ok(self.cold(candidate.index, link))
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
        .role_now(&link.target)
        .is_some_and(|role| pass.objection(role).is_none())
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
