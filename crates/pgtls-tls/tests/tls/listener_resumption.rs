//! When a client may resume its session with a listener, and everything that must make the handshake a full one.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pgtls_tls::client_config::{ClientTls, build_client_config};
use pgtls_tls::options::{
    BackendTlsOptions, BackendVerification, ClientCertificate, ListenerTlsOptions, TlsVersion,
};
use pgtls_tls::resumption_state::ResumptionState;
use pgtls_tls::server_config::{build_server_config, resume_server_config};
use rcgen::PKCS_ECDSA_P384_SHA384;
use rustls::HandshakeKind::{Full, Resumed};

use crate::resumption_support::{Clock, Means, ROTATION, VERSIONS, careless, kind, resuming};
use crate::support::{Files, Pki, authority, handshake, leaf_params, listener};

const MEANS: [(TlsVersion, Means); 3] = [
    (TlsVersion::Tls12, Means::SessionId),
    (TlsVersion::Tls12, Means::Ticket),
    (TlsVersion::Tls13, Means::Ticket),
];

const DAY: u64 = 24 * 60 * 60;

fn options(pki: &Pki, version: TlsVersion, shown: Option<&Files>) -> BackendTlsOptions {
    BackendTlsOptions {
        min_version: version,
        max_version: Some(version),
        cert_file: shown.map(|files| files.certificate.clone()),
        key_file: shown.map(|files| files.key.clone()),
        ..pki.backend(BackendVerification::Full)
    }
}

fn client(pki: &Pki, version: TlsVersion) -> ClientTls {
    build_client_config(&options(pki, version, None)).unwrap()
}

fn demanding(pki: &Pki, files: &Files) -> ListenerTlsOptions {
    ListenerTlsOptions {
        client_certificate: ClientCertificate::Require,
        ca_file: Some(pki.ca_file.clone()),
        ..resuming(&[files])
    }
}

#[test]
fn a_client_resumes_by_ticket_and_by_session_id() {
    let pki = Pki::new();
    let server = build_server_config(&resuming(&[&pki.good()])).unwrap();
    for (version, means) in MEANS {
        let client = careless(&client(&pki, version), means);
        assert_eq!(kind(&server, &client, "db.example"), Full);
        for _ in 0..3 {
            assert_eq!(kind(&server, &client, "db.example"), Resumed, "{means:?}");
        }
    }
}

#[test]
fn nobody_resumes_without_session_tickets() {
    let pki = Pki::new();
    let server = build_server_config(&listener(&[&pki.good()])).unwrap();
    for (version, means) in MEANS {
        let client = careless(&client(&pki, version), means);
        for _ in 0..2 {
            assert_eq!(kind(&server, &client, "db.example"), Full);
        }
    }
}

#[test]
fn as_many_tickets_are_sent_as_configured() {
    let pki = Pki::new();
    let files = pki.good();
    for tickets in 1..=8 {
        let mut options = resuming(&[&files]);
        options.resumption.as_mut().unwrap().tickets = NonZeroU8::new(tickets).unwrap();
        let server = build_server_config(&options).unwrap();
        let client = client(&pki, TlsVersion::Tls13);
        for _ in 0..2 {
            let established = handshake(&server, &client, "db.example").unwrap();
            assert_eq!(
                established.client.tls13_tickets_received(),
                u32::from(tickets)
            );
        }
    }
}

#[test]
fn a_session_is_not_resumed_under_another_server_name_or_without_one() {
    let pki = Pki::new();
    let names = ["db.example", "other.example", "10.0.0.1"];
    let server =
        build_server_config(&resuming(&[&pki.issue("all", &leaf_params(&names))])).unwrap();
    for (version, means) in MEANS {
        // An address is not sent as SNI.
        for (first, second) in [(0, 1), (0, 2), (2, 0)] {
            let client = careless(&client(&pki, version), means);
            assert_eq!(kind(&server, &client, names[first]), Full);
            assert_eq!(kind(&server, &client, names[second]), Full, "{means:?}");
            assert_eq!(kind(&server, &client, names[second]), Resumed);
        }
    }
}

#[test]
fn a_reload_that_changes_nothing_keeps_sessions() {
    let pki = Pki::new();
    let listener = resuming(&[&pki.good()]);
    for (version, means) in MEANS {
        let state = Arc::<ResumptionState>::default();
        let client = careless(&client(&pki, version), means);
        for expected in [Full, Resumed, Resumed] {
            let server = resume_server_config(&listener, &state).unwrap();
            assert_eq!(kind(&server, &client, "db.example"), expected);
        }
    }
}

