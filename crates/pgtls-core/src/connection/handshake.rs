//! Phase *client handshake*: from an adopted descriptor to a client that speaks plaintext to us, over TLS or without.

use std::cell::RefCell;
use std::future::poll_fn;

use pgtls_tls::endpoint::accept;
use pgtls_tls::session::SessionError;
use pgtls_tls::summary::TlsSummary;
use pgtls_wire::SqlState;

use crate::connection::ending::Ending;
use crate::connection::peer::{ClientPeer, Peer, PlainStream, Scratch};
use crate::connection::socket::Socket;
use crate::data_plane::ClientEncryption;
use crate::report::{CloseReason, FaultSide, TlsSide};
use crate::routes::Route;

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
    route: &Route,
    scratch: &RefCell<Scratch>,
) -> Result<Client, Box<FailedClient>> {
    let Greeting {
        socket,
        prefix,
        encryption,
    } = greeting;
    let tls = match (encryption, &route.listener_tls) {
        (ClientEncryption::None, _) => {
            let peer = Peer::Plain(PlainStream::new(socket, prefix));
            return Ok(Client {
                peer,
                tls: None,
                sni: None,
            });
        }
        (ClientEncryption::Negotiated | ClientEncryption::Direct, Some(tls)) => tls,
        (ClientEncryption::Negotiated | ClientEncryption::Direct, None) => {
            let ending = Ending::by(
                FaultSide::Proxy,
                CloseReason::ClientTlsHandshakeFailed,
                "the route no longer has TLS",
            );
            let peer = Peer::Plain(PlainStream::new(socket, prefix));
            return Err(Box::new(FailedClient {
                peer,
                sni: None,
                ending,
            }));
        }
    };
    let mut stream = match accept(tls, prefix, socket) {
        Ok(stream) => stream,
        Err((error, socket)) => {
            let ending = handshake_failed(&SessionError::Tls(error));
            let peer = Peer::Plain(PlainStream::new(socket, Vec::new()));
            return Err(Box::new(FailedClient {
                peer,
                sni: None,
                ending,
            }));
        }
    };
    let result = poll_fn(|cx| stream.poll_handshake(cx, &mut scratch.borrow_mut().tls)).await;
    let sni = stream.take_server_name();
    let summary = result.and_then(|()| {
        let state = stream.session().lock()?;
        Ok(TlsSummary::of(pgtls_tls::ops::TlsConnectionOps::state(
            state.tls(),
        )))
    });
    let peer = Peer::Tls(stream);
    match summary {
        Ok(summary) if encryption == ClientEncryption::Direct && summary.alpn.is_none() => {
            let ending = direct_without_alpn();
            Err(Box::new(FailedClient { peer, sni, ending }))
        }
        Ok(summary) => Ok(Client {
            peer,
            tls: Some(summary),
            sni,
        }),
        Err(error) => {
            let ending = handshake_failed(&error);
            Err(Box::new(FailedClient { peer, sni, ending }))
        }
    }
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
    .telling(
        SqlState::ProtocolViolation,
        "received direct SSL connection request without ALPN protocol negotiation extension",
        Some("Offer the ALPN protocol \"postgresql\", as libpq does with sslnegotiation=direct."),
    )
}
