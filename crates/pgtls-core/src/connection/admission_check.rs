//! [`check_admission`]: sessions that are turned away once they are told from CancelRequests.

use pgtls_wire::SqlState;

use crate::connection::ending::Ending;
use crate::connection::handshake::Client;
use crate::report::{CloseReason, FaultSide};
use crate::routes::Route;

/// What is refused only now, because a CancelRequest would have been served.
pub(crate) fn check_admission(
    client: &Client,
    is_over_limit: bool,
    route: &Route,
) -> Result<(), Ending> {
    if is_over_limit {
        return Err(Ending::by(
            FaultSide::Proxy,
            CloseReason::TooManyConnections,
            "over a connection limit",
        )
        .telling(
            SqlState::TooManyConnections,
            "sorry, too many clients already",
            Some("The proxy's max_client_conn is reached."),
        ));
    }
    if client.tls.is_none() && route.requires_tls {
        return Err(Ending::by(
            FaultSide::Client,
            CloseReason::TlsRequired,
            "startup without TLS",
        )
        .telling(
            SqlState::InvalidAuthorization,
            "this server accepts TLS connections only",
            Some("Connect with sslmode=require or stronger."),
        ));
    }
    Ok(())
}
