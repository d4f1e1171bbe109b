//! What a program that embeds the crate may say about certificates: nothing but no, on both legs, resumed sessions included.

use std::sync::{Arc, Mutex};

use pgtls_tls::certificate_judge::{CertificateJudge, ChainRefusal, PeerSide, VerifiedPeer};
use pgtls_tls::client_config::{build_client_config, resume_client_config};
use pgtls_tls::options::{
    BackendTlsOptions, BackendVerification, ClientCertificate, ListenerTlsOptions, TlsVersion,
};
use pgtls_tls::server_config::build_server_config;
use rustls::HandshakeKind::{Full, Resumed};

use crate::resumption_support::{Means, VERSIONS, careless, kind, resuming};
use crate::support::{Files, Pki, connect, handshake, leaf_params, listener, named};

/// A way to refuse, with the reason in the log and the alert.
type Refusing = (fn(String) -> ChainRefusal, &'static str, &'static str);

const REFUSALS: [Refusing; 2] = [
    (
        ChainRefusal::AccessDenied,
        "certificate_refused",
        "access_denied",
    ),
    (ChainRefusal::Revoked, "revoked", "certificate_revoked"),
];

/// What a judge was asked: the host of a backend, how many certificates, the leaf's subject, and whether for a resumption.
type Asked = (Option<String>, usize, String, bool);

/// Remembers what it is asked, and answers as it was told to.
#[derive(Debug, Default)]
struct Recorder {
    asked: Mutex<Vec<Asked>>,
    refusal: Mutex<Option<ChainRefusal>>,
}

impl Recorder {
    fn refuse(&self, refusal: Option<ChainRefusal>) {
        *self.refusal.lock().unwrap() = refusal;
    }

    /// Forgets it.
    fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Of each question whether it was for a resumption; without repetitions.
    fn take_occasions(&self) -> Vec<bool> {
        let mut occasions: Vec<_> = self.take_asked().into_iter().map(|asked| asked.3).collect();
        occasions.dedup();
        occasions
    }
}