#[test]
fn two_listeners_know_nothing_of_each_others_sessions() {
    let pki = Pki::new();
    let listener = resuming(&[&pki.good()]);
    for (version, means) in MEANS {
        let client = careless(&client(&pki, version), means);
        for _ in 0..2 {
            let server = build_server_config(&listener).unwrap();
            assert_eq!(kind(&server, &client, "db.example"), Full);
        }
    }
}

/// After a full handshake with `before` and a reload to `after`, the next handshake is a full one; going back is allowed.
fn check_change(pki: &Pki, shown: &Files, before: &ListenerTlsOptions, after: &ListenerTlsOptions) {
    for (version, means) in MEANS {
        let state = Arc::<ResumptionState>::default();
        let client = build_client_config(&options(pki, version, Some(shown))).unwrap();
        let client = careless(&client, means);
        let server = resume_server_config(before, &state).unwrap();
        assert_eq!(kind(&server, &client, "db.example"), Full);
        assert_eq!(kind(&server, &client, "db.example"), Resumed);
        let server = resume_server_config(after, &state).unwrap();
        assert_eq!(kind(&server, &client, "db.example"), Full, "{means:?}");
        assert_eq!(kind(&server, &client, "db.example"), Resumed);
    }
}

#[test]
fn another_authority_makes_the_handshake_a_full_one() {
    let pki = Pki::new();
    let shown = pki.issue("client", &leaf_params(&[]));
    let before = demanding(&pki, &pki.good());
    let both = pki.authority.pem() + &authority("Another CA").pem();
    let after = ListenerTlsOptions {
        ca_file: Some(pki.directory.write("both.crt", &both)),
        ..before.clone()
    };
    check_change(&pki, &shown, &before, &after);
}

#[test]
fn a_client_whose_authority_was_replaced_does_not_come_in_by_its_session() {
    let pki = Pki::new();
    let shown = pki.issue("client", &leaf_params(&[]));
    let listener = demanding(&pki, &pki.good());
    for (version, means) in MEANS {
        let ca_file = pki.directory.write("clients.crt", &pki.authority.pem());
        let listener = ListenerTlsOptions {
            ca_file: Some(ca_file),
            ..listener.clone()
        };
        let state = Arc::<ResumptionState>::default();
        let client = build_client_config(&options(&pki, version, Some(&shown))).unwrap();
        let client = careless(&client, means);
        let server = resume_server_config(&listener, &state).unwrap();
        assert_eq!(kind(&server, &client, "db.example"), Full);
        assert_eq!(kind(&server, &client, "db.example"), Resumed);
        // The same file, with another content.
        pki.directory
            .write("clients.crt", &authority("Another CA").pem());
        let server = resume_server_config(&listener, &state).unwrap();
        let failed = handshake(&server, &client, "db.example").unwrap_err();
        assert_eq!(failed.server_labels().0, "unknown_ca", "{means:?}");
    }
}

#[test]
fn another_identity_makes_the_handshake_a_full_one() {
    let pki = Pki::new();
    let shown = pki.issue("client", &leaf_params(&[]));
    let before = resuming(&[&pki.good()]);
    let renewed = pki.issue("renewed", &leaf_params(&["db.example"]));
    check_change(&pki, &shown, &before, &resuming(&[&renewed]));
    let other = pki.issue_with(
        "p384",
        &leaf_params(&["db.example"]),
        &PKCS_ECDSA_P384_SHA384,
    );
    let second = resuming(&[&pki.good(), &other]);
    check_change(&pki, &shown, &before, &second);
}

#[test]
fn another_policy_makes_the_handshake_a_full_one() {
    let pki = Pki::new();
    let shown = pki.issue("client", &leaf_params(&[]));
    let open = resuming(&[&pki.good()]);
    let asking = ListenerTlsOptions {
        client_certificate: ClientCertificate::Request,
        ca_file: Some(pki.ca_file.clone()),
        ..open.clone()
    };
    let demanding = ListenerTlsOptions {
        client_certificate: ClientCertificate::Require,
        ..asking.clone()
    };
    let other_groups = ListenerTlsOptions {
        groups: vec!["secp256r1".to_owned(), "X25519".to_owned()],
        ..open.clone()
    };
    check_change(&pki, &shown, &open, &asking);
    check_change(&pki, &shown, &asking, &demanding);
    check_change(&pki, &shown, &open, &other_groups);
}

