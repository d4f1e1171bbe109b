//! The PROXY header (version 2) that a backend connection begins with (`proxy_protocol = "v2"`): whom pgtls speaks for.
//!
//! Source: the protocol's specification by HAProxy (proxy-protocol.txt), section 2.2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Both ends of a client's connection to pgtls, as the log writes them; those that a PROXY header of the client's own told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientEnds {
    /// The client's address, `host:port` or `unix:…`.
    pub(crate) client: String,
    /// The address it connected to.
    pub(crate) listener: String,
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const VERSION_2: u8 = 0x20;
const LOCAL: u8 = VERSION_2;
const PROXY: u8 = VERSION_2 | 0x01;
const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
/// `sun_path` of the specification.
const UNIX_PATH_BYTES: usize = 108;
const UNIX_PREFIX: &str = "unix:";

impl ClientEnds {
    /// The client's IP address and port; none of a Unix-domain socket.
    pub(crate) fn client_address(&self) -> Option<SocketAddr> {
        socket_address(&self.client)
    }
}

/// The header for a connection on behalf of `ends`; without them it is one of our own (LOCAL), such as a probe.
pub(crate) fn encode_proxy_header(ends: Option<&ClientEnds>) -> Vec<u8> {
    let Some(ends) = ends else {
        return header(LOCAL, UNSPEC, &[]);
    };
    match (ends.client_address(), socket_address(&ends.listener)) {
        (Some(client), listener) => tcp(client, listener),
        (None, _) if ends.client.starts_with(UNIX_PREFIX) => {
            // A client's end of such a connection has no name; the path is the listener's.
            let mut addresses = vec![0; UNIX_PATH_BYTES];
            addresses.extend_from_slice(&unix_path(&ends.listener));
            header(PROXY, UNIX_STREAM, &addresses)
        }
        // The client was gone before its address could be asked for.
        (None, _) => header(PROXY, UNSPEC, &[]),
    }
}

fn tcp(client: SocketAddr, listener: Option<SocketAddr>) -> Vec<u8> {
    // Where the client's family is not that of the address pgtls knows of, only the client's end is told.
    match (client.ip(), listener.map(|listener| listener.ip())) {
        (IpAddr::V4(source), destination) => {
            let (destination, port) = match (destination, listener) {
                (Some(IpAddr::V4(ip)), Some(listener)) => (ip, listener.port()),
                _ => (Ipv4Addr::UNSPECIFIED, 0),
            };
            let addresses = [source.octets(), destination.octets()].concat();
            header(PROXY, TCP4, &with_ports(addresses, client.port(), port))
        }
        (IpAddr::V6(source), destination) => {
            let (destination, port) = match (destination, listener) {
                (Some(IpAddr::V6(ip)), Some(listener)) => (ip, listener.port()),
                _ => (Ipv6Addr::UNSPECIFIED, 0),
            };
            let addresses = [source.octets(), destination.octets()].concat();
            header(PROXY, TCP6, &with_ports(addresses, client.port(), port))
        }
    }
}

fn with_ports(mut addresses: Vec<u8>, client: u16, listener: u16) -> Vec<u8> {
    addresses.extend_from_slice(&client.to_be_bytes());
    addresses.extend_from_slice(&listener.to_be_bytes());
    addresses
}

fn header(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap_or(u16::MAX);
    let mut header = Vec::with_capacity(addresses.len().saturating_add(16));
    header.extend_from_slice(SIGNATURE);
    header.extend_from_slice(&[command, family]);
    header.extend_from_slice(&length.to_be_bytes());
    header.extend_from_slice(addresses);
    header
}

fn unix_path(listener: &str) -> Vec<u8> {
    let path = listener.strip_prefix(UNIX_PREFIX).unwrap_or_default();
    let mut field = path.as_bytes().to_vec();
    field.resize(UNIX_PATH_BYTES, 0);
    field
}

/// The address in `host:port`, less the zone that a link-local one has.
pub(crate) fn socket_address(text: &str) -> Option<SocketAddr> {
    let (before, zone) = text.split_once('%').unwrap_or((text, ""));
    let behind = zone
        .find(']')
        .and_then(|end| zone.get(end..))
        .unwrap_or_default();
    let address: SocketAddr = format!("{before}{behind}").parse().ok()?;
    Some(match address {
        SocketAddr::V6(v6) => without_mapping(v6),
        SocketAddr::V4(_) => address,
    })
}

fn without_mapping(address: SocketAddrV6) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(client: &str, listener: &str) -> Vec<u8> {
        encode_proxy_header(Some(&ClientEnds {
            client: client.to_owned(),
            listener: listener.to_owned(),
        }))
    }

    /// What stands behind the signature.
    fn behind_signature(header: &[u8]) -> &[u8] {
        header.strip_prefix(SIGNATURE.as_slice()).unwrap()
    }

    #[test]
    fn an_ipv4_client_is_told_with_the_address_it_connected_to() {
        let header = encoded("192.0.2.1:4711", "198.51.100.2:6432");
        let expected = [
            0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0x19, 0x20,
        ];
        assert_eq!(behind_signature(&header), expected);
        assert_eq!(
            encoded("[::ffff:192.0.2.1]:4711", "198.51.100.2:6432"),
            header
        );
    }

    #[test]
    fn an_ipv6_client_is_told_without_its_zone() {
        let header = encoded("[fe80::1%eth0]:1", "[::2]:2");
        let rest = behind_signature(&header);
        assert_eq!(rest.get(..4), Some(&[0x21, 0x21, 0, 36][..]));
        let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets();
        assert_eq!(rest.get(4..20), Some(&source[..]));
        assert_eq!(rest.get(36..), Some(&[0, 1, 0, 2][..]));
    }

    #[test]
    fn a_client_of_another_family_than_its_listener_is_told_alone() {
        let header = encoded("192.0.2.1:4711", "unix:/run/s");
        let expected = [
            0x21, 0x11, 0, 12, 192, 0, 2, 1, 0, 0, 0, 0, 0x12, 0x67, 0, 0,
        ];
        assert_eq!(behind_signature(&header), expected);
    }

    #[test]
    fn a_client_of_a_unix_domain_socket_is_told_with_the_path_of_its_listener() {
        let header = encoded("unix:/run/s", "unix:/run/s");
        let rest = behind_signature(&header);
        assert_eq!(rest.get(..4), Some(&[0x21, 0x31, 0, 216][..]));
        assert_eq!(rest.len(), 4 + 216);
        assert!(rest.get(4..112).unwrap().iter().all(|byte| *byte == 0));
        assert_eq!(rest.get(112..120), Some(&b"/run/s\0\0"[..]));
    }

    #[test]
    fn connections_of_our_own_are_local_and_unknown_clients_unspecified() {
        let local = encode_proxy_header(None);
        assert_eq!(behind_signature(&local), [0x20, 0, 0, 0]);
        assert_eq!(
            behind_signature(&encoded("unknown", "[::1]:1")),
            [0x21, 0, 0, 0]
        );
    }
}
