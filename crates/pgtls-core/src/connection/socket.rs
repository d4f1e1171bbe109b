//! [`Socket`]: a non-blocking TCP or Unix-domain socket on the worker's reactor.

use std::future::poll_fn;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pgtls_tls::stream::{Transport, TrySend};
use socket2::{Domain, SockAddr, TcpKeepalive, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use crate::options::KeepaliveOptions;

/// How long to wait for room in the queue of a Unix-domain socket.
const QUEUE_PAUSE: Duration = Duration::from_millis(10);

/// A connected socket. Clones share it; the last one closes the descriptor.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    fd: Arc<AsyncFd<socket2::Socket>>,
}

impl Socket {
    /// Puts a connected socket on this thread's reactor.
    pub(crate) fn new(socket: socket2::Socket, keepalive: &KeepaliveOptions) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        tune(&socket, keepalive)?;
        Self::register(socket)
    }

    /// Puts a socket on this thread's reactor that was on another one before: it needs nothing else.
    pub(crate) fn register(socket: socket2::Socket) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "register() is unsafe because T may swap its descriptor; socket2::Socket owns one for life"
        )]
        let fd = AsyncFd::new(socket)?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// Takes the socket off the reactor; none while a clone of it lives.
    pub(crate) fn unregister(self) -> Option<socket2::Socket> {
        Arc::into_inner(self.fd).map(AsyncFd::into_inner)
    }

    /// Connects to a TCP address. Cancel-safe: dropping the future closes the socket.
    pub(crate) async fn connect_tcp(
        address: SocketAddr,
        keepalive: &KeepaliveOptions,
    ) -> io::Result<Self> {
        Self::connect(Domain::for_address(address), &address.into(), keepalive).await
    }

    /// Connects to a Unix-domain socket. Cancel-safe likewise.
    pub(crate) async fn connect_unix(path: &Path) -> io::Result<Self> {
        Self::connect(
            Domain::UNIX,
            &SockAddr::unix(path)?,
            &KeepaliveOptions::default(),
        )
        .await
    }

    async fn connect(
        domain: Domain,
        address: &SockAddr,
        keepalive: &KeepaliveOptions,
    ) -> io::Result<Self> {
        let socket = Self::new(socket2::Socket::new(domain, Type::STREAM, None)?, keepalive)?;
        loop {
            match socket.fd.get_ref().connect(address) {
                // A Unix-domain socket whose queue is full says so instead of going on by itself.
                Err(error)
                    if domain == Domain::UNIX && error.kind() == io::ErrorKind::WouldBlock =>
                {
                    sleep(QUEUE_PAUSE).await;
                }
                Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {
                    let _ = socket.fd.writable().await?;
                    return match socket.fd.get_ref().take_error()? {
                        Some(error) => Err(error),
                        None => Ok(socket),
                    };
                }
                result => return result.map(|()| socket),
            }
        }
    }

    /// Sends all of `bytes`.
    pub(crate) async fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = poll_fn(|cx| self.poll_send(cx, bytes)).await?;
            bytes = bytes.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits until there is something to receive. Cancel-safe.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.fd.readable().await.map(|_| ())
    }

    /// Waits until the connection is dead in both directions, by a reset or a timeout: what `epoll` calls `EPOLLERR`, which it reports
    /// unasked. The end of the peer's direction is none. Cancel-safe.
    pub(crate) async fn failed(&self) {
        // An error of the reactor is the end of every socket on it.
        let _ = self.fd.ready(Interest::ERROR).await;
    }

    /// What the connection died of.
    pub(crate) fn take_failure(&self) -> io::Error {
        let error = self.fd.get_ref().take_error();
        // Whoever met it first has taken it.
        let taken = || io::ErrorKind::ConnectionReset.into();
        error.unwrap_or_else(Some).unwrap_or_else(taken)
    }
}

/// `TCP_NODELAY` always; keepalive as configured. Nothing of it concerns Unix-domain sockets.
fn tune(socket: &socket2::Socket, keepalive: &KeepaliveOptions) -> io::Result<()> {
    if socket.domain()? == Domain::UNIX {
        return Ok(());
    }
    socket.set_tcp_nodelay(true)?;
    if keepalive.is_enabled {
        let mut parameters = TcpKeepalive::new();
        if !keepalive.idle.is_zero() {
            parameters = parameters.with_time(keepalive.idle);
        }
        if !keepalive.interval.is_zero() {
            parameters = parameters.with_interval(keepalive.interval);
        }
        if keepalive.count > 0 {
            parameters = parameters.with_retries(keepalive.count);
        }
        socket.set_keepalive(true)?;
        socket.set_tcp_keepalive(&parameters)?;
    }
    #[cfg(target_os = "linux")]
    if !keepalive.user_timeout.is_zero() {
        socket.set_tcp_user_timeout(Some(keepalive.user_timeout))?;
    }
    Ok(())
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }
}

impl TrySend for Socket {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.fd.get_ref().send(bytes)
    }
}

impl Transport for Socket {
    fn poll_receive(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(cx))?;
            match guard.try_io(|fd| fd.get_ref().read(into)) {
                Ok(Ok(received)) => {
                    if received > 0 && received < into.len() {
                        // The kernel had no more: wait for its next event instead of asking again. An end of stream
                        // that was signalled along with the data is not forgotten by this.
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(received));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.fd.poll_write_ready(cx))?;
            match guard.try_io(|fd| fd.get_ref().send(bytes)) {
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        match self.fd.get_ref().shutdown(std::net::Shutdown::Write) {
            // The peer is gone already: nobody left to tell.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn keepalive_and_user_timeout_are_set_on_both_legs() {
        let options = KeepaliveOptions {
            is_enabled: true,
            idle: Duration::from_secs(41),
            interval: Duration::from_secs(7),
            count: 5,
            user_timeout: Duration::from_millis(12_345),
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let dialled = Socket::connect_tcp(address, &options).await.unwrap();
        let accepted = listener.accept().unwrap().0;
        let accepted = Socket::new(accepted.into(), &options).unwrap();
        for socket in [dialled, accepted] {
            let socket = socket.fd.get_ref();
            assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), options.idle);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), options.interval);
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), options.count);
            let user_timeout = socket.tcp_user_timeout().unwrap();
            assert_eq!(user_timeout, Some(options.user_timeout));
        }
    }
}
