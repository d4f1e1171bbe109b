//! From a backend's options to a `rustls::ClientConfig`, and from its address to the name its certificate must hold.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls_pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName};

use crate::backend_sessions::BackendSessions;
use crate::certificate_judge::SharedJudge;
use crate::chain::Roots;
use crate::config_key as keys;
use crate::error::{RevocationListError, TlsConfigError};
use crate::identity::{Identity, IdentityKeys};
use crate::leaf::{LeafInfo, sha256_hex};
use crate::name_check::check_name;
use crate::options::{BackendTlsOptions, BackendVerification, RootCert};
use crate::policy::{Policy, PolicyRequest, PolicySide};
use crate::policy_hash::{Loaded, PolicyHash, backend_policy_hash};
use crate::revocation::Revocation;
use crate::server_config::first;
use crate::trust::Trust;
use crate::verifier::{BackendTrust, BackendVerifier};

/// The protocol name `PostgreSQL` has registered (RFC 7301); libpq offers it on every TLS connection.
pub const POSTGRESQL_ALPN: &[u8] = b"postgresql";

/// What a backend connection needs to speak TLS; cheap to clone.
#[derive(Debug, Clone)]
pub struct ClientTls {
    /// Shared by every connection dialled under it, but for the sessions to resume: see [`Self::dialling_config`].
    pub config: Arc<ClientConfig>,
    /// How much of the backend's certificate the configuration checks.
    pub verification: BackendVerification,
    /// The certificate shown when the backend asks for one.
    pub leaf_info: Option<LeafInfo>,
    /// SHA-256 of the leaves that were told to be accepted by their CN; the lock is held for a look-up.
    common_name_leaves: Arc<Mutex<HashSet<String>>>,
    /// Over all of the above: under the same hash the sessions of an earlier configuration are good.
    policy_hash: PolicyHash,
    /// Part of the verifier, too.
    judge: Option<SharedJudge>,
    /// Told by the verifier what sessions rest on; none where `config` keeps its own.
    sessions: Option<Arc<BackendSessions>>,
}

/// So many certificates of one backend are told apart; beyond it none is new.
const MAX_COMMON_NAME_LEAVES: usize = 64;

/// Whom a backend connection dials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendHost<'a> {
    /// A DNS name or an IP address, without a port.
    Tcp(&'a str),
    /// The path of a unix socket.
    Unix(&'a str),
}

impl ClientTls {
    /// The name rustls is given for `host`: what is sent as SNI, and what verify-full compares.
    pub fn server_name(
        &self,
        host: BackendHost<'_>,
    ) -> Result<ServerName<'static>, TlsConfigError> {
        server_name(self.verification, host)
    }

    /// What the next connection is to be dialled with: the configuration, with the sessions that may be resumed now.
    #[must_use]
    pub fn dialling_config(&self) -> Arc<ClientConfig> {
        match &self.sessions {
            Some(sessions) => sessions.config(&self.config),
            None => Arc::clone(&self.config),
        }
    }

    /// The same under a configuration that minds the resumption of its sessions itself.
    #[must_use]
    pub fn with_config(self, config: ClientConfig) -> Self {
        Self {
            config: Arc::new(config),
            sessions: None,
            ..self
        }
    }

    /// Whether both are one configuration: [`resume_client_config`] found nothing changed.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config)
    }

    /// How much of the backend's certificate is checked.
    #[must_use]
    pub const fn verification(&self) -> BackendVerification {
        self.verification
    }

    /// Whether verify-full accepted `leaf` for `host` by its subject's CN alone, which deserves a warning.
    #[must_use]
    pub fn used_common_name(&self, leaf: &CertificateDer<'_>, host: &ServerName<'_>) -> bool {
        self.verification == BackendVerification::Full
            && check_name(leaf, host).is_ok_and(|found| found.used_common_name)
    }

    /// The same, for the first time with this certificate: the warning is due once, not per connection.
    #[must_use]
    pub fn is_first_use_of_common_name(&self, leaf: &[u8], host: &str) -> bool {
        let Ok(host) = ServerName::try_from(host) else {
            return false;
        };
        if !self.used_common_name(&CertificateDer::from(leaf), &host) {
            return false;
        }
        let mut leaves = self
            .common_name_leaves
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        leaves.len() < MAX_COMMON_NAME_LEAVES && leaves.insert(sha256_hex(leaf))
    }
}

