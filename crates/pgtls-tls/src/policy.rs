//! Versions, cipher suites and groups: names in, one rustls `CryptoProvider` and a list of versions out.
//!
//! `ssl_ciphers` means what it means in `PostgreSQL` for TLS 1.2; TLS 1.3 keeps the provider's three suites unless the list
//! names some of TLS 1.3. A list that leaves a permitted version nothing to negotiate is an error, never silently narrower.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::{ProtocolVersion, SupportedCipherSuite, SupportedProtocolVersion, version};

pub use crate::cipher_suite::cipher_name;
use crate::config_key as keys;
use crate::error::TlsConfigError;
pub use crate::group::{DEFAULT_GROUPS, group_name};
use crate::options::TlsVersion;
use crate::{cipher_suite, group};

/// What may be negotiated.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The cryptography, narrowed to the suites and groups allowed.
    pub provider: Arc<CryptoProvider>,
    /// The versions allowed, newest first.
    pub versions: Vec<&'static SupportedProtocolVersion>,
}

impl Default for Policy {
    /// Everything the provider has by default, in both versions.
    fn default() -> Self {
        Self {
            provider: Arc::new(aws_lc_rs::default_provider()),
            versions: vec![&version::TLS13, &version::TLS12],
        }
    }
}

/// A policy as configured.
#[derive(Debug, Clone, Copy)]
pub struct PolicyRequest<'a> {
    /// The oldest version allowed.
    pub min_version: TlsVersion,
    /// The newest version allowed; `None` is the newest known.
    pub max_version: Option<TlsVersion>,
    /// Cipher suites, most preferred first; empty is the provider's choice.
    pub ciphers: &'a [String],
    /// Groups, most preferred first; empty is [`DEFAULT_GROUPS`].
    pub groups: &'a [String],
    /// Which keys errors name.
    pub side: PolicySide,
}

/// Whose policy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicySide {
    /// A listener's.
    Listener,
    /// A backend's, which has neither ciphers nor groups to configure.
    Backend,
}

impl PolicySide {
    const fn max_version_key(self) -> &'static str {
        match self {
            Self::Listener => keys::LISTENER_MAX_VERSION,
            Self::Backend => keys::BACKEND_MAX_VERSION,
        }
    }
}

impl PolicyRequest<'_> {
    /// Resolves the names; all problems at once.
    pub fn resolve(&self) -> Result<Policy, Vec<TlsConfigError>> {
        let mut problems = Vec::new();
        let cipher_suites = self.cipher_suites(&mut problems);
        let kx_groups = self.kx_groups(&mut problems);
        let versions = self.versions(&mut problems);
        if problems.is_empty() {
            problems.extend(
                versions
                    .iter()
                    .filter_map(|&version| nothing_left(version, &cipher_suites, &kx_groups)),
            );
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let provider = CryptoProvider {
            cipher_suites,
            kx_groups,
            ..aws_lc_rs::default_provider()
        };
        Ok(Policy {
            provider: Arc::new(provider),
            versions: versions.into_iter().map(supported_version).collect(),
        })
    }

    /// The versions allowed, newest first.
    fn versions(&self, problems: &mut Vec<TlsConfigError>) -> Vec<TlsVersion> {
        let (min, max) = (
            self.min_version,
            self.max_version.unwrap_or(TlsVersion::Tls13),
        );
        if max < min {
            let key = self.side.max_version_key();
            problems.push(TlsConfigError::VersionRangeEmpty { key, min, max });
        }
        [TlsVersion::Tls13, TlsVersion::Tls12]
            .into_iter()
            .filter(|version| (min..=max).contains(version))
            .collect()
    }

    fn cipher_suites(&self, problems: &mut Vec<TlsConfigError>) -> Vec<SupportedCipherSuite> {
        if self.ciphers.is_empty() {
            return aws_lc_rs::DEFAULT_CIPHER_SUITES.to_vec();
        }
        let mut found = Vec::new();
        for name in self.ciphers {
            match cipher_suite::find(name) {
                Ok(suite) if found.contains(&suite) => {}
                Ok(suite) => found.push(suite),
                Err(problem) => problems.push(problem),
            }
        }
        let allows_older = self.min_version == TlsVersion::Tls12;
        if allows_older
            && !found
                .iter()
                .any(|suite| version_of(suite) == TlsVersion::Tls13)
        {
            let newer = aws_lc_rs::DEFAULT_CIPHER_SUITES.iter().copied();
            let newer = newer.filter(|suite| version_of(suite) == TlsVersion::Tls13);
            found.splice(0..0, newer);
        }
        found
    }

    fn kx_groups(&self, problems: &mut Vec<TlsConfigError>) -> Vec<&'static dyn SupportedKxGroup> {
        let defaults = DEFAULT_GROUPS.map(str::to_owned);
        let names = if self.groups.is_empty() {
            &defaults[..]
        } else {
            self.groups
        };
        let mut found: Vec<&'static dyn SupportedKxGroup> = Vec::new();
        for name in names {
            match group::find(name) {
                Ok(group) if found.iter().any(|known| known.name() == group.name()) => {}
                Ok(group) => found.push(group),
                Err(problem) => problems.push(problem),
            }
        }
        found
    }
}

