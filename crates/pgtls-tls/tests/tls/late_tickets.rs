//! Tickets that come when what their session rests on is no longer good: nothing is resumed with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use pgtls_tls::certificate_judge::{CertificateJudge, ChainRefusal, VerifiedPeer};
use pgtls_tls::client_config::{
    BackendHost, ClientTls, build_client_config, build_client_config_at,
};
use pgtls_tls::options::{BackendTlsOptions, BackendVerification, TlsVersion};
use pgtls_tls::server_config::{ServerTls, build_server_config};
use rustls::HandshakeKind::{Full, Resumed};
use rustls::{ClientConnection, ServerConnection};

use crate::resumption_support::{Clock, kind, resuming};
use crate::support::{Pki, handshake, leaf_params};

const HOST: &str = "db.example";

/// A connection to a backend whose tickets are still under way.
struct Early {
    client: ClientConnection,
    tickets: Vec<u8>,
}

impl Early {
    fn open(server: &ServerTls, client: &ClientTls) -> Self {
        let name = client.server_name(BackendHost::Tcp(HOST)).unwrap();
        let mut near = ClientConnection::new(client.dialling_config(), name).unwrap();
        let mut far = ServerConnection::new(Arc::clone(&server.config)).unwrap();
        pass(&sent(&mut near), &mut far);
        pass(&sent(&mut far), &mut near);
        pass(&sent(&mut near), &mut far);
        assert!(!near.is_handshaking());
        let tickets = sent(&mut far);
        assert_ne!(tickets, b"", "the server has tickets to send");
        Self {
            client: near,
            tickets,
        }
    }

    fn receive_tickets(mut self) {
        pass(&self.tickets, &mut self.client);
    }
}

fn sent<T>(from: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<T>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn pass<T>(
    mut bytes: &[u8],
    to: &mut impl std::ops::DerefMut<Target = rustls::ConnectionCommon<T>>,
) {
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).unwrap();
        to.process_new_packets().unwrap();
    }
}

#[derive(Debug, Default)]
struct Fickle {
    refuses: AtomicBool,
}

impl CertificateJudge for Fickle {
    fn judge(&self, _: &VerifiedPeer<'_>) -> Result<(), ChainRefusal> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(ChainRefusal::Revoked("since".into()));
        }
        Ok(())
    }
}

#[test]
fn are_of_no_use_once_the_judge_has_refused_the_backend() {
    let pki = Pki::new();
    let server = build_server_config(&resuming(&[&pki.good()])).unwrap();
    let judge = Arc::<Fickle>::default();
    let options = BackendTlsOptions {
        backend_judge: Some(Arc::<Fickle>::clone(&judge)),
        min_version: TlsVersion::Tls13,
        ..pki.backend(BackendVerification::Full)
    };
    let client = build_client_config(&options).unwrap();
    assert_eq!(kind(&server, &client, HOST), Full);
    let early = Early::open(&server, &client);
    judge.refuses.store(true, Ordering::Relaxed);
    assert!(handshake(&server, &client, HOST).is_err());
    early.receive_tickets();
    for _ in 0..3 {
        assert!(handshake(&server, &client, HOST).is_err());
    }
    judge.refuses.store(false, Ordering::Relaxed);
    assert_eq!(kind(&server, &client, HOST), Full);
    assert_eq!(kind(&server, &client, HOST), Resumed);
}

#[test]
fn are_of_no_use_once_the_backend_s_certificate_has_expired() {
    let pki = Pki::new();
    let mut params = leaf_params(&[HOST]);
    params.not_after = (SystemTime::now() + Duration::from_hours(2)).into();
    let brief = build_server_config(&resuming(&[&pki.issue("brief", &params)])).unwrap();
    let renewed = build_server_config(&resuming(&[&pki.good()])).unwrap();
    let clock = Clock::default();
    let options = BackendTlsOptions {
        min_version: TlsVersion::Tls13,
        ..pki.backend(BackendVerification::Full)
    };
    let client = build_client_config_at(&options, clock.clone()).unwrap();
    assert_eq!(kind(&brief, &client, HOST), Full);
    let early = Early::open(&brief, &client);
    clock.put_forward(2 * 60 * 60 + 60);
    assert!(handshake(&brief, &client, HOST).is_err());
    early.receive_tickets();
    for _ in 0..3 {
        assert!(handshake(&brief, &client, HOST).is_err());
    }
    assert_eq!(kind(&renewed, &client, HOST), Full);
    assert_eq!(kind(&renewed, &client, HOST), Resumed);
}
