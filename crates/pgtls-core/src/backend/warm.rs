//! [`WarmPool`]: connections to the backend that are connected and TLS-handshaken ahead (`warm_connections`).
//!
//! A server forks and does its TLS when a client comes, which is the dearest part of a login; a warm connection has that behind it.
//! Nothing of PostgreSQL's protocol was said on it, so it belongs to nobody; whoever takes it says the first word, and it never
//! comes back. The keeper's thread makes them and takes them off its reactor; a worker puts the one it takes on its own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};
use std::net::Shutdown;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use pgtls_tls::endpoint::BackendFacing;
use pgtls_tls::stream::{READ_BYTES, TlsStream, Transport, TrySend};
use pgtls_tls::summary::TlsSummary;
use tokio::sync::Notify;

use crate::backend::order::below;
use crate::connection::{BackendPeer, Link, Peer, PlainStream, Scratch, Socket, Target};
use crate::options::WarmOptions;

/// Connections of one backend, ready for a startup packet.
pub(crate) struct WarmPool {
    options: WarmOptions,
    /// Guards the connections; nothing is read or written under it.
    rack: Mutex<Rack>,
    /// One was taken, or the pool was closed: for the keeper, who alone listens.
    pub(crate) changed: Notify,
}

#[derive(Default)]
struct Rack {
    /// The oldest first.
    links: VecDeque<WarmLink>,
    is_closed: bool,
}

/// A connection that waits to be used, on no reactor.
pub(crate) struct WarmLink {
    /// Which of the backend's addresses it leads to.
    pub(crate) address: usize,
    pub(crate) target: Target,
    peer: Parked,
    tls: Option<TlsSummary>,
    expires_at: Instant,
}

enum Parked {
    Plain(ParkedSocket),
    Tls(Box<TlsStream<BackendFacing, ParkedSocket>>),
}

/// A non-blocking socket without a reactor: whoever polls it looks at it, and is woken by nobody.
struct ParkedSocket(socket2::Socket);

