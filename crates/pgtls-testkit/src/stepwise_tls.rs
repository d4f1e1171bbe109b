//! `StepwiseTls`: a TLS client without a socket, so that a test decides which bytes share a segment.

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::ClientConnection;
use rustls_pki_types::ServerName;

use crate::tls::TlsClient;

/// One TLS session of a client. What it wants to send is taken by [`Self::outgoing`].
#[derive(Debug)]
pub struct StepwiseTls {
    session: ClientConnection,
}

impl StepwiseTls {
    /// A client whose ClientHello waits in [`Self::outgoing`].
    ///
    /// # Panics
    /// When the server name is none.
    #[must_use]
    pub fn new(tls: &TlsClient) -> Self {
        let name = ServerName::try_from(tls.server_name().to_owned()).expect("a server name");
        let session = ClientConnection::new(Arc::new(tls.config()), name);
        Self {
            session: session.expect("a configuration that holds"),
        }
    }

    /// Plaintext to be sent as soon as the handshake allows: with TLS 1.3 right behind our Finished.
    ///
    /// # Panics
    /// When more than 64 KiB wait already.
    pub fn write(&mut self, plaintext: &[u8]) {
        let mut writer = self.session.writer();
        writer.write_all(plaintext).expect("room for the plaintext");
    }

    /// A close_notify behind what was written. Not before the handshake is over.
    pub fn close(&mut self) {
        self.session.send_close_notify();
    }

    /// The ciphertext to be sent now; empty when there is none.
    ///
    /// # Panics
    /// Never: it is written to memory.
    #[must_use]
    pub fn outgoing(&mut self) -> Vec<u8> {
        let mut ciphertext = Vec::new();
        while self.session.wants_write() {
            let written = self.session.write_tls(&mut ciphertext);
            written.expect("a write to memory");
        }
        ciphertext
    }

    /// Takes the peer's ciphertext and gives the plaintext in it.
    ///
    /// # Errors
    /// `InvalidData` with the rustls error inside: an alert of the peer, say.
    pub fn incoming(&mut self, mut ciphertext: &[u8]) -> io::Result<Vec<u8>> {
        let mut plaintext = Vec::new();
        while !ciphertext.is_empty() {
            self.session.read_tls(&mut ciphertext)?;
            let state = self.session.process_new_packets();
            let state = state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let mut part = vec![0; state.plaintext_bytes_to_read()];
            self.session.reader().read_exact(&mut part)?;
            plaintext.append(&mut part);
        }
        Ok(plaintext)
    }

    /// Whether the handshake goes on.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.session.is_handshaking()
    }
}
