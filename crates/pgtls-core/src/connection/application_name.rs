//! `application_name_add_host`: the client's address in `pg_stat_activity`, where there is otherwise but pgtls's own.

use pgtls_wire::add_host_to_application_name;

use crate::backend::Backend;
use crate::connection::proxy_header::ClientEnds;
use crate::connection::route::Startup;

/// How a client of a Unix-domain socket is shown; the path would leave no room for its name.
const UNIX: &str = "unix";

/// Puts another StartupMessage in the place of the client's own, if the backend is to be told the client's address and takes one
/// that much longer.
pub(crate) fn add_host(startup: &mut Startup, backend: &Backend, ends: Option<&ClientEnds>) {
    if !backend.adds_host_to_application_name {
        return;
    }
    let address = ends.and_then(ClientEnds::client_address);
    let host = address.map_or_else(|| UNIX.to_owned(), |address| address.to_string());
    startup.renamed = add_host_to_application_name(startup.packet(), &host);
}