#[test]
fn a_resumed_session_still_names_the_client() {
    let pki = Pki::new();
    let shown = pki.issue("client", &leaf_params(&["client.example"]));
    let server = build_server_config(&demanding(&pki, &pki.good())).unwrap();
    for version in VERSIONS {
        let client = build_client_config(&options(&pki, version, Some(&shown))).unwrap();
        let chains = [Full, Resumed].map(|expected| {
            let established = handshake(&server, &client, "db.example").unwrap();
            assert_eq!(established.server.handshake_kind(), Some(expected));
            established.server.peer_certificates().map(<[_]>::to_vec)
        });
        assert!(chains[0].is_some());
        assert_eq!(chains[0], chains[1]);
    }
}

#[test]
fn a_client_certificate_that_has_expired_since_is_verified_again() {
    let pki = Pki::new();
    let mut params = leaf_params(&[]);
    params.not_after = (SystemTime::now() + Duration::from_hours(2)).into();
    let shown = pki.issue("client", &params);
    for mode in [ClientCertificate::Request, ClientCertificate::Require] {
        let listener = ListenerTlsOptions {
            client_certificate: mode,
            ..demanding(&pki, &pki.good())
        };
        for (version, means) in MEANS {
            let clock = Clock::default();
            let state = Arc::new(ResumptionState::with_clock(Arc::new(clock.clone())));
            let server = resume_server_config(&listener, &state).unwrap();
            let client = build_client_config(&options(&pki, version, Some(&shown))).unwrap();
            let client = careless(&client, means);
            assert_eq!(kind(&server, &client, "db.example"), Full);
            clock.put_forward(3_600);
            assert_eq!(kind(&server, &client, "db.example"), Resumed);
            // The session itself would last for hours yet.
            clock.put_forward(3_700);
            let failed = handshake(&server, &client, "db.example").unwrap_err();
            assert_eq!(failed.server_labels().0, "certificate_expired", "{means:?}");
        }
    }
}

#[test]
fn a_session_ends_with_the_authority_it_was_verified_by() {
    let pki = Pki::new();
    let ending = |seconds| {
        let mut params = crate::support::authority_params("Brief CA");
        let end = SystemTime::now() + Duration::from_secs(seconds);
        params.not_after = end.into();
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertifiedIssuer::self_signed(params, key).unwrap()
    };
    let brief: crate::support::Authority = ending(7_200);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = leaf_params(&[]).signed_by(&key, &brief).unwrap();
    let shown = pki.write("client", &certificate.pem(), &key);
    let listener = ListenerTlsOptions {
        ca_file: Some(pki.directory.write("brief.crt", &brief.pem())),
        ..demanding(&pki, &pki.good())
    };
    for (version, means) in MEANS {
        let clock = Clock::default();
        let state = Arc::new(ResumptionState::with_clock(Arc::new(clock.clone())));
        let server = resume_server_config(&listener, &state).unwrap();
        let client = build_client_config(&options(&pki, version, Some(&shown))).unwrap();
        let client = careless(&client, means);
        assert_eq!(kind(&server, &client, "db.example"), Full);
        assert_eq!(kind(&server, &client, "db.example"), Resumed);
        clock.put_forward(7_300);
        handshake(&server, &client, "db.example").unwrap_err();
    }
}

#[test]
fn tickets_outlive_one_rotation_of_their_key_but_not_their_own_life() {
    let pki = Pki::new();
    for (version, means) in MEANS {
        let clock = Clock::default();
        let state = Arc::new(ResumptionState::with_clock(Arc::new(clock.clone())));
        let server = resume_server_config(&resuming(&[&pki.good()]), &state).unwrap();
        // The key is made now, and the session well into its time.
        let first = careless(&client(&pki, version), means);
        assert_eq!(kind(&server, &first, "db.example"), Full);
        clock.put_forward(ROTATION / 2);
        let second = careless(&client(&pki, version), means);
        assert_eq!(kind(&server, &second, "db.example"), Full);
        clock.put_forward(ROTATION * 3 / 4);
        assert_eq!(kind(&server, &first, "db.example"), Full, "{means:?}");
        assert_eq!(kind(&server, &second, "db.example"), Resumed, "{means:?}");
        clock.put_forward(DAY);
        assert_eq!(kind(&server, &second, "db.example"), Full, "{means:?}");
    }
}

#[test]
fn a_ticket_is_announced_with_the_life_it_has() {
    let pki = Pki::new();
    let server = build_server_config(&resuming(&[&pki.good()])).unwrap();
    assert_eq!(u64::from(server.config.ticketer.lifetime()), ROTATION);
    assert_eq!(server.config.max_early_data_size, 0);
}