impl CertificateJudge for Recorder {
    fn judge(&self, peer: &VerifiedPeer<'_>) -> Result<(), ChainRefusal> {
        let host = match peer.side {
            PeerSide::Client => None,
            PeerSide::Backend { host } => Some(host.to_owned()),
        };
        let subject = peer.leaf().unwrap().subject;
        let asked = (host, peer.chain.len(), subject, peer.is_resumption);
        self.asked.lock().unwrap().push(asked);
        self.refusal.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

fn asking(pki: &Pki, judge: &Arc<Recorder>, plain: ListenerTlsOptions) -> ListenerTlsOptions {
    ListenerTlsOptions {
        client_certificate: ClientCertificate::Request,
        ca_file: Some(pki.ca_file.clone()),
        client_judge: Some(Arc::<Recorder>::clone(judge)),
        ..plain
    }
}

fn showing(pki: &Pki, shown: Option<&Files>, version: TlsVersion) -> BackendTlsOptions {
    BackendTlsOptions {
        cert_file: shown.map(|files| files.certificate.clone()),
        key_file: shown.map(|files| files.key.clone()),
        min_version: version,
        max_version: Some(version),
        ..pki.backend(BackendVerification::Full)
    }
}

fn judging(judge: &Arc<Recorder>, plain: BackendTlsOptions) -> BackendTlsOptions {
    BackendTlsOptions {
        backend_judge: Some(Arc::<Recorder>::clone(judge)),
        ..plain
    }
}

#[test]
fn a_client_is_judged_once_it_was_verified() {
    let pki = Pki::new();
    let judge = Arc::<Recorder>::default();
    let listener = asking(&pki, &judge, listener(&[&pki.good()]));
    let alice = pki.issue("alice", &named("alice"));
    let stranger = pki.self_signed("stranger", &named("stranger"));
    for version in VERSIONS {
        connect(
            &listener,
            &showing(&pki, Some(&alice), version),
            "db.example",
        )
        .unwrap();
        let alice = (None, 1, "CN=alice".to_owned(), false);
        assert_eq!(judge.take_asked(), [alice], "{version}");
        let stranger = showing(&pki, Some(&stranger), version);
        let failed = connect(&listener, &stranger, "db.example").unwrap_err();
        assert_eq!(failed.server_labels().0, "unknown_ca");
        connect(&listener, &showing(&pki, None, version), "db.example").unwrap();
        assert_eq!(judge.take_asked(), [], "{version}");
    }
}

#[test]
fn a_refused_client_gets_the_alert_that_fits() {
    let pki = Pki::new();
    let judge = Arc::<Recorder>::default();
    let listener = asking(&pki, &judge, listener(&[&pki.good()]));
    let alice = pki.issue("alice", &named("alice"));
    for version in VERSIONS {
        for (refusal, reason, alert) in REFUSALS {
            judge.refuse(Some(refusal("not today".to_owned())));
            let client = showing(&pki, Some(&alice), version);
            let failed = connect(&listener, &client, "db.example").unwrap_err();
            assert_eq!(failed.server_labels(), (reason, Some(alert)), "{version}");
            assert_eq!(failed.client_labels(), ("peer_alert", Some(alert)));
        }
    }
}

#[test]
fn a_backend_is_judged_once_it_was_verified_in_every_mode() {
    let pki = Pki::new();
    let judge = Arc::<Recorder>::default();
    let (good, other) = (
        pki.good(),
        pki.issue("other", &leaf_params(&["other.example"])),
    );
    for version in VERSIONS {
        for verification in [
            BackendVerification::None,
            BackendVerification::Ca,
            BackendVerification::Full,
        ] {
            let backend = BackendTlsOptions {
                verification,
                ..judging(&judge, showing(&pki, None, version))
            };
            connect(&listener(&[&good]), &backend, "db.example").unwrap();
            let expected = (
                Some("db.example".to_owned()),
                1,
                "CN=leaf".to_owned(),
                false,
            );
            assert_eq!(judge.take_asked(), [expected], "{verification:?}");
        }
        let backend = judging(&judge, showing(&pki, None, version));
        let failed = connect(&listener(&[&other]), &backend, "db.example").unwrap_err();
        assert_eq!(failed.client_labels().0, "name_mismatch");
        assert_eq!(judge.take_asked(), []);
    }
}

#[test]
fn a_refused_backend_gets_the_alert_that_fits() {
    let pki = Pki::new();
    let judge = Arc::<Recorder>::default();
    let listener = listener(&[&pki.good()]);
    for version in VERSIONS {
        let backend = judging(&judge, showing(&pki, None, version));
        for (refusal, reason, alert) in REFUSALS {
            judge.refuse(Some(refusal("not today".to_owned())));
            let failed = connect(&listener, &backend, "db.example").unwrap_err();
            assert_eq!(failed.client_labels(), (reason, Some(alert)), "{version}");
            assert_eq!(failed.server_labels(), ("peer_alert", Some(alert)));
        }
    }
}

#[test]
fn a_client_that_resumes_is_judged_by_the_chain_of_its_session() {
    let pki = Pki::new();
    let alice = pki.issue("alice", &named("alice"));
    for (version, means) in [
        (TlsVersion::Tls12, Means::SessionId),
        (TlsVersion::Tls12, Means::Ticket),
        (TlsVersion::Tls13, Means::Ticket),
    ] {
        let judge = Arc::<Recorder>::default();
        let listener = asking(&pki, &judge, resuming(&[&pki.good()]));
        let server = build_server_config(&listener).unwrap();
        let client = build_client_config(&showing(&pki, Some(&alice), version)).unwrap();
        let client = careless(&client, means);
        assert_eq!(kind(&server, &client, "db.example"), Full);
        assert_eq!(judge.take_occasions(), [false]);
        assert_eq!(kind(&server, &client, "db.example"), Resumed, "{means:?}");
        let asked = judge.take_asked();
        assert_eq!(asked[0], (None, 1, "CN=alice".to_owned(), true));
        judge.refuse(Some(ChainRefusal::AccessDenied("no more".to_owned())));
        let failed = handshake(&server, &client, "db.example").unwrap_err();
        assert_eq!(failed.server_labels().0, "certificate_refused", "{means:?}");
        assert_eq!(judge.take_occasions(), [true, false], "{means:?}");
    }
}

#[test]
fn a_client_that_showed_no_certificate_resumes_unjudged() {
    let pki = Pki::new();
    let judge = Arc::<Recorder>::default();
    let listener = asking(&pki, &judge, resuming(&[&pki.good()]));
    let server = build_server_config(&listener).unwrap();
    for version in VERSIONS {
        let client = build_client_config(&showing(&pki, None, version)).unwrap();
        assert_eq!(kind(&server, &client, "db.example"), Full);
        assert_eq!(kind(&server, &client, "db.example"), Resumed);
        assert_eq!(judge.take_asked(), []);
    }
}

#[test]
fn a_backend_session_is_resumed_only_while_the_judge_agrees() {
    let pki = Pki::new();
    let server = build_server_config(&resuming(&[&pki.good()])).unwrap();
    for version in VERSIONS {
        let judge = Arc::<Recorder>::default();
        let options = judging(&judge, showing(&pki, None, version));
        let client = build_client_config(&options).unwrap();
        assert_eq!(kind(&server, &client, "db.example"), Full);
        assert_eq!(judge.take_occasions(), [false]);
        assert_eq!(kind(&server, &client, "db.example"), Resumed);
        let resumed = (Some("db.example".to_owned()), 1, "CN=leaf".to_owned(), true);
        assert_eq!(judge.take_asked(), [resumed]);
        judge.refuse(Some(ChainRefusal::Revoked("since noon".to_owned())));
        let failed = handshake(&server, &client, "db.example").unwrap_err();
        assert_eq!(failed.client_labels().0, "revoked", "{version}");
        assert_eq!(judge.take_occasions(), [true, false]);
        // Its sessions are gone, also when the judge thinks better of it.
        judge.refuse(None);
        assert_eq!(kind(&server, &client, "db.example"), Full);
        assert_eq!(kind(&server, &client, "db.example"), Resumed);
    }
}

#[test]
fn servers_of_one_name_are_judged_each_by_its_chain() {
    let pki = Pki::new();
    let names = ["db.example"];
    let servers: Vec<_> = (0..9)
        .map(|number| {
            let mut params = leaf_params(&names);
            params.distinguished_name = named(&format!("server {number}")).distinguished_name;
            let files = pki.issue(&format!("server{number}"), &params);
            build_server_config(&resuming(&[&files])).unwrap()
        })
        .collect();
    for version in VERSIONS {
        let judge = Arc::<Recorder>::default();
        let options = judging(&judge, showing(&pki, None, version));
        let client = build_client_config(&options).unwrap();
        for server in &servers[..8] {
            assert_eq!(kind(server, &client, "db.example"), Full);
        }
        judge.take_asked();
        assert_eq!(kind(&servers[7], &client, "db.example"), Resumed);
        assert_eq!(judge.take_asked().len(), 8);
        // One more than are told apart: the sessions of all are over, its own included.
        for _ in 0..2 {
            assert_eq!(kind(&servers[8], &client, "db.example"), Full);
        }
        judge.take_asked();
        assert_eq!(kind(&servers[8], &client, "db.example"), Resumed);
        assert_eq!(judge.take_asked().len(), 1);
    }
}

#[test]
fn a_reload_with_another_judge_begins_with_no_session() {
    let pki = Pki::new();
    let server = build_server_config(&resuming(&[&pki.good()])).unwrap();
    let [one, other] = [Arc::<Recorder>::default(), Arc::default()];
    let plain = || pki.backend(BackendVerification::Full);
    let first = build_client_config(&judging(&one, plain())).unwrap();
    let same = resume_client_config(&judging(&one, plain()), Some(&first)).unwrap();
    assert!(same.is_same_as(&first));
    assert_eq!(kind(&server, &first, "db.example"), Full);
    for options in [judging(&other, plain()), plain()] {
        let second = resume_client_config(&options, Some(&first)).unwrap();
        assert!(!second.is_same_as(&first));
        assert_eq!(kind(&server, &second, "db.example"), Full);
    }
    assert_eq!(one.take_asked().len(), 1);
    assert_eq!(other.take_asked().len(), 1);
}
