//! What is wrong with options and files, said with key, path and remedy, and all of it at once.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use pgtls_tls::client_config::{BackendHost, build_client_config, server_name};
use pgtls_tls::error::{CODES, TlsConfigError};
use pgtls_tls::inspect::{IdentityRole, inspect};
use pgtls_tls::options::{
    BackendTlsOptions, BackendVerification, ClientCertificate, ListenerTlsOptions, RootCert,
    TlsVersion,
};
use pgtls_tls::server_config::build_server_config;
use rcgen::{KeyPair, PKCS_RSA_SHA256};

use crate::support::{Files, Pki, leaf_params, listener, pem};

/// The single problem of a listener's options: key, code and message.
fn problem(options: &ListenerTlsOptions) -> (&'static str, &'static str, String) {
    let inspection = inspect(Some(options), None, &[]);
    let [problem] = inspection.problems.as_slice() else {
        panic!("expected one problem, not {:?}", inspection.problems);
    };
    let first = build_server_config(options).unwrap_err();
    assert_eq!(first.to_string(), problem.to_string());
    describe(problem)
}

fn describe(problem: &TlsConfigError) -> (&'static str, &'static str, String) {
    assert!(
        CODES.iter().any(|(code, _)| *code == problem.code()),
        "{}",
        problem.code()
    );
    (problem.key(), problem.code(), problem.to_string())
}

#[test]
fn a_private_key_that_others_may_read_is_refused_with_the_kubernetes_remedy() {
    let pki = Pki::new();
    let files = pki.good();
    fs::set_permissions(&files.key, Permissions::from_mode(0o644)).unwrap();
    let (key, code, message) = problem(&listener(&[&files]));
    assert_eq!(
        (key, code),
        ("listener.ssl_key_file", "PGTLS_TLS_KEY_PERMISSIONS")
    );
    assert!(
        message.contains(&files.key.display().to_string()),
        "{message}"
    );
    assert!(
        message.contains("mode 0644") && message.contains("defaultMode: 0440"),
        "{message}"
    );
}

#[test]
fn a_private_key_readable_by_its_group_is_accepted_from_root_only() {
    let pki = Pki::new();
    let files = pki.good();
    let is_root = fs::metadata(&files.key).unwrap().uid() == 0;
    for mode in [0o640, 0o440] {
        fs::set_permissions(&files.key, Permissions::from_mode(mode)).unwrap();
        assert_eq!(build_server_config(&listener(&[&files])).is_ok(), is_root);
    }
}

#[test]
fn a_missing_file_is_named() {
    let pki = Pki::new();
    let mut files = pki.good();
    files.certificate = pki.directory.path("absent.crt");
    let (key, code, message) = problem(&listener(&[&files]));
    assert_eq!(
        (key, code),
        ("listener.ssl_cert_file", "PGTLS_TLS_FILE_UNREADABLE")
    );
    assert!(
        message.contains("absent.crt: cannot be read: No such file"),
        "{message}"
    );
}

#[test]
fn a_directory_is_no_key_file() {
    let pki = Pki::new();
    let mut files = pki.good();
    files.key = pki.directory.path("");
    let (key, code, message) = problem(&listener(&[&files]));
    assert_eq!(
        (key, code),
        ("listener.ssl_key_file", "PGTLS_TLS_FILE_UNREADABLE")
    );
    assert!(message.contains("not a regular file"), "{message}");
}

#[test]
fn exchanged_files_are_noticed() {
    let pki = Pki::new();
    let files = pki.good();
    let exchanged = Files {
        certificate: files.key,
        key: files.certificate,
    };
    let problems = inspect(Some(&listener(&[&exchanged])), None, &[]).problems;
    let messages: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(messages.len(), 2);
    assert!(
        messages[0].contains("contains no certificate"),
        "{messages:?}"
    );
    assert!(
        messages[1].contains("contains no private key"),
        "{messages:?}"
    );
}

