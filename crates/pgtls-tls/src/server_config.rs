//! From a listener's options to a `rustls::ServerConfig`.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::compress::CompressionCache;
use rustls::server::{WebPkiClientVerifier, danger::ClientCertVerifier};
use rustls::{ServerConfig, SignatureAlgorithm, SupportedCipherSuite};
use rustls_pki_types::CertificateDer;

use crate::alpn_chooser::AlpnChooser;
use crate::chain::Roots;
use crate::config_key as keys;
use crate::error::{RevocationListError, TlsConfigError};
use crate::identity::Identity;
use crate::leaf::LeafInfo;
use crate::listener_identities::ListenerIdentities;
use crate::options::{ClientCertificate, ListenerTlsOptions};
use crate::policy::{Policy, PolicyRequest, PolicySide};
use crate::policy_hash::{Loaded, listener_policy_hash};
use crate::resumption_state::ResumptionState;
use crate::revocation::Revocation;
use crate::server_resumption::{
    KeySource, ServerResumption, SessionPolicy, read_key_source, set_resumption,
};
use crate::sni_resolver::{AsIfNamed, Nobody, SniResolver};
use crate::trust::Trust;
use crate::user_map::UserMap;
use crate::verifier::ClientVerifier;

/// What a listener needs to accept TLS; cheap to clone.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// Shared by every connection accepted under it.
    pub config: Arc<ServerConfig>,
    /// The leaves as DER, in the order configured: the listener's own, then its rows'.
    pub leaves: Arc<[CertificateDer<'static>]>,
    /// The leaves described, in the same order.
    pub leaf_infos: Arc<[LeafInfo]>,
    /// Which users a client certificate may log in as; without a map, PostgreSQL alone decides.
    pub user_map: Option<Arc<UserMap>>,
    /// Heeded by [`crate::client_facing::ClientFacing::of`], not by a connection made of `config` alone.
    pub alpn_chooser: Option<Arc<dyn AlpnChooser>>,
    resolver: Arc<SniResolver>,
}

impl ServerTls {
    /// The same with other protocols, and with the identity it has for another server name; none keeps what it has. Sessions under
    /// it are neither resumed nor resumable: who chose so may choose otherwise the next time.
    #[must_use]
    pub fn answering(&self, server_name: Option<String>, alpn: Option<Vec<String>>) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        set_resumption(&mut config, None);
        if let Some(server_name) = server_name {
            let resolver = Arc::clone(&self.resolver);
            config.cert_resolver = Arc::new(AsIfNamed::new(server_name, resolver));
        }
        if let Some(alpn) = alpn {
            config.alpn_protocols = alpn.into_iter().map(String::into_bytes).collect();
        }
        Self {
            config: Arc::new(config),
            ..self.clone()
        }
    }

    /// The same with no identity for anybody: whatever the client sends, its handshake fails, with the alert that fits.
    #[must_use]
    pub fn refusing(&self) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        set_resumption(&mut config, None);
        config.cert_resolver = Arc::new(Nobody);
        Self {
            config: Arc::new(config),
            alpn_chooser: None,
            ..self.clone()
        }
    }
}

/// Loads and checks everything `options` names; the first problem is returned. [`crate::inspect`] tells them all.
pub fn build_server_config(options: &ListenerTlsOptions) -> Result<ServerTls, TlsConfigError> {
    resume_server_config(options, &Arc::default())
}

/// Like [`build_server_config`], going on with the `state` of the configuration that this one replaces.
pub fn resume_server_config(
    options: &ListenerTlsOptions,
    state: &Arc<ResumptionState>,
) -> Result<ServerTls, TlsConfigError> {
    let (_, result) = assemble(options, state);
    result.map_err(first)
}

/// The first of several problems.
pub(crate) fn first(problems: Vec<TlsConfigError>) -> TlsConfigError {
    let none = TlsConfigError::CertificateMissing {
        key: keys::LISTENER_CERT,
    };
    problems.into_iter().next().unwrap_or(none)
}

