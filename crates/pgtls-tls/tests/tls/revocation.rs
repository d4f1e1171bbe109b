//! Certificate revocation lists, on both legs: what is refused, with which reason, alert and words.

use std::path::PathBuf;

use pgtls_tls::client_config::build_client_config;
use pgtls_tls::dated::{DatedKind, dated_files};
use pgtls_tls::options::{
    BackendTlsOptions, BackendVerification, ClientCertificate, ListenerTlsOptions, RootCert,
    TlsVersion,
};
use pgtls_tls::server_config::build_server_config;
use rcgen::{
    Certificate, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CrlDistributionPoint, CrlIssuingDistributionPoint, CrlScope, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls_pki_types::pem::PemObject as _;

use crate::support::{
    Authority, Directory, Files, authority_params, connect, leaf_params, listener, named, pem,
};

/// An authority that may sign lists, an intermediate below it, and a directory for files.
struct Lists {
    directory: Directory,
    root: Authority,
    intermediate: Authority,
    ca_file: PathBuf,
    server: Files,
}

/// When a list is from, and how long it holds.
#[derive(Clone, Copy)]
enum Dates {
    Current,
    Older,
    Expired,
}

fn signing_params(name: &str) -> CertificateParams {
    let mut params = authority_params(name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Lists {
    fn new() -> Self {
        let directory = Directory::new();
        let root =
            CertifiedIssuer::self_signed(signing_params("Root"), KeyPair::generate().unwrap())
                .unwrap();
        let intermediate = CertifiedIssuer::signed_by(
            signing_params("Intermediate"),
            KeyPair::generate().unwrap(),
            &root,
        )
        .unwrap();
        let ca_file = directory.write("ca.crt", &root.pem());
        let key = KeyPair::generate().unwrap();
        let mut params = leaf_params(&["db.example"]);
        params.serial_number = Some(SerialNumber::from(77_u64));
        let certificate = params.signed_by(&key, &root).unwrap();
        let server = Files {
            certificate: directory.write("server.crt", &certificate.pem()),
            key: directory.write("server.key", &key.serialize_pem()),
        };
        Self {
            directory,
            root,
            intermediate,
            ca_file,
            server,
        }
    }

    /// A client certificate with this serial number, below the root or the intermediate.
    fn client(&self, name: &str, serial: u64, issuer: &Authority) -> Files {
        let key = KeyPair::generate().unwrap();
        let mut params = named(name);
        params.serial_number = Some(SerialNumber::from(serial));
        let certificate: Certificate = params.signed_by(&key, issuer).unwrap();
        let chain = certificate.pem() + &self.intermediate.pem();
        Files {
            certificate: self.directory.write(&format!("{name}.crt"), &chain),
            key: self
                .directory
                .write(&format!("{name}.key"), &key.serialize_pem()),
        }
    }

    fn listening(&self, crl: &str) -> ListenerTlsOptions {
        ListenerTlsOptions {
            client_certificate: ClientCertificate::Require,
            ca_file: Some(self.ca_file.clone()),
            crl_file: Some(self.directory.write("crl.pem", crl)),
            ..listener(&[&self.server])
        }
    }

    fn showing(&self, files: &Files, version: TlsVersion) -> BackendTlsOptions {
        BackendTlsOptions {
            verification: BackendVerification::Ca,
            root_cert: Some(RootCert::File(self.ca_file.clone())),
            cert_file: Some(files.certificate.clone()),
            key_file: Some(files.key.clone()),
            min_version: version,
            max_version: Some(version),
            ..BackendTlsOptions::default()
        }
    }

    /// What the listener says of a client: reason and alert, or "accepted".
    fn judged(&self, crl: &str, client: &Files) -> (&'static str, Option<&'static str>) {
        let options = self.listening(crl);
        let mut judgements = [TlsVersion::Tls12, TlsVersion::Tls13].map(|version| {
            match connect(&options, &self.showing(client, version), "db.example") {
                Ok(_) => ("accepted", None),
                Err(failed) => failed.server_labels(),
            }
        });
        judgements.sort_unstable();
        assert_eq!(judgements[0], judgements[1], "both versions agree");
        judgements[0]
    }
}

/// A list in PEM that revokes these serial numbers.
fn list(issuer: &Authority, revoked: &[u64], dates: Dates) -> String {
    list_of(issuer, revoked, dates, None)
}

fn list_of(
    issuer: &Authority,
    revoked: &[u64],
    dates: Dates,
    issuing_distribution_point: Option<CrlIssuingDistributionPoint>,
) -> String {
    let (this_update, next_update) = match dates {
        Dates::Current => (date_time_ymd(2024, 1, 1), date_time_ymd(2124, 1, 1)),
        Dates::Older => (date_time_ymd(2023, 1, 1), date_time_ymd(2124, 1, 1)),
        Dates::Expired => (date_time_ymd(2024, 1, 1), date_time_ymd(2024, 2, 1)),
    };
    let params = CertificateRevocationListParams {
        this_update,
        next_update,
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point,
        revoked_certs: revoked
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
    params.signed_by(issuer).unwrap().pem().unwrap()
}

const ACCEPTED: (&str, Option<&str>) = ("accepted", None);
const REVOKED: (&str, Option<&str>) = ("revoked", Some("certificate_revoked"));
const UNKNOWN: (&str, Option<&str>) = ("unknown_revocation", Some("unknown_ca"));

#[test]
fn a_revoked_client_certificate_is_refused_and_others_are_not() {
    let lists = Lists::new();
    let (alice, bob) = (
        lists.client("alice", 1, &lists.root),
        lists.client("bob", 2, &lists.root),
    );
    let crl = list(&lists.root, &[1, 9], Dates::Current);
    assert_eq!(lists.judged(&crl, &alice), REVOKED);
    assert_eq!(lists.judged(&crl, &bob), ACCEPTED);
    assert_eq!(
        lists.judged(&list(&lists.root, &[], Dates::Current), &alice),
        ACCEPTED
    );
}

#[test]
fn an_expired_list_lets_nobody_in() {
    let lists = Lists::new();
    let bob = lists.client("bob", 2, &lists.root);
    assert_eq!(
        lists.judged(&list(&lists.root, &[], Dates::Expired), &bob),
        UNKNOWN
    );
}

#[test]
fn the_newest_list_of_an_issuer_counts_wherever_it_stands() {
    let lists = Lists::new();
    let alice = lists.client("alice", 1, &lists.root);
    let newer = list(&lists.root, &[1], Dates::Current);
    let older = list(&lists.root, &[], Dates::Older);
    assert_eq!(lists.judged(&(older.clone() + &newer), &alice), REVOKED);
    assert_eq!(lists.judged(&(newer + &older), &alice), REVOKED);
}

#[test]
fn every_certificate_below_the_root_needs_a_list_of_its_issuer() {
    let lists = Lists::new();
    let carol = lists.client("carol", 3, &lists.intermediate);
    let of_root = list(&lists.root, &[], Dates::Current);
    let of_intermediate = list(&lists.intermediate, &[], Dates::Current);
    assert_eq!(lists.judged(&of_root, &carol), UNKNOWN);
    let both = of_root.clone() + &of_intermediate;
    assert_eq!(lists.judged(&both, &carol), ACCEPTED);
    let revoking = of_root + &list(&lists.intermediate, &[3], Dates::Current);
    assert_eq!(lists.judged(&revoking, &carol), REVOKED);
}

#[test]
fn a_list_that_another_key_signed_proves_nothing() {
    let lists = Lists::new();
    let impostor =
        CertifiedIssuer::self_signed(signing_params("Root"), KeyPair::generate().unwrap()).unwrap();
    let bob = lists.client("bob", 2, &lists.root);
    assert_eq!(
        lists.judged(&list(&impostor, &[], Dates::Current), &bob),
        UNKNOWN
    );
}

#[test]
fn a_trusted_self_signed_leaf_needs_a_list_too() {
    let lists = Lists::new();
    let key = KeyPair::generate().unwrap();
    let certificate = named("own").self_signed(&key).unwrap();
    let own = Files {
        certificate: lists.directory.write("own.crt", &certificate.pem()),
        key: lists.directory.write("own.key", &key.serialize_pem()),
    };
    let mut options = lists.listening(&list(&lists.root, &[], Dates::Current));
    let both = lists.root.pem() + &certificate.pem();
    options.ca_file = Some(lists.directory.write("both.crt", &both));
    let backend = lists.showing(&own, TlsVersion::Tls13);
    let failed = connect(&options, &backend, "db.example").unwrap_err();
    assert_eq!(failed.server_labels(), UNKNOWN);
    options.crl_file = None;
    assert!(connect(&options, &backend, "db.example").is_ok());
}

#[test]
fn a_revoked_backend_certificate_is_refused() {
    let lists = Lists::new();
    let options = listener(&[&lists.server]);
    for (revoked, dates, expected) in [
        (&[77][..], Dates::Current, Some(REVOKED)),
        (&[], Dates::Current, None),
        (&[], Dates::Expired, Some(UNKNOWN)),
    ] {
        let crl = list(&lists.root, revoked, dates);
        let backend = BackendTlsOptions {
            verification: BackendVerification::Full,
            root_cert: Some(RootCert::File(lists.ca_file.clone())),
            crl_file: Some(lists.directory.write("backend-crl.pem", &crl)),
            ..BackendTlsOptions::default()
        };
        let refusal = connect(&options, &backend, "db.example").err();
        assert_eq!(refusal.map(|failed| failed.client_labels()), expected);
    }
}

#[test]
fn a_file_of_lists_that_cannot_be_used_is_an_error_with_its_key() {
    let lists = Lists::new();
    let stranger =
        CertifiedIssuer::self_signed(signing_params("Stranger"), KeyPair::generate().unwrap())
            .unwrap();
    let good = list(&lists.root, &[], Dates::Current);
    let cut = good.split_at(good.len() / 2).0;
    let garbled = good.replacen("MI", "MJ", 1);
    for (text, words) in [
        ("", "contains no certificate revocation list"),
        (garbled.as_str(), "CRL 1 in the file cannot be used"),
        (cut, "is not valid PEM"),
        (
            &list(&stranger, &[], Dates::Current),
            "only CRLs of issuers that are not among the trusted CAs (CN=Stranger)",
        ),
    ] {
        let error = build_server_config(&lists.listening(text)).unwrap_err();
        assert_eq!(error.key(), "listener.ssl_crl_file");
        assert_eq!(error.code(), "PGTLS_TLS_CERTIFICATE_INVALID");
        assert!(error.to_string().contains(words), "{error}");
        let backend = BackendTlsOptions {
            verification: BackendVerification::Ca,
            root_cert: Some(RootCert::File(lists.ca_file.clone())),
            crl_file: Some(lists.directory.write("crl.pem", text)),
            ..BackendTlsOptions::default()
        };
        let error = build_client_config(&backend).unwrap_err();
        assert_eq!(error.key(), "backend.sslcrl");
        assert!(error.to_string().contains(words), "{error}");
    }
    let mut missing = lists.listening(&good);
    missing.crl_file = Some(lists.directory.path("nowhere.pem"));
    let error = build_server_config(&missing).unwrap_err();
    assert_eq!(error.key(), "listener.ssl_crl_file");
}

#[test]
fn lists_need_a_file_of_authorities() {
    let lists = Lists::new();
    let crl = list(&lists.root, &[], Dates::Current);
    let mut options = lists.listening(&crl);
    options.client_certificate = ClientCertificate::None;
    let error = build_server_config(&options).unwrap_err();
    assert!(error.to_string().contains("set ssl_ca_file"), "{error}");
    for root_cert in [None, Some(RootCert::System)] {
        let is_system = root_cert.is_some();
        let backend = BackendTlsOptions {
            verification: if is_system {
                BackendVerification::Full
            } else {
                BackendVerification::None
            },
            root_cert,
            crl_file: options.crl_file.clone(),
            ..BackendTlsOptions::default()
        };
        // Where the system has no roots, that comes first.
        if let Err(error) = build_client_config(&backend) {
            assert!(
                error.to_string().contains("sslrootcert to a PEM file"),
                "{error}"
            );
        } else {
            panic!("lists without authorities were accepted");
        }
    }
}

#[test]
fn the_dates_of_authorities_and_lists_are_told() {
    let lists = Lists::new();
    let crl = list(&lists.root, &[], Dates::Expired);
    let entries = dated_files(Some(&lists.listening(&crl)), None);
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry.key, entry.kind, entry.subject.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("listener.ssl_ca_file", DatedKind::Authority, "CN=Root"),
            (
                "listener.ssl_crl_file",
                DatedKind::RevocationList,
                "CN=Root"
            ),
        ]
    );
    assert_eq!(entries[1].until, 1_706_745_600);
}

/// A second root of the same name, as after a change of the authority's key; both are trusted.
fn renew(lists: &mut Lists, key: KeyPair) -> Authority {
    let renewed = CertifiedIssuer::self_signed(signing_params("Root"), key).unwrap();
    let both = lists.root.pem() + &renewed.pem();
    lists.ca_file = lists.directory.write("both.crt", &both);
    renewed
}

#[test]
fn the_lists_of_an_authority_count_for_the_key_that_signed_them() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
        let mut lists = Lists::new();
        let renewed = renew(&mut lists, KeyPair::generate_for(algorithm).unwrap());
        let before = lists.client("before", 1, &lists.root);
        let behind = lists.client("behind", 1, &renewed);
        let files = [&before, &behind];
        for dates in [Dates::Older, Dates::Current] {
            let judged = |old: &str, new: &str| {
                let both = [old.to_owned() + new, new.to_owned() + old];
                both.map(|crl| files.map(|client| lists.judged(&crl, client)))
            };
            let of = |issuer: &Authority, revoked: &[u64]| list(issuer, revoked, dates);
            let current = |revoked: &[u64]| list(&renewed, revoked, Dates::Current);
            let (accepted, revoked) = (ACCEPTED, REVOKED);
            let old = of(&lists.root, &[]);
            assert_eq!(judged(&old, &current(&[])), [[accepted, accepted]; 2]);
            assert_eq!(judged(&old, &current(&[1])), [[accepted, revoked]; 2]);
            let old = of(&lists.root, &[1]);
            assert_eq!(judged(&old, &current(&[])), [[revoked, accepted]; 2]);
            assert_eq!(judged(&old, ""), [[revoked, UNKNOWN]; 2]);
            assert_eq!(judged("", &current(&[])), [[UNKNOWN, accepted]; 2]);
        }
    }
}

