//! [`Peer`]: a TLS 1.3 client whose records are made one by one, so that it can do what rustls' clients never do.
//!
//! rustls shakes hands and hands its secrets over; from there on this cuts handshake messages into records as the test wishes.

use pgtls_tls::buffer::Buffer;
use pgtls_tls::endpoint::{BackendFacing, ClientFacing};
use pgtls_tls::ops::{TlsConnectionOps, Write};
use rustls::client::ClientConnectionData;
use rustls::crypto::cipher::{
    InboundOpaqueMessage, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::kernel::KernelConnection;
use rustls::{
    ConnectionTrafficSecrets, ContentType, ProtocolVersion, SupportedCipherSuite, Tls13CipherSuite,
};
use rustls_pki_types::ServerName;

use crate::configs::configs;

/// KeyUpdate with `update_requested` (RFC 8446, 4.6.3): type, length, body.
pub(crate) const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 1];

/// KeyUpdate with `update_not_requested`.
const KEY_UPDATE_ANSWER: [u8; 5] = [24, 0, 0, 1, 0];

const HEADER_BYTES: usize = 5;

/// The client's side after the handshake.
pub(crate) struct Peer {
    kernel: KernelConnection<ClientConnectionData>,
    suite: &'static Tls13CipherSuite,
    encrypter: Box<dyn MessageEncrypter>,
    encrypted: u64,
    decrypter: Box<dyn MessageDecrypter>,
    decrypted: u64,
    /// How many KeyUpdates were received.
    pub(crate) key_updates: usize,
    /// The last alert received.
    pub(crate) alert: Option<[u8; 2]>,
}

impl Peer {
    fn new(client: BackendFacing) -> Self {
        let (secrets, kernel) = client.dangerous_into_kernel_connection().unwrap();
        let SupportedCipherSuite::Tls13(suite) = kernel.negotiated_cipher_suite() else {
            panic!("not TLS 1.3");
        };
        Self {
            kernel,
            suite,
            encrypter: encrypter(suite, secrets.tx.1),
            encrypted: secrets.tx.0,
            decrypter: decrypter(suite, secrets.rx.1),
            decrypted: secrets.rx.0,
            key_updates: 0,
            alert: None,
        }
    }

    /// One record with a piece of a handshake message.
    pub(crate) fn handshake_record(&mut self, piece: &[u8]) -> Vec<u8> {
        self.record(ContentType::Handshake, piece)
    }

    /// One record of application data.
    pub(crate) fn data_record(&mut self, data: &[u8]) -> Vec<u8> {
        self.record(ContentType::ApplicationData, data)
    }

    /// The alert `close_notify`.
    pub(crate) fn close_notify(&mut self) -> Vec<u8> {
        self.record(ContentType::Alert, &[1, 0])
    }

    fn record(&mut self, typ: ContentType, payload: &[u8]) -> Vec<u8> {
        let message = OutboundPlainMessage {
            typ,
            version: ProtocolVersion::TLSv1_2,
            payload: OutboundChunks::Single(payload),
        };
        let record = self.encrypter.encrypt(message, self.encrypted).unwrap();
        self.encrypted += 1;
        record.encode()
    }

    /// The next keys for what is sent: after a KeyUpdate.
    pub(crate) fn update_send_keys(&mut self) {
        let (next, secrets) = self.kernel.update_tx_secret().unwrap();
        self.encrypter = encrypter(self.suite, secrets);
        self.encrypted = next;
    }

    /// Decrypts whole records, follows KeyUpdates, and returns the application data, by record.
    pub(crate) fn open(&mut self, mut wire: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while let Some((header, rest)) = wire.split_first_chunk::<HEADER_BYTES>() {
            assert!(self.alert.is_none(), "something follows an alert");
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            let (body, rest) = rest.split_at(length);
            wire = rest;
            let mut body = body.to_vec();
            let message = InboundOpaqueMessage::new(
                ContentType::from(header[0]),
                ProtocolVersion::TLSv1_2,
                &mut body,
            );
            let plain = self.decrypter.decrypt(message, self.decrypted);
            let plain = plain.expect("records in the order of their encryption");
            self.decrypted += 1;
            if plain.typ == ContentType::ApplicationData {
                found.push(plain.payload.to_vec());
            } else if plain.typ == ContentType::Alert {
                self.alert = Some(plain.payload.try_into().unwrap());
            } else {
                assert_eq!(plain.payload, KEY_UPDATE_ANSWER);
                self.follow_key_update();
            }
        }
        assert!(wire.is_empty(), "a record cut short");
        found
    }

    fn follow_key_update(&mut self) {
        let (next, secrets) = self.kernel.update_rx_secret().unwrap();
        self.decrypter = decrypter(self.suite, secrets);
        self.decrypted = next;
        self.key_updates += 1;
    }
}

fn encrypter(
    suite: &Tls13CipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Box<dyn MessageEncrypter> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            suite.aead_alg.encrypter(key, iv)
        }
        _ => panic!("an unknown cipher"),
    }
}

fn decrypter(
    suite: &Tls13CipherSuite,
    secrets: ConnectionTrafficSecrets,
) -> Box<dyn MessageDecrypter> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            suite.aead_alg.decrypter(key, iv)
        }
        _ => panic!("an unknown cipher"),
    }
}

/// A handshake in memory, session tickets included.
pub(crate) fn handshake() -> (Peer, ClientFacing) {
    let (client_config, server_config) = configs();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = BackendFacing::new(client_config, name).unwrap();
    let mut server = ClientFacing::new(server_config).unwrap();
    let mut to_client = Vec::new();
    for _ in 0..4 {
        let to_server = pass(&mut client, to_client);
        to_client = pass(&mut server, to_server);
    }
    assert!(to_client.is_empty());
    assert!(!client.state().is_handshaking() && !server.state().is_handshaking());
    (Peer::new(client), server)
}

/// Gives `incoming` to one side; returns its answer.
fn pass(side: &mut impl TlsConnectionOps, mut incoming: Vec<u8>) -> Vec<u8> {
    let mut plaintext = Buffer::default();
    let mut outgoing = Buffer::default();
    let driven = side.drive(&mut incoming, Write::Nothing, &mut plaintext, &mut outgoing);
    assert_eq!(driven.unwrap().consumed, incoming.len());
    outgoing.filled().to_vec()
}
