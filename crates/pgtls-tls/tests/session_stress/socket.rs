//! [`Socket`]: the owner's side of the connection, on tokio's reactor.

use std::io::{self, Read as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pgtls_tls::stream::{Transport, TrySend};
use socket2::SockRef;
use tokio::io::unix::AsyncFd;

const SEND_BUFFER_BYTES: usize = 4 * 1024;

/// Clones share one descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Socket(Arc<AsyncFd<TcpStream>>);

impl Socket {
    pub(crate) fn new(stream: TcpStream) -> Self {
        SockRef::from(&stream)
            .set_send_buffer_size(SEND_BUFFER_BYTES)
            .unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        #[expect(
            deprecated,
            reason = "register() is unsafe because T may swap its descriptor; TcpStream owns one for life"
        )]
        let socket = AsyncFd::new(stream).unwrap();
        Self(Arc::new(socket))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}

impl TrySend for Socket {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        SockRef::from(self.0.get_ref()).send(bytes)
    }
}

impl Transport for Socket {
    fn poll_receive(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            if let Ok(result) = guard.try_io(|socket| socket.get_ref().read(into)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            if let Ok(result) = guard.try_io(|socket| SockRef::from(socket.get_ref()).send(bytes)) {
                return Poll::Ready(result);
            }
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        self.0.get_ref().shutdown(Shutdown::Write)
    }
}
