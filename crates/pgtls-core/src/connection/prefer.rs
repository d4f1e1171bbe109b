//! `sslmode = "prefer"` at the StartupMessage: a server that answers it over TLS with an error is asked again without, as libpq does
//! (a `hostnossl` line in `pg_hba.conf` is why). Only its very first word counts: once the client has seen an authentication
//! request there is no way back that it would not notice.

use pgtls_tls::session::SessionError;
use pgtls_tls::stream::Received;
use pgtls_wire::tag;

use crate::backend::Backend;
use crate::connection::connect::{Link, connect_plain};
use crate::connection::ending::Ending;
use crate::connection::peer::Peer;
use crate::connection::proxy_header::ClientEnds;
use crate::connection::serve::Context;

/// A link on which the server has begun to answer, or one that has been told nothing.
pub(crate) enum Asked {
    /// The packet was sent; the server's first bytes wait in the link.
    Answering(Link),
    /// Nothing was sent.
    Fresh(Link),
}

/// Sends `packet` over TLS and looks at the first bytes that come back. Links that prefer nothing pass through untouched.
pub(crate) async fn ask_in_tls(
    link: Link,
    backend: &Backend,
    packet: &[u8],
    ends: Option<&ClientEnds>,
    context: Context<'_>,
) -> Result<Asked, Ending> {
    if !backend.prefers_tls() {
        return Ok(Asked::Fresh(link));
    }
    let Peer::Tls(stream) = &link.peer else {
        return Ok(Asked::Fresh(link));
    };
    let failed = |error| Ending::of_backend(&error);
    let sent = stream.send(packet, &mut context.scratch.borrow_mut().tls);
    sent.map_err(failed)?;
    link.peer.flush().await.map_err(failed)?;
    let received = match link.peer.receive(context.scratch).await {
        Ok(received) => received,
        // With TLS 1.3 a server says only now that it misses a certificate of ours.
        Err(SessionError::Tls(_)) => {
            return connect_plain(backend, &link.target, ends)
                .await
                .map(Asked::Fresh);
        }
        Err(error) => return Err(failed(error)),
    };
    let is_refused = {
        let scratch = context.scratch.borrow();
        let answer = scratch.plaintext.filled();
        let is_refused = received == Received::Data && answer.first() == Some(&tag::ERROR_RESPONSE);
        if !is_refused {
            stream.put_back(answer).map_err(failed)?;
        }
        is_refused
    };
    if !is_refused {
        return Ok(Asked::Answering(link));
    }
    // Without TLS or not at all: if that can't be had, the refusal would not have been worse.
    connect_plain(backend, &link.target, ends)
        .await
        .map(Asked::Fresh)
}
