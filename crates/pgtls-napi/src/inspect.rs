//! The free functions `inspect` and `buildInfo`.

use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;
use pgtls_core as core;
use pgtls_tls::client_config::BackendHost;
use pgtls_tls::config_key::Table;
use pgtls_tls::dated::{DatedEntry, dated_files};
use pgtls_tls::error::TlsConfigError;
use pgtls_tls::inspect as tls;
use pgtls_tls::options::{BackendTlsOptions, ListenerTlsOptions};

use crate::error::Result;
use crate::events::seconds;
use crate::loader;
use crate::options::DataPlaneOptions;

/// What is wrong with a configuration, and whom its certificates name.
#[napi(object, use_nullable = true)]
pub struct Inspection {
    /// Every problem of every route.
    pub problems: Vec<InspectionProblem>,
    /// What is doubtful, but keeps nothing from running.
    pub warnings: Vec<InspectionWarning>,
    /// Every certificate that could be read.
    pub identities: Vec<InspectedIdentity>,
    /// Every authority and revocation list that could be read.
    pub dated: Vec<InspectedDates>,
}

/// The dates of an authority or a certificate revocation list.
#[napi(object, use_nullable = true)]
pub struct InspectedDates {
    /// Of the route concerned.
    pub route_id: u32,
    /// Config key relative to `[[proxy]]`.
    pub path: String,
    /// The PEM file.
    pub file: String,
    /// What it is.
    #[napi(ts_type = "'authority' | 'crl'")]
    pub kind: String,
    /// The authority's name, or the list's issuer's.
    pub subject: String,
    /// Unix time.
    pub from_seconds: f64,
    /// Unix time.
    pub until_seconds: f64,
}

/// One problem.
#[napi(object, use_nullable = true)]
pub struct InspectionProblem {
    /// Of the route concerned.
    pub route_id: u32,
    /// Config key relative to `[[proxy]]`.
    pub path: String,
    /// Stable code.
    pub code: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Something doubtful.
#[napi(object, use_nullable = true)]
pub struct InspectionWarning {
    /// Of the route concerned.
    pub route_id: u32,
    /// Config key relative to `[[proxy]]`.
    pub path: String,
    /// What is doubtful and what to do.
    pub message: String,
}

/// One certificate of a configuration.
#[napi(object, use_nullable = true)]
pub struct InspectedIdentity {
    /// Of the route concerned.
    pub route_id: u32,
    /// Which leg shows it.
    #[napi(ts_type = "'listener' | 'backend'")]
    pub role: String,
    /// Config key relative to `[[proxy]]`.
    pub path: String,
    /// The server names it is shown for; empty for all that have none of their own.
    pub hostnames: Vec<String>,
    /// The PEM file.
    pub file: String,
    /// Distinguished name.
    pub subject: String,
    /// Subject alternative names.
    pub sans: Vec<String>,
    /// Distinguished name.
    pub issuer: String,
    /// Certificates in the file.
    pub chain_length: u32,
    /// Unix time.
    pub not_before_seconds: f64,
    /// Unix time.
    pub not_after_seconds: f64,
    /// Lower-case hexadecimal.
    pub sha256: String,
    /// The OCSP response about it.
    pub staple: Option<InspectedStaple>,
}

/// An OCSP response of a configuration.
#[napi(object, use_nullable = true)]
pub struct InspectedStaple {
    /// What it says.
    #[napi(ts_type = "'good' | 'revoked' | 'unknown'")]
    pub status: String,
    /// Unix time; null does not expire.
    pub next_update_seconds: Option<f64>,
}

/// What this addon was built from.
#[napi(object, use_nullable = true)]
pub struct BuildInfo {
    /// Version of pgtls.
    pub version: String,
    /// Version of rustls.
    pub rustls: String,
    /// The cryptography provider.
    pub provider: String,
    /// Architecture and operating system.
    pub target: String,
    /// What the CPU offers for AES and hashing.
    pub cpu_features: Vec<String>,
}

/// Reads every file of a configuration, on a thread of its own, and reports all problems at once. Starts nothing.
#[napi(catch_unwind, ts_return_type = "Promise<Inspection>")]
pub fn inspect(env: &Env, options: DataPlaneOptions) -> Result<Object<'_>> {
    loader::promise(env, move || Ok(inspect_routes(options)))
}

/// Every problem and every identity of these routes.
pub(crate) fn inspect_routes(options: DataPlaneOptions) -> Inspection {
    let mut inspection = Inspection {
        problems: Vec::new(),
        warnings: Vec::new(),
        identities: Vec::new(),
        dated: Vec::new(),
    };
    for route in options.routes {
        let route_id = route.route_id;
        match route.into_core() {
            Ok(route) => {
                inspection.add(route_id, inspect_route(&route));
                inspection.add_dates(route_id, &route);
                inspection.add_password_files(route_id, &route);
            }
            Err(error) => inspection.problems.push(problem(route_id, &error)),
        }
    }
    inspection
}

