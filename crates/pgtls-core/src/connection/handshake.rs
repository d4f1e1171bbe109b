//! Phase *client handshake*: from an adopted descriptor to a client that speaks plaintext to us, over TLS or without.

use std::cell::RefCell;
use std::future::poll_fn;

use pgtls_tls::client_hello::ServedIdentity;
use pgtls_tls::endpoint::{ClientFacing, accept};
use pgtls_tls::failure::TlsFailureReason;
use pgtls_tls::server_config::ServerTls;
use pgtls_tls::session::SessionError;
use pgtls_tls::stream::TlsStream;
use pgtls_tls::summary::TlsSummary;
use pgtls_wire::SqlState;

use crate::connection::ending::Ending;
use crate::connection::peer::{ClientPeer, Peer, PlainStream, Scratch};
use crate::connection::socket::Socket;
use crate::data_plane::ClientEncryption;
use crate::report::{CloseReason, FaultSide, TlsSide};

/// A client before its handshake.
pub(crate) struct Greeting {
    pub(crate) socket: Socket,
    /// Read from the socket before.
    pub(crate) prefix: Vec<u8>,
    pub(crate) encryption: ClientEncryption,
}

/// A client whose handshake is over.
pub(crate) struct Client {
    pub(crate) peer: ClientPeer,
    /// None without TLS.
    pub(crate) tls: Option<TlsSummary>,
    pub(crate) sni: Option<String>,
    /// The identity it was shown; none without TLS.
    pub(crate) shown: Option<ServedIdentity>,
}

/// A client whose handshake failed; what it has to be told (an alert) may still wait in its outbox.
pub(crate) struct FailedClient {
    pub(crate) peer: ClientPeer,
    pub(crate) sni: Option<String>,
    pub(crate) ending: Ending,
}

/// Performs the TLS handshake that the negotiation agreed on, if any.
pub(crate) async fn accept_client(
    greeting: Greeting,
    tls: Option<&ServerTls>,
    scratch: &RefCell<Scratch>,
) -> Result<Client, Box<FailedClient>> {
    let Greeting {
        socket,
        prefix,
        encryption,
    } = greeting;
    match (encryption, tls) {
        (ClientEncryption::None, _) => {
            let peer = Peer::Plain(PlainStream::new(socket, prefix));
            Ok(Client {
                peer,
                tls: None,
                sni: None,
                shown: None,
            })
        }
        (ClientEncryption::Negotiated | ClientEncryption::Direct, Some(tls)) => {
            let demands_alpn = encryption == ClientEncryption::Direct;
            match accept(tls, prefix, socket) {
                Ok(stream) => shake_hands(stream, demands_alpn, scratch).await,
                Err((error, socket)) => Err(failed_early(
                    socket,
                    handshake_failed(&SessionError::Tls(error)),
                )),
            }
        }
        (ClientEncryption::Negotiated | ClientEncryption::Direct, None) => {
            let (reason, message) = (
                CloseReason::ClientTlsHandshakeFailed,
                "a reload took TLS from the route during the negotiation",
            );
            Err(failed_early(
                socket,
                Ending::by(FaultSide::Proxy, reason, message),
            ))
        }
    }
}

async fn shake_hands(
    mut stream: TlsStream<ClientFacing, Socket>,
    demands_alpn: bool,
    scratch: &RefCell<Scratch>,
) -> Result<Client, Box<FailedClient>> {
    let result = poll_fn(|cx| stream.poll_handshake(cx, &mut scratch.borrow_mut().tls)).await;
    let (sni, shown) = stream
        .take_answered_hello()
        .map_or((None, None), |hello| (hello.server_name, hello.identity));
    let summary = result
        .and_then(|()| stream.summary())
        .map_err(|error| handshake_failed(&error))
        .and_then(|summary| {
            let is_refused = demands_alpn && summary.alpn.is_none();
            if is_refused {
                Err(direct_without_alpn())
            } else {
                Ok(summary)
            }
        });
    let peer = Peer::Tls(stream);
    match summary {
        Ok(summary) => Ok(Client {
            peer,
            tls: Some(summary),
            sni,
            shown,
        }),
        Err(ending) => Err(Box::new(FailedClient { peer, sni, ending })),
    }
}

/// A client with whom no TLS came about: nothing can be told to it.
fn failed_early(socket: Socket, ending: Ending) -> Box<FailedClient> {
    let peer = Peer::Plain(PlainStream::new(socket, Vec::new()));
    Box::new(FailedClient {
        peer,
        sni: None,
        ending,
    })
}

fn handshake_failed(error: &SessionError) -> Ending {
    Ending::of_session(
        error,
        CloseReason::ClientTlsHandshakeFailed,
        TlsSide::Client,
    )
}

fn direct_without_alpn() -> Ending {
    Ending::by(
        FaultSide::Client,
        CloseReason::ClientProtocolViolation,
        "direct TLS connection without the ALPN protocol \"postgresql\"",
    )
    .failing(TlsFailureReason::NoApplicationProtocol)
    .telling(
        SqlState::ProtocolViolation,
        "received direct SSL connection request without ALPN protocol negotiation extension",
        Some("Offer the ALPN protocol \"postgresql\", as libpq does with sslnegotiation=direct."),
    )
}
