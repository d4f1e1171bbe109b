//! `Checksum`: whether two streams carried the same bytes (FNV-1a, 64 bits).

/// A running checksum. How the bytes were cut into chunks doesn't matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    state: u64,
}

impl Default for Checksum {
    fn default() -> Self {
        Self {
            state: 0xcbf2_9ce4_8422_2325,
        }
    }
}

impl Checksum {
    /// Goes over the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state = bytes.iter().fold(self.state, |state, &byte| {
            (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    }

    /// The checksum of all bytes so far.
    #[must_use]
    pub const fn value(&self) -> u64 {
        self.state
    }
}