fn version_of(suite: &SupportedCipherSuite) -> TlsVersion {
    match suite {
        SupportedCipherSuite::Tls12(_) => TlsVersion::Tls12,
        SupportedCipherSuite::Tls13(_) => TlsVersion::Tls13,
    }
}

fn supported_version(version: TlsVersion) -> &'static SupportedProtocolVersion {
    match version {
        TlsVersion::Tls12 => &version::TLS12,
        TlsVersion::Tls13 => &version::TLS13,
    }
}

const fn protocol_version(version: TlsVersion) -> ProtocolVersion {
    match version {
        TlsVersion::Tls12 => ProtocolVersion::TLSv1_2,
        TlsVersion::Tls13 => ProtocolVersion::TLSv1_3,
    }
}

/// Both lists come from a listener only: a backend's are always the defaults, which serve every version.
fn nothing_left(
    version: TlsVersion,
    cipher_suites: &[SupportedCipherSuite],
    kx_groups: &[&'static dyn SupportedKxGroup],
) -> Option<TlsConfigError> {
    if !cipher_suites
        .iter()
        .any(|suite| version_of(suite) == version)
    {
        return Some(TlsConfigError::NothingLeft {
            key: keys::LISTENER_CIPHERS,
            what: "no cipher suite is",
            version,
            remedy: match version {
                TlsVersion::Tls12 => {
                    "add a TLSv1.2 suite to ssl_ciphers, or set ssl_min_protocol_version = \"TLSv1.3\""
                }
                TlsVersion::Tls13 => {
                    "add a TLSv1.3 suite to ssl_ciphers, or leave ssl_ciphers out, or allow TLSv1.2"
                }
            },
        });
    }
    if !kx_groups
        .iter()
        .any(|group| group.usable_for_version(protocol_version(version)))
    {
        return Some(TlsConfigError::NothingLeft {
            key: keys::LISTENER_GROUPS,
            what: "no group is",
            version,
            remedy: "add X25519 or secp256r1 to ssl_groups, or set ssl_min_protocol_version = \"TLSv1.3\"",
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use TlsVersion::{Tls12, Tls13};

    fn resolve(
        range: (TlsVersion, Option<TlsVersion>),
        ciphers: &[&str],
        groups: &[&str],
    ) -> Result<Policy, Vec<TlsConfigError>> {
        let owned = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        PolicyRequest {
            min_version: range.0,
            max_version: range.1,
            ciphers: &owned(ciphers),
            groups: &owned(groups),
            side: PolicySide::Listener,
        }
        .resolve()
    }

    fn cipher_names(policy: &Policy) -> Vec<&'static str> {
        policy
            .provider
            .cipher_suites
            .iter()
            .copied()
            .map(cipher_name)
            .collect()
    }

    fn group_names(policy: &Policy) -> Vec<&'static str> {
        policy
            .provider
            .kx_groups
            .iter()
            .copied()
            .map(group_name)
            .collect()
    }

    fn problem(result: Result<Policy, Vec<TlsConfigError>>) -> (&'static str, String) {
        let problems = result.unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        (problems[0].key(), problems[0].to_string())
    }

    #[test]
    fn without_names_the_provider_decides_and_both_versions_are_allowed() {
        let policy = resolve((Tls12, None), &[], &[]).unwrap();
        assert_eq!(
            policy.provider.cipher_suites,
            aws_lc_rs::DEFAULT_CIPHER_SUITES
        );
        assert_eq!(group_names(&policy), DEFAULT_GROUPS);
        assert_eq!(policy.versions, [&version::TLS13, &version::TLS12]);
    }

    #[test]
    fn every_suite_of_the_provider_has_a_name() {
        for suite in aws_lc_rs::ALL_CIPHER_SUITES {
            assert_ne!(cipher_name(*suite), "unknown", "{suite:?}");
        }
    }

    #[test]
    fn suites_go_by_their_iana_and_their_openssl_names_in_the_order_given() {
        let names = [
            "ecdhe-rsa-aes128-gcm-sha256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        ];
        let policy = resolve((Tls12, Some(Tls12)), &names, &[]).unwrap();
        let found = cipher_names(&policy);
        assert!(found.ends_with(&[
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
        ]));
    }

    #[test]
    fn tls13_keeps_its_suites_beside_a_list_for_tls12() {
        let policy = resolve((Tls12, None), &["ECDHE-RSA-AES256-GCM-SHA384"], &[]).unwrap();
        assert_eq!(
            cipher_names(&policy),
            [
                "TLS_AES_256_GCM_SHA384",
                "TLS_AES_128_GCM_SHA256",
                "TLS_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
            ]
        );
    }

    #[test]
    fn a_suite_named_twice_counts_once() {
        let names = ["TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"];
        let policy = resolve((Tls13, None), &names, &[]).unwrap();
        assert_eq!(cipher_names(&policy), ["TLS_AES_128_GCM_SHA256"]);
    }

    #[test]
    fn tls13_alone_with_suites_of_tls12_leaves_nothing() {
        let (key, message) = problem(resolve(
            (Tls13, None),
            &["ECDHE-RSA-AES256-GCM-SHA384"],
            &[],
        ));
        assert_eq!(key, "listener.ssl_ciphers");
        assert!(
            message.contains("no cipher suite is left for TLSv1.3"),
            "{message}"
        );
    }

    #[test]
    fn tls12_with_suites_of_tls13_only_leaves_nothing() {
        let (key, message) = problem(resolve((Tls12, None), &["TLS_AES_128_GCM_SHA256"], &[]));
        assert_eq!(key, "listener.ssl_ciphers");
        assert!(
            message.contains("ssl_min_protocol_version = \"TLSv1.3\""),
            "{message}"
        );
    }

    #[test]
    fn groups_go_by_any_of_their_names() {
        let policy = resolve((Tls12, None), &[], &["p-256", "prime256v1", "x25519"]).unwrap();
        assert_eq!(group_names(&policy), ["secp256r1", "X25519"]);
    }

    #[test]
    fn a_group_of_tls13_alone_leaves_tls12_nothing() {
        let (key, _) = problem(resolve((Tls12, None), &[], &["X25519MLKEM768"]));
        assert_eq!(key, "listener.ssl_groups");
        assert!(resolve((Tls13, None), &[], &["X25519MLKEM768"]).is_ok());
    }

    #[test]
    fn unknown_names_are_all_reported_with_what_is_known() {
        let problems = resolve((Tls12, None), &["RC4-MD5"], &["secp521r1", "X448"]).unwrap_err();
        assert_eq!(problems.len(), 3);
        assert!(
            problems[0]
                .to_string()
                .contains("\"RC4-MD5\"; known: TLS_AES_256_GCM_SHA384")
        );
        assert!(
            problems[1]
                .to_string()
                .contains("X25519MLKEM768, SecP256r1MLKEM768, X25519")
        );
    }

    #[test]
    fn an_empty_range_of_versions_is_refused() {
        let (key, message) = problem(resolve((Tls13, Some(Tls12)), &[], &[]));
        assert_eq!(key, "listener.ssl_max_protocol_version");
        assert!(
            message.contains("(TLSv1.2) is older than the oldest (TLSv1.3)"),
            "{message}"
        );
    }
}
