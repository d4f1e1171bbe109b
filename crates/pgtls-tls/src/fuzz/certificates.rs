//! What peers' certificates and what is said about them are read from: DER, OCSP responses, revocation lists.

use std::mem::discriminant;
use std::sync::Arc;

use pgtls_testkit::fuzz::Fuzz;
use pgtls_testkit::{CertificateSpec, Issued, KeyKind, OcspAnswer, OcspHash, OcspStatus, TestCa};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, SigningKey as _,
    date_time_ymd,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{InputFile, pem};
use crate::chain::{Purpose, Roots};
use crate::channel_binding::server_end_point;
use crate::der::{Reader, tag};
use crate::leaf::{LeafInfo, parse};
use crate::name_check::check_name;
use crate::ocsp::{CertStatus, OcspResponse};
use crate::revocation::Revocation;
use crate::staple::Staple;
use crate::stapled_revocation::revocation_time;
use crate::user_map::system_users;

/// Pieces of DER that the readers look for.
const WORDS: &[&[u8]] = &[
    &[0x30, 0x80],
    &[0x30, 0x00],
    &[0x30, 0x82, 0x01, 0x00],
    &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
    &[0xa0, 0x03, 0x02, 0x01, 0x02],
    &[0x05, 0x00],
    &[0x0a, 0x01, 0x00],
    &[0x80, 0x00],
    &[0x82, 0x00],
    &[0x06, 0x03, 0x55, 0x1d, 0x11],
    b"\x18\x0f20300101000000Z",
    b"\x17\x0d300101000000Z",
];

fn leaf(ca: &TestCa) -> Issued {
    ca.issue(&CertificateSpec::localhost())
}

/// Counts what is in an element, and in what is in that; `whole` is made of tag, length and content.
fn count_elements(bytes: &[u8], depth: usize) -> usize {
    let mut reader = Reader::new(bytes);
    let (mut count, mut taken) = (0, 0);
    while let Some(element) = reader.next() {
        assert!(element.whole.ends_with(element.body) && element.whole[0] == element.tag);
        assert_eq!(element.whole, &bytes[taken..taken + element.whole.len()]);
        assert!((2..=5).contains(&(element.whole.len() - element.body.len())));
        taken += element.whole.len();
        count += 1;
        if depth > 0 && element.tag & 0x20 != 0 {
            count += count_elements(element.body, depth - 1);
        }
    }
    assert_eq!(reader.is_empty(), taken == bytes.len());
    count
}

#[test]
fn elements_of_der_lie_one_behind_the_other() {
    let ca = TestCa::new("DER CA");
    let leaf = leaf(&ca);
    let ocsp = ca.ocsp_response(&leaf, &OcspAnswer::now(OcspStatus::Good));
    let corpus = [leaf.cert_der.to_vec(), ocsp, vec![0x02, 0x01, 0x07]];
    Fuzz::new("der", 60_000)
        .from(corpus)
        .with_words(WORDS)
        .run(|input| {
            let only = Reader::only(input, tag::SEQUENCE).is_some();
            let mut reader = Reader::new(input);
            if let Some(number) = reader.unsigned() {
                let digits = number.to_be_bytes();
                let body = Reader::new(input).take(tag::INTEGER).unwrap();
                let significant = crate::der::without_leading_zeros(&digits);
                assert_eq!(crate::der::without_leading_zeros(body), significant);
            }
            let bits = Reader::new(input).whole_bytes().is_some();
            (only, bits, count_elements(input, 12).min(64))
        });
}

fn answers(ca: &TestCa, leaf: &Issued) -> Vec<Vec<u8>> {
    let statuses = [
        OcspStatus::Good,
        OcspStatus::Revoked(1_700_000_000),
        OcspStatus::Unknown,
    ];
    let mut answers: Vec<_> = statuses
        .iter()
        .flat_map(|&status| {
            OcspHash::ALL.map(|hash| OcspAnswer {
                hash,
                ..OcspAnswer::now(status)
            })
        })
        .collect();
    answers.push(OcspAnswer {
        next_update_seconds: None,
        has_padded_serial: true,
        ..OcspAnswer::now(OcspStatus::Good)
    });
    let answers = answers.iter().map(|answer| ca.ocsp_response(leaf, answer));
    answers.chain([vec![0x30, 3, 0x0a, 1, 6]]).collect()
}

