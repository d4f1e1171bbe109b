//! [`Kernel`]: a socket's send buffer, which takes what it has room for.

use std::io;
use std::task::{Context, Poll, Waker};

use loom::sync::{Arc, Mutex};
use pgtls_tls::stream::{Transport, TrySend};

/// One socket; clones are further descriptors of it.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    room_bytes: usize,
    wire: Vec<u8>,
    writable: Option<Waker>,
    watching: Option<(usize, Waker)>,
}

impl Kernel {
    pub(crate) fn new(room_bytes: usize) -> Self {
        let state = State {
            room_bytes,
            wire: Vec::new(),
            writable: None,
            watching: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The peer reads: as many bytes more have room.
    pub(crate) fn drain(&self, bytes: usize) {
        let mut state = self.state.lock().unwrap();
        state.room_bytes += bytes;
        if let Some(waker) = state.writable.take() {
            waker.wake();
        }
    }

    /// Ready when so many bytes were taken.
    pub(crate) fn poll_wire(&self, cx: &mut Context<'_>, bytes: usize) -> Poll<()> {
        let mut state = self.state.lock().unwrap();
        if state.wire.len() >= bytes {
            return Poll::Ready(());
        }
        state.watching = Some((bytes, cx.waker().clone()));
        Poll::Pending
    }

    /// Everything taken so far.
    pub(crate) fn wire(&self) -> Vec<u8> {
        self.state.lock().unwrap().wire.clone()
    }
}

impl State {
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let taken = bytes.len().min(self.room_bytes);
        if taken == 0 {
            return None;
        }
        self.room_bytes -= taken;
        self.wire.extend_from_slice(&bytes[..taken]);
        if let Some((_, waker)) = self
            .watching
            .take_if(|(wanted, _)| self.wire.len() >= *wanted)
        {
            waker.wake();
        }
        Some(taken)
    }
}

impl TrySend for Kernel {
    fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.state.lock().unwrap().take(bytes);
        taken.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }
}

impl Transport for Kernel {
    fn poll_receive(&self, _cx: &mut Context<'_>, _into: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Pending
    }

    fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.state.lock().unwrap();
        if let Some(taken) = state.take(bytes) {
            return Poll::Ready(Ok(taken));
        }
        state.writable = Some(cx.waker().clone());
        Poll::Pending
    }

    fn shutdown_write(&self) -> io::Result<()> {
        Ok(())
    }
}
