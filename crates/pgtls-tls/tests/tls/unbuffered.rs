//! Handshakes in memory with pgtls' own server connection, as [`pgtls_tls::endpoint::accept`] makes it.

use pgtls_tls::alert::alert_name;
use pgtls_tls::buffer::Buffer;
use pgtls_tls::client_config::ClientTls;
use pgtls_tls::client_facing::ClientFacing;
use pgtls_tls::ops::{TlsConnectionOps as _, Write};
use pgtls_tls::server_config::ServerTls;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConnection, Error};

/// Both ends when nothing is under way any more.
pub(crate) struct Ends {
    pub(crate) client: ClientConnection,
    /// What the server failed with.
    pub(crate) error: Option<Error>,
    /// The alert that the client received.
    pub(crate) alert: Option<String>,
}

/// The server's end.
struct Server {
    connection: ClientFacing,
    incoming: Vec<u8>,
}

impl Server {
    fn of(tls: &ServerTls) -> Self {
        Self {
            connection: ClientFacing::of(tls).unwrap(),
            incoming: Vec::new(),
        }
    }

    /// Takes `bytes`; what it sends, and what it failed with.
    fn receive(&mut self, bytes: &[u8]) -> (Vec<u8>, Option<Error>) {
        self.incoming.extend_from_slice(bytes);
        let (mut plaintext, mut outgoing) = (Buffer::default(), Buffer::default());
        let driven = self.connection.drive(
            &mut self.incoming,
            Write::Nothing,
            &mut plaintext,
            &mut outgoing,
        );
        let sent = outgoing.filled().to_vec();
        match driven {
            Ok(driven) => {
                self.incoming.drain(..driven.consumed);
                (sent, None)
            }
            Err(error) => (sent, Some(error)),
        }
    }
}

/// Shakes hands, the client's bytes reaching the server `piece` at a time.
pub(crate) fn converse(
    server: &ServerTls,
    client: &ClientTls,
    name: ServerName<'static>,
    piece: usize,
) -> Ends {
    let mut server = Server::of(server);
    let mut client = ClientConnection::new(client.dialling_config(), name).unwrap();
    loop {
        let mut to_server = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut to_server).unwrap();
        }
        let mut to_client = Vec::new();
        let mut error = None;
        for bytes in to_server.chunks(piece) {
            let (sent, failure) = server.receive(bytes);
            to_client.extend(sent);
            error = failure;
        }
        let mut rest = to_client.as_slice();
        let mut alert = None;
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            if let Err(Error::AlertReceived(received)) = client.process_new_packets() {
                alert = Some(alert_name(received).to_owned());
            }
        }
        if error.is_some() || (to_client.is_empty() && !client.wants_write()) {
            return Ends {
                client,
                error,
                alert,
            };
        }
    }
}

/// What a server says to `bytes` that it can't answer: its error, and the plaintext alert.
pub(crate) fn answer_to(server: &ServerTls, bytes: &[u8]) -> (Error, Option<String>) {
    let (sent, error) = Server::of(server).receive(bytes);
    let alert = match *sent.as_slice() {
        [21, _, _, 0, 2, 2, description] => {
            let description = AlertDescription::from(description);
            Some(alert_name(description).to_owned())
        }
        _ => None,
    };
    (error.unwrap(), alert)
}