#[test]
fn a_staple_says_of_our_certificate_what_it_says() {
    let ca = TestCa::new("Staple CA");
    let leaf = leaf(&ca);
    let chain = [leaf.cert_der.clone(), ca.cert_der().clone()];
    Fuzz::new("staple", 40_000)
        .from(answers(&ca, &leaf))
        .with_words(WORDS)
        .run(|input| {
            let response = OcspResponse::parse(input);
            let staple = Staple::parse(input.to_vec(), &chain);
            match (response, staple) {
                (Ok(response), Ok(staple)) => {
                    assert_eq!(staple.der, input);
                    let said = response
                        .responses
                        .iter()
                        .map(|single| (single.status, single.this_update, single.next_update));
                    let told = (staple.status, staple.this_update, staple.next_update);
                    assert!(said.into_iter().any(|said| said == told));
                    let _ = (staple.is_current(i64::MAX), staple.is_current(i64::MIN));
                    (
                        0,
                        response.responses.len().min(4),
                        Some(discriminant(&staple.status)),
                    )
                }
                (Ok(response), Err(_)) => (1, response.certificates.len().min(4), None),
                (Err(error), Err(_)) => (
                    2,
                    usize::from(error == crate::ocsp::OcspError::Malformed),
                    None,
                ),
                (Err(error), Ok(_)) => panic!("a staple that is no response: {error}"),
            }
        });
}

#[test]
fn only_what_the_issuer_signed_revokes_a_backends_certificate() {
    let ca = TestCa::new("Stapling CA");
    let leaf = leaf(&ca);
    let issuers = [ca.cert_der()];
    let algorithms = default_provider().signature_verification_algorithms;
    let now = UnixTime::now();
    let corpus = answers(&ca, &leaf);
    let signed = |der: &[u8]| {
        OcspResponse::parse(der)
            .ok()
            .map(|response| response.signed)
    };
    let genuine: Vec<_> = corpus.iter().filter_map(|der| signed(der)).collect();
    Fuzz::new("stapled-revocation", 6_000)
        .from(corpus)
        .with_words(WORDS)
        .run(|input| {
            let at = revocation_time(input, &leaf.cert_der, &issuers, now, &algorithms);
            if let Some(at) = at {
                assert_eq!(at, 1_700_000_000);
                assert!(
                    genuine.contains(&signed(input).unwrap()),
                    "nobody signed this"
                );
            }
            let response = OcspResponse::parse(input).ok();
            let first = response.and_then(|response| Some(response.responses.first()?.status));
            (
                at.is_some(),
                first.map(|status| matches!(status, CertStatus::Revoked { .. })),
            )
        });
}

fn root() -> (CertifiedIssuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Fuzz CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let pem = root.pem();
    (root, pem)
}

