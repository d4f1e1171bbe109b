//! A small deterministic random generator (xorshift64*), so that a seed names a run.

/// The generator.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    fn next(&mut self) -> u32 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let [a, b, c, d, ..] = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// Below `limit`, which is not 0.
    pub(crate) fn below_u32(&mut self, limit: u32) -> u32 {
        self.next() % limit
    }

    /// Below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: u32) -> usize {
        usize::try_from(self.below_u32(limit)).unwrap_or(0)
    }

    /// 1 to `most` bytes.
    pub(crate) fn bytes(&mut self, most: u32) -> Vec<u8> {
        let length = self.below(most).saturating_add(1);
        (0..length).map(|_| self.next().to_be_bytes()[0]).collect()
    }
}
