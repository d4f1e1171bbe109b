//! [`Ends`]: the configurations of both ends of a kind of handshake; [`Pair`]: a session's two ends, whose wire is memory.
//!
//! Both are made by pgtls-tls as they are for a listener and a backend: TLS 1.3 with AES-256-GCM and X25519, or an error.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU8;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use pgtls_testkit::{CertificateSpec, KeyKind, TempDir, self_signed};
use pgtls_tls::buffer::Buffer;
use pgtls_tls::client_config::{ClientTls, build_client_config};
use pgtls_tls::endpoint::{BackendFacing, ClientFacing, accept, dial};
use pgtls_tls::error::TlsConfigError;
use pgtls_tls::options::{
    BackendTlsOptions, BackendVerification, ListenerTlsOptions, ResumptionOptions, TicketKeySource,
};
use pgtls_tls::server_config::{ServerTls, build_server_config};
use pgtls_tls::session::SessionError;
use pgtls_tls::stream::{TlsScratch, TlsStream, Transport, TrySend};

/// Whom certificates are for.
pub(crate) const HOST: &str = "db.example";

/// More flights than a handshake has, tickets included.
const MAX_TURNS: usize = 8;

/// What a measurement fails of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The listener's or the backend's configuration does not hold.
    #[error(transparent)]
    Config(#[from] TlsConfigError),
    /// A session failed.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The operating system refused something.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What came about is not what shall be measured.
    #[error("{0}")]
    Unexpected(String),
}

/// A kind of handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Full, the listener's key on P-256.
    Ecdsa,
    /// Full, the listener's key RSA of 2048 bits.
    Rsa,
    /// Resumed by a ticket; each handshake gives one.
    Resumed,
}

/// Lends the options of a listener whose certificate is made for it; its files are gone afterwards.
pub(crate) fn with_listener_options<T>(
    kind: Kind,
    use_them: impl FnOnce(ListenerTlsOptions) -> Result<T, BenchError>,
) -> Result<T, BenchError> {
    let directory = TempDir::new()?;
    let spec = CertificateSpec {
        key: match kind {
            Kind::Ecdsa | Kind::Resumed => KeyKind::EcdsaP256,
            Kind::Rsa => KeyKind::Rsa2048,
        },
        ..CertificateSpec::server(&[HOST])
    };
    let files = self_signed(&spec).write_to(directory.path(), "listener");
    use_them(ListenerTlsOptions {
        cert_files: vec![files.cert_file],
        key_files: vec![files.key_file],
        // As node:tls and PgBouncer negotiate; the client's end remembers it, and sends no other share from the second time on.
        groups: vec!["X25519".to_owned()],
        resumption: (kind == Kind::Resumed).then_some(ResumptionOptions {
            tickets: NonZeroU8::MIN,
            keys: TicketKeySource::Generated {
                rotation: Duration::from_hours(12),
            },
        }),
        ..ListenerTlsOptions::default()
    })
}

/// The dialling end: it verifies nobody.
pub(crate) fn backend_tls() -> Result<ClientTls, BenchError> {
    Ok(build_client_config(&BackendTlsOptions {
        verification: BackendVerification::None,
        send_server_name: true,
        ..BackendTlsOptions::default()
    })?)
}

/// Both configurations of a kind of handshake.
pub(crate) struct Ends {
    kind: Kind,
    listener: ServerTls,
    backend: ClientTls,
}

impl Ends {
    pub(crate) fn new(kind: Kind) -> Result<Self, BenchError> {
        let listener = with_listener_options(kind, |options| Ok(build_server_config(&options)?))?;
        let ends = Self {
            kind,
            listener,
            backend: backend_tls()?,
        };
        // The first one brings the ticket that the next one resumes by.
        let mut scratch = TlsScratch::default();
        ends.shake(&mut scratch)?.check(false)?;
        ends.shake(&mut scratch)?.check(kind == Kind::Resumed)?;
        Ok(ends)
    }

