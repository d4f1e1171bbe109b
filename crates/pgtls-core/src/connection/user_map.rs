//! `user_map_file`: whether a client's certificate may log in as the user it asks for.
//!
//! As PostgreSQL's `cert` authentication, of which this is the first half: without a certificate, or with one that no row maps
//! to the user, nobody logs in. PostgreSQL behind may still ask for a password.

use pgtls_tls::summary::TlsSummary;
use pgtls_tls::user_map::system_users;
use pgtls_wire::SqlState;

use crate::connection::ending::Ending;
use crate::connection::route::Startup;
use crate::report::{CloseReason, FaultSide};
use crate::routes::Route;

/// Passes every user on a route without a map.
pub(crate) fn check_user(
    tls: Option<&TlsSummary>,
    route: &Route,
    startup: &Startup,
) -> Result<(), Ending> {
    let map = route.listener_tls.as_ref();
    let Some(map) = map.and_then(|tls| tls.user_map.as_deref()) else {
        return Ok(());
    };
    let Some(leaf) = tls.and_then(|tls| tls.peer_certificate.as_deref()) else {
        return Err(missing());
    };
    let names = system_users(leaf);
    // Who isn't UTF-8 is in no map.
    let user = startup.names().user.map(str::from_utf8);
    if user.is_some_and(|user| user.is_ok_and(|user| map.allows(&names, user))) {
        return Ok(());
    }
    Err(not_mapped(
        &names,
        startup.user.as_deref().unwrap_or_default(),
    ))
}

fn missing() -> Ending {
    Ending::by(
        FaultSide::Client,
        CloseReason::ClientCertificateMissing,
        "the route has a user_map_file, and the client showed no certificate",
    )
    .telling(
        SqlState::InvalidAuthorization,
        "connection requires a valid client certificate",
        Some("Connect with sslmode=require or stronger, sslcert and sslkey."),
    )
}

fn not_mapped(names: &[String], user: &str) -> Ending {
    Ending::by(
        FaultSide::Client,
        CloseReason::ClientCertificateNotMapped,
        format!("no row of user_map_file maps {names:?} to the user {user:?}"),
    )
    .telling(
        SqlState::InvalidAuthorization,
        "the client certificate does not allow this user",
        Some("The proxy's user_map_file has to map the certificate's CN or subjectAltName to the user."),
    )
}