fn issued(root: &CertifiedIssuer<'static, KeyPair>, serial: u64) -> CertificateDer<'static> {
    let mut params = CertificateParams::new(vec!["db.example".to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from(serial));
    let key = KeyPair::generate().unwrap();
    params.signed_by(&key, root).unwrap().der().clone()
}

fn list(root: &CertifiedIssuer<'static, KeyPair>, serials: &[u64]) -> Vec<u8> {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2024, 1, 1),
        next_update: date_time_ymd(2124, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: serials
            .iter()
            .map(|&serial| RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2024, 1, 1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(root).unwrap().der().to_vec()
}

#[test]
fn no_change_of_a_revocation_list_lets_a_revoked_certificate_pass() {
    let (root, root_pem) = root();
    let revoked = issued(&root, 5);
    let roots_file = InputFile::new();
    let roots = Roots::from_file("ssl_ca_file", roots_file.hold(root_pem.as_bytes())).unwrap();
    let provider = Arc::new(default_provider());
    let store = roots.store_at(UnixTime::now());
    let file = InputFile::new();
    let corpus = [
        list(&root, &[5]),
        list(&root, &[1, 5, 9]),
        list(&root, &[4, 5]),
    ];
    Fuzz::new("revocation-list", 3_000)
        .from(corpus)
        .with_words(WORDS)
        .run(|input| {
            let text = pem("X509 CRL", input);
            match Revocation::from_file("ssl_crl_file", file.hold(text.as_bytes()), &roots) {
                Err(error) => (
                    0,
                    error
                        .to_string()
                        .chars()
                        .filter(|c| !c.is_ascii_digit())
                        .count(),
                ),
                Ok(lists) => {
                    let now = UnixTime::now();
                    let checked =
                        lists.check(&revoked, &[], Purpose::Server, &store, now, &provider);
                    let why = checked.expect_err("it is revoked");
                    (
                        1,
                        format!("{:?}", discriminant(&why.error)).len()
                            + why.detail.map_or(0, |detail| detail.len()),
                    )
                }
            }
        });
}

/// The same without version and extensions, signed anew.
fn version_one(root: &CertifiedIssuer<'static, KeyPair>, template: &CertificateDer<'_>) -> Vec<u8> {
    let template = parse(template).unwrap();
    let whole: &[u8] = template.tbs_certificate.as_ref();
    let public_key = template.public_key().raw;
    let position = |part: &[u8]| whole.windows(part.len()).position(|found| found == part);
    let begin = position(&[0xa0, 3, 2, 1, 2]).unwrap() + 5;
    let end = position(public_key).unwrap() + public_key.len();
    let element = |tag: u8, content: &[u8]| {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let header = match content.len() {
            0..=127 => vec![tag, length[1]],
            128..=255 => vec![tag, 0x81, length[1]],
            _ => vec![tag, 0x82, length[0], length[1]],
        };
        [header.as_slice(), content].concat()
    };
    let to_be_signed = element(0x30, &whole[begin..end]);
    let signature = root.key().sign(&to_be_signed).unwrap();
    let algorithm = element(0x30, &element(6, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
    let signature = element(3, &[&[0], signature.as_slice()].concat());
    element(0x30, &[to_be_signed, algorithm, signature].concat())
}

#[test]
fn only_what_a_root_signed_is_trusted_whatever_its_version() {
    let (root, root_pem) = root();
    let file = InputFile::new();
    let roots = Roots::from_file("sslrootcert", file.hold(root_pem.as_bytes())).unwrap();
    let provider = Arc::new(default_provider());
    let three = issued(&root, 5);
    let one = version_one(&root, &three);
    let corpus = [three.to_vec(), one, root.der().to_vec()];
    // The signed part, DER's header and all.
    let signed = |der: &[u8]| {
        let der = CertificateDer::from(der);
        let parsed = parse(&der).ok()?;
        Some(parsed.tbs_certificate.as_ref().to_vec())
    };
    let genuine: Vec<_> = corpus.iter().map(|der| signed(der).unwrap()).collect();
    let hosts = ["db.example", "127.0.0.1"].map(|name| ServerName::try_from(name).unwrap());
    Fuzz::new("certificate", 10_000)
        .from(corpus)
        .with_words(WORDS)
        .run(|input| {
            let leaf = CertificateDer::from(input);
            let verified = roots.verify(&leaf, &[], Purpose::Server, UnixTime::now(), &provider);
            if verified.is_ok() {
                assert!(
                    genuine.contains(&signed(input).unwrap()),
                    "no root signed this"
                );
            }
            let info = LeafInfo::from_chain(std::slice::from_ref(&leaf));
            let binding = server_end_point(input);
            if let Some(hash) = &binding {
                assert!(info.is_ok() && matches!(hash.len(), 32 | 48));
            }
            let users = system_users(input);
            assert!(
                users
                    .iter()
                    .all(|user| !user.is_empty() && !user.contains('\0'))
            );
            let named = hosts.each_ref().map(|host| check_name(&leaf, host).is_ok());
            let why = verified.err().map(|error| error.to_string().len().min(60));
            (
                info.is_ok(),
                binding.is_some(),
                users.len().min(4),
                named,
                why,
            )
        });
}

#[test]
fn a_certificate_of_every_kind_of_key_can_be_read() {
    let ca = TestCa::new("Kinds CA");
    let kinds = [
        KeyKind::EcdsaP256,
        KeyKind::EcdsaP384,
        KeyKind::Rsa2048,
        KeyKind::Ed25519,
    ];
    let corpus = kinds.map(|key| {
        let spec = CertificateSpec::server(&["db.example", "*.db.example"]).with_key(key);
        ca.issue(&spec).cert_der.to_vec()
    });
    Fuzz::new("leaf", 30_000)
        .from(corpus)
        .with_words(WORDS)
        .run(|input| {
            let info = LeafInfo::from_chain(&[CertificateDer::from(input)]);
            match info {
                Ok(info) => {
                    let text = format!("{} {} {:?}", info.subject, info.issuer, info.sans);
                    assert!(
                        text.len() < 16 * input.len() + 64,
                        "what is logged is bounded"
                    );
                    assert_eq!(info.sha256.len(), 64);
                    (0, info.sans.len().min(8))
                }
                Err(error) => (1, error.to_string().len().min(64)),
            }
        });
}
