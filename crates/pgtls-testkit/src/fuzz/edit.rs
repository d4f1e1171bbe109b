//! [`Edit`]: one change to a sequence of bytes, itself eight bytes. An input that is a list of edits says what is done to a
//! conversation whose bytes are new each time, such as a handshake.

use crate::fuzz::random::Random;

/// How many bytes describe an edit.
pub const EDIT_BYTES: usize = 8;

/// Bytes that sit at a limit.
const LIMITS: [u8; 8] = [0, 1, 4, 0x7f, 0x80, 0xfe, 0xff, 0x20];

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edit {
    /// Which part of a conversation is meant; sequences of bytes alone have no use for it.
    pub place: u8,
    kind: u8,
    at: u16,
    length: u8,
    value: [u8; 3],
}

impl Edit {
    /// The edit that `bytes` describe; all of them describe one.
    #[must_use]
    pub const fn of(bytes: [u8; EDIT_BYTES]) -> Self {
        let [place, kind, at_high, at_low, length, value @ ..] = bytes;
        Self {
            place,
            kind,
            at: u16::from_be_bytes([at_high, at_low]),
            length,
            value,
        }
    }

    /// The edits that an input is a list of, at most `limit`; what is left over at its end is none.
    pub fn list(input: &[u8], limit: usize) -> Vec<Self> {
        let (edits, _) = input.as_chunks();
        edits.iter().copied().map(Self::of).take(limit).collect()
    }

    /// Any edit, of the first byte as often as of the rest.
    pub(crate) fn any(random: &mut Random, length: usize) -> Self {
        let mut edit = Self::of(random.bytes());
        // Headers are at the front.
        let reach = if random.once_in(3) { 16 } else { length + 1 };
        edit.at = u16::try_from(random.below(reach)).unwrap_or(u16::MAX);
        edit
    }

    /// Changes `bytes`; `words` are what the format is made of. A few edits change nothing.
    pub fn apply(self, bytes: &mut Vec<u8>, words: &[&[u8]]) {
        let at = usize::from(self.at) % (bytes.len() + 1);
        let end = at.saturating_add(self.fragment_bytes()).min(bytes.len());
        let [first, second, third] = self.value;
        match self.kind % 16 {
            0 | 1 => flip(bytes, at, first),
            2 => set(bytes, at, first),
            3 => set(bytes, at, LIMITS[usize::from(first) % LIMITS.len()]),
            4 => drop(bytes.drain(at..end)),
            5 => bytes.truncate(at),
            6 => {
                let repeated = bytes[at..end].repeat(1 + usize::from(first) % 4);
                insert(bytes, at, &repeated);
            }
            7 => {
                let fragment = bytes[at..end].to_vec();
                insert(bytes, place(bytes, second, third), &fragment);
            }
            8 => {
                let from = place(bytes, second, third);
                let fragment = bytes[from..].iter().take(end - at).copied();
                let fragment: Vec<_> = fragment.collect();
                bytes[at..][..fragment.len()].copy_from_slice(&fragment);
            }
            9 | 10 => add(bytes, at, 1 + usize::from(first) % 4, second),
            11 => {
                let width = (1 + usize::from(first) % 4).min(bytes.len() - at);
                let limit = LIMITS[usize::from(second) % LIMITS.len()];
                bytes[at..at + width].fill(limit);
            }
            12 => insert(bytes, at, &self.value[..=usize::from(self.length) % 3]),
            13 => bytes[at..end].rotate_left((end - at) / 2),
            _ => {
                let word = words.get(usize::from(first) % words.len().max(1));
                let word = word.copied().unwrap_or_default();
                if second.is_multiple_of(2) {
                    insert(bytes, at, word);
                } else {
                    let fitting = word.len().min(bytes.len() - at);
                    bytes[at..at + fitting].copy_from_slice(&word[..fitting]);
                }
            }
        }
    }

    /// 1…16, or up to a kilobyte.
    fn fragment_bytes(self) -> usize {
        match usize::from(self.length) {
            short @ ..128 => short % 16 + 1,
            long => (long - 127) * 8,
        }
    }
}

/// A position that two bytes choose.
fn place(bytes: &[u8], high: u8, low: u8) -> usize {
    usize::from(u16::from_be_bytes([high, low])) % (bytes.len() + 1)
}

fn flip(bytes: &mut [u8], at: usize, bit: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (bit % 8);
    }
}

fn set(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, inserted: &[u8]) {
    bytes.splice(at..at, inserted.iter().copied());
}

/// Adds a small signed number to the big-endian number of `width` bytes at `at`, as a length field is.
fn add(bytes: &mut [u8], at: usize, width: usize, delta: u8) {
    let width = width.min(bytes.len() - at);
    let field = &mut bytes[at..at + width];
    let delta = i64::from(i8::from_be_bytes([delta]) / 4);
    let number = field
        .iter()
        .fold(0_i64, |number, &byte| number << 8 | i64::from(byte));
    let changed = number.wrapping_add(delta).to_be_bytes();
    let changed = &changed[changed.len() - width..];
    field.copy_from_slice(changed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edit_applies_to_every_sequence() {
        let mut random = Random::new(7);
        for _ in 0..50_000 {
            let mut bytes = vec![1; random.below(40)];
            Edit::of(random.bytes()).apply(&mut bytes, &[b"word"]);
            assert!(bytes.len() < 5_000);
        }
    }

    #[test]
    fn length_fields_are_changed_by_little() {
        let mut bytes = vec![9, 0, 0, 1, 0, 9];
        add(&mut bytes, 1, 4, 8);
        assert_eq!(bytes, [9, 0, 0, 1, 2, 9]);
        add(&mut bytes, 1, 4, 0_u8.wrapping_sub(16));
        assert_eq!(bytes, [9, 0, 0, 0, 0xfe, 9]);
    }

    #[test]
    fn a_list_has_whole_edits_only() {
        let list = Edit::list(&[0; 20], 8);
        assert_eq!(list, [Edit::of([0; EDIT_BYTES]); 2]);
        assert_eq!(Edit::list(&[0; 80], 3).len(), 3);
    }
}
