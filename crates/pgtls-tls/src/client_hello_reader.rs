//! [`ClientHelloReader`]: looks into a `ClientHello` before a connection is made for it, and keeps the bytes for that.
//!
//! Only for routes whose owner wants to be asked: everybody else's `ClientHello` is parsed once, by the connection itself.

use rustls::server::Acceptor;

use crate::server_config::ServerTls;

/// What can be decided by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHelloInfo {
    /// The server name (RFC 6066 section 3), if it is there.
    pub server_name: Option<String>,
    /// Protocols offered by ALPN, most preferred first; not UTF-8 becomes U+FFFD.
    pub alpn: Vec<String>,
}

/// How far a `ClientHello` has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientHelloProgress {
    /// More bytes are needed.
    Incomplete,
    /// It is whole.
    Complete(ClientHelloInfo),
    /// It is none. The connection finds that again, and sends the alert.
    Invalid,
}

/// Parses a `ClientHello` that comes in pieces.
#[derive(Default)]
pub(crate) struct ClientHelloParser(Acceptor);

/// Collects a `ClientHello`.
#[derive(Default)]
pub struct ClientHelloReader {
    parser: ClientHelloParser,
    received: Vec<u8>,
}

impl ClientHelloReader {
    /// A reader for a client of a listener with TLS.
    #[must_use]
    pub fn of(_listener: &ServerTls) -> Self {
        Self::default()
    }

    /// Takes what was read next. Not to be called again once it was complete or invalid. rustls bounds a handshake message to
    /// 64 KiB, so no more than that and one read are kept.
    pub fn push(&mut self, bytes: &[u8]) -> ClientHelloProgress {
        self.received.extend_from_slice(bytes);
        self.parser.push(bytes)
    }

    /// Every byte that was pushed, for the connection.
    #[must_use]
    pub fn into_received(self) -> Vec<u8> {
        self.received
    }
}

impl ClientHelloParser {
    /// Takes what was read next. Not to be called again once it was complete or invalid.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> ClientHelloProgress {
        let mut rest = bytes;
        loop {
            let is_read = self.0.read_tls(&mut rest).is_ok();
            match self.0.accept() {
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    return ClientHelloProgress::Complete(ClientHelloInfo {
                        server_name: hello.server_name().map(str::to_owned),
                        alpn: hello
                            .alpn()
                            .map_or_else(Vec::new, |names| names.map(text).collect()),
                    });
                }
                Ok(None) if !is_read => return ClientHelloProgress::Invalid,
                Ok(None) if rest.is_empty() => return ClientHelloProgress::Incomplete,
                Ok(None) => {}
                Err(_reported_by_the_connection) => return ClientHelloProgress::Invalid,
            }
        }
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
