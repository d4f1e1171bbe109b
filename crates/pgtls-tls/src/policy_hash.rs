//! [`PolicyHash`]: one digest over everything that decides whether a full handshake would succeed, and as whom.
//!
//! rustls verifies nothing again when a session is resumed. So whatever was verified under one hash is resumed under the
//! same hash only: the keys of a listener's tickets are derived with it, and a backend's sessions are kept under it.
//! Options are taken apart field by field, so that a new one does not compile before its place here is thought of. Files
//! count by their content, so that instances with the same content in other places share tickets.

use crate::identity::Identity;
use crate::options::{
    BackendTlsOptions, BackendVerification, ClientCertificate, ListenerTlsOptions,
};
use crate::policy::Policy;
use aws_lc_rs::digest::{Context, SHA256};

/// What a session was established under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PolicyHash([u8; 32]);

impl PolicyHash {
    /// The digest itself.
    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What was read from the files that options name.
#[derive(Debug, Default)]
pub(crate) struct Loaded<'a> {
    /// The identities shown to the peer, those of single host names included.
    pub(crate) identities: Vec<&'a Identity>,
    /// The authorities the peer's certificate must chain to, DER.
    pub(crate) authorities: Vec<&'a [u8]>,
    /// The revocation lists the peer's certificate is looked up in, as read.
    pub(crate) revocations: Vec<&'a [u8]>,
}

/// The hash of a listener's policy.
pub(crate) fn listener_policy_hash(
    options: &ListenerTlsOptions,
    policy: &Policy,
    loaded: &Loaded<'_>,
) -> PolicyHash {
    let ListenerTlsOptions {
        // Contents of files: in `loaded`.
        cert_files: _,
        key_files: _,
        ca_file: _,
        crl_file: _,
        hosts: _,
        // Neither is anything of a session.
        ocsp_files: _,
        passphrase_command: _,
        // Asked of resumed sessions, too.
        user_map_file: _,
        no_server_name: _,
        client_judge: _,
        alpn_chooser: _,
        client_certificate,
        // Resolved: in `policy`.
        min_version: _,
        max_version: _,
        ciphers: _,
        groups: _,
        alpn,
        // Not verified under, but resumed by.
        resumption: _,
    } = options;
    let mut hasher = Hasher::new("pgtls listener 1");
    let mode: &[u8] = match client_certificate {
        ClientCertificate::None => b"none",
        ClientCertificate::Request => b"request",
        ClientCertificate::Require => b"require",
    };
    hasher.add("client certificate", [mode]);
    hasher.add("alpn", alpn.iter().map(String::as_bytes));
    hasher.add_policy(policy);
    hasher.add_loaded(loaded);
    hasher.finish()
}

/// The hash of a backend's policy.
pub(crate) fn backend_policy_hash(
    options: &BackendTlsOptions,
    policy: &Policy,
    loaded: &Loaded<'_>,
) -> PolicyHash {
    let BackendTlsOptions {
        verification,
        // Contents of files: in `loaded`.
        root_cert: _,
        crl_file: _,
        cert_file: _,
        key_file: _,
        send_server_name,
        // Resolved: in `policy`.
        min_version: _,
        max_version: _,
        // Asked of resumed sessions, too.
        backend_judge: _,
    } = options;
    let mut hasher = Hasher::new("pgtls backend 1");
    let verification: &[u8] = match verification {
        BackendVerification::None => b"none",
        BackendVerification::Ca => b"ca",
        BackendVerification::Full => b"full",
    };
    hasher.add("verification", [verification]);
    hasher.add("server name", [[u8::from(*send_server_name)].as_slice()]);
    hasher.add_policy(policy);
    hasher.add_loaded(loaded);
    hasher.finish()
}

/// Hashes lists of byte strings so that no two different sequences of lists look alike.
struct Hasher(Context);

impl Hasher {
    fn new(domain: &str) -> Self {
        let mut hasher = Self(Context::new(&SHA256));
        hasher.add_bytes(domain.as_bytes());
        hasher
    }