#[test]
fn a_list_of_a_renewed_authority_that_has_expired_is_not_replaced_by_the_other_keys() {
    let mut lists = Lists::new();
    let renewed = renew(&mut lists, KeyPair::generate().unwrap());
    let behind = lists.client("behind", 1, &renewed);
    let crl = list(&lists.root, &[], Dates::Current) + &list(&renewed, &[], Dates::Expired);
    assert_eq!(lists.judged(&crl, &behind), UNKNOWN);
}

#[test]
fn a_newest_list_that_was_damaged_is_not_replaced_by_an_older_one() {
    let lists = Lists::new();
    let bob = lists.client("bob", 2, &lists.root);
    let newest = list(&lists.root, &[2], Dates::Current);
    let mut der = rustls_pki_types::CertificateRevocationListDer::from_pem_slice(newest.as_bytes())
        .unwrap()
        .to_vec();
    *der.last_mut().unwrap() ^= 1;
    let damaged = pem("X509 CRL", &der);
    let older = list(&lists.root, &[], Dates::Older);
    assert_eq!(lists.judged(&older, &bob), ACCEPTED);
    assert_eq!(lists.judged(&(damaged + &older), &bob), UNKNOWN);
}

/// A key that its predecessor signed: both have one name, and only the old one is a root.
struct Succession {
    lists: Lists,
    successor: Authority,
}