#[test]
fn broken_contents_are_told_apart() {
    let pki = Pki::new();
    let cases = [
        ("-----BEGIN CERTIFICATE-----\nMIIB\n", "not valid PEM"),
        (
            "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
            "not valid PEM",
        ),
        (
            &pem("CERTIFICATE", b"no certificate"),
            "certificate 1 in the file cannot be used",
        ),
        ("", "contains no certificate"),
    ];
    for (text, expected) in cases {
        let mut files = pki.good();
        files.certificate = pki.directory.write("broken.crt", text);
        let (key, code, message) = problem(&listener(&[&files]));
        assert_eq!(
            (key, code),
            ("listener.ssl_cert_file", "PGTLS_TLS_CERTIFICATE_INVALID")
        );
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn an_unusable_key_is_told_apart() {
    let pki = Pki::new();
    let cases = [
        (
            pem("ENCRYPTED PRIVATE KEY", b"secret"),
            "encrypted with a passphrase",
        ),
        (pem("PRIVATE KEY", b"no key"), "cannot be used"),
        (String::new(), "contains no private key"),
    ];
    for (text, expected) in cases {
        let mut files = pki.good();
        files.key = pki.directory.write("broken.key", &text);
        let (key, code, message) = problem(&listener(&[&files]));
        assert_eq!(
            (key, code),
            ("listener.ssl_key_file", "PGTLS_TLS_KEY_INVALID")
        );
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let pki = Pki::new();
    let mut files = pki.good();
    files.key = pki.issue("other", &leaf_params(&["db.example"])).key;
    let (key, code, message) = problem(&listener(&[&files]));
    assert_eq!(
        (key, code),
        ("listener.ssl_key_file", "PGTLS_TLS_KEY_MISMATCH")
    );
    assert!(
        message.contains("other.key") && message.contains("good.crt"),
        "{message}"
    );
}

#[test]
fn a_chain_in_the_wrong_order_is_explained() {
    let pki = Pki::new();
    let key = KeyPair::generate().unwrap();
    let leaf = leaf_params(&["db.example"])
        .signed_by(&key, &pki.authority)
        .unwrap();
    let files = pki.write(
        "reversed",
        &format!("{}{}", pki.authority.pem(), leaf.pem()),
        &key,
    );
    let (_, code, message) = problem(&listener(&[&files]));
    assert_eq!(code, "PGTLS_TLS_KEY_MISMATCH");
    assert!(
        message.contains("certificate 2") && message.contains("first"),
        "{message}"
    );
}

#[test]
fn files_must_come_in_pairs() {
    let pki = Pki::new();
    let files = pki.good();
    let mut options = listener(&[&files, &files]);
    options.key_files.pop();
    let (key, _, message) = problem(&options);
    assert_eq!(key, "listener.ssl_key_file");
    assert!(
        message.contains("2 certificate file(s) but 1 key file(s)"),
        "{message}"
    );
    let (key, _, _) = problem(&listener(&[]));
    assert_eq!(key, "listener.ssl_cert_file");
}

#[test]
fn asking_for_client_certificates_needs_an_authority() {
    let pki = Pki::new();
    let mut options = listener(&[&pki.good()]);
    options.client_certificate = ClientCertificate::Request;
    assert_eq!(problem(&options).0, "listener.ssl_ca_file");
    options.ca_file = Some(pki.directory.write("empty.crt", ""));
    let (key, code, _) = problem(&options);
    assert_eq!(
        (key, code),
        ("listener.ssl_ca_file", "PGTLS_TLS_CERTIFICATE_INVALID")
    );
}

#[test]
fn tls12_suites_must_fit_some_certificate() {
    let pki = Pki::new();
    let ecdsa = pki.good();
    let rsa = pki.issue_with("rsa", &leaf_params(&["db.example"]), &PKCS_RSA_SHA256);
    let mut options = listener(&[&ecdsa]);
    options.ciphers = vec!["ECDHE-RSA-AES256-GCM-SHA384".to_owned()];
    let (key, _, message) = problem(&options);
    assert_eq!(key, "listener.ssl_ciphers");
    assert!(message.contains("keys (ECDSA)"), "{message}");
    options.cert_files.push(rsa.certificate);
    options.key_files.push(rsa.key);
    assert!(build_server_config(&options).is_ok());
}

#[test]
fn an_alpn_name_has_one_to_255_bytes() {
    let pki = Pki::new();
    for name in [String::new(), "x".repeat(256)] {
        let options = ListenerTlsOptions {
            alpn: vec![name],
            ..listener(&[&pki.good()])
        };
        assert_eq!(problem(&options).0, "listener.alpn");
    }
}

#[test]
fn all_problems_of_both_legs_are_told_at_once_with_the_identities_that_are_fine() {
    let pki = Pki::new();
    let files = pki.good();
    let mut options = listener(&[&files, &files]);
    options.key_files[1] = pki.directory.path("absent.key");
    options.client_certificate = ClientCertificate::Require;
    options.ciphers = vec!["RC4".to_owned()];
    options.groups = vec!["X448".to_owned()];
    options.alpn = vec![String::new()];
    let backend = BackendTlsOptions {
        verification: BackendVerification::Full,
        cert_file: Some(files.certificate.clone()),
        min_version: TlsVersion::Tls13,
        max_version: Some(TlsVersion::Tls12),
        ..BackendTlsOptions::default()
    };
    let hosts = [
        BackendHost::Unix("/run/postgresql/.s.PGSQL.5432"),
        BackendHost::Tcp("a b"),
    ];
    let inspection = inspect(Some(&options), Some(&backend), &hosts);
    let keys: Vec<_> = inspection
        .problems
        .iter()
        .map(TlsConfigError::key)
        .collect();
    assert_eq!(
        keys,
        [
            "listener.ssl_ciphers",
            "listener.ssl_groups",
            "listener.ssl_key_file",
            "listener.ssl_ca_file",
            "listener.alpn",
            "backend.ssl_max_protocol_version",
            "backend.sslkey",
            "backend.sslrootcert",
            "backend.address",
            "backend.address",
        ]
    );
    assert_eq!(inspection.identities.len(), 1);
    assert_eq!(inspection.identities[0].role, IdentityRole::Listener);
    assert_eq!(inspection.identities[0].leaf.sans, ["db.example"]);
}

#[test]
fn an_inspection_without_problems_lists_both_legs_identities() {
    let pki = Pki::new();
    let (server, client) = (pki.good(), pki.issue("client", &leaf_params(&["client"])));
    let backend = BackendTlsOptions {
        cert_file: Some(client.certificate),
        key_file: Some(client.key),
        ..pki.backend(BackendVerification::Full)
    };
    let hosts = [BackendHost::Tcp("db.example"), BackendHost::Tcp("10.0.0.1")];
    let inspection = inspect(Some(&listener(&[&server])), Some(&backend), &hosts);
    assert!(inspection.problems.is_empty(), "{:?}", inspection.problems);
    let roles: Vec<_> = inspection
        .identities
        .iter()
        .map(|found| found.role.as_str())
        .collect();
    assert_eq!(roles, ["listener", "backend"]);
}

#[test]
fn public_roots_without_a_name_check_are_refused_as_in_libpq() {
    let options = BackendTlsOptions {
        verification: BackendVerification::Ca,
        root_cert: Some(RootCert::System),
        ..BackendTlsOptions::default()
    };
    let (key, _, message) = describe(&build_client_config(&options).unwrap_err());
    assert_eq!(key, "backend.sslmode");
    assert!(message.contains("verify-full"), "{message}");
}

#[test]
fn verifying_without_roots_is_refused() {
    for verification in [BackendVerification::Ca, BackendVerification::Full] {
        let options = BackendTlsOptions {
            verification,
            ..BackendTlsOptions::default()
        };
        let (key, _, _) = describe(&build_client_config(&options).unwrap_err());
        assert_eq!(key, "backend.sslrootcert");
    }
}

#[test]
fn a_unix_socket_can_be_used_with_every_mode_but_verify_full() {
    let socket = BackendHost::Unix("/run/postgresql/.s.PGSQL.5432");
    assert!(server_name(BackendVerification::None, socket).is_ok());
    assert!(server_name(BackendVerification::Ca, socket).is_ok());
    let (key, _, message) = describe(&server_name(BackendVerification::Full, socket).unwrap_err());
    assert_eq!(key, "backend.address");
    assert!(message.contains(".s.PGSQL.5432"), "{message}");
}
