//! `MessageWalk`: where the boundaries of a stream of regular messages are, in whatever chunks the
//! stream arrives. It touches only the headers and copies nothing but a header that a chunk cuts.

use crate::message::{FramingError, HEADER_BYTES, message_length};

/// Follows one direction of a session from its first regular message on. Start it at a boundary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageWalk {
    position: Position,
}

/// Where in the stream the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// In a message whose length is known; 0 bytes to come = at a boundary.
    Body { remaining: usize },
    /// In a header of which the first `filled` bytes are known, 1…4.
    Header {
        bytes: [u8; HEADER_BYTES],
        filled: usize,
    },
    /// Behind an invalid header. Stays so.
    Broken(FramingError),
}

impl Default for MessageWalk {
    fn default() -> Self {
        Self::new()
    }
}

impl MessageWalk {
    /// A walk whose first byte is the first of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            position: Position::Body { remaining: 0 },
        }
    }

    /// Goes over the next bytes of the stream: one step a message, and one for a chunk that lies
    /// inside a message.
    ///
    /// # Errors
    /// [`FramingError::InvalidLength`]; every later call gives it again.
    #[inline]
    pub fn advance(&mut self, bytes: &[u8]) -> Result<(), FramingError> {
        if let Position::Body { remaining } = self.position
            && remaining >= bytes.len()
        {
            self.position = Position::Body {
                remaining: remaining - bytes.len(),
            };
            return Ok(());
        }
        self.advance_over_headers(bytes)
    }

    /// Goes to the end of the message the walk is in, or to the end of `bytes` if that comes first,
    /// and gives how many bytes that was: 0 at a boundary. It is how a second writer finds the
    /// place for a message of its own.
    ///
    /// # Errors
    /// As [`Self::advance`].
    pub fn advance_to_boundary(&mut self, bytes: &[u8]) -> Result<usize, FramingError> {
        let in_header = match self.position {
            Position::Body { remaining } => {
                return self.take(bytes, remaining.min(bytes.len()));
            }
            Position::Header { filled, .. } => HEADER_BYTES.saturating_sub(filled),
            Position::Broken(error) => return Err(error),
        };
        let header = self.take(bytes, in_header.min(bytes.len()))?;
        let body = match self.position {
            Position::Body { remaining } => remaining.min(bytes.len().saturating_sub(header)),
            Position::Header { .. } | Position::Broken(_) => 0,
        };
        self.take(bytes.get(header..).unwrap_or_default(), body)?;
        Ok(header.saturating_add(body))
    }

    /// Whether the next byte is the first of a message. Never again after a [`FramingError`].
    #[inline]
    #[must_use]
    pub const fn is_at_boundary(&self) -> bool {
        matches!(self.position, Position::Body { remaining: 0 })
    }

    /// How many bytes of the current message are still to come: 0 at a boundary and after a
    /// [`FramingError`]; inside a header, where that isn't known yet, what the header lacks.
    #[must_use]
    pub const fn pending_bytes(&self) -> usize {
        match self.position {
            Position::Body { remaining } => remaining,
            Position::Header { filled, .. } => HEADER_BYTES.saturating_sub(filled),
            Position::Broken(_) => 0,
        }
    }

    fn take(&mut self, bytes: &[u8], count: usize) -> Result<usize, FramingError> {
        self.advance(bytes.get(..count).unwrap_or(bytes))?;
        Ok(count)
    }

    fn advance_over_headers(&mut self, bytes: &[u8]) -> Result<(), FramingError> {
        let end = match self.position {
            Position::Body { remaining } => walk(bytes, remaining),
            Position::Header {
                bytes: header,
                filled,
            } => {
                let header = CutHeader {
                    bytes: header,
                    filled,
                };
                walk_from_cut_header(bytes, header)
            }
            Position::Broken(error) => Err(error),
        };
        self.position = end.unwrap_or_else(Position::Broken);
        end.map(|_| ())
    }
}

/// Walks `bytes`, which go on inside `header`, to their end.
fn walk_from_cut_header(bytes: &[u8], mut header: CutHeader) -> Result<Position, FramingError> {
    let copied = header.fill(bytes);
    if header.filled < HEADER_BYTES {
        return Ok(header.position());
    }
    let before = HEADER_BYTES.saturating_sub(copied);
    walk(bytes, message_length(header.bytes)?.saturating_sub(before))
}

/// Walks `bytes` from `start`, the first boundary (possibly behind their end), to their end.
#[inline]
fn walk(bytes: &[u8], start: usize) -> Result<Position, FramingError> {
    let mut boundary = start;
    while let Some(rest) = bytes.get(boundary..) {
        let Some((header, _)) = rest.split_first_chunk() else {
            return Ok(position_at_tail(rest));
        };
        // Both are below 2^31 on 32 bits: no overflow. A saturating addition costs in this chain.
        boundary += message_length(*header)?;
    }
    Ok(Position::Body {
        remaining: boundary.saturating_sub(bytes.len()),
    })
}

