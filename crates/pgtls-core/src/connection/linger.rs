//! [`Linger`]: how long a session goes on once one of its peers is gone and the other is silent.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use pgtls_tls::session::SessionError;
use tokio::time::sleep;

use crate::connection::peer::ClientPeer;
use crate::connection::relay_state::RelayState;

/// How long the other peer may keep a session open, silently, after the backend has left it.
const BACKEND_GONE: Duration = Duration::from_secs(10);

/// How long the backend may take, silently, before it goes on reading what a lost client had sent.
const CLIENT_LOST: Duration = Duration::from_secs(2);

/// What the wait ends with.
#[derive(Debug)]
pub(crate) enum Lingered {
    /// Nothing happened since the backend has left.
    Silence,
    /// The client's socket failed, and nothing happened since.
    ClientLost(SessionError),
}

/// A wait that few sessions are in: boxed, so that the others do not carry it.
pub(crate) type Linger<F> = Option<Pin<Box<F>>>;

/// Begins to wait, where the backend has left or the client `is_unread`: nothing is read from it as long as bytes wait for the backend, so
/// that nothing else would tell that it is lost. The orderly end of its direction tells nothing of the kind: bytes may stand in front of
/// it, and the answer may be waited for.
pub(crate) fn linger(
    state: RelayState,
    is_unread: bool,
    client: &ClientPeer,
) -> Linger<impl Future<Output = Lingered>> {
    let has_left = state.awaits_client_only() || state.awaits_broken_backend();
    let wait = async move {
        if has_left {
            sleep(BACKEND_GONE).await;
            return Lingered::Silence;
        }
        client.failed().await;
        sleep(CLIENT_LOST).await;
        // Not before: whoever reads on meanwhile shall meet the failure.
        Lingered::ClientLost(client.failure())
    };
    (has_left || is_unread).then(|| Box::pin(wait))
}

/// Ready when the wait is over; never without one.
pub(crate) fn lingered<F: Future<Output = Lingered>>(
    linger: &mut Linger<F>,
) -> impl Future<Output = Lingered> {
    poll_fn(move |cx| match linger {
        Some(linger) => linger.as_mut().poll(cx),
        None => Poll::Pending,
    })
}
