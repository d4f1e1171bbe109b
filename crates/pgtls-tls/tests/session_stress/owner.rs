//! The owner: reads, flushes what the others leave, and writes messages of its own, on a current-thread runtime.

use std::future::poll_fn;
use std::net::TcpStream;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use pgtls_tls::buffer::Buffer;
use pgtls_tls::endpoint::ClientFacing;
use pgtls_tls::session::SessionError;
use pgtls_tls::stream::{EndOfStream, Received, TlsScratch, TlsStream};
use rustls::ServerConfig;
use tokio::sync::mpsc;

use crate::message::{self, DATA, LAST, Message};
use crate::socket::Socket;

pub(crate) type Owned = TlsStream<ClientFacing, Socket>;

#[derive(Debug, Default)]
pub(crate) struct OwnerReport {
    /// Messages of its own.
    pub(crate) sent: u64,
    /// Bytes from the client.
    pub(crate) received: u64,
    /// How often it was called by another writer.
    pub(crate) calls: u64,
    /// How often residue was there when it was called.
    pub(crate) residues: u64,
}

struct Owner {
    stream: Owned,
    until: Instant,
    signs: mpsc::Receiver<()>,
    report: OwnerReport,
    scratch: TlsScratch,
    plaintext: Buffer,
    message: Vec<u8>,
    has_closed: bool,
}

/// Serves one connection; `start` starts the other writers once TLS stands. They are done when nobody holds a sign any more.
pub(crate) fn run<T>(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    until: Instant,
    start: impl FnOnce(&Owned, mpsc::Sender<()>) -> T,
) -> (Result<OwnerReport, SessionError>, T) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    runtime.block_on(async {
        let tls = ClientFacing::new(config).unwrap();
        let mut stream = Owned::new(tls, Vec::new(), Socket::new(stream));
        let mut scratch = TlsScratch::default();
        poll_fn(|cx| stream.poll_handshake(cx, &mut scratch))
            .await
            .unwrap();
        let (sign, signs) = mpsc::channel(1);
        let started = start(&stream, sign);
        let mut owner = Owner {
            stream,
            until,
            signs,
            report: OwnerReport::default(),
            scratch,
            plaintext: Buffer::default(),
            message: Vec::new(),
            has_closed: false,
        };
        let result = poll_fn(|cx| owner.poll(cx)).await;
        (result.map(|()| owner.report), started)
    })
}

impl Owner {
    /// Ready when the client has closed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.poll_attention(cx)?;
        if !self.has_closed {
            self.write(cx)?;
        }
        let _ = self.stream.poll_flush(cx)?;
        while let Poll::Ready(received) =
            self.stream
                .poll_receive(cx, &mut self.scratch, &mut self.plaintext)?
        {
            // The last bytes may come together with the close_notify.
            self.report.received += u64::try_from(self.plaintext.len()).unwrap();
            self.plaintext.clear();
            match received {
                Received::Data => {}
                Received::End(EndOfStream::CloseNotify) if self.has_closed => {
                    return Poll::Ready(Ok(()));
                }
                Received::End(end) => panic!("{end:?}"),
            }
        }
        Poll::Pending
    }

    fn poll_attention(&mut self, cx: &mut Context<'_>) -> Result<(), SessionError> {
        while self.stream.poll_attention(cx)?.is_ready() {
            self.report.calls += 1;
            self.report.residues += u64::from(self.stream.has_residue()?);
        }
        Ok(())
    }

    /// One message if there is room, later the last one, behind those of all others.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), SessionError> {
        if Instant::now() < self.until {
            if self.stream.session().lock()?.outbox().has_room() {
                self.send(DATA)?;
                self.report.sent += 1;
            }
        } else if self.signs.poll_recv(cx).is_ready() {
            self.send(LAST)?;
            self.stream.send_close_notify(&mut self.scratch)?;
            self.has_closed = true;
        }
        Ok(())
    }

    fn send(&mut self, kind: u8) -> Result<(), SessionError> {
        let message = Message {
            kind,
            writer: 0,
            sequence: self.report.sent,
        };
        message::write(&mut self.message, &message);
        self.stream.send(&self.message, &mut self.scratch)
    }
}
