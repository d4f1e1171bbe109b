//! [`Outbox`]: ciphertext that the kernel did not take yet, in wire order.
//!
//! It stands under the session's lock. Whoever writes next flushes it first, so that the order of records on the wire
//! stays the order of their encryption. It is bounded by its writers: the owner of a session does not read from
//! the other peer while bytes are left here.

use std::io;

/// Bytes waiting for the kernel. Holds no memory while it is empty.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
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
        self.bytes.extend_from_slice(bytes);
    }

    /// Marks the first `sent_bytes` as taken by the kernel; gives the memory back when nothing is left.
    pub fn advance(&mut self, sent_bytes: usize) {
        self.sent = self.sent.saturating_add(sent_bytes);
        if self.sent >= self.bytes.len() {
            *self = Self::default();
        }
    }

    /// Sends `bytes` behind what already waits, and keeps what the kernel does not take.
    ///
    /// `try_send` is a non-blocking write; `WouldBlock` and short writes are no errors here.
    pub fn send(
        &mut self,
        bytes: &[u8],
        mut try_send: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while !self.is_empty() {
            match attempt(&mut try_send, self.pending())? {
                0 => {
                    self.queue(bytes);
                    return Ok(());
                }
                sent => self.advance(sent),
            }
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match attempt(&mut try_send, rest)? {
                0 => break,
                sent => rest = rest.get(sent..).unwrap_or_default(),
            }
        }
        if !rest.is_empty() {
            self.queue(rest);
        }
        Ok(())
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
}
