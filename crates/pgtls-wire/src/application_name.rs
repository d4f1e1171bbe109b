//! Another `application_name` in a StartupMessage, so that PostgreSQL shows more of a session than its client says.

use crate::startup::{MAX_STARTUP_PACKET_BYTES, Parsed, StartupPacket, parse_startup_packet};

/// Bytes of a name that PostgreSQL keeps (`NAMEDATALEN` less one).
const MAX_NAME_BYTES: usize = 63;
/// What PostgreSQL makes of a byte that is not printable ASCII: `\xAB`.
const ESCAPED_BYTES: usize = 4;
/// What a client is called that says nothing of itself; PgBouncer's word.
const NAMELESS: &[u8] = b"app";
const NAME: &[u8] = b"application_name";
const HEADER_BYTES: usize = 8;

/// The StartupMessage at the beginning of `packet` with ` - host` appended to its `application_name`, as PgBouncer's
/// `application_name_add_host` does; of the name, as much is kept as leaves PostgreSQL room for the host. Every other
/// parameter, and the protocol version, stays.
///
/// None where the message must stay as it is: it would become longer than a server takes, or the session is for
/// replication, where the name decides what is committed synchronously (`synchronous_standby_names`).
#[must_use]
pub fn add_host_to_application_name(packet: &[u8], host: &str) -> Option<Vec<u8>> {
    let Ok(Parsed::Packet {
        packet: StartupPacket::StartupMessage(message),
        length,
    }) = parse_startup_packet(packet)
    else {
        return None;
    };
    if message.is_replication() {
        return None;
    }
    let mut renamed = Vec::with_capacity(length.saturating_add(MAX_NAME_BYTES));
    renamed.extend_from_slice(packet.get(..HEADER_BYTES)?);
    let others = message.parameters().filter(|(name, _)| *name != NAME);
    for (name, value) in others {
        push(&mut renamed, &[name, b"\0", value, b"\0"]);
    }
    let given = message
        .application_name()
        .filter(|name| !name.is_empty())
        .unwrap_or(NAMELESS);
    let suffix = format!(" - {host}");
    let kept = kept_of(given, MAX_NAME_BYTES.saturating_sub(suffix.len()));
    push(
        &mut renamed,
        &[NAME, b"\0", kept, suffix.as_bytes(), b"\0", b"\0"],
    );
    let length = u32::try_from(renamed.len()).ok()?;
    renamed
        .first_chunk_mut::<4>()?
        .copy_from_slice(&length.to_be_bytes());
    (renamed.len() <= MAX_STARTUP_PACKET_BYTES).then_some(renamed)
}

fn push(bytes: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        bytes.extend_from_slice(part);
    }
}

/// As much of `name` as PostgreSQL shows in `room` bytes.
fn kept_of(name: &[u8], room: usize) -> &[u8] {
    let mut used: usize = 0;
    let end = name.iter().position(|byte| {
        let is_printable = (0x20..0x7f).contains(byte);
        used = used.saturating_add(if is_printable { 1 } else { ESCAPED_BYTES });
        used > room
    });
    name.get(..end.unwrap_or(name.len())).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::startup_message::StartupMessage;

    const V3_2: u32 = (3 << 16) | 2;

    fn startup(parameters: &[u8]) -> Vec<u8> {
        let length = u32::try_from(parameters.len() + 9).expect("a short body");
        [
            &length.to_be_bytes()[..],
            &V3_2.to_be_bytes(),
            parameters,
            b"\0",
        ]
        .concat()
    }

    fn message(packet: &[u8]) -> StartupMessage<'_> {
        match parse_startup_packet(packet) {
            Ok(Parsed::Packet {
                packet: StartupPacket::StartupMessage(message),
                length,
            }) if length == packet.len() => message,
            other => panic!("expected a StartupMessage, got {other:?}"),
        }
    }

    fn name_of(parameters: &[u8], host: &str) -> String {
        let packet = add_host_to_application_name(&startup(parameters), host).expect("renamed");
        let name = message(&packet).application_name().expect("a name");
        String::from_utf8_lossy(name).into_owned()
    }

    #[test]
    fn the_host_is_appended_and_everything_else_stays() {
        let original = startup(b"user\0a\0application_name\0psql\0options\0\0_pq_.x\0y\0");
        let followed = [&original[..], b"behind"].concat();
        let packet = add_host_to_application_name(&followed, "192.0.2.1:5").expect("renamed");
        let parsed = message(&packet);
        assert_eq!(parsed.protocol, (3, 2));
        let expected: [(&[u8], &[u8]); 4] = [
            (b"user", b"a"),
            (b"options", b""),
            (b"_pq_.x", b"y"),
            (b"application_name", b"psql - 192.0.2.1:5"),
        ];
        assert_eq!(parsed.parameters().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_client_without_a_name_gets_one() {
        assert_eq!(name_of(b"user\0a\0", "unix"), "app - unix");
        assert_eq!(name_of(b"application_name\0\0", "unix"), "app - unix");
    }

    #[test]
    fn of_repeated_names_the_last_one_counts() {
        let twice = b"application_name\0one\0application_name\0two\0";
        assert_eq!(name_of(twice, "h"), "two - h");
    }

    #[test]
    fn a_long_name_is_cut_so_that_postgresql_shows_the_host() {
        let long = [&b"application_name\0"[..], &[b'x'; 200], b"\0"].concat();
        let name = name_of(&long, "192.0.2.1:5");
        assert_eq!(name.len(), MAX_NAME_BYTES);
        assert!(name.ends_with("x - 192.0.2.1:5"));
        // Each byte that is not ASCII is shown as four.
        let umlauts = format!("application_name\0{}\0", "ü".repeat(20));
        assert_eq!(name_of(umlauts.as_bytes(), "h").chars().count(), 7 + 4);
    }

    #[test]
    fn what_would_become_too_long_stays_as_it_is() {
        let free = MAX_STARTUP_PACKET_BYTES - startup(b"options\0\0").len();
        let full = |size| startup(&[&b"options\0"[..], &vec![b'x'; size], b"\0"].concat());
        let added = "application_name\0app - h\0".len();
        let renamed = add_host_to_application_name(&full(free - added), "h");
        assert_eq!(renamed.map(|packet| packet.len()), Some(10_000));
        assert_eq!(
            add_host_to_application_name(&full(free - added + 1), "h"),
            None
        );
    }

    #[test]
    fn replication_keeps_its_name() {
        let walsender = startup(b"user\0a\0replication\0true\0application_name\0s1\0");
        assert_eq!(add_host_to_application_name(&walsender, "h"), None);
        let not = b"replication\0off\0application_name\0s1\0";
        assert_eq!(name_of(not, "h"), "s1 - h");
    }

    #[test]
    fn what_is_no_startup_message_stays_as_it_is() {
        for packet in [&b""[..], &crate::SSL_REQUEST, b"garbage that is long"] {
            assert_eq!(add_host_to_application_name(packet, "h"), None);
        }
    }
}