/// The name rustls is given for `host` under `verification`; an error where verify-full has nothing to compare.
pub fn server_name(
    verification: BackendVerification,
    host: BackendHost<'_>,
) -> Result<ServerName<'static>, TlsConfigError> {
    match host {
        BackendHost::Tcp(host) => {
            ServerName::try_from(host.to_owned()).map_err(|_| TlsConfigError::HostInvalid {
                key: keys::BACKEND_ADDRESS,
                host: host.to_owned(),
            })
        }
        BackendHost::Unix(path) if verification == BackendVerification::Full => {
            Err(TlsConfigError::UnixSocketUnnameable {
                key: keys::BACKEND_ADDRESS,
                path: path.to_owned(),
            })
        }
        // rustls wants a name; an address is never sent as SNI, and nothing compares it here.
        BackendHost::Unix(_) => Ok(ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([
            127, 0, 0, 1,
        ])))),
    }
}

/// Loads and checks everything `options` names; the first problem is returned. [`crate::inspect`] tells them all.
pub fn build_client_config(options: &BackendTlsOptions) -> Result<ClientTls, TlsConfigError> {
    let (_, result) = assemble(options, DefaultTimeProvider);
    result.map_err(first)
}

/// Like [`build_client_config`], but `previous` itself if nothing has changed, not even in a file: its sessions go on.
pub fn resume_client_config(
    options: &BackendTlsOptions,
    previous: Option<&ClientTls>,
) -> Result<ClientTls, TlsConfigError> {
    let fresh = build_client_config(options)?;
    Ok(match previous {
        Some(previous)
            if previous.policy_hash == fresh.policy_hash && previous.judge == fresh.judge =>
        {
            previous.clone()
        }
        Some(_) | None => fresh,
    })
}

/// Like [`build_client_config`], with another clock.
pub fn build_client_config_at(
    options: &BackendTlsOptions,
    clock: impl TimeProvider + 'static,
) -> Result<ClientTls, TlsConfigError> {
    let (_, result) = assemble(options, clock);
    result.map_err(first)
}

/// Builds the configuration, or collects every problem; the identity, if it could be loaded, comes either way.
pub(crate) fn assemble(
    options: &BackendTlsOptions,
    clock: impl TimeProvider + 'static,
) -> (Option<Identity>, Result<ClientTls, Vec<TlsConfigError>>) {
    let mut problems = Vec::new();
    let policy = resolve_policy(options, &mut problems);
    let identity = load_identity(options, &policy, &mut problems);
    let trust = match load_trust(options) {
        Ok(trust) => trust,
        Err(problem) => {
            problems.push(problem);
            return (identity, Err(problems));
        }
    };
    if !problems.is_empty() {
        return (identity, Err(problems));
    }
    let result = finish(options, &policy, identity.as_ref(), trust, Arc::new(clock))
        .map_err(|error| vec![error]);
    (identity, result)
}

fn resolve_policy(options: &BackendTlsOptions, problems: &mut Vec<TlsConfigError>) -> Policy {
    let request = PolicyRequest {
        min_version: options.min_version,
        max_version: options.max_version,
        ciphers: &[],
        groups: &[],
        side: PolicySide::Backend,
    };
    request.resolve().unwrap_or_else(|found| {
        problems.extend(found);
        Policy::default()
    })
}

fn load_identity(
    options: &BackendTlsOptions,
    policy: &Policy,
    problems: &mut Vec<TlsConfigError>,
) -> Option<Identity> {
    let (certificate, key) = match (&options.cert_file, &options.key_file) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return None,
        (certificate, key) => {
            problems.push(TlsConfigError::FilesUnpaired {
                key: if key.is_none() {
                    keys::BACKEND_KEY
                } else {
                    keys::BACKEND_CERT
                },
                certificates: usize::from(certificate.is_some()),
                keys: usize::from(key.is_some()),
            });
            return None;
        }
    };
    Identity::load(IdentityKeys::BACKEND, certificate, key, &policy.provider)
        .map_err(|found| problems.extend(found))
        .ok()
}