/// Builds the configuration, or collects every problem; the identities that could be loaded come either way.
pub(crate) fn assemble(
    options: &ListenerTlsOptions,
    state: &Arc<ResumptionState>,
) -> (ListenerIdentities, Result<ServerTls, Vec<TlsConfigError>>) {
    let mut problems = Vec::new();
    let policy = resolve_policy(options, &mut problems);
    let identities = ListenerIdentities::load(options, &policy.provider, &mut problems);
    let verifier = client_verifier(options, &policy, &mut problems);
    let user_map = load_user_map(options, &mut problems);
    let key_source = load_ticket_keys(options, &mut problems);
    problems.extend(options.alpn.iter().filter_map(|name| invalid_alpn(name)));
    if problems.is_empty() {
        problems.extend(
            identities
                .sets()
                .find_map(|set| unusable_suites(&policy, set)),
        );
    }
    if !problems.is_empty() {
        return (identities, Err(problems));
    }
    let resumption = resumption(
        options,
        &policy,
        &identities,
        verifier.as_deref(),
        key_source,
        state,
    );
    let result = resumption
        .and_then(|resumption| finish(options, &policy, &identities, verifier, resumption))
        .map(|tls| ServerTls { user_map, ..tls })
        .map_err(|error| vec![error]);
    (identities, result)
}

/// `None` when sessions are not resumed, or when the keys of tickets can't be read (a problem then).
fn load_ticket_keys(
    options: &ListenerTlsOptions,
    problems: &mut Vec<TlsConfigError>,
) -> Option<KeySource> {
    let source = read_key_source(options.resumption.as_ref()?);
    source.map_err(|problem| problems.push(problem.into())).ok()
}

fn resumption(
    options: &ListenerTlsOptions,
    policy: &Policy,
    identities: &ListenerIdentities,
    verifier: Option<&ClientVerifier>,
    key_source: Option<KeySource>,
    state: &Arc<ResumptionState>,
) -> Result<Option<ServerResumption>, TlsConfigError> {
    let (Some(resumption), Some(source)) = (&options.resumption, key_source) else {
        return Ok(None);
    };
    let trust = verifier.map(ClientVerifier::trust);
    let loaded = Loaded {
        identities: identities.iter().map(|(_, identity)| identity).collect(),
        ..trust.map(Trust::loaded).unwrap_or_default()
    };
    let session_policy = SessionPolicy {
        hash: listener_policy_hash(options, policy, &loaded),
        trust_ends: trust.map_or_else(Vec::new, |trust| trust.ends().collect()),
        client_judge: options.client_judge.clone(),
    };
    ServerResumption::new(resumption, &source, session_policy, state).map(Some)
}

/// A policy that can't be resolved is replaced by the default one, so that the files are still looked at.
fn resolve_policy(options: &ListenerTlsOptions, problems: &mut Vec<TlsConfigError>) -> Policy {
    let request = PolicyRequest {
        min_version: options.min_version,
        max_version: options.max_version,
        ciphers: &options.ciphers,
        groups: &options.groups,
        side: PolicySide::Listener,
    };
    request.resolve().unwrap_or_else(|found| {
        problems.extend(found);
        Policy::default()
    })
}

