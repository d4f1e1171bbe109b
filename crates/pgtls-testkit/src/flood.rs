//! `Flood`: a large COPY out whose content both ends can compute.

use crate::checksum::Checksum;
use crate::messages::{copy_data, message, ready_for_query};

/// `rows` CopyData messages of `row_bytes` payload each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flood {
    /// Number of CopyData messages.
    pub rows: u32,
    /// Payload bytes of each.
    pub row_bytes: usize,
}

impl Flood {
    /// CopyOutResponse, text, no columns told.
    pub(crate) fn prologue() -> Vec<u8> {
        message(b'H', &[0, 0, 0])
    }

    /// CopyDone, CommandComplete and ReadyForQuery.
    #[must_use]
    pub fn epilogue(self) -> Vec<u8> {
        let complete = message(b'C', format!("COPY {}\0", self.rows).as_bytes());
        [message(b'c', b""), complete, ready_for_query()].concat()
    }

    /// The CopyData message number `index`.
    #[must_use]
    pub fn row(self, index: u32) -> Vec<u8> {
        copy_data(&self.payload(index))
    }

    fn payload(self, index: u32) -> Vec<u8> {
        index
            .to_be_bytes()
            .into_iter()
            .cycle()
            .take(self.row_bytes)
            .collect()
    }

    /// How many payload bytes there are altogether.
    #[must_use]
    pub fn payload_bytes(self) -> u64 {
        let row_bytes = u64::try_from(self.row_bytes).expect("a 64-bit number");
        u64::from(self.rows) * row_bytes
    }

    /// The checksum over all payloads.
    #[must_use]
    pub fn checksum(self) -> u64 {
        let mut checksum = Checksum::default();
        (0..self.rows).for_each(|index| checksum.update(&self.payload(index)));
        checksum.value()
    }
}