/// The serial number of the successor's certificate.
const SUCCESSOR: u64 = 5;

impl Succession {
    fn with_usages(usages: Vec<KeyUsagePurpose>) -> Self {
        let lists = Lists::new();
        let mut params = signing_params("Root");
        params.serial_number = Some(SerialNumber::from(SUCCESSOR));
        params.key_usages = usages;
        let key = KeyPair::generate().unwrap();
        let successor = CertifiedIssuer::signed_by(params, key, &lists.root).unwrap();
        Self { lists, successor }
    }

    fn new() -> Self {
        Self::with_usages(vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign])
    }

    /// A client of the successor's, which sends the given certificates along.
    fn client(&self, name: &str, issuer: &Authority, above: &[&Authority]) -> Files {
        let files = self.lists.client(name, 1, issuer);
        let leaf = std::fs::read_to_string(&files.certificate).unwrap();
        let end = "-----END CERTIFICATE-----";
        let leaf = leaf.split_inclusive(end).next().unwrap().to_owned();
        let above: Vec<_> = above.iter().map(|authority| authority.pem()).collect();
        let chain = [leaf, "\n".to_owned(), above.concat()].concat();
        Files {
            certificate: self.lists.directory.write(&format!("{name}.crt"), &chain),
            ..files
        }
    }

    /// Judged by the lists of the old key and the new one, whatever their order.
    fn judged(&self, old: &str, new: &str, client: &Files) -> (&'static str, Option<&'static str>) {
        let orders = [old.to_owned() + new, new.to_owned() + old];
        let [one, other] = orders.map(|crl| self.lists.judged(&crl, client));
        assert_eq!(one, other, "the order of the file means nothing");
        one
    }
}

