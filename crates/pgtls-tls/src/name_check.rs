//! verify-full's name check: does a certificate name the host that was dialled?
//!
//! libpq's rules (`fe-secure-common.c`, `fe-secure-openssl.c`; `PostgreSQL` documentation, "SSL Support"): dNSName
//! subjectAltNames compared without regard to case, a `*` standing for exactly one left-most label; iPAddress
//! subjectAltNames for an IP address; the subject's first CN only when no dNSName is there at all (and, for an IP
//! address, no iPAddress either). Pure; reads no clock and no file.

use std::net::IpAddr;

use rustls_pki_types::{CertificateDer, ServerName};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use crate::leaf::{ip_address, parse};

/// The certificate names the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NameMatch {
    /// Only the subject's CN did, because the certificate has no subjectAltName for it: worth a warning.
    pub used_common_name: bool,
}

/// The certificate doesn't name the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameMismatch {
    /// The certificate can't be parsed.
    Unreadable,
    /// It names others.
    Names {
        /// Every name it holds that was compared, `CN=` before a common name.
        presented: Vec<String>,
    },
}

/// Checks that `certificate` names `host`.
pub fn check_name(
    certificate: &CertificateDer<'_>,
    host: &ServerName<'_>,
) -> Result<NameMatch, NameMismatch> {
    let certificate = parse(certificate).map_err(|_| NameMismatch::Unreadable)?;
    let names = PresentedNames::of(&certificate)?;
    if names.alternatives.iter().any(|name| name.names(host)) {
        return Ok(NameMatch {
            used_common_name: false,
        });
    }
    if let Some(common_name) = names.usable_common_name(host)
        && text_names_host(common_name, host)
    {
        return Ok(NameMatch {
            used_common_name: true,
        });
    }
    Err(NameMismatch::Names {
        presented: names.describe(host),
    })
}

/// A subjectAltName of a kind that can name a host.
enum Alternative<'a> {
    Dns(&'a str),
    Ip(&'a [u8]),
}

impl Alternative<'_> {
    fn names(&self, host: &ServerName<'_>) -> bool {
        match self {
            Self::Dns(pattern) => text_names_host(pattern, host),
            Self::Ip(bytes) => {
                host_address(host).is_some_and(|address| ip_address(bytes) == Some(address))
            }
        }
    }
}

struct PresentedNames<'a> {
    alternatives: Vec<Alternative<'a>>,
    common_name: Option<&'a str>,
}

impl<'a> PresentedNames<'a> {
    fn of(certificate: &'a X509Certificate<'_>) -> Result<Self, NameMismatch> {
        let extension = certificate
            .subject_alternative_name()
            .map_err(|_| NameMismatch::Unreadable)?;
        let general_names = extension.map_or(&[][..], |extension| &extension.value.general_names);
        // The parser reports a malformed subjectAltName as an entry; skipping it would open the CN to comparison.
        if general_names
            .iter()
            .any(|name| matches!(name, GeneralName::Invalid(..)))
        {
            return Err(NameMismatch::Unreadable);
        }
        let common_name = certificate.subject().iter_common_name().next();
        Ok(Self {
            alternatives: general_names.iter().filter_map(alternative).collect(),
            common_name: common_name.and_then(|name| name.as_str().ok()),
        })
    }

