//! [`Backend`]: one `[proxy.backend]` section made ready to dial, with what is kept about its servers: their roles (`role`, learned by
//! `probe`) and connections made ahead (`warm`). The `keeper` thread does the work that no session asks for.

#[cfg(test)]
mod fuzz;
pub(crate) mod keeper;
pub(crate) mod order;
pub(crate) mod password_file;
mod probe;
mod probe_login;
mod probe_password;
pub(crate) mod role;
pub(crate) mod servers;
mod told_role;
pub(crate) mod warm;

use std::sync::Arc;
use std::time::Duration;

use pgtls_tls::client_config::{ClientTls, resume_client_config};

use crate::backend::probe::Prober;
use crate::backend::role::Roles;
use crate::backend::warm::WarmPool;
use crate::counters::RouteCounters;
use crate::options::{
    BackendAddress, BackendOptions, KeepaliveOptions, LoadBalanceHosts, Sslmode, Sslnegotiation,
};
use crate::routes::RouteProblem;

/// The backend side of a route.
#[derive(Debug)]
pub(crate) struct Backend {
    options: BackendOptions,
    pub(crate) addresses: Vec<BackendAddress>,
    pub(crate) sslmode: Sslmode,
    pub(crate) sslnegotiation: Sslnegotiation,
    pub(crate) tls: Option<ClientTls>,
    pub(crate) connect_timeout: Duration,
    pub(crate) keepalive: KeepaliveOptions,
    pub(crate) load_balance_hosts: LoadBalanceHosts,
    /// None with `target_session_attrs = "any"`.
    pub(crate) roles: Option<Roles>,
    /// None with `warm_connections = 0`.
    pub(crate) warm: Option<WarmPool>,
    pub(crate) sends_proxy_header: bool,
    pub(crate) adds_host_to_application_name: bool,
    pub(crate) counters: Arc<RouteCounters>,
}

impl Backend {
    /// Loads what TLS towards the backend and its probes need; nothing is dialled. If nothing has changed, not even in a file, it
    /// is `previous` itself, with its roles and connections; if TLS has not, resumable sessions go on.
    pub(crate) fn build(
        options: &BackendOptions,
        counters: &Arc<RouteCounters>,
        previous: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, RouteProblem> {
        let tls = match options.sslmode {
            Sslmode::Disable => None,
            // As in libpq built without SSL: the server is not even asked.
            Sslmode::Prefer if !pgtls_tls::HAS_TLS => None,
            Sslmode::Prefer | Sslmode::Require => {
                let previous = previous.and_then(|backend| backend.tls.as_ref());
                Some(resume_client_config(&options.tls, previous)?)
            }
        };
        let roles = options.roles.as_ref().map(|roles| {
            let prober = Prober::build(roles)?;
            let (patience, addresses) = (options.connect_timeout, options.addresses.len());
            Ok::<_, RouteProblem>(Roles::new(roles.wanted, prober, patience, addresses))
        });
        let roles = roles.transpose()?;
        if let Some(previous) = previous
            && previous.options == *options
            && is_same_tls(previous.tls.as_ref(), tls.as_ref())
            && is_same_prober(previous.roles.as_ref(), roles.as_ref())
        {
            return Ok(Arc::clone(previous));
        }
        Ok(Arc::new(Self {
            options: options.clone(),
            addresses: options.addresses.clone(),
            sslmode: options.sslmode,
            sslnegotiation: options.sslnegotiation,
            tls,
            connect_timeout: options.connect_timeout,
            keepalive: options.keepalive.clone(),
            load_balance_hosts: options.load_balance_hosts,
            roles,
            warm: options.warm.map(WarmPool::new),
            sends_proxy_header: options.sends_proxy_header,
            adds_host_to_application_name: options.adds_host_to_application_name,
            counters: Arc::clone(counters),
        }))
    }

    /// Whether its connections tell whose they are.
    pub(crate) fn tells_client(&self) -> bool {
        self.sends_proxy_header || self.adds_host_to_application_name
    }

    /// Whether plaintext will do where TLS can't be had.
    pub(crate) fn prefers_tls(&self) -> bool {
        self.sslmode == Sslmode::Prefer
    }

    /// Whether both connect to a server in the same way, so that where one gets no further the other doesn't either.
    pub(crate) fn connects_like(&self, other: &Self) -> bool {
        let way = |one: &Self| (one.sslmode, one.sslnegotiation, one.sends_proxy_header);
        let is_tls_alike = self.tls.is_none() || self.options.tls == other.options.tls;
        way(self) == way(other) && is_tls_alike
    }

    /// Closes the connections made ahead, for good: no more sessions are expected.
    pub(crate) fn close_warm(&self) {
        if let Some(warm) = &self.warm {
            warm.close();
        }
    }
}

/// Whether `fresh` was found to be what stood already.
fn is_same_tls(previous: Option<&ClientTls>, fresh: Option<&ClientTls>) -> bool {
    match (previous, fresh) {
        (Some(previous), Some(fresh)) => previous.is_same_as(fresh),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// Whether probes would log in as before.
fn is_same_prober(previous: Option<&Roles>, fresh: Option<&Roles>) -> bool {
    previous.map(Roles::prober) == fresh.map(Roles::prober)
}