/// What this addon was built from.
#[napi(catch_unwind)]
#[must_use]
pub fn build_info() -> BuildInfo {
    BuildInfo {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rustls: pgtls_tls::build::RUSTLS_VERSION.to_owned(),
        provider: pgtls_tls::build::PROVIDER.to_owned(),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        cpu_features: pgtls_tls::build::cpu_features()
            .into_iter()
            .map(str::to_owned)
            .collect(),
    }
}

fn inspect_route(route: &core::RouteOptions) -> tls::Inspection {
    let listener: Option<&ListenerTlsOptions> = route.listener.tls.as_ref();
    let mut inspection = tls::inspect(listener, None, &[]);
    inspection.extend(inspect_backend(&route.backend));
    for (name, backend) in &route.backends {
        let table = Table::Backend(name.clone());
        inspection.extend(inspect_backend(backend).within(&table));
    }
    inspection
}

fn inspect_backend(backend: &core::BackendOptions) -> tls::Inspection {
    let options: Option<&BackendTlsOptions> =
        (backend.sslmode != core::Sslmode::Disable).then_some(&backend.tls);
    // As in libpq, TLS settings mean nothing on a Unix-domain socket: only names that TLS would verify are checked.
    let hosts: Vec<_> = backend
        .addresses
        .iter()
        .filter_map(|address| match address {
            core::BackendAddress::Tcp { host, .. } => Some(BackendHost::Tcp(host.as_str())),
            core::BackendAddress::Unix(_) => None,
        })
        .collect();
    tls::inspect(None, options, &hosts)
}

impl Inspection {
    fn add(&mut self, route_id: u32, found: tls::Inspection) {
        self.problems
            .extend(found.problems.iter().map(|error| problem(route_id, error)));
        self.warnings
            .extend(found.warnings.into_iter().map(|warning| InspectionWarning {
                route_id,
                path: warning.path,
                message: warning.message,
            }));
        self.identities.extend(
            found
                .identities
                .into_iter()
                .map(|identity| InspectedIdentity {
                    route_id,
                    role: identity.role.as_str().to_owned(),
                    path: identity.path,
                    hostnames: identity.hostnames,
                    file: identity.file.display().to_string(),
                    subject: identity.leaf.subject,
                    sans: identity.leaf.sans,
                    issuer: identity.leaf.issuer,
                    chain_length: u32::try_from(identity.leaf.chain_length).unwrap_or(u32::MAX),
                    not_before_seconds: seconds(identity.leaf.not_before),
                    not_after_seconds: seconds(identity.leaf.not_after),
                    sha256: identity.leaf.sha256,
                    staple: identity.staple.map(|staple| InspectedStaple {
                        status: staple.status.as_str().to_owned(),
                        next_update_seconds: staple.next_update.map(seconds),
                    }),
                }),
        );
    }
}

impl Inspection {
    fn add_dates(&mut self, route_id: u32, route: &core::RouteOptions) {
        self.extend_dates(
            route_id,
            None,
            dated_files(route.listener.tls.as_ref(), None),
        );
        self.extend_dates(route_id, None, dated_files(None, tls_of(&route.backend)));
        for (name, backend) in &route.backends {
            let table = Table::Backend(name.clone());
            self.extend_dates(route_id, Some(&table), dated_files(None, tls_of(backend)));
        }
    }

    /// The passwords of the backends' probes.
    fn add_password_files(&mut self, route_id: u32, route: &core::RouteOptions) {
        let named = route
            .backends
            .iter()
            .map(|(name, backend)| (Some(Table::Backend(name.clone())), backend));
        for (table, backend) in std::iter::once((None, &route.backend)).chain(named) {
            let roles = backend.roles.as_ref();
            let file = roles.and_then(|roles| roles.probe_password_file.as_deref());
            if let Some(Err(error)) = file.map(core::read_password_file) {
                let key = "backend.probe_password_file";
                self.problems.push(InspectionProblem {
                    route_id,
                    path: table.map_or_else(|| key.to_owned(), |table| table.path_of(key)),
                    code: error.code().to_owned(),
                    message: error.to_string(),
                });
            }
        }
    }

    fn extend_dates(&mut self, route_id: u32, table: Option<&Table>, entries: Vec<DatedEntry>) {
        self.dated
            .extend(entries.into_iter().map(|entry| InspectedDates {
                route_id,
                path: table.map_or_else(|| entry.key.to_owned(), |table| table.path_of(entry.key)),
                file: entry.file.display().to_string(),
                kind: entry.kind.as_str().to_owned(),
                subject: entry.subject,
                from_seconds: seconds(entry.from),
                until_seconds: seconds(entry.until),
            }));
    }
}

/// The TLS of a backend, none where it is plaintext.
fn tls_of(backend: &core::BackendOptions) -> Option<&BackendTlsOptions> {
    (backend.sslmode != core::Sslmode::Disable).then_some(&backend.tls)
}

fn problem(route_id: u32, error: &TlsConfigError) -> InspectionProblem {
    InspectionProblem {
        route_id,
        path: error.path(),
        code: error.code().to_owned(),
        message: error.to_string(),
    }
}