/// The position behind `tail`, the 0…4 bytes between the last boundary and the end of a chunk.
fn position_at_tail(tail: &[u8]) -> Position {
    let mut header = CutHeader {
        bytes: [0; HEADER_BYTES],
        filled: 0,
    };
    header.fill(tail);
    header.position()
}

/// A header of which the end of a chunk cut off the rest.
struct CutHeader {
    bytes: [u8; HEADER_BYTES],
    filled: usize,
}

impl CutHeader {
    /// Copies from `bytes` what the header lacks, or as much as there is; gives how much.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let missing = self.bytes.iter_mut().skip(self.filled);
        let copied = missing.zip(bytes).map(|(to, from)| *to = *from).count();
        self.filled = self.filled.saturating_add(copied);
        copied
    }

    fn position(self) -> Position {
        match self.filled {
            0 => Position::Body { remaining: 0 },
            filled => Position::Header {
                bytes: self.bytes,
                filled,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(body_lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for &length in body_lengths {
            bytes.push(b'D');
            bytes.extend(u32::try_from(length + 4).expect("short").to_be_bytes());
            bytes.extend(vec![0xff; length]);
        }
        bytes
    }

    #[test]
    fn whole_messages_end_at_a_boundary() {
        let mut walk = MessageWalk::new();
        assert!(walk.is_at_boundary());
        walk.advance(&messages(&[0, 1, 7, 70_000]))
            .expect("valid framing");
        assert!(walk.is_at_boundary());
        assert_eq!(walk.pending_bytes(), 0);
    }

    #[test]
    fn tells_what_a_cut_message_still_lacks() {
        let bytes = messages(&[3, 10]);
        let mut walk = MessageWalk::new();
        walk.advance(&bytes[..bytes.len() - 4])
            .expect("valid framing");
        assert!(!walk.is_at_boundary());
        assert_eq!(walk.pending_bytes(), 4);
        walk.advance(&bytes[bytes.len() - 4..])
            .expect("valid framing");
        assert!(walk.is_at_boundary());
    }

    #[test]
    fn a_header_may_arrive_byte_by_byte() {
        let bytes = messages(&[0, 2, 0]);
        let boundaries = [0, 5, 12, 17];
        let mut walk = MessageWalk::new();
        for (position, byte) in bytes.iter().enumerate() {
            assert_eq!(
                walk.is_at_boundary(),
                boundaries.contains(&position),
                "{position}"
            );
            walk.advance(&[*byte]).expect("valid framing");
        }
        assert!(walk.is_at_boundary());
    }

    #[test]
    fn a_message_of_one_gibibyte_is_walked_without_its_body() {
        let mut walk = MessageWalk::new();
        walk.advance(&[b'd', 0x40, 0, 0, 4]).expect("valid framing");
        assert_eq!(walk.pending_bytes(), 1 << 30);
        let chunk = vec![0; 1 << 16];
        for _ in 0..1 << 14 {
            assert!(!walk.is_at_boundary());
            walk.advance(&chunk).expect("valid framing");
        }
        assert!(walk.is_at_boundary());
    }

    #[test]
    fn an_invalid_length_breaks_the_walk_for_good() {
        let expected = FramingError::InvalidLength {
            tag: b'D',
            length: 3,
        };
        for chunks in [vec![&b"D\0\0\0\x03"[..]], vec![b"D\0\0", b"\0\x03"]] {
            let mut walk = MessageWalk::new();
            let outcome = chunks.into_iter().try_for_each(|chunk| walk.advance(chunk));
            assert_eq!(outcome, Err(expected));
            assert!(!walk.is_at_boundary());
            assert_eq!(walk.advance(&messages(&[1])), Err(expected));
            assert_eq!(walk.advance(b""), Err(expected));
            assert_eq!(walk.advance_to_boundary(b"x"), Err(expected));
        }
    }

    #[test]
    fn advances_to_the_next_boundary_and_no_further() {
        let bytes = messages(&[6, 6]);
        for cut in 1..11 {
            let mut walk = MessageWalk::new();
            walk.advance(&bytes[..cut]).expect("valid framing");
            assert_eq!(
                walk.advance_to_boundary(&bytes[cut..]),
                Ok(11 - cut),
                "{cut}"
            );
            assert!(walk.is_at_boundary());
            assert_eq!(walk.advance_to_boundary(&bytes[11..]), Ok(0));
        }
    }

    #[test]
    fn advances_over_all_bytes_when_the_boundary_lies_behind_them() {
        let bytes = messages(&[20]);
        let mut walk = MessageWalk::new();
        walk.advance(&bytes[..2]).expect("valid framing");
        assert_eq!(walk.advance_to_boundary(&bytes[2..4]), Ok(2));
        assert_eq!(walk.advance_to_boundary(&bytes[4..10]), Ok(6));
        assert_eq!(walk.pending_bytes(), 15);
    }
}