    fn add<'a>(&mut self, label: &str, items: impl IntoIterator<Item = &'a [u8]>) {
        let items: Vec<_> = items.into_iter().collect();
        self.add_bytes(label.as_bytes());
        self.add_length(items.len());
        for item in items {
            self.add_bytes(item);
        }
    }

    fn add_policy(&mut self, policy: &Policy) {
        let Policy { provider, versions } = policy;
        let versions: Vec<_> = versions
            .iter()
            .map(|version| u16::from(version.version).to_be_bytes())
            .collect();
        let suites: Vec<_> = provider
            .cipher_suites
            .iter()
            .map(|suite| u16::from(suite.suite()).to_be_bytes())
            .collect();
        let groups: Vec<_> = provider
            .kx_groups
            .iter()
            .map(|group| u16::from(group.name()).to_be_bytes())
            .collect();
        self.add("versions", versions.iter().map(<[u8; 2]>::as_slice));
        self.add("cipher suites", suites.iter().map(<[u8; 2]>::as_slice));
        self.add("groups", groups.iter().map(<[u8; 2]>::as_slice));
    }

    fn add_loaded(&mut self, loaded: &Loaded<'_>) {
        let Loaded {
            identities,
            authorities,
            revocations,
        } = loaded;
        for identity in identities {
            let chain = &identity.certified_key.cert;
            self.add("identity", chain.iter().map(AsRef::as_ref));
        }
        // The system's roots come in no certain order, and of no list the order means anything.
        self.add("authorities", sorted(authorities));
        self.add("revocations", sorted(revocations));
    }

    fn add_length(&mut self, length: usize) {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.0.update(&length.to_be_bytes());
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        self.add_length(bytes.len());
        self.0.update(bytes);
    }

    fn finish(self) -> PolicyHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        PolicyHash(hash)
    }
}

fn sorted<'a>(items: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let mut items = items.to_vec();
    items.sort_unstable();
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(options: &ListenerTlsOptions, loaded: &Loaded<'_>) -> PolicyHash {
        listener_policy_hash(options, &Policy::default(), loaded)
    }

    #[test]
    fn the_order_of_authorities_means_nothing_and_each_of_them_something() {
        let options = ListenerTlsOptions::default();
        let with = |authorities: &[&'static [u8]]| {
            hash(
                &options,
                &Loaded {
                    authorities: authorities.to_vec(),
                    ..Loaded::default()
                },
            )
        };
        assert_eq!(with(&[b"one", b"two"]), with(&[b"two", b"one"]));
        assert_ne!(with(&[b"one", b"two"]), with(&[b"one"]));
        assert_ne!(with(&[b"one", b"two"]), with(&[b"onetwo"]));
    }

    #[test]
    fn a_revocation_list_is_no_authority() {
        let options = ListenerTlsOptions::default();
        let authority = Loaded {
            authorities: vec![b"file"],
            ..Loaded::default()
        };
        let revocation = Loaded {
            revocations: vec![b"file"],
            ..Loaded::default()
        };
        assert_ne!(hash(&options, &authority), hash(&options, &revocation));
    }

    #[test]
    fn every_switch_of_a_listener_counts_and_paths_do_not() {
        let plain = ListenerTlsOptions::default();
        let elsewhere = ListenerTlsOptions {
            ca_file: Some("/elsewhere/ca.crt".into()),
            ..plain.clone()
        };
        let demanding = ListenerTlsOptions {
            client_certificate: ClientCertificate::Require,
            ..plain.clone()
        };
        let other_protocols = ListenerTlsOptions {
            alpn: vec!["postgresql".to_owned()],
            ..plain.clone()
        };
        let nothing = Loaded::default();
        assert_eq!(hash(&plain, &nothing), hash(&elsewhere, &nothing));
        assert_ne!(hash(&plain, &nothing), hash(&demanding, &nothing));
        assert_ne!(hash(&plain, &nothing), hash(&other_protocols, &nothing));
    }

    #[test]
    fn versions_suites_and_groups_count() {
        let options = ListenerTlsOptions::default();
        let hash = |policy: &Policy| listener_policy_hash(&options, policy, &Loaded::default());
        let mut fewer_versions = Policy::default();
        fewer_versions.versions.pop();
        let mut fewer_suites = Policy::default();
        std::sync::Arc::make_mut(&mut fewer_suites.provider)
            .cipher_suites
            .pop();
        let mut fewer_groups = Policy::default();
        std::sync::Arc::make_mut(&mut fewer_groups.provider)
            .kx_groups
            .pop();
        for other in [fewer_versions, fewer_suites, fewer_groups] {
            assert_ne!(hash(&other), hash(&Policy::default()));
        }
    }

    #[test]
    fn how_a_backend_is_verified_counts() {
        let hash = |verification| {
            let options = BackendTlsOptions {
                verification,
                ..BackendTlsOptions::default()
            };
            backend_policy_hash(&options, &Policy::default(), &Loaded::default())
        };
        assert_ne!(
            hash(BackendVerification::Ca),
            hash(BackendVerification::Full)
        );
        assert_ne!(
            hash(BackendVerification::None),
            hash(BackendVerification::Ca)
        );
    }
}
