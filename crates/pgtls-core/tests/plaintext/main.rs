//! Sessions without TLS on either leg, in a build with TLS or without (`--no-default-features`), over sockets of the standard library
//! alone: nothing that this program links knows what TLS is, unless pgtls-core does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "outside #[test] functions, too, a helper's panic is how a test fails"
)]

mod backend;
mod stage;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use pgtls_core::{CloseReason, FaultSide, Phase};
use pgtls_wire::encode_cancel_request;
use socket2::{Domain, Socket, Type};

use crate::backend::{Backend, FAREWELL, KEY, PROCESS_ID, message};
use crate::stage::{Stage, read_message, sqlstate_of};

#[test]
fn every_message_of_a_session_passes_unchanged_in_both_directions() {
    let backend = Backend::listen();
    let stage = Stage::start(&stage::options(backend.port()));
    let (mut client, id) = stage.login();
    // From a few bytes to more than the sockets between hold.
    for length in [0, 1, 70_000, 3_000_000] {
        let text: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
        let mut sending = client.try_clone().unwrap();
        let query = message(b'Q', &text);
        let writer = std::thread::spawn(move || sending.write_all(&query).unwrap());
        let (tag, echo) = read_message(&mut client);
        writer.join().unwrap();
        assert!(tag == b'D' && echo == text, "{length} bytes");
        assert_eq!(read_message(&mut client), (b'Z', b"I".to_vec()));
    }
    client.write_all(&message(b'X', b"")).unwrap();
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
    drop(client);
    let report = stage.report(id);
    // At Terminate the server is the first to close, for the client asked for it.
    assert_eq!(report.reason, CloseReason::ClientClosed);
    assert_eq!(report.user.as_deref(), Some("alice"));
    assert!(report.client_tls.is_none() && report.backend_tls.is_none());
    assert!(report.bytes_in > 3_000_000 && report.bytes_out > 3_000_000);
    assert_eq!(backend.startups(), [stage::startup_packet()]);
}

#[test]
fn a_cancel_request_reaches_the_backend_of_its_session() {
    let (first, second) = (Backend::listen(), Backend::listen());
    let mut options = stage::options(first.port());
    options.routes[0]
        .backend
        .addresses
        .push(stage::address(second.port()));
    let stage = Stage::start(&options);
    let (_session, _) = stage.login();
    let (mut client, id) = stage.arrive(&encode_cancel_request(PROCESS_ID, &KEY));
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
    let report = stage.report(id);
    assert_eq!(report.reason, CloseReason::CancelForwarded);
    assert!(report.is_cancel);
    assert_eq!(first.await_cancel(), (PROCESS_ID, KEY.to_vec()));
    assert_eq!(second.startups().len(), 0, "it heard nothing of this");
}

#[test]
fn a_client_that_has_said_everything_still_hears_the_backend_out() {
    let backend = Backend::listen();
    let stage = Stage::start(&stage::options(backend.port()));
    let (mut client, id) = stage.login();
    client.write_all(&message(b'Q', b"the last one")).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).unwrap();
    let answer = [
        message(b'D', b"the last one"),
        message(b'Z', b"I"),
        message(b'N', FAREWELL),
    ];
    assert_eq!(heard, answer.concat());
    assert_eq!(stage.report(id).reason, CloseReason::ClientClosed);
}

#[test]
fn a_client_is_told_that_no_backend_is_there() {
    // Bound, so that nobody else gets the port, but not listening.
    let nobody = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    nobody.bind(&address.into()).unwrap();
    let address = nobody.local_addr().unwrap().as_socket().unwrap();
    let stage = Stage::start(&stage::options(address.port()));
    let (mut client, id) = stage.arrive(&stage::startup_packet());
    assert_eq!(sqlstate_of(&read_message(&mut client)), "08006");
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
    let report = stage.report(id);
    assert_eq!(report.reason, CloseReason::BackendUnreachable);
    assert_eq!(report.fault_side, Some(FaultSide::Backend));
    assert_eq!(report.sqlstate, Some("08006"));
}

#[test]
fn a_client_above_the_limit_is_told_so() {
    let backend = Backend::listen();
    let mut options = stage::options(backend.port());
    options.max_client_conn = 1;
    let stage = Stage::start(&options);
    let (mut session, first) = stage.login();
    let (mut client, id) = stage.arrive(&stage::startup_packet());
    assert_eq!(sqlstate_of(&read_message(&mut client)), "53300");
    drop(client);
    assert_eq!(stage.report(id).reason, CloseReason::TooManyConnections);
    session.write_all(&message(b'X', b"")).unwrap();
    drop(session);
    stage.report(first);
    stage.wait_until_idle();
    let (_session, _) = stage.login();
}

#[test]
fn a_client_that_never_says_who_it_is_is_sent_away_in_time() {
    let backend = Backend::listen();
    let stage = Stage::start(&stage::options(backend.port()));
    let (mut client, id) = stage.arrive_within(b"", Duration::from_millis(50));
    client.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(stage.report(id).reason, CloseReason::LoginTimeout);
}

#[test]
fn a_drain_tells_sessions_goodbye() {
    let backend = Backend::listen();
    let stage = Stage::start(&stage::options(backend.port()));
    let (mut client, id) = stage.login();
    let report = stage.drain(Duration::ZERO);
    assert_eq!((report.drained, report.cut), (0, 1));
    assert_eq!(sqlstate_of(&read_message(&mut client)), "57P01");
    let report = stage.report(id);
    assert_eq!(
        (report.reason, report.phase),
        (CloseReason::Drained, Phase::Relay)
    );
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_tls_refuses_every_configuration_that_demands_it() {
    use pgtls_core::Sslmode;
    let told =
        "this build has no TLS; set sslmode = \"disable\", or build with the feature \"tls\"";
    let mut listener = stage::options(1);
    listener.routes[0].listener.tls = Some(pgtls_tls::options::ListenerTlsOptions::default());
    let mut require = stage::options(1);
    require.routes[0].backend.sslmode = Sslmode::Require;
    for options in [listener, require] {
        let error = stage::start_error(&options);
        assert_eq!(error, format!("proxy \"orders\": {told}"));
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_tls_prefers_plaintext_and_asks_the_server_for_nothing_else() {
    use pgtls_core::{Sslmode, Sslnegotiation};
    for sslnegotiation in [Sslnegotiation::Postgres, Sslnegotiation::Direct] {
        let backend = Backend::listen();
        let mut options = stage::options(backend.port());
        options.routes[0].backend.sslmode = Sslmode::Prefer;
        options.routes[0].backend.sslnegotiation = sslnegotiation;
        // Not even read.
        options.routes[0].backend.tls.cert_file = Some("missing.crt".into());
        let stage = Stage::start(&options);
        let (mut client, id) = stage.login();
        // CancelRequests go without asking, too.
        let (mut cancel, _) = stage.arrive(&encode_cancel_request(PROCESS_ID, &KEY));
        assert_eq!(cancel.read_to_end(&mut Vec::new()).unwrap(), 0);
        assert_eq!(backend.await_cancel(), (PROCESS_ID, KEY.to_vec()));
        client.write_all(&message(b'X', b"")).unwrap();
        assert_eq!(client.read_to_end(&mut Vec::new()).unwrap(), 0);
        drop(client);
        let report = stage.report(id);
        assert_eq!(report.reason, CloseReason::ClientClosed);
        assert!(report.backend_tls.is_none());
        // An SSLRequest would stand beside it.
        assert_eq!(backend.startups(), [stage::startup_packet()]);
    }
}