#[test]
fn a_key_that_its_predecessor_signed_is_looked_up_in_the_predecessors_list() {
    let succession = Succession::new();
    let Succession { lists, successor } = &succession;
    let client = succession.client("client", successor, &[successor]);
    for dates in [Dates::Older, Dates::Current] {
        let old = |revoked: &[u64]| list(&lists.root, revoked, dates);
        let new = |revoked: &[u64]| list(successor, revoked, Dates::Current);
        let judged = |old: &str, new: &str| succession.judged(old, new, &client);
        assert_eq!(judged(&old(&[]), &new(&[])), ACCEPTED);
        // The leaf's number in its own issuer's list, and in the other.
        assert_eq!(judged(&old(&[]), &new(&[1])), REVOKED);
        assert_eq!(judged(&old(&[1]), &new(&[])), ACCEPTED);
        // The same of the successor's number.
        assert_eq!(judged(&old(&[SUCCESSOR]), &new(&[])), REVOKED);
        assert_eq!(judged(&old(&[]), &new(&[SUCCESSOR])), ACCEPTED);
    }
}

#[test]
fn each_key_of_a_succession_needs_a_list_of_its_own_that_holds() {
    let succession = Succession::new();
    let Succession { lists, successor } = &succession;
    let client = succession.client("client", successor, &[successor]);
    let (old, new) = (&lists.root, successor);
    let current = |issuer: &Authority| list(issuer, &[], Dates::Current);
    let expired = |issuer: &Authority| list(issuer, &[], Dates::Expired);
    let judged = |old: &str, new: &str| succession.judged(old, new, &client);
    // Two lists of one key and none of the other, one alone, and one that has expired.
    let older = |issuer: &Authority| list(issuer, &[], Dates::Older);
    assert_eq!(judged(&current(old), &older(old)), UNKNOWN);
    assert_eq!(judged(&current(new), &older(new)), UNKNOWN);
    assert_eq!(judged(&current(old), ""), UNKNOWN);
    assert_eq!(judged("", &current(new)), UNKNOWN);
    assert_eq!(judged(&expired(old), &current(new)), UNKNOWN);
    assert_eq!(judged(&current(old), &expired(new)), UNKNOWN);
    // The newest of a key counts, and an expired one is not replaced by an older one.
    let newest_revokes = list(old, &[SUCCESSOR], Dates::Current) + &older(old);
    assert_eq!(judged(&newest_revokes, &current(new)), REVOKED);
    let newest_expired = expired(old) + &older(old);
    assert_eq!(judged(&newest_expired, &current(new)), UNKNOWN);
}

