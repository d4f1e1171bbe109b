//! The cipher suites there are, by the names IANA and OpenSSL give them.

use rustls::SupportedCipherSuite;
use rustls::crypto::aws_lc_rs::cipher_suite as suites;

use crate::config_key;
use crate::error::TlsConfigError;

/// A cipher suite by both its names.
struct NamedSuite {
    iana: &'static str,
    openssl: &'static str,
    suite: SupportedCipherSuite,
}

const fn named(
    iana: &'static str,
    openssl: &'static str,
    suite: SupportedCipherSuite,
) -> NamedSuite {
    NamedSuite {
        iana,
        openssl,
        suite,
    }
}

/// Every suite there is, in the provider's order of preference.
static SUITES: [NamedSuite; 9] = [
    named(
        "TLS_AES_256_GCM_SHA384",
        "TLS_AES_256_GCM_SHA384",
        suites::TLS13_AES_256_GCM_SHA384,
    ),
    named(
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_128_GCM_SHA256",
        suites::TLS13_AES_128_GCM_SHA256,
    ),
    named(
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS_CHACHA20_POLY1305_SHA256",
        suites::TLS13_CHACHA20_POLY1305_SHA256,
    ),
    named(
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        suites::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    ),
    named(
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        suites::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    ),
    named(
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        suites::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
    named(
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        suites::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ),
    named(
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        suites::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ),
    named(
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "ECDHE-RSA-CHACHA20-POLY1305",
        suites::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ),
];

impl NamedSuite {
    fn is_called(&self, name: &str) -> bool {
        self.iana.eq_ignore_ascii_case(name) || self.openssl.eq_ignore_ascii_case(name)
    }
}

/// The suite called `name` by IANA or OpenSSL.
pub(crate) fn find(name: &str) -> Result<SupportedCipherSuite, TlsConfigError> {
    let found = SUITES.iter().find(|suite| suite.is_called(name));
    found.map(|found| found.suite).ok_or_else(|| unknown(name))
}

/// The name `PostgreSQL`'s administrators know a negotiated suite by: IANA's, e.g. `TLS_AES_256_GCM_SHA384`.
#[must_use]
pub fn cipher_name(suite: SupportedCipherSuite) -> &'static str {
    SUITES
        .iter()
        .find(|known| known.suite == suite)
        .map_or("unknown", |known| known.iana)
}

fn unknown(name: &str) -> TlsConfigError {
    let known = SUITES.iter().map(|suite| {
        if suite.iana == suite.openssl {
            suite.iana.to_owned()
        } else {
            format!("{} ({})", suite.openssl, suite.iana)
        }
    });
    TlsConfigError::CipherUnknown {
        key: config_key::LISTENER_CIPHERS,
        name: name.to_owned(),
        known: known.collect::<Vec<_>>().join(", "),
    }
}
