//! [`Wire`]: a socket in memory whose send buffer is as large as the test says.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use pgtls_tls::stream::{Transport, TrySend};

/// One socket; clones are further descriptors of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wire {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    received: VecDeque<u8>,
    sent: Vec<u8>,
    /// None: everything is taken.
    room_bytes: Option<usize>,
    failure: Option<io::ErrorKind>,
    writable: Option<Waker>,
}

impl Wire {
    /// From now on the kernel takes so many bytes.
    pub(crate) fn set_room(&self, bytes: usize) {
        let mut state = self.lock();
        state.room_bytes = Some(bytes);
        if let Some(waker) = state.writable.take() {
            waker.wake();
        }
    }

    /// The next write fails.
    pub(crate) fn fail_once(&self, kind: io::ErrorKind) {
        self.lock().failure = Some(kind);
    }

    /// The peer sent `bytes`.
    pub(crate) fn push(&self, bytes: &[u8]) {
        self.lock().received.extend(bytes);
    }

    /// Takes what was sent to the peer.
    pub(crate) fn take_sent(&self) -> Vec<u8> {
        std::mem::take(&mut self.lock().sent)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl TrySend for Wire {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.lock();
        if let Some(kind) = state.failure.take() {
            return Err(kind.into());
        }
        let taken = bytes.len().min(state.room_bytes.unwrap_or(usize::MAX));
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.room_bytes = state.room_bytes.map(|room| room - taken);
        state.sent.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
}

impl Transport for Wire {
    fn poll_receive(&self, _cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        let count = state.received.len().min(into.len());
        if count == 0 {
            return Poll::Pending;
        }
        for (to, from) in into.iter_mut().zip(state.received.drain(..count)) {
            *to = from;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.try_send(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.lock().writable = Some(cx.waker().clone());
                Poll::Pending
            }
            result => Poll::Ready(result),
        }
    }

    fn shutdown_write(&self) -> io::Result<()> {
        Ok(())
    }
}
