//! Phase *close*: the client is told why, TLS ends with `close_notify`, and the socket ends without a reset.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::timeout;

use crate::connection::ending::Notice;
use crate::connection::peer::{ClientPeer, Scratch};

/// How long a client may take to read what it was told.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How much a client that is being told goodbye may still send before it is cut.
const MAX_DISCARDED_BYTES: usize = 1024 * 1024;

/// Sends `notice`, if any, and `close_notify`, then waits for the client to close, for at most [`CLOSE_TIMEOUT`].
///
/// Closing a socket with unread bytes resets it, and a reset can overtake what was sent: so what still comes is read.
pub(crate) async fn close_client(
    client: &ClientPeer,
    notice: Option<&Notice>,
    scratch: &RefCell<Scratch>,
) {
    say_goodbye(client, notice, scratch);
    let _ = timeout(CLOSE_TIMEOUT, finish(client, scratch)).await;
}

/// A client for whom all that has to be said stands in its outbox (an alert, last words) gets that, and no more.
pub(crate) async fn close_told(client: &ClientPeer, scratch: &RefCell<Scratch>) {
    let _ = timeout(CLOSE_TIMEOUT, finish(client, scratch)).await;
}

fn say_goodbye(client: &ClientPeer, notice: Option<&Notice>, scratch: &RefCell<Scratch>) {
    let tls = &mut scratch.borrow_mut().tls;
    if let Some(notice) = notice
        && client.send(&notice.encode(), tls).is_err()
    {
        return;
    }
    // A client that can't be told is gone: finish() finds out.
    let _ = client.send_close_notify(tls);
}

async fn finish(client: &ClientPeer, scratch: &RefCell<Scratch>) {
    if client.flush().await.is_err() || client.shutdown_write().is_err() {
        return;
    }
    let mut left = MAX_DISCARDED_BYTES;
    while let Ok(count @ 1..) = client.discard(scratch).await {
        left = left.saturating_sub(count);
        if left == 0 {
            return;
        }
    }
}
