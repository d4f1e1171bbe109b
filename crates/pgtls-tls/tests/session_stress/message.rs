//! The messages: PostgreSQL's framing around writer, sequence number, filler and checksum.

/// Type byte of an ordinary message.
pub(crate) const DATA: u8 = b'd';

/// Type byte of a writer's last message; its sequence number is the count of those before.
pub(crate) const LAST: u8 = b'Z';

const HEADER_BYTES: usize = 5;
const NUMBERS_BYTES: usize = 9;
const CHECKSUM_BYTES: usize = 8;

/// What the client reads out of one message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    pub(crate) writer: u8,
    pub(crate) sequence: u64,
}

/// Replaces `into` by a message; small ones mostly, every sixteenth over several records.
pub(crate) fn write(into: &mut Vec<u8>, message: &Message) {
    let mut noise =
        message.sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(message.writer);
    noise ^= noise >> 29;
    let noise_byte = |shift: u32| noise.to_le_bytes()[usize::try_from(shift).unwrap()];
    let filler = match noise_byte(0) % 16 {
        0 => 200 * usize::from(noise_byte(1)),
        1..4 => 20 * usize::from(noise_byte(1)),
        _ => usize::from(noise_byte(1)),
    };
    let length = u32::try_from(HEADER_BYTES - 1 + NUMBERS_BYTES + filler + CHECKSUM_BYTES).unwrap();
    into.clear();
    into.push(message.kind);
    into.extend(length.to_be_bytes());
    into.push(message.writer);
    into.extend(message.sequence.to_be_bytes());
    into.resize(into.len() + filler, noise_byte(2));
    let checksum = checksum(into);
    into.extend(checksum.to_be_bytes());
}

/// Takes the first message off `bytes` if it is whole: it and its length.
pub(crate) fn read(bytes: &[u8]) -> Result<Option<(Message, usize)>, String> {
    let Some((&[kind, a, b, c, d], _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    if kind != DATA && kind != LAST {
        return Err(format!("message type {kind}"));
    }
    let length = 1 + usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap();
    if !(HEADER_BYTES + NUMBERS_BYTES + CHECKSUM_BYTES..100_000).contains(&length) {
        return Err(format!("message length {length}"));
    }
    let Some(message) = bytes.get(..length) else {
        return Ok(None);
    };
    let (content, expected) = message.split_last_chunk::<CHECKSUM_BYTES>().unwrap();
    if checksum(content).to_be_bytes() != *expected {
        return Err("checksum".to_owned());
    }
    let (numbers, _) = content[HEADER_BYTES..]
        .split_first_chunk::<NUMBERS_BYTES>()
        .unwrap();
    let (writer, sequence) = numbers.split_first().unwrap();
    let message = Message {
        kind,
        writer: *writer,
        sequence: u64::from_be_bytes(sequence.try_into().unwrap()),
    };
    Ok(Some((message, length)))
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn reads_what_it_wrote_and_notices_a_changed_byte() {
    let mut bytes = Vec::new();
    for sequence in 0..1000 {
        let message = Message {
            kind: DATA,
            writer: 2,
            sequence,
        };
        write(&mut bytes, &message);
        assert_eq!(read(&bytes[..bytes.len() - 1]), Ok(None));
        assert_eq!(read(&bytes), Ok(Some((message, bytes.len()))));
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        read(&bytes).unwrap_err();
    }
}
