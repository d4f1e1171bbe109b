//! What the tests of resumption on either leg share: a clock that can be put forward, a store that ignores names, and what
//! kind of handshake came about.

use std::num::NonZeroU8;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pgtls_tls::client_config::ClientTls;
use pgtls_tls::options::{ListenerTlsOptions, ResumptionOptions, TicketKeySource, TlsVersion};
use pgtls_tls::server_config::ServerTls;
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls12Resumption,
    Tls13ClientSessionValue,
};
use rustls::time_provider::TimeProvider;
use rustls::{HandshakeKind, NamedGroup};
use rustls_pki_types::{ServerName, UnixTime};

use crate::support::{Files, handshake, listener};

pub(crate) const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

/// `ticket_rotation` of the tests, in seconds.
pub(crate) const ROTATION: u64 = 6 * 60 * 60;

/// Now, and however much it was put forward.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clock(Arc<AtomicU64>);

impl Clock {
    pub(crate) fn put_forward(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = UnixTime::now().as_secs() + self.0.load(Ordering::Relaxed);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// A listener whose clients may resume, with two tickets a handshake under generated keys.
pub(crate) fn resuming(files: &[&Files]) -> ListenerTlsOptions {
    ListenerTlsOptions {
        resumption: Some(resumption(TicketKeySource::Generated {
            rotation: Duration::from_secs(ROTATION),
        })),
        ..listener(files)
    }
}

pub(crate) fn resumption(keys: TicketKeySource) -> ResumptionOptions {
    let tickets = NonZeroU8::new(2).unwrap();
    ResumptionOptions { tickets, keys }
}

/// What kind of handshake came about; both ends must think the same, and nothing may come early.
pub(crate) fn kind(server: &ServerTls, client: &ClientTls, host: &str) -> HandshakeKind {
    let mut established = handshake(server, client, host).unwrap();
    let kind = established.server.handshake_kind().unwrap();
    assert_eq!(established.client.handshake_kind(), Some(kind));
    assert!(established.server.early_data().is_none());
    kind
}

/// How a client of TLS 1.2 resumes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Means {
    SessionId,
    Ticket,
}

/// `client` as somebody who tries its newest session on everybody, whatever their name.
pub(crate) fn careless(client: &ClientTls, means: Means) -> ClientTls {
    let mut config = (*client.config).clone();
    let tls12 = match means {
        Means::SessionId => Tls12Resumption::SessionIdOnly,
        Means::Ticket => Tls12Resumption::SessionIdOrTickets,
    };
    let store = Resumption::store(Arc::<Careless>::default());
    config.resumption = store.tls12_resumption(tls12);
    client.clone().with_config(config)
}

/// Keeps the newest session of all.
#[derive(Debug, Default)]
struct Careless {
    tls12: Mutex<Option<Tls12ClientSessionValue>>,
    tls13: Mutex<Option<Tls13ClientSessionValue>>,
}

impl ClientSessionStore for Careless {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        *self.tls12.lock().unwrap() = Some(session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.tls12.lock().unwrap().clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        *self.tls13.lock().unwrap() = Some(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tls13.lock().unwrap().take()
    }
}
