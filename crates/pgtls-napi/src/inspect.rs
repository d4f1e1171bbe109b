//! The free functions `inspect` and `buildInfo`.

use napi_derive::napi;
use pgtls_core as core;
use pgtls_tls::client_config::BackendHost;
use pgtls_tls::error::TlsConfigError;
use pgtls_tls::inspect as tls;
use pgtls_tls::options::{BackendTlsOptions, ListenerTlsOptions};

use crate::events::number;
use crate::options::DataPlaneOptions;

/// What is wrong with a configuration, and whom its certificates name.
#[napi(object, use_nullable = true)]
pub struct Inspection {
    /// Every problem of every route.
    pub problems: Vec<InspectionProblem>,
    /// Every certificate that could be read.
    pub identities: Vec<InspectedIdentity>,
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

/// One certificate of a configuration.
#[napi(object, use_nullable = true)]
pub struct InspectedIdentity {
    /// Of the route concerned.
    pub route_id: u32,
    /// Which leg shows it.
    #[napi(ts_type = "'listener' | 'backend'")]
    pub role: String,
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

/// Reads every file of a configuration and reports all problems at once. Starts nothing.
#[napi(catch_unwind)]
pub fn inspect(options: DataPlaneOptions) -> Inspection {
    let mut inspection = Inspection {
        problems: Vec::new(),
        identities: Vec::new(),
    };
    for route in options.routes {
        let route_id = route.route_id;
        match route.into_core() {
            Ok(route) => {
                inspection.add(route_id, inspect_route(&route));
                inspection.add_password_file(route_id, route.backend.roles.as_ref());
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
    let backend: Option<&BackendTlsOptions> =
        (route.backend.sslmode != core::Sslmode::Disable).then_some(&route.backend.tls);
    // As in libpq, TLS settings mean nothing on a Unix-domain socket: only names that TLS would verify are checked.
    let hosts: Vec<_> = route
        .backend
        .addresses
        .iter()
        .filter_map(|address| match address {
            core::BackendAddress::Tcp { host, .. } => Some(BackendHost::Tcp(host.as_str())),
            core::BackendAddress::Unix(_) => None,
        })
        .collect();
    tls::inspect(listener, backend, &hosts)
}

impl Inspection {
    fn add(&mut self, route_id: u32, found: tls::Inspection) {
        self.problems
            .extend(found.problems.iter().map(|error| problem(route_id, error)));
        self.identities.extend(
            found
                .identities
                .into_iter()
                .map(|identity| InspectedIdentity {
                    route_id,
                    role: identity.role.as_str().to_owned(),
                    file: identity.file.display().to_string(),
                    subject: identity.leaf.subject,
                    sans: identity.leaf.sans,
                    issuer: identity.leaf.issuer,
                    chain_length: u32::try_from(identity.leaf.chain_length).unwrap_or(u32::MAX),
                    not_before_seconds: seconds(identity.leaf.not_before),
                    not_after_seconds: seconds(identity.leaf.not_after),
                    sha256: identity.leaf.sha256,
                }),
        );
    }
}

impl Inspection {
    /// The password of a backend's probes.
    fn add_password_file(&mut self, route_id: u32, roles: Option<&core::RoleOptions>) {
        let file = roles.and_then(|roles| roles.probe_password_file.as_deref());
        if let Some(Err(error)) = file.map(core::read_password_file) {
            self.problems.push(InspectionProblem {
                route_id,
                path: "backend.probe_password_file".to_owned(),
                code: error.code().to_owned(),
                message: error.to_string(),
            });
        }
    }
}

fn problem(route_id: u32, error: &TlsConfigError) -> InspectionProblem {
    InspectionProblem {
        route_id,
        path: error.key().to_owned(),
        code: error.code().to_owned(),
        message: error.to_string(),
    }
}

/// Seconds since 1970; certificates from before that are as expired as any.
fn seconds(unix: i64) -> f64 {
    number(u64::try_from(unix).unwrap_or(0))
}
