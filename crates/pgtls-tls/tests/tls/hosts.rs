//! Identities by server name, and what is said about their rows.

use pgtls_testkit::{CertificateSpec, KeyKind};
use pgtls_tls::options::{HostTlsOptions, ListenerTlsOptions, NoServerName};
use rustls::pki_types::CertificateDer;

use crate::observer::{Shelf, Stored, host_of, inspected, listener_of, problems, shown};

fn leaf_for(options: &ListenerTlsOptions, name: &str) -> CertificateDer<'static> {
    shown(options, name).unwrap().chain[0].clone()
}

/// A listener for others, a row for `a.example` and one for a wildcard around it.
fn three(shelf: &Shelf) -> ([Stored; 3], ListenerTlsOptions) {
    let own = shelf.issue("own", &CertificateSpec::server(&["other.test"]));
    let exact = shelf.issue("exact", &CertificateSpec::server(&["a.example"]));
    let wildcard = shelf.issue("wildcard", &CertificateSpec::server(&["*.example"]));
    let options = ListenerTlsOptions {
        hosts: vec![
            host_of(&["*.example"], &[&wildcard]),
            host_of(&["A.example"], &[&exact]),
        ],
        ..listener_of(&[&own])
    };
    ([own, exact, wildcard], options)
}

#[test]
fn the_server_name_picks_the_identity() {
    let shelf = Shelf::new();
    let ([own, exact, wildcard], options) = three(&shelf);
    for (name, stored) in [
        ("a.example", &exact),
        ("A.EXAMPLE", &exact),
        ("b.example", &wildcard),
        ("a.b.example", &own),
        ("other.test", &own),
        ("127.0.0.1", &own),
    ] {
        assert_eq!(leaf_for(&options, name), stored.issued.cert_der, "{name}");
    }
}

#[test]
fn rsa_and_ecdsa_stand_side_by_side_in_a_row() {
    let shelf = Shelf::new();
    let spec = CertificateSpec::server(&["a.example"]);
    let rsa = shelf.issue("rsa", &spec.clone().with_key(KeyKind::Rsa2048));
    let ecdsa = shelf.issue("ecdsa", &spec);
    let options = ListenerTlsOptions {
        hosts: vec![host_of(&["a.example"], &[&rsa, &ecdsa])],
        ..ListenerTlsOptions::default()
    };
    assert_eq!(leaf_for(&options, "a.example"), rsa.issued.cert_der);
    assert_eq!(inspected(&options).identities.len(), 2);
}

#[test]
fn a_hello_that_no_identity_is_meant_for_is_refused() {
    let shelf = Shelf::new();
    let ([own, ..], mut options) = three(&shelf);
    options.no_server_name = NoServerName::Refuse;
    assert!(shown(&options, "127.0.0.1").is_err());
    assert_eq!(leaf_for(&options, "unknown.test"), own.issued.cert_der);
    options.no_server_name = NoServerName::Default;
    options.cert_files.clear();
    options.key_files.clear();
    assert!(shown(&options, "127.0.0.1").is_err());
    assert!(shown(&options, "unknown.test").is_err());
    assert!(shown(&options, "a.example").is_ok());
}

#[test]
fn problems_of_a_row_are_placed_in_it_and_come_together() {
    let shelf = Shelf::new();
    let ([own, exact, _], mut options) = three(&shelf);
    options.hosts[1].key_files = vec![own.files.key_file];
    options.hosts.push(HostTlsOptions {
        cert_files: vec![exact.files.cert_file, "/nowhere.crt".into()],
        key_files: vec![exact.files.key_file],
        ..HostTlsOptions::default()
    });
    let found = problems(&options);
    let places: Vec<_> = found
        .iter()
        .map(|(path, code, _)| (path.as_str(), *code))
        .collect();
    assert_eq!(
        places,
        [
            ("listener.host[1].ssl_key_file", "PGTLS_TLS_KEY_MISMATCH"),
            ("listener.host[2].ssl_key_file", "PGTLS_TLS_CONFIG_INVALID"),
        ]
    );
}

#[test]
fn a_row_without_a_certificate_is_a_problem() {
    let options = ListenerTlsOptions {
        hosts: vec![host_of(&["a.example"], &[])],
        ..ListenerTlsOptions::default()
    };
    assert_eq!(problems(&options)[0].0, "listener.host[0].ssl_cert_file");
}

#[test]
fn a_certificate_that_does_not_cover_its_names_is_a_warning() {
    let shelf = Shelf::new();
    let (_, mut options) = three(&shelf);
    assert_eq!(inspected(&options).warnings, []);
    options.hosts[1].hostnames = ["a.example", "c.example", "*.example"]
        .map(str::to_owned)
        .into();
    let inspection = inspected(&options);
    assert!(inspection.problems.is_empty());
    let warned: Vec<_> = inspection
        .warnings
        .iter()
        .map(|warning| {
            (
                warning.path.as_str(),
                warning.message.contains("it names a.example"),
            )
        })
        .collect();
    assert_eq!(warned, [("listener.host[1].hostname", true); 2]);
    assert!(inspection.warnings[1].message.contains("\"*.example\""));
}

#[test]
fn an_inspection_tells_each_identity_with_its_place_and_names() {
    let shelf = Shelf::new();
    let (_, options) = three(&shelf);
    let identities = inspected(&options).identities;
    let told: Vec<_> = identities
        .iter()
        .map(|one| (one.path.as_str(), one.hostnames.join(" ")))
        .collect();
    assert_eq!(
        told,
        [
            ("listener.ssl_cert_file[0]", String::new()),
            ("listener.host[0].ssl_cert_file[0]", "*.example".to_owned()),
            ("listener.host[1].ssl_cert_file[0]", "A.example".to_owned()),
        ]
    );
}
