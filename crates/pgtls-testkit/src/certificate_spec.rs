//! `CertificateSpec`: what a certificate for a test shall say.

use std::net::IpAddr;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    RsaKeySize, SanType,
};
use time::{Duration, OffsetDateTime};

/// The kind of private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// ECDSA on P-256.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// RSA of 2048 bits; takes a noticeable while to make.
    Rsa2048,
    /// RSA of 4096 bits; takes seconds to make.
    Rsa4096,
    /// Ed25519.
    Ed25519,
}

/// When the certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Validity {
    /// From yesterday, for 30 days.
    #[default]
    Now,
    /// Until yesterday.
    Expired,
    /// From tomorrow.
    NotYet,
    /// Between two times in seconds since 1970.
    Between {
        /// First valid second.
        not_before_seconds: i64,
        /// Last valid second.
        not_after_seconds: i64,
    },
}

/// What the certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Usage {
    /// TLS server authentication.
    #[default]
    Server,
    /// TLS client authentication.
    Client,
    /// Both.
    Both,
}

/// A certificate to be issued. Start from [`CertificateSpec::server`] or
/// [`CertificateSpec::client`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateSpec {
    /// dNSName subject alternative names.
    pub dns_names: Vec<String>,
    /// iPAddress subject alternative names.
    pub ip_addresses: Vec<IpAddr>,
    /// CN of the subject.
    pub common_name: Option<String>,
    /// The key to make.
    pub key: KeyKind,
    /// When it is valid.
    pub validity: Validity,
    /// Extended key usage.
    pub usage: Usage,
}

impl CertificateSpec {
    /// A server certificate for `dns_names`; the first is the CN as well.
    #[must_use]
    pub fn server(dns_names: &[&str]) -> Self {
        Self {
            dns_names: dns_names.iter().map(ToString::to_string).collect(),
            common_name: dns_names.first().map(ToString::to_string),
            ..Self::default()
        }
    }

    /// A server certificate for `localhost`, 127.0.0.1 and ::1.
    #[must_use]
    pub fn localhost() -> Self {
        let loopback = [[127, 0, 0, 1].into(), [0, 0, 0, 0, 0, 0, 0, 1_u16].into()];
        Self::server(&["localhost"]).with_ip_addresses(&loopback)
    }

    /// A client certificate whose CN is `common_name`.
    #[must_use]
    pub fn client(common_name: &str) -> Self {
        Self {
            common_name: Some(common_name.to_owned()),
            usage: Usage::Client,
            ..Self::default()
        }
    }

    /// With these addresses as subject alternative names.
    #[must_use]
    pub fn with_ip_addresses(mut self, ip_addresses: &[IpAddr]) -> Self {
        self.ip_addresses = ip_addresses.to_vec();
        self
    }

    /// With this CN.
    #[must_use]
    pub fn with_common_name(mut self, common_name: &str) -> Self {
        self.common_name = Some(common_name.to_owned());
        self
    }

    /// With this kind of key.
    #[must_use]
    pub fn with_key(mut self, key: KeyKind) -> Self {
        self.key = key;
        self
    }

    /// With this validity.
    #[must_use]
    pub fn with_validity(mut self, validity: Validity) -> Self {
        self.validity = validity;
        self
    }

    /// With this usage.
    #[must_use]
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    pub(crate) fn generate_key(&self) -> KeyPair {
        let key = match self.key {
            KeyKind::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyKind::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            KeyKind::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
            KeyKind::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
        };
        key.expect("a new private key")
    }

    pub(crate) fn params(&self) -> CertificateParams {
        let mut params =
            CertificateParams::new(self.dns_names.clone()).expect("DNS names in ASCII");
        let addresses = self.ip_addresses.iter().copied().map(SanType::IpAddress);
        params.subject_alt_names.extend(addresses);
        params.distinguished_name = subject(self.common_name.as_deref());
        (params.not_before, params.not_after) = self.validity.bounds();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = self.usage.purposes();
        params.use_authority_key_identifier_extension = true;
        params
    }
}

/// A subject with nothing but a CN.
pub(crate) fn subject(common_name: Option<&str>) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    if let Some(common_name) = common_name {
        subject.push(DnType::CommonName, common_name);
    }
    subject
}

impl Validity {
    pub(crate) fn bounds(self) -> (OffsetDateTime, OffsetDateTime) {
        let now = OffsetDateTime::now_utc();
        let day = Duration::DAY;
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).expect("a time in range");
        match self {
            Self::Now => (now - day, now + day * 30),
            Self::Expired => (now - day * 30, now - day),
            Self::NotYet => (now + day, now + day * 30),
            Self::Between {
                not_before_seconds,
                not_after_seconds,
            } => (at(not_before_seconds), at(not_after_seconds)),
        }
    }
}

impl Usage {
    fn purposes(self) -> Vec<ExtendedKeyUsagePurpose> {
        match self {
            Self::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Self::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Self::Both => {
                vec![
                    ExtendedKeyUsagePurpose::ServerAuth,
                    ExtendedKeyUsagePurpose::ClientAuth,
                ]
            }
        }
    }
}