fn load_trust(options: &BackendTlsOptions) -> Result<BackendTrust, TlsConfigError> {
    match options.verification {
        BackendVerification::None => match &options.crl_file {
            Some(path) => Err(lists_need_authorities(path.clone())),
            None => Ok(BackendTrust::Anyone),
        },
        BackendVerification::Ca if options.root_cert == Some(RootCert::System) => {
            Err(TlsConfigError::SystemRootsNeedNames {
                key: keys::BACKEND_SSLMODE,
            })
        }
        BackendVerification::Ca => load_chain_trust(options).map(BackendTrust::Chain),
        BackendVerification::Full => load_chain_trust(options).map(BackendTrust::ChainAndName),
    }
}

fn load_chain_trust(options: &BackendTlsOptions) -> Result<Trust, TlsConfigError> {
    let roots = load_roots(options)?;
    let revocation = match &options.crl_file {
        None => None,
        Some(path) if options.root_cert == Some(RootCert::System) => {
            return Err(lists_need_authorities(path.clone()));
        }
        Some(path) => Some(Revocation::from_file(keys::BACKEND_CRL, path, &roots)?),
    };
    Ok(Trust { roots, revocation })
}

/// Lists of all public authorities are in no file.
const fn lists_need_authorities(path: PathBuf) -> TlsConfigError {
    TlsConfigError::RevocationList {
        key: keys::BACKEND_CRL,
        path,
        source: RevocationListError::AuthorityMissing {
            needed: "sslrootcert to a PEM file",
        },
    }
}

fn load_roots(options: &BackendTlsOptions) -> Result<Roots, TlsConfigError> {
    match &options.root_cert {
        None => Err(TlsConfigError::RootsMissing {
            key: keys::BACKEND_ROOT,
        }),
        Some(RootCert::System) => Roots::from_system(),
        Some(RootCert::File(path)) => Roots::from_file(keys::BACKEND_ROOT, path),
    }
}

fn finish(
    options: &BackendTlsOptions,
    policy: &Policy,
    identity: Option<&Identity>,
    trust: BackendTrust,
    clock: Arc<dyn TimeProvider>,
) -> Result<ClientTls, TlsConfigError> {
    let policy_hash = policy_hash(options, policy, identity, &trust);
    let judge = options.backend_judge.clone();
    let sessions = Arc::new(BackendSessions::new(Arc::clone(&clock), judge.clone()));
    let provider = Arc::clone(&policy.provider);
    let verifier =
        BackendVerifier::new(trust, provider, Arc::clone(&sessions)).judged_by(judge.clone());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&policy.provider))
        .with_protocol_versions(&policy.versions)
        .map_err(|source| TlsConfigError::Refused {
            key: keys::BACKEND_SSLMODE,
            source,
        })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
            Arc::clone(&identity.certified_key),
        ))),
    };
    config.alpn_protocols = vec![POSTGRESQL_ALPN.to_vec()];
    config.enable_sni = options.send_server_name;
    config.resumption = Resumption::disabled();
    config.time_provider = clock;
    // It could be replayed, and a StartupMessage is not worth that.
    config.enable_early_data = false;
    // Backends are near: inflating what an unverified peer sends buys nothing (ADR 0010).
    config.cert_decompressors = Vec::new();
    config.cert_compressors = Vec::new();
    Ok(ClientTls {
        config: Arc::new(config),
        verification: options.verification,
        leaf_info: identity.map(|identity| identity.leaf.clone()),
        common_name_leaves: Arc::default(),
        policy_hash,
        judge,
        sessions: Some(sessions),
    })
}

fn policy_hash(
    options: &BackendTlsOptions,
    policy: &Policy,
    identity: Option<&Identity>,
    trust: &BackendTrust,
) -> PolicyHash {
    let loaded = Loaded {
        identities: identity.into_iter().collect(),
        ..trust.trust().map(Trust::loaded).unwrap_or_default()
    };
    backend_policy_hash(options, policy, &loaded)
}
