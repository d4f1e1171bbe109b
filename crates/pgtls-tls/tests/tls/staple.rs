//! Stapled OCSP responses of a backend: only a good one that says "revoked" refuses.

use std::sync::Arc;

use ::aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};
use pgtls_tls::client_config::build_client_config;
use pgtls_tls::ocsp::{CertStatus, HashAlgorithm, OcspResponse, ResponderId};
use pgtls_tls::options::BackendVerification;
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, KeyPair, PublicKeyData as _, SerialNumber,
    SigningKey as _,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, ServerConnection};

use crate::support::{Pki, drive, leaf_params, named};

const SERIAL: u64 = 4242;
const PAST: &str = "20240101000000Z";
const FUTURE: &str = "21240101000000Z";

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            bytes.push(0x82);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes.extend(content);
    bytes
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, parts)
}

fn time(text: &str) -> Vec<u8> {
    tlv(0x18, &[text.as_bytes()])
}

/// What a response says.
#[derive(Clone)]
struct Answer {
    status: Vec<u8>,
    serial: u64,
    /// How many needless zeros stand in front of the serial.
    zeros: usize,
    hash: (&'static Algorithm, &'static [u8]),
    this_update: &'static str,
    next_update: Option<&'static str>,
}

fn revoked() -> Answer {
    Answer {
        status: tlv(0xa1, &[&time(PAST)]),
        serial: SERIAL,
        zeros: 0,
        hash: (&SHA1_FOR_LEGACY_USE_ONLY, &[0x2b, 0x0e, 3, 2, 0x1a]),
        this_update: PAST,
        next_update: Some(FUTURE),
    }
}

fn sha1(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
}

/// The issuer's subject, DER, as its certificate has it: a CN in UTF-8.
fn name_of(common_name: &str) -> Vec<u8> {
    let text = tlv(0x0c, &[common_name.as_bytes()]);
    let attribute = sequence(&[&tlv(6, &[&[0x55, 4, 3]]), &text]);
    sequence(&[&tlv(0x31, &[&attribute])])
}

/// A response about a certificate of "Test CA", whose key is `issuer_key`, signed by `signer`.
fn response(
    answer: &Answer,
    issuer_key: &[u8],
    signer: &KeyPair,
    certificates: &[CertificateDer<'_>],
) -> Vec<u8> {
    let (algorithm, oid) = answer.hash;
    let hash = |bytes: &[u8]| tlv(4, &[digest(algorithm, bytes).as_ref()]);
    let serial = answer.serial.to_be_bytes();
    let leading_zeros = serial.iter().take_while(|&&byte| byte == 0).count();
    let cert_id = sequence(&[
        &sequence(&[&tlv(6, &[oid]), &[5, 0]]),
        &hash(&name_of("Test CA")),
        &hash(issuer_key),
        &tlv(2, &[&vec![0; answer.zeros], &serial[leading_zeros..]]),
    ]);
    let next = answer
        .next_update
        .map_or_else(Vec::new, |next| tlv(0xa0, &[&time(next)]));
    let single = sequence(&[&cert_id, &answer.status, &time(answer.this_update), &next]);
    let responder = tlv(0xa2, &[&tlv(4, &[&sha1(signer.der_bytes())])]);
    let data = sequence(&[&responder, &time(PAST), &sequence(&[&single])]);
    // ecdsa-with-SHA256
    let algorithm = sequence(&[&tlv(6, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]])]);
    let signature = tlv(3, &[&[0], &signer.sign(&data).unwrap()]);
    let list: Vec<&[u8]> = certificates.iter().map(AsRef::as_ref).collect();
    let along = if list.is_empty() {
        Vec::new()
    } else {
        tlv(0xa0, &[&sequence(&list)])
    };
    let basic = sequence(&[&data, &algorithm, &signature, &along]);
    let kind = tlv(6, &[&[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]]);
    let bytes = sequence(&[&kind, &tlv(4, &[&basic])]);
    sequence(&[&tlv(0x0a, &[&[0]]), &tlv(0xa0, &[&bytes])])
}

