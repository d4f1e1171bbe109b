//! [`Outbox`]: bytes that the kernel did not take yet, in wire order, and who waits for what about them.
//!
//! It stands under its session's lock. Whoever writes next flushes it first, so that the order of records on the wire
//! stays the order of their encryption. A writer that is not the owner leaves its residue here and wakes the owner, who alone
//! waits for the kernel.
//!
//! Bounded by its writers: the owner does not read from the other peer while bytes are left here, and another writer gets no
//! room above [`OUTBOX_LIMIT_BYTES`]: it waits, or gives up, as it decides. Both checks are made under the same lock as the
//! write. What can stand here at most is the limit, one read's worth and one message of another writer.

use std::io;
use std::task::{Context, Poll, Waker};

/// Above this, a writer that is not the owner gets no room.
pub const OUTBOX_LIMIT_BYTES: usize = 256 * 1024;

/// Bytes waiting for the kernel. Holds no memory while it is empty and nobody waits.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    /// Another writer left something for the owner to see.
    needs_owner: bool,
    /// The owner is gone: nobody flushes any more.
    is_closed: bool,
    owner: Option<Waker>,
    /// Writers that wait for room. Waking takes no lock of ours, so it may be done under the session's.
    waiting: Vec<Waker>,
}

impl Outbox {
    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len().saturating_sub(self.sent)
    }

    /// Whether no byte waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that wait, oldest first.
    #[must_use]
    pub fn pending(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Appends `bytes` behind what waits.
    pub fn queue(&mut self, bytes: &[u8]) {
        // A slow peer and a busy writer may never let this run empty: what is sent must go all the same, or the memory would
        // grow with every byte ever queued. Moving no more than was sent keeps the cost per byte constant.
        if self.sent >= self.len() {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Marks the first `sent_bytes` as taken by the kernel; gives the memory back when nothing is left.
    pub fn advance(&mut self, sent_bytes: usize) {
        self.sent = self.sent.saturating_add(sent_bytes);
        if self.sent >= self.bytes.len() {
            self.bytes = Vec::new();
            self.sent = 0;
        }
        if self.len() < OUTBOX_LIMIT_BYTES / 2 {
            self.wake_waiting();
        }
    }

    /// For the owner: ready when another writer left something to be done.
    pub fn poll_attention(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.needs_owner) {
            return Poll::Ready(());
        }
        match &mut self.owner {
            Some(owner) => owner.clone_from(cx.waker()),
            None => self.owner = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// For another writer: ready when there is room for a message of its own.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whether another writer may add a message. An outbox without an owner has room for nobody, but nobody shall wait for it.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.is_closed || self.len() < OUTBOX_LIMIT_BYTES
    }

    /// The owner leaves: writers that wait learn it.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.wake_waiting();
    }

    /// An error once the owner has left.
    pub fn check_open(&self) -> io::Result<()> {
        if self.is_closed {
            Err(io::ErrorKind::NotConnected.into())
        } else {
            Ok(())
        }
    }

    /// For another writer, after it wrote: the owner has to flush, or to see that the session is closed.
    pub fn call_owner(&mut self) {
        self.needs_owner = true;
        if let Some(owner) = self.owner.take() {
            owner.wake();
        }
    }

    /// Sends `bytes` behind what already waits, and keeps what the kernel does not take.
    ///
    /// `try_send` is a non-blocking write; `WouldBlock` and short writes are no errors here. An error loses nothing either:
    /// a record left out would break the session for everybody, and the owner's flush meets the same error.
    pub fn send(
        &mut self,
        bytes: &[u8],
        mut try_send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let mut rest = bytes;
        let result = self.send_in_order(&mut rest, &mut try_send);
        if !rest.is_empty() {
            self.queue(rest);
        }
        result
    }

    /// Sends what waits, then `rest`, until the kernel takes no more.
    fn send_in_order(
        &mut self,
        rest: &mut &[u8],
        try_send: &mut impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while !self.is_empty() {
            match attempt(try_send, self.pending())? {
                0 => return Ok(()),
                sent => self.advance(sent),
            }
        }
        while !rest.is_empty() {
            match attempt(try_send, rest)? {
                0 => return Ok(()),
                sent => *rest = rest.get(sent..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    fn wake_waiting(&mut self) {
        std::mem::take(&mut self.waiting)
            .into_iter()
            .for_each(Waker::wake);
    }
}

/// One write; 0 when the kernel takes nothing now.
fn attempt(
    try_send: &mut impl FnMut(&[u8]) -> io::Result<usize>,
    bytes: &[u8],
) -> io::Result<usize> {
    loop {
        match try_send(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => return Ok(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel(room: usize) -> impl FnMut(&[u8]) -> io::Result<usize> {
        let mut left = room;
        move |bytes| {
            let taken = bytes.len().min(left).min(3);
            left -= taken;
            if taken == 0 {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                Ok(taken)
            }
        }
    }

    #[test]
    fn keeps_what_the_kernel_does_not_take() {
        let mut outbox = Outbox::default();
        outbox.send(b"abcdefgh", kernel(5)).unwrap();
        assert_eq!(outbox.pending(), b"fgh");
    }

    #[test]
    fn sends_what_waits_before_what_is_new() {
        let mut outbox = Outbox::default();
        outbox.queue(b"old");
        let mut wire = Vec::new();
        outbox
            .send(b"new", |bytes| {
                wire.extend_from_slice(bytes);
                Ok(bytes.len())
            })
            .unwrap();
        assert_eq!(wire, b"oldnew");
        assert!(outbox.is_empty());
    }

    #[test]
    fn queues_what_is_new_behind_what_still_waits() {
        let mut outbox = Outbox::default();
        outbox.queue(b"old");
        outbox.send(b"new", kernel(0)).unwrap();
        assert_eq!(outbox.pending(), b"oldnew");
    }

    #[test]
    fn gives_its_memory_back_when_empty() {
        let mut outbox = Outbox::default();
        outbox.queue(b"abc");
        outbox.advance(3);
        assert_eq!(outbox.bytes.capacity(), 0);
    }

    #[test]
    fn gives_up_what_is_sent_when_it_never_runs_empty() {
        let mut outbox = Outbox::default();
        let block: Vec<u8> = (0..=u8::MAX).collect();
        outbox.queue(&block);
        for _ in 0..1000 {
            outbox.queue(&block);
            assert_eq!(outbox.pending(), [&block[..], &block].concat());
            outbox.advance(block.len());
        }
        assert!(outbox.bytes.capacity() < 8 * block.len());
    }

    #[test]
    fn keeps_everything_in_order_when_a_write_fails() {
        let mut outbox = Outbox::default();
        outbox.queue(b"old");
        let mut wire = Vec::new();
        let error = outbox.send(b"new", |bytes| {
            if wire.len() == 4 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            wire.push(bytes[0]);
            Ok(1)
        });
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(wire, b"oldn");
        assert_eq!(outbox.pending(), b"ew");
    }

    #[test]
    fn takes_a_write_of_nothing_for_a_failure() {
        let mut outbox = Outbox::default();
        let error = outbox.send(b"new", |_| Ok(0)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn has_room_below_its_limit_and_for_everybody_once_closed() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut outbox = Outbox::default();
        outbox.queue(&vec![0; OUTBOX_LIMIT_BYTES - 1]);
        assert!(outbox.poll_room(&mut cx).is_ready());
        outbox.queue(b"x");
        assert!(outbox.poll_room(&mut cx).is_pending());
        assert!(outbox.poll_room(&mut cx).is_pending());
        assert_eq!(outbox.waiting.len(), 1, "one task waits once");
        outbox.close();
        assert!(outbox.waiting.is_empty());
        assert!(outbox.poll_room(&mut cx).is_ready());
        outbox.check_open().unwrap_err();
    }

    #[test]
    fn tells_the_owner_once_also_when_it_asks_late() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut outbox = Outbox::default();
        assert!(outbox.poll_attention(&mut cx).is_pending());
        outbox.call_owner();
        outbox.call_owner();
        assert!(outbox.poll_attention(&mut cx).is_ready());
        assert!(outbox.poll_attention(&mut cx).is_pending());
    }
}