#[test]
fn what_is_signed_below_a_successor_is_looked_up_key_by_key() {
    let succession = Succession::new();
    let Succession { lists, successor } = &succession;
    let mut params = signing_params("Below");
    params.serial_number = Some(SerialNumber::from(9_u64));
    let key = KeyPair::generate().unwrap();
    let below = CertifiedIssuer::signed_by(params, key, successor).unwrap();
    let client = succession.client("client", &below, &[&below, successor]);
    let of = |issuer: &Authority, revoked: &[u64]| list(issuer, revoked, Dates::Current);
    let judged = |old: &[u64], new: &[u64], leaf: &[u64]| {
        let new = of(successor, new) + &of(&below, leaf);
        succession.judged(&of(&lists.root, old), &new, &client)
    };
    assert_eq!(judged(&[], &[], &[]), ACCEPTED);
    assert_eq!(judged(&[9], &[SUCCESSOR], &[]), ACCEPTED);
    assert_eq!(judged(&[SUCCESSOR], &[], &[]), REVOKED);
    assert_eq!(judged(&[], &[9], &[]), REVOKED);
    assert_eq!(judged(&[], &[], &[1]), REVOKED);
    let without = of(successor, &[]);
    assert_eq!(
        succession.judged(&of(&lists.root, &[]), &without, &client),
        UNKNOWN
    );
}

