//! When pgtls resumes its sessions with a backend, and everything that must make the handshake a full one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pgtls_tls::client_config::{
    BackendHost, ClientTls, build_client_config, build_client_config_at, resume_client_config,
};
use pgtls_tls::options::{BackendTlsOptions, BackendVerification, RootCert, TlsVersion};
use pgtls_tls::server_config::{ServerTls, build_server_config};
use rustls::HandshakeKind::{Full, FullWithHelloRetryRequest, Resumed};
use rustls::{ClientConnection, ServerConnection};

use crate::resumption_support::{Clock, VERSIONS, kind, resuming};
use crate::support::{Files, Pki, authority, drive, handshake, leaf_params, listener};

const VERIFICATIONS: [BackendVerification; 3] = [
    BackendVerification::None,
    BackendVerification::Ca,
    BackendVerification::Full,
];

fn only(version: TlsVersion, options: BackendTlsOptions) -> BackendTlsOptions {
    BackendTlsOptions {
        min_version: version,
        max_version: Some(version),
        ..options
    }
}

fn server(files: &Files) -> ServerTls {
    build_server_config(&resuming(&[files])).unwrap()
}

#[test]
fn the_second_connection_resumes_in_every_mode() {
    let pki = Pki::new();
    let server = server(&pki.good());
    for version in VERSIONS {
        for verification in VERIFICATIONS {
            let options = only(version, pki.backend(verification));
            let client = build_client_config(&options).unwrap();
            for expected in [Full, Resumed, Resumed] {
                let established = handshake(&server, &client, "db.example").unwrap();
                assert_eq!(established.client.handshake_kind(), Some(expected));
                // Channel binding and reports look at it on resumed connections, too.
                assert_eq!(
                    established
                        .client
                        .peer_certificates()
                        .map(|chain| &chain[0]),
                    Some(&server.leaves[0])
                );
            }
        }
    }
}

#[test]
fn a_session_is_kept_for_the_host_it_was_verified_for() {
    let pki = Pki::new();
    let server = server(&pki.issue("both", &leaf_params(&["db.example", "10.0.0.1"])));
    for version in VERSIONS {
        let options = only(version, pki.backend(BackendVerification::Full));
        let client = build_client_config(&options).unwrap();
        assert_eq!(kind(&server, &client, "db.example"), Full);
        assert_eq!(kind(&server, &client, "10.0.0.1"), Full);
        assert_eq!(kind(&server, &client, "10.0.0.1"), Resumed);
        // One whose name is not in the certificate is refused as ever.
        handshake(&server, &client, "evil.example").unwrap_err();
    }
}

#[test]
fn a_reload_that_changes_nothing_keeps_sessions() {
    let pki = Pki::new();
    let server = server(&pki.good());
    let options = pki.backend(BackendVerification::Full);
    let first = build_client_config(&options).unwrap();
    assert_eq!(kind(&server, &first, "db.example"), Full);
    let second = resume_client_config(&options, Some(&first)).unwrap();
    assert_eq!(kind(&server, &second, "db.example"), Resumed);
}

/// The next handshake after a reload from `before` to `after` is a full one.
fn check_change(server: &ServerTls, before: &BackendTlsOptions, after: &BackendTlsOptions) {
    let first = build_client_config(before).unwrap();
    assert_eq!(kind(server, &first, "db.example"), Full);
    let second = resume_client_config(after, Some(&first)).unwrap();
    assert_eq!(kind(server, &second, "db.example"), Full);
    assert_eq!(kind(server, &second, "db.example"), Resumed);
}

#[test]
fn another_verification_makes_the_handshake_a_full_one() {
    let pki = Pki::new();
    let server = server(&pki.good());
    for version in VERSIONS {
        let [none, ca, full] =
            VERIFICATIONS.map(|verification| only(version, pki.backend(verification)));
        check_change(&server, &none, &ca);
        check_change(&server, &ca, &full);
        check_change(&server, &full, &none);
    }
}

