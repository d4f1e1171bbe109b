//! [`Session`]: a session through a running data plane, in which every message is answered before the next one is sent.
//!
//! So its worker wakes up twice for a question and its answer, whatever the machine has to do besides: what it does then is the same
//! each time, though there are sockets and threads. Client and backend are this thread.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pgtls_core::{BackendAddress, DataPlane, Hooks};
use pgtls_testkit::TempDir;
use pgtls_testkit::messages::{authentication_ok, copy_data, ready_for_query, startup_message};
use pgtls_tls::buffer::Buffer;
use pgtls_tls::endpoint::{BackendFacing, dial};
use pgtls_tls::session::SessionError;
use pgtls_tls::stream::{Received, TlsScratch, TlsStream, Transport, TrySend};

use crate::pair::{BenchError, HOST, Kind, backend_tls, with_listener_options};
use crate::plane::{DEADLINE, handoff, options};
use crate::unexpected;

/// Of a CopyData message: type and length.
const HEADER_BYTES: usize = 5;

/// A client that is logged in, its backend, and what is between them.
pub(crate) struct Session {
    client: TlsStream<BackendFacing, Blocking>,
    scratch: TlsScratch,
    plaintext: Buffer,
    backend: UnixStream,
    message: Vec<u8>,
    _data_plane: DataPlane,
}

impl Session {
    /// For messages of so many bytes, headers included.
    pub(crate) fn new(message_bytes: usize) -> Result<Self, BenchError> {
        let directory = TempDir::new()?;
        let path = directory.path().join(".s.PGSQL.5432");
        let listener = UnixListener::bind(&path)?;
        let data_plane = with_listener_options(Kind::Ecdsa, |tls| {
            let options = options(tls, BackendAddress::Unix(path));
            DataPlane::start(&options, Hooks::events(Arc::new(drop)))
                .map_err(|error| BenchError::Unexpected(error.to_string()))
        })?;
        let mut scratch = TlsScratch::default();
        let client = connect(&data_plane, &mut scratch)?;
        let startup = startup_message(0, &[("user", "bench"), ("database", "bench")]);
        client.send(&startup, &mut scratch)?;
        let (backend, _) = listener.accept()?;
        backend.set_read_timeout(Some(DEADLINE))?;
        let mut session = Self {
            client,
            scratch,
            plaintext: Buffer::default(),
            backend,
            message: copy_data(&vec![b'x'; message_bytes.saturating_sub(HEADER_BYTES)]),
            _data_plane: data_plane,
        };
        session.answer(
            startup.len(),
            &[authentication_ok(), ready_for_query()].concat(),
        )?;
        Ok(session)
    }

    /// A message of the client, and as long a one of the backend's.
    pub(crate) fn round_trip(&mut self) -> Result<(), BenchError> {
        self.client.send(&self.message, &mut self.scratch)?;
        let message = self.message.clone();
        self.answer(message.len(), &message)
    }

    /// The backend reads so many bytes and answers; the client reads that.
    fn answer(&mut self, asked_bytes: usize, answer: &[u8]) -> Result<(), BenchError> {
        self.backend.read_exact(&mut vec![0; asked_bytes])?;
        self.backend.write_all(answer)?;
        let mut cx = Context::from_waker(Waker::noop());
        self.plaintext.clear();
        while self.plaintext.len() < answer.len() {
            let received =
                self.client
                    .poll_receive(&mut cx, &mut self.scratch, &mut self.plaintext)?;
            if received != Poll::Ready(Received::Data) {
                return Err(unexpected("the session has ended"));
            }
        }
        Ok(())
    }
}

fn connect(
    data_plane: &DataPlane,
    scratch: &mut TlsScratch,
) -> Result<TlsStream<BackendFacing, Blocking>, BenchError> {
    let (mut near, far) = UnixStream::pair()?;
    near.set_read_timeout(Some(DEADLINE))?;
    data_plane
        .adopt(far.as_fd(), handoff(1))
        .map_err(|error| BenchError::Unexpected(error.to_string()))?;
    near.read_exact(&mut [0])?;
    let mut client = dial(&backend_tls()?, HOST, Blocking(near)).map_err(SessionError::Tls)?;
    handshake(&mut client, scratch)?;
    Ok(client)
}

/// Never pending, as its socket blocks.
fn handshake(
    client: &mut TlsStream<BackendFacing, Blocking>,
    scratch: &mut TlsScratch,
) -> Result<(), BenchError> {
    let mut cx = Context::from_waker(Waker::noop());
    match client.poll_handshake(&mut cx, scratch)? {
        Poll::Ready(()) => Ok(()),
        Poll::Pending => Err(unexpected("a socket that blocks has not")),
    }
}

/// A socket whose calls wait.
struct Blocking(UnixStream);

impl TrySend for Blocking {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes)
    }
}

impl Transport for Blocking {
    fn poll_receive(&self, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready((&self.0).read(into))
    }

    fn poll_send(&self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(self.try_send(bytes))
    }

    fn shutdown_write(&self) -> io::Result<()> {
        self.0.shutdown(std::net::Shutdown::Write)
    }
}
