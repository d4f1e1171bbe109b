//! [`Records`]: one session that encrypts and decrypts records of a size, without a socket.

use std::hint::black_box;
use std::time::{Duration, Instant};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::stream::{READ_BYTES, TlsScratch};

use crate::pair::{BenchError, Ends, Pair};

/// RFC 8446, 5.1: a larger payload would be two records.
const MAX_RECORD_BYTES: usize = 1 << 14;

/// Header, content type and tag: what a record has besides its payload (RFC 8446, 5.2).
const OVERHEAD_BYTES: usize = 5 + 1 + 16;

/// A session, and memory as a worker has it.
pub(crate) struct Records {
    pair: Pair,
    payload: Vec<u8>,
    ciphertext: Buffer,
    plaintext: Buffer,
}

impl Records {
    /// For records with so many bytes of payload.
    pub(crate) fn new(ends: &Ends, record_bytes: usize) -> Result<Self, BenchError> {
        if !(1..=MAX_RECORD_BYTES).contains(&record_bytes) {
            return Err(BenchError::Unexpected(format!(
                "no record has {record_bytes} bytes"
            )));
        }
        Ok(Self {
            pair: ends.shake(&mut TlsScratch::default())?,
            payload: vec![7; record_bytes],
            ciphertext: Buffer::with_capacity(READ_BYTES),
            plaintext: Buffer::with_capacity(READ_BYTES),
        })
    }

    /// Encrypts towards the client, under the session's lock, a record each time.
    pub(crate) fn encrypt(&mut self, count: usize) -> Result<(), BenchError> {
        let session = self.pair.acceptor.session();
        for _ in 0..count {
            self.ciphertext.clear();
            session
                .lock()?
                .encrypt(black_box(&self.payload), &mut self.ciphertext)?;
            black_box(self.ciphertext.filled());
        }
        Ok(())
    }

    /// Decrypts what the client sends, so many records at a time as fit into one read of the relay; how long that took, without
    /// what the client took to encrypt them.
    pub(crate) fn decrypt(&mut self, count: usize) -> Result<Duration, BenchError> {
        let record_bytes = self.payload.len();
        let at_once = (READ_BYTES / (record_bytes + OVERHEAD_BYTES)).max(1);
        let (mut left, mut took) = (count, Duration::ZERO);
        while left > 0 {
            let records = left.min(at_once);
            took += self.decrypt_read(records)?;
            if self.plaintext.len() != records * record_bytes {
                return Err(BenchError::Unexpected(format!(
                    "{} bytes came of {records} records of {record_bytes}",
                    self.plaintext.len()
                )));
            }
            left -= records;
        }
        Ok(took)
    }

    fn decrypt_read(&mut self, records: usize) -> Result<Duration, BenchError> {
        self.ciphertext.clear();
        let sender = self.pair.dialler.session();
        for _ in 0..records {
            sender
                .lock()?
                .encrypt(&self.payload, &mut self.ciphertext)?;
        }
        self.plaintext.clear();
        let mut answers = Buffer::default();
        let receiver = self.pair.acceptor.session();
        let started = Instant::now();
        receiver.lock()?.receive(
            black_box(self.ciphertext.filled_mut()),
            &mut self.plaintext,
            &mut answers,
        )?;
        black_box(self.plaintext.filled());
        Ok(started.elapsed())
    }
}