#[test]
fn another_client_certificate_makes_the_handshake_a_full_one() {
    let pki = Pki::new();
    let server = server(&pki.good());
    let showing = |name: &str| {
        let files = pki.issue(name, &leaf_params(&[]));
        BackendTlsOptions {
            cert_file: Some(files.certificate),
            key_file: Some(files.key),
            ..pki.backend(BackendVerification::Full)
        }
    };
    let bare = pki.backend(BackendVerification::Full);
    check_change(&server, &bare, &showing("one"));
    check_change(&server, &showing("one"), &showing("other"));
}

#[test]
fn a_backend_whose_authority_was_replaced_is_not_trusted_by_its_session() {
    let pki = Pki::new();
    let server = server(&pki.good());
    for version in VERSIONS {
        let root = pki.directory.write("root.crt", &pki.authority.pem());
        let options = BackendTlsOptions {
            root_cert: Some(RootCert::File(root)),
            ..only(version, pki.backend(BackendVerification::Full))
        };
        let first = build_client_config(&options).unwrap();
        assert_eq!(kind(&server, &first, "db.example"), Full);
        // The same file, with another content.
        pki.directory
            .write("root.crt", &authority("Another CA").pem());
        let second = resume_client_config(&options, Some(&first)).unwrap();
        let failed = handshake(&server, &second, "db.example").unwrap_err();
        assert_eq!(failed.client_labels().0, "unknown_ca");
    }
}

#[test]
fn a_backend_certificate_that_has_expired_since_is_verified_again() {
    let pki = Pki::new();
    let mut params = leaf_params(&["db.example"]);
    params.not_after = (SystemTime::now() + Duration::from_hours(2)).into();
    let server = server(&pki.issue("brief", &params));
    for version in VERSIONS {
        for verification in [BackendVerification::Ca, BackendVerification::Full] {
            let clock = Clock::default();
            let options = only(version, pki.backend(verification));
            let client = build_client_config_at(&options, clock.clone()).unwrap();
            assert_eq!(kind(&server, &client, "db.example"), Full);
            clock.put_forward(3_600);
            assert_eq!(kind(&server, &client, "db.example"), Resumed);
            clock.put_forward(3_700);
            let failed = handshake(&server, &client, "db.example").unwrap_err();
            assert_eq!(failed.client_labels().0, "certificate_expired");
        }
    }
}

#[test]
fn a_ticket_is_used_once() {
    let pki = Pki::new();
    let mut options = resuming(&[&pki.good()]);
    options.resumption.as_mut().unwrap().tickets = std::num::NonZeroU8::MIN;
    let server = build_server_config(&options).unwrap();
    let client = build_client_config(&pki.backend(BackendVerification::Full)).unwrap();
    assert_eq!(kind(&server, &client, "db.example"), Full);
    // Both hellos are made before either handshake gives another ticket.
    let hello = |client: &ClientTls| {
        let name = client.server_name(BackendHost::Tcp("db.example")).unwrap();
        ClientConnection::new(client.dialling_config(), name).unwrap()
    };
    let kinds = [hello(&client), hello(&client)].map(|connection| {
        let accepted = ServerConnection::new(Arc::clone(&server.config)).unwrap();
        drive(connection, accepted).unwrap().client.handshake_kind()
    });
    assert_eq!(kinds, [Some(Resumed), Some(Full)]);
}

#[test]
fn the_group_a_backend_agreed_to_is_offered_first_from_then_on() {
    let pki = Pki::new();
    // As PostgreSQL up to 17 has it by default, and resuming nothing.
    let options = pgtls_tls::options::ListenerTlsOptions {
        groups: vec!["secp256r1".to_owned()],
        ..listener(&[&pki.good()])
    };
    let server = build_server_config(&options).unwrap();
    let client = build_client_config(&pki.backend(BackendVerification::Full)).unwrap();
    for expected in [FullWithHelloRetryRequest, Full, Full] {
        assert_eq!(kind(&server, &client, "db.example"), expected);
    }
}