/// A server with a certificate of the authority.
struct Server {
    pki: Pki,
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Server {
    fn new() -> Self {
        let (pki, key) = (Pki::new(), KeyPair::generate().unwrap());
        let mut params = leaf_params(&["db.example"]);
        params.serial_number = Some(SerialNumber::from(SERIAL));
        let leaf = params.signed_by(&key, &pki.authority).unwrap();
        Self {
            pki,
            chain: vec![leaf.der().clone()],
            key,
        }
    }

    fn issuer_key(&self) -> &[u8] {
        self.pki.authority.key().der_bytes()
    }

    /// By the authority itself.
    fn answer(&self, answer: &Answer) -> Vec<u8> {
        response(answer, self.issuer_key(), self.pki.authority.key(), &[])
    }

    /// What a backend leg makes of `staple`: reason and alert, or "accepted".
    fn judged(
        &self,
        staple: Vec<u8>,
        verification: BackendVerification,
    ) -> (&'static str, Option<&'static str>) {
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        let key = aws_lc_rs::sign::any_supported_type(&key.into()).unwrap();
        let mut identity = CertifiedKey::new(self.chain.clone(), key);
        identity.ocsp = Some(staple);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity)));
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        let client = build_client_config(&self.pki.backend(verification)).unwrap();
        let name = "db.example".try_into().unwrap();
        let client = rustls::ClientConnection::new(client.dialling_config(), name).unwrap();
        match drive(client, ServerConnection::new(Arc::new(config)).unwrap()) {
            Ok(_) => ("accepted", None),
            Err(failed) => failed.client_labels(),
        }
    }
}

const ACCEPTED: (&str, Option<&str>) = ("accepted", None);
const REVOKED: (&str, Option<&str>) = ("revoked", Some("certificate_revoked"));

#[test]
fn a_revoked_staple_of_the_issuer_refuses_the_backend_where_it_is_verified() {
    let server = Server::new();
    let staple = server.answer(&revoked());
    for verification in [BackendVerification::Ca, BackendVerification::Full] {
        assert_eq!(server.judged(staple.clone(), verification), REVOKED);
    }
    assert_eq!(
        server.judged(staple, BackendVerification::None),
        ACCEPTED,
        "who verifies nothing looks at no staple"
    );
}

#[test]
fn a_response_without_next_update_counts() {
    let server = Server::new();
    let staple = server.answer(&Answer {
        next_update: None,
        ..revoked()
    });
    assert_eq!(server.judged(staple, BackendVerification::Ca), REVOKED);
}

#[test]
fn a_response_names_the_backend_with_any_hash_and_spelling_of_its_serial() {
    const SHA2: [&[u8]; 3] = [
        &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1],
        &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2],
        &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3],
    ];
    let server = Server::new();
    let hashes = [&SHA256, &SHA384, &SHA512].into_iter().zip(SHA2);
    for hash in hashes.chain([revoked().hash]) {
        for zeros in 0..3 {
            let staple = server.answer(&Answer {
                zeros,
                hash,
                ..revoked()
            });
            assert_eq!(server.judged(staple, BackendVerification::Ca), REVOKED);
        }
    }
    let mislabelled = server.answer(&Answer {
        hash: (&SHA256, SHA2[1]),
        ..revoked()
    });
    assert_eq!(
        server.judged(mislabelled, BackendVerification::Ca),
        ACCEPTED
    );
}