    /// A whole handshake; a ticket is received as well.
    pub(crate) fn shake(&self, scratch: &mut TlsScratch) -> Result<Pair, BenchError> {
        let (near, far) = Memory::pair();
        let mut pair = Pair {
            dialler: dial(&self.backend, HOST, near).map_err(SessionError::Tls)?,
            acceptor: accept(&self.listener, Vec::new(), far)
                .map_err(|(error, _)| SessionError::Tls(error))?,
        };
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..MAX_TURNS {
            let dialled = pair.dialler.poll_handshake(&mut cx, scratch)?;
            let accepted = pair.acceptor.poll_handshake(&mut cx, scratch)?;
            if dialled.is_ready() && accepted.is_ready() {
                return self.with_ticket_received(pair, scratch);
            }
        }
        Err(BenchError::Unexpected(format!(
            "a handshake ({:?}) without end",
            self.kind
        )))
    }

    fn with_ticket_received(
        &self,
        pair: Pair,
        scratch: &mut TlsScratch,
    ) -> Result<Pair, BenchError> {
        if self.kind == Kind::Resumed {
            let mut cx = Context::from_waker(Waker::noop());
            let mut nothing = Buffer::default();
            if pair
                .dialler
                .poll_receive(&mut cx, scratch, &mut nothing)?
                .is_ready()
            {
                return Err(BenchError::Unexpected(
                    "something came behind a ticket".to_owned(),
                ));
            }
        }
        Ok(pair)
    }
}

/// The two ends of a session.
pub(crate) struct Pair {
    /// As towards a backend.
    pub(crate) dialler: TlsStream<BackendFacing, Memory>,
    /// As towards a client.
    pub(crate) acceptor: TlsStream<ClientFacing, Memory>,
}

impl Pair {
    /// An error unless the figures are of what they say.
    fn check(&self, is_resumed: bool) -> Result<(), BenchError> {
        let found = self.acceptor.summary()?;
        let group = found.group.as_deref().unwrap_or("none");
        match (found.version, found.cipher.as_str(), group) {
            ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519") if found.is_resumed == is_resumed => {
                Ok(())
            }
            _ => Err(BenchError::Unexpected(format!(
                "not AES-256-GCM with X25519, resumed or not as it should be: {found:?}"
            ))),
        }
    }
}

/// What was sent and not received yet, as it was sent.
type Wire = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// One end of a wire in memory, which takes everything. A receive gets no more than one send brought.
pub(crate) struct Memory {
    incoming: Wire,
    outgoing: Wire,
}

impl Memory {
    fn pair() -> (Self, Self) {
        let (to_far, to_near) = (Wire::default(), Wire::default());
        let near = Self {
            incoming: Rc::clone(&to_near),
            outgoing: Rc::clone(&to_far),
        };
        let far = Self {
            incoming: to_far,
            outgoing: to_near,
        };
        (near, far)
    }
}

impl TrySend for Memory {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.outgoing.borrow_mut().push_back(bytes.to_vec());
        Ok(bytes.len())
    }
}

impl Transport for Memory {
    fn poll_receive(&self, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(sent) = self.incoming.borrow_mut().pop_front() else {
            return Poll::Pending;
        };
        match into.get_mut(..sent.len()) {
            Some(room) => room.copy_from_slice(&sent),
            None => return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into())),
        }
        Poll::Ready(Ok(sent.len()))
    }

    fn poll_send(&self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.try_send(bytes))
    }

    fn shutdown_write(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A wire that leads nowhere and takes everything.
pub(crate) struct Sink;

impl TrySend for Sink {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(std::hint::black_box(bytes).len())
    }
}

impl Transport for Sink {
    fn poll_receive(&self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_send(&self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.try_send(bytes))
    }

    fn shutdown_write(&self) -> io::Result<()> {
        Ok(())
    }
}