#[test]
fn a_successor_that_may_not_sign_lists_proves_nothing_by_them() {
    let succession = Succession::with_usages(vec![KeyUsagePurpose::KeyCertSign]);
    let Succession { lists, successor } = &succession;
    let signing = signing_params("Root");
    let mut below = signing_params("Below");
    below.serial_number = Some(SerialNumber::from(9_u64));
    let below = CertifiedIssuer::signed_by(below, KeyPair::generate().unwrap(), successor).unwrap();
    let client = succession.client("client", &below, &[&below, successor]);
    // rcgen signs no list for an authority that may not: the same key with other usages does.
    let key = KeyPair::from_pem(&successor.key().serialize_pem()).unwrap();
    let lawless = CertifiedIssuer::self_signed(signing, key).unwrap();
    let of = |issuer: &Authority| list(issuer, &[], Dates::Current);
    let new = of(&lawless) + &of(&below);
    assert_eq!(succession.judged(&of(&lists.root), &new, &client), UNKNOWN);
}

#[test]
fn a_list_for_a_distribution_point_says_nothing_of_a_successor_nor_does_an_older_one_beside_it() {
    let succession = Succession::new();
    let Succession { lists, successor } = &succession;
    let client = succession.client("client", successor, &[successor]);
    let new = list(successor, &[], Dates::Current);
    let point = |scope| CrlIssuingDistributionPoint {
        distribution_point: CrlDistributionPoint {
            uris: vec!["http://crl.example/root.crl".to_owned()],
        },
        scope: Some(scope),
    };
    for scope in [CrlScope::CaCertsOnly, CrlScope::UserCertsOnly] {
        let old = list_of(
            &lists.root,
            &[SUCCESSOR],
            Dates::Current,
            Some(point(scope)),
        );
        let older = list(&lists.root, &[], Dates::Older);
        for old in [old.clone(), old + &older] {
            assert_eq!(succession.judged(&old, &new, &client), UNKNOWN);
        }
    }
}