#[test]
fn whatever_else_is_stapled_is_as_good_as_nothing() {
    let server = Server::new();
    let good = tlv(0x80, &[]);
    let unknown = tlv(0x82, &[]);
    let answers = [
        Answer {
            status: good,
            ..revoked()
        },
        Answer {
            status: unknown,
            ..revoked()
        },
        Answer {
            serial: SERIAL + 1,
            ..revoked()
        },
        Answer {
            next_update: Some("20240201000000Z"),
            ..revoked()
        },
        Answer {
            this_update: FUTURE,
            ..revoked()
        },
    ];
    for answer in &answers {
        let staple = server.answer(answer);
        assert_eq!(server.judged(staple, BackendVerification::Full), ACCEPTED);
    }
    let staple = server.answer(&revoked());
    for cut in (1..staple.len()).step_by(7) {
        let part = staple[..cut].to_vec();
        assert_eq!(server.judged(part, BackendVerification::Ca), ACCEPTED);
    }
    let stranger = KeyPair::generate().unwrap();
    let forged = response(&revoked(), server.issuer_key(), &stranger, &[]);
    assert_eq!(server.judged(forged, BackendVerification::Ca), ACCEPTED);
    let of_another_issuer = response(
        &revoked(),
        stranger.der_bytes(),
        server.pki.authority.key(),
        &[],
    );
    assert_eq!(
        server.judged(of_another_issuer, BackendVerification::Ca),
        ACCEPTED
    );
}

fn responder_params(purposes: Vec<ExtendedKeyUsagePurpose>) -> CertificateParams {
    let mut params = named("Responder");
    params.extended_key_usages = purposes;
    params
}

#[test]
fn a_responder_counts_when_the_issuer_certified_it_for_ocsp_signing() {
    let server = Server::new();
    let key = KeyPair::generate().unwrap();
    let authority = &server.pki.authority;
    let mut expired = responder_params(vec![ExtendedKeyUsagePurpose::OcspSigning]);
    expired.not_after = rcgen::date_time_ymd(2001, 1, 1);
    let other = crate::support::authority("Test CA");
    let ocsp = || responder_params(vec![ExtendedKeyUsagePurpose::OcspSigning]);
    for (certificate, expected) in [
        (ocsp().signed_by(&key, authority).unwrap(), REVOKED),
        (
            responder_params(vec![ExtendedKeyUsagePurpose::ServerAuth])
                .signed_by(&key, authority)
                .unwrap(),
            ACCEPTED,
        ),
        (
            responder_params(Vec::new())
                .signed_by(&key, authority)
                .unwrap(),
            ACCEPTED,
        ),
        (expired.signed_by(&key, authority).unwrap(), ACCEPTED),
        (ocsp().signed_by(&key, &other).unwrap(), ACCEPTED),
        (ocsp().self_signed(&key).unwrap(), ACCEPTED),
    ] {
        let along = [certificate.der().clone()];
        let staple = response(&revoked(), server.issuer_key(), &key, &along);
        assert_eq!(server.judged(staple, BackendVerification::Ca), expected);
    }
}

#[test]
fn a_response_is_read_as_it_was_written() {
    let server = Server::new();
    let response = OcspResponse::parse(&server.answer(&revoked())).unwrap();
    assert_eq!(response.produced_at, 1_704_067_200);
    assert!(matches!(response.responder, ResponderId::ByKey(hash) if hash.len() == 20));
    let [single] = response.responses.as_slice() else {
        panic!("one response");
    };
    assert_eq!(single.status, CertStatus::Revoked { at: 1_704_067_200 });
    assert_eq!(single.cert_id.hash_algorithm, HashAlgorithm::Sha1);
    assert_eq!(single.cert_id.issuer_name_hash, sha1(&name_of("Test CA")));
    assert!(single.next_update.is_some());
}

#[test]
fn whatever_byte_is_damaged_a_response_is_read_or_refused() {
    let server = Server::new();
    let intact = server.answer(&revoked());
    for index in 0..intact.len() {
        for damage in [0x00, 0x1f, 0x7f, 0x80, 0x84, 0xff] {
            let mut damaged = intact.clone();
            damaged[index] = damage;
            if let Ok(response) = OcspResponse::parse(&damaged) {
                assert!(!response.responses.is_empty(), "byte {index}");
            }
        }
    }
    let longer = [&intact[..], &[0]].concat();
    assert!(OcspResponse::parse(&longer).is_err());
}