    /// The CN, unless a subjectAltName takes its place.
    fn usable_common_name(&self, host: &ServerName<'_>) -> Option<&'a str> {
        let is_address = host_address(host).is_some();
        let replaced = self.alternatives.iter().any(|name| match name {
            Alternative::Dns(_) => true,
            Alternative::Ip(_) => is_address,
        });
        self.common_name.filter(|_| !replaced)
    }

    fn describe(&self, host: &ServerName<'_>) -> Vec<String> {
        let alternatives = self.alternatives.iter().map(|name| match name {
            Alternative::Dns(name) => (*name).to_owned(),
            Alternative::Ip(bytes) => ip_address(bytes)
                .map_or_else(|| format!("{bytes:02x?}"), |address| address.to_string()),
        });
        let common_name = self
            .usable_common_name(host)
            .map(|name| format!("CN={name}"));
        alternatives.chain(common_name).collect()
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "no other kind can name a host"
)]
fn alternative<'a>(name: &'a GeneralName<'_>) -> Option<Alternative<'a>> {
    match name {
        GeneralName::DNSName(name) => Some(Alternative::Dns(name)),
        GeneralName::IPAddress(bytes) => Some(Alternative::Ip(bytes)),
        _ => None,
    }
}

fn host_address(host: &ServerName<'_>) -> Option<IpAddr> {
    match host {
        ServerName::IpAddress(address) => Some(IpAddr::from(*address)),
        ServerName::DnsName(_) | _ => None,
    }
}

/// Compares a dNSName or CN with the host; an address is compared as text, and never with a wildcard.
fn text_names_host(presented: &str, host: &ServerName<'_>) -> bool {
    match host {
        ServerName::DnsName(name) => matches_dns_name(presented, name.as_ref()),
        ServerName::IpAddress(address) => presented == IpAddr::from(*address).to_string(),
        _ => false,
    }
}

/// Equality without regard to ASCII case, or a `*.` pattern whose star stands for exactly one label.
///
/// A NUL matches nothing: a host name has none.
fn matches_dns_name(pattern: &str, host: &str) -> bool {
    if pattern.eq_ignore_ascii_case(host) {
        return !pattern.is_empty();
    }
    let Some(suffix) = pattern.strip_prefix("*.") else {
        return false;
    };
    let Some((label, parent)) = host.split_once('.') else {
        return false;
    };
    !suffix.is_empty() && !label.is_empty() && parent.eq_ignore_ascii_case(suffix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType};

    fn certificate(common_name: Option<&str>, sans: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            params
                .distinguished_name
                .push(DnType::CommonName, DnValue::Utf8String(name.to_owned()));
        }
        params.subject_alt_names = sans;
        params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .clone()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    fn ip(address: &str) -> SanType {
        SanType::IpAddress(address.parse().unwrap())
    }

    fn check(certificate: &CertificateDer<'_>, host: &str) -> Result<bool, NameMismatch> {
        let host = ServerName::try_from(host.to_owned()).unwrap();
        check_name(certificate, &host).map(|found| found.used_common_name)
    }

    fn mismatch(names: &[&str]) -> Result<bool, NameMismatch> {
        Err(NameMismatch::Names {
            presented: names.iter().map(|&name| name.to_owned()).collect(),
        })
    }

    #[test]
    fn a_pattern_matches_by_the_rules_of_libpq() {
        let table = [
            ("db.example", "db.example", true),
            ("DB.Example", "db.eXAMPLE", true),
            ("db.example", "db.example.", false),
            ("db.example", "xdb.example", false),
            ("db.example", "db.example.org", false),
            ("*.example", "db.example", true),
            ("*.EXAMPLE", "db.example", true),
            ("*.example", "a.db.example", false),
            ("*.example", "example", false),
            ("*.example", ".example", false),
            ("*.example", "dbexample", false),
            ("*.b.example", "a.b.example", true),
            ("*.b.example", "a.c.example", false),
            ("*", "localhost", false),
            ("*.", "localhost", false),
            ("*.", "localhost.", false),
            ("d*.example", "db.example", false),
            ("*b.example", "db.example", false),
            ("a.*.example", "a.b.example", false),
            ("*.*.example", "a.b.example", false),
            ("**.example", "db.example", false),
            ("db.example\0.evil", "db.example", false),
            ("db.example\0", "db.example", false),
            ("", "", false),
        ];
        for (pattern, host, expected) in table {
            assert_eq!(
                matches_dns_name(pattern, host),
                expected,
                "{pattern:?} for {host:?}"
            );
        }
    }

    #[test]
    fn a_dns_name_is_found_among_several() {
        let certificate = certificate(
            None,
            vec![dns("a.example"), dns("*.b.example"), ip("10.0.0.1")],
        );
        assert_eq!(check(&certificate, "a.example"), Ok(false));
        assert_eq!(check(&certificate, "x.b.example"), Ok(false));
        assert_eq!(
            check(&certificate, "b.example"),
            mismatch(&["a.example", "*.b.example", "10.0.0.1"])
        );
    }

    #[test]
    fn the_common_name_is_ignored_beside_a_dns_name() {
        let certificate = certificate(Some("db.example"), vec![dns("other.example")]);
        assert_eq!(
            check(&certificate, "db.example"),
            mismatch(&["other.example"])
        );
    }

    #[test]
    fn the_common_name_serves_a_certificate_without_dns_names_and_is_noted() {
        let plain = certificate(Some("db.example"), vec![]);
        assert_eq!(check(&plain, "DB.example"), Ok(true));
        assert_eq!(check(&plain, "x.example"), mismatch(&["CN=db.example"]));
        let with_address = certificate(Some("db.example"), vec![ip("10.0.0.1")]);
        assert_eq!(check(&with_address, "db.example"), Ok(true));
        let wildcard = certificate(Some("*.example"), vec![]);
        assert_eq!(check(&wildcard, "db.example"), Ok(true));
        assert_eq!(
            check(&wildcard, "a.db.example"),
            mismatch(&["CN=*.example"])
        );
    }

    #[test]
    fn an_address_needs_an_address_or_its_text() {
        let certificate_of = |sans| certificate(Some("10.0.0.9"), sans);
        assert_eq!(
            check(&certificate_of(vec![ip("10.0.0.1")]), "10.0.0.1"),
            Ok(false)
        );
        assert_eq!(check(&certificate_of(vec![ip("::1")]), "::1"), Ok(false));
        assert_eq!(
            check(&certificate_of(vec![ip("10.0.0.1")]), "10.0.0.2"),
            mismatch(&["10.0.0.1"])
        );
        assert_eq!(
            check(&certificate_of(vec![dns("10.0.0.1")]), "10.0.0.1"),
            Ok(false)
        );
        assert_eq!(
            check(&certificate_of(vec![dns("*.0.0.1")]), "10.0.0.1"),
            mismatch(&["*.0.0.1"])
        );
        assert_eq!(check(&certificate_of(vec![]), "10.0.0.9"), Ok(true));
        assert_eq!(
            check(&certificate_of(vec![ip("10.0.0.1")]), "10.0.0.9"),
            mismatch(&["10.0.0.1"])
        );
        assert_eq!(
            check(&certificate_of(vec![ip("10.0.0.1")]), "db.example"),
            mismatch(&["10.0.0.1", "CN=10.0.0.9"])
        );
    }

    #[test]
    fn no_other_part_of_the_subject_names_a_host() {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "db.example");
        let certificate = params
            .self_signed(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .clone();
        assert_eq!(check(&certificate, "db.example"), mismatch(&[]));
    }

    #[test]
    fn other_kinds_of_alternative_names_name_no_host() {
        let email = SanType::Rfc822Name("db.example".try_into().unwrap());
        let uri = SanType::URI("db.example".try_into().unwrap());
        let certificate = certificate(None, vec![email, uri]);
        assert_eq!(check(&certificate, "db.example"), mismatch(&[]));
    }

    #[test]
    fn garbage_is_unreadable() {
        assert_eq!(
            check(&CertificateDer::from(vec![0x30, 0x00]), "db.example"),
            Err(NameMismatch::Unreadable)
        );
    }
}