impl WarmPool {
    pub(crate) fn new(options: WarmOptions) -> Self {
        Self {
            options,
            rack: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// How many connections there should be.
    pub(crate) fn size(&self) -> usize {
        self.options.connections
    }

    /// How many connections wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().links.len()
    }

    /// Whether it is closed for good.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Takes the oldest connection that `accepts` and is still alive, with the index of its address; it is this thread's from here
    /// on.
    pub(crate) fn take(
        &self,
        accepts: impl Fn(&WarmLink) -> bool,
        scratch: &RefCell<Scratch>,
    ) -> Option<(usize, Link)> {
        loop {
            let link = {
                let mut rack = self.lock();
                let place = rack.links.iter().position(&accepts)?;
                rack.links.remove(place)?
            };
            self.changed.notify_one();
            if !link.is_usable(scratch) {
                link.discard(scratch);
                continue;
            }
            let address = link.address;
            if let Ok(link) = link.wake() {
                return Some((address, link));
            }
        }
    }

    /// Puts a connection that was just made onto the rack, on no reactor any more; drops it when the pool is closed.
    pub(crate) fn park(&self, address: usize, link: Link) -> io::Result<()> {
        let lifetime = jittered(self.options.max_age);
        let link = WarmLink::park(address, link, lifetime)?;
        let mut rack = self.lock();
        if !rack.is_closed {
            rack.links.push_back(link);
        }
        Ok(())
    }

    /// Discards what has grown too old or has ended.
    pub(crate) fn sweep(&self, scratch: &RefCell<Scratch>) {
        // One by one, so that a session that comes meanwhile finds the others.
        for _ in 0..self.len() {
            let Some(link) = self.lock().links.pop_front() else {
                break;
            };
            if link.is_usable(scratch) {
                let mut rack = self.lock();
                if !rack.is_closed {
                    rack.links.push_back(link);
                }
            } else {
                link.discard(scratch);
            }
        }
    }

    /// Drops every connection, and each that is yet to be parked.
    pub(crate) fn close(&self) {
        let links = {
            let mut rack = self.lock();
            rack.is_closed = true;
            std::mem::take(&mut rack.links)
        };
        self.changed.notify_one();
        let scratch = RefCell::default();
        for link in links {
            link.discard(&scratch);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rack> {
        self.rack.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for WarmPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmPool")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Three quarters of `max_age` to the whole of it: connections made together do not have to be made anew together.
fn jittered(max_age: Duration) -> Duration {
    let quarter = max_age / 4;
    let millis = usize::try_from(quarter.as_millis()).unwrap_or(usize::MAX);
    let spared = u64::try_from(below(millis.max(1))).unwrap_or(0);
    max_age.saturating_sub(Duration::from_millis(spared))
}

impl WarmLink {
    fn park(address: usize, link: Link, lifetime: Duration) -> io::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            address,
            target: link.target,
            peer: match link.peer {
                Peer::Plain(stream) => Parked::Plain(ParkedSocket::of(stream.into_socket())?),
                Peer::Tls(stream) => Parked::Tls(Box::new(stream.map_socket(ParkedSocket::of)?)),
            },
            tls: link.tls,
            expires_at: now.checked_add(lifetime).unwrap_or(now),
        })
    }

    /// Whether it is young enough, and the server has neither ended it nor said anything: before a startup packet it has
    /// nothing to say. What TLS says on its own account (tickets) is taken in.
    fn is_usable(&self, scratch: &RefCell<Scratch>) -> bool {
        let Scratch { plaintext, tls } = &mut *scratch.borrow_mut();
        plaintext.clear();
        let mut context = Context::from_waker(Waker::noop());
        let is_silent = match &self.peer {
            Parked::Plain(socket) => socket
                .poll_receive(&mut context, plaintext.spare_mut(READ_BYTES))
                .is_pending(),
            Parked::Tls(stream) => stream
                .poll_receive(&mut context, tls, plaintext)
                .is_pending(),
        };
        is_silent && Instant::now() < self.expires_at
    }

    /// Puts it on this thread's reactor.
    fn wake(self) -> io::Result<Link> {
        let peer: BackendPeer = match self.peer {
            Parked::Plain(ParkedSocket(socket)) => {
                Peer::Plain(PlainStream::new(Socket::register(socket)?, Vec::new()))
            }
            Parked::Tls(stream) => {
                Peer::Tls(stream.map_socket(|ParkedSocket(socket)| Socket::register(socket))?)
            }
        };
        Ok(Link {
            peer,
            tls: self.tls,
            target: self.target,
        })
    }

    /// Closes it; over TLS with a `close_notify`, without which a server may log an unexpected end.
    fn discard(self, scratch: &RefCell<Scratch>) {
        if let Parked::Tls(stream) = &self.peer {
            // The server may have gone already.
            let _ = stream.send_close_notify(&mut scratch.borrow_mut().tls);
        }
    }
}

impl ParkedSocket {
    /// Takes a socket off its reactor. Nobody else holds one that was just connected.
    fn of(socket: Socket) -> io::Result<Self> {
        socket
            .unregister()
            .map(Self)
            .ok_or_else(|| io::Error::other("the socket is shared"))
    }
}

impl TrySend for ParkedSocket {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.send(bytes)
    }
}

impl Transport for ParkedSocket {
    fn poll_receive(&self, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match (&self.0).read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_send(&self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.0.send(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_three_quarters_of_the_greatest_age_at_least_and_never_more_than_it() {
        let max_age = Duration::from_secs(30);
        let lifetimes: Vec<_> = (0..200).map(|_| jittered(max_age)).collect();
        assert!(lifetimes.iter().all(|one| *one <= max_age));
        assert!(lifetimes.iter().all(|one| *one >= max_age * 3 / 4));
        assert!(lifetimes.iter().any(|one| *one < max_age * 9 / 10));
        assert_eq!(jittered(Duration::from_millis(1)), Duration::from_millis(1));
    }
}
