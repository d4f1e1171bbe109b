//! [`Buffer`]: reusable, always-initialised scratch memory with a fill mark.
//!
//! Workers keep a few of these for life, so that neither a record nor a message costs an allocation or
//! a memset. Invariant: `filled <= bytes.len()`.

/// Initialised memory of which the first `filled` bytes are in use.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

impl Buffer {
    /// A buffer that holds `capacity_bytes` before it grows.
    #[must_use]
    pub fn with_capacity(capacity_bytes: usize) -> Self {
        Self {
            bytes: vec![0; capacity_bytes],
            filled: 0,
        }
    }

    /// The bytes in use.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }

    /// The bytes in use, for in-place decryption.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.filled).unwrap_or_default()
    }

    /// How many bytes are in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether no byte is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// At least `wanted_bytes` of memory behind the bytes in use; follow with [`Buffer::commit`].
    pub fn spare_mut(&mut self, wanted_bytes: usize) -> &mut [u8] {
        let needed = self.filled.saturating_add(wanted_bytes);
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    /// Takes `written_bytes` of the spare memory into use.
    pub fn commit(&mut self, written_bytes: usize) {
        self.filled = self
            .filled
            .saturating_add(written_bytes)
            .min(self.bytes.len());
    }

    /// Appends a copy of `bytes`.
    pub fn extend(&mut self, bytes: &[u8]) {
        if let Some(spare) = self.spare_mut(bytes.len()).get_mut(..bytes.len()) {
            spare.copy_from_slice(bytes);
            self.commit(bytes.len());
        }
    }

    /// Forgets the content, keeps the memory.
    pub fn clear(&mut self) {
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_only_when_the_spare_memory_is_too_small() {
        let mut buffer = Buffer::with_capacity(4);
        buffer.extend(b"ab");
        buffer.spare_mut(2).copy_from_slice(b"cd");
        buffer.commit(2);
        assert_eq!(buffer.filled(), b"abcd");
        buffer.extend(b"e");
        assert_eq!(buffer.filled(), b"abcde");
        buffer.clear();
        assert!(buffer.is_empty());
    }

    #[test]
    fn commits_no_more_than_there_is() {
        let mut buffer = Buffer::with_capacity(2);
        buffer.commit(9);
        assert_eq!(buffer.len(), 2);
    }
}
