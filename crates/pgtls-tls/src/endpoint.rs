//! The two ways a TLS session begins, and the names the other crates use for rustls' connection types.

use rustls::Error;
use rustls::client::UnbufferedClientConnection;
use rustls_pki_types::ServerName;

use crate::client_config::ClientTls;
pub use crate::client_facing::ClientFacing;
use crate::server_config::ServerTls;
use crate::stream::{TlsStream, Transport};

/// The connection towards a backend: pgtls is the TLS client.
pub type BackendFacing = UnbufferedClientConnection;

/// Begins a session with a client over `socket`. `received` is ciphertext that was read before.
/// An error gives the socket back.
pub fn accept<S: Transport>(
    tls: &ServerTls,
    received: Vec<u8>,
    socket: S,
) -> Result<TlsStream<ClientFacing, S>, (Error, S)> {
    match ClientFacing::of(tls) {
        Ok(connection) => Ok(TlsStream::new(connection, received, socket)),
        Err(error) => Err((error, socket)),
    }
}

/// Begins a session with the backend `host`, a DNS name or IP address; the hello is sent by the handshake's first poll.
pub fn dial<S: Transport>(
    tls: &ClientTls,
    host: &str,
    socket: S,
) -> Result<TlsStream<BackendFacing, S>, Error> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| Error::General(format!("\"{host}\" is no server name: {error}")))?;
    let connection = UnbufferedClientConnection::new(tls.dialling_config(), name)?;
    Ok(TlsStream::new(connection, Vec::new(), socket))
}