/// `None` when no client certificate is asked for, or when nothing can verify it (a problem then).
fn client_verifier(
    options: &ListenerTlsOptions,
    policy: &Policy,
    problems: &mut Vec<TlsConfigError>,
) -> Option<Arc<ClientVerifier>> {
    let is_mandatory = match options.client_certificate {
        ClientCertificate::None => {
            problems.extend(options.crl_file.clone().map(needs_authority));
            return None;
        }
        ClientCertificate::Request => false,
        ClientCertificate::Require => true,
    };
    let Some(path) = &options.ca_file else {
        problems.push(TlsConfigError::AuthorityMissing {
            key: keys::LISTENER_CA,
        });
        return None;
    };
    let trust = Roots::from_file(keys::LISTENER_CA, path).and_then(|roots| {
        let revocation = options
            .crl_file
            .as_deref()
            .map(|file| Revocation::from_file(keys::LISTENER_CRL, file, &roots))
            .transpose()?;
        Ok(Trust { roots, revocation })
    });
    match trust {
        Ok(trust) => {
            let provider = Arc::clone(&policy.provider);
            let verifier = ClientVerifier::new(trust, is_mandatory, provider);
            Some(Arc::new(verifier.judged_by(options.client_judge.clone())))
        }
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

fn load_user_map(
    options: &ListenerTlsOptions,
    problems: &mut Vec<TlsConfigError>,
) -> Option<Arc<UserMap>> {
    let file = options.user_map_file.as_deref()?;
    UserMap::from_file(keys::LISTENER_USER_MAP, file)
        .map_err(|problem| problems.push(problem))
        .map(Arc::new)
        .ok()
}

/// Lists are nothing without the authorities that issued them.
const fn needs_authority(path: PathBuf) -> TlsConfigError {
    TlsConfigError::RevocationList {
        key: keys::LISTENER_CRL,
        path,
        source: RevocationListError::AuthorityMissing {
            needed: "ssl_ca_file",
        },
    }
}

/// RFC 7301 section 3.1: a protocol name has 1 to 255 bytes.
fn invalid_alpn(name: &str) -> Option<TlsConfigError> {
    let is_valid = (1..=255).contains(&name.len());
    (!is_valid).then(|| TlsConfigError::AlpnInvalid {
        key: keys::LISTENER_ALPN,
        name: name.to_owned(),
    })
}

/// A TLS 1.2 suite is tied to a kind of key: without one that fits, every TLS 1.2 handshake would fail.
fn unusable_suites(policy: &Policy, identities: &[Identity]) -> Option<TlsConfigError> {
    if !policy.versions.contains(&&rustls::version::TLS12) {
        return None;
    }
    let algorithms: Vec<_> = identities.iter().map(Identity::algorithm).collect();
    let suites = &policy.provider.cipher_suites;
    let is_usable = suites.iter().any(|suite| {
        let SupportedCipherSuite::Tls12(_) = suite else {
            return false;
        };
        algorithms
            .iter()
            .any(|&algorithm| suite.usable_for_signature_algorithm(algorithm))
    });
    let described = || {
        algorithms
            .iter()
            .copied()
            .map(algorithm_name)
            .collect::<Vec<_>>()
    };
    (!is_usable).then(|| TlsConfigError::CipherKeyMismatch {
        key: keys::LISTENER_CIPHERS,
        keys: described().join(", "),
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "kinds a certificate's key can't have here"
)]
fn algorithm_name(algorithm: SignatureAlgorithm) -> &'static str {
    match algorithm {
        SignatureAlgorithm::RSA => "RSA",
        SignatureAlgorithm::ECDSA => "ECDSA",
        SignatureAlgorithm::ED25519 => "Ed25519",
        _ => "another kind",
    }
}

fn finish(
    options: &ListenerTlsOptions,
    policy: &Policy,
    identities: &ListenerIdentities,
    verifier: Option<Arc<ClientVerifier>>,
    resumption: Option<ServerResumption>,
) -> Result<ServerTls, TlsConfigError> {
    let verifier: Arc<dyn ClientCertVerifier> = match verifier {
        Some(verifier) => verifier,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    let resolver = Arc::new(identities.resolver(options));
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&policy.provider))
        .with_protocol_versions(&policy.versions)
        .map_err(|source| TlsConfigError::Refused {
            key: keys::LISTENER_CERT,
            source,
        })?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::<SniResolver>::clone(&resolver));
    config.alpn_protocols = options
        .alpn
        .iter()
        .map(|name| name.clone().into_bytes())
        .collect();
    // An order somebody wrote down is meant; without one the client knows best what its CPU is fast at.
    config.ignore_client_order = !options.ciphers.is_empty();
    set_resumption(&mut config, resumption);
    compress_certificates(&mut config, identities);
    Ok(ServerTls {
        config: Arc::new(config),
        leaves: identities
            .iter()
            .filter_map(|(_, identity)| identity.leaf_der())
            .cloned()
            .collect(),
        leaf_infos: identities
            .iter()
            .map(|(_, identity)| identity.leaf.clone())
            .collect(),
        resolver,
        user_map: None,
        alpn_chooser: options.alpn_chooser.clone(),
    })
}

/// RFC 8879 for clients that ask for it (ADR 0010). Each chain is compressed once: one place in the cache for every identity with and
/// without its staple. A client's own certificate is not asked for in that form: it would be inflated before anybody is trusted.
fn compress_certificates(config: &mut ServerConfig, identities: &ListenerIdentities) {
    config.cert_compression_cache = Arc::new(CompressionCache::new(2 * identities.iter().count()));
    config.cert_decompressors = Vec::new();
}
