//! Fuzz targets (`npm run fuzz`): what a client and a backend send before a session is ready.

use std::time::Duration;

use pgtls_testkit::fuzz::{Fuzz, Random};
use pgtls_tls::options::BackendTlsOptions;
use pgtls_wire::next_message;

use crate::connection::authentication::{Authentication, ChannelBinding};
use crate::connection::cancel_registry::{CancelPlace, CancelRegistry};
use crate::connection::connect::Target;
use crate::connection::watch::{Step, Watch};
use crate::options::{
    BackendOptions, KeepaliveOptions, ListenerOptions, LoadBalanceHosts, RouteOptions, Sslmode,
    Sslnegotiation,
};
use crate::questions::HookSet;
use crate::routes::{Route, RouteTable};

fn backend_options(sslmode: Sslmode) -> BackendOptions {
    BackendOptions {
        addresses: Vec::new(),
        sslmode,
        sslnegotiation: Sslnegotiation::Postgres,
        tls: BackendTlsOptions::default(),
        connect_timeout: Duration::from_mins(1),
        keepalive: KeepaliveOptions::default(),
        load_balance_hosts: LoadBalanceHosts::Disable,
        roles: None,
        warm: None,
        sends_proxy_header: false,
        adds_host_to_application_name: false,
    }
}

fn route() -> std::sync::Arc<Route> {
    let table = RouteTable::default();
    let options = RouteOptions {
        route_id: 1,
        name: "fuzz".to_owned(),
        max_client_conn: 0,
        max_client_conn_per_ip: 0,
        listener: ListenerOptions {
            tls: None,
            require_tls: false,
            client_idle_timeout: Duration::ZERO,
            keepalive: KeepaliveOptions::default(),
        },
        backend: backend_options(Sslmode::Disable),
        hooks: HookSet::default(),
        backends: Vec::new(),
        rules: Vec::new(),
    };
    table.replace(&[options]).unwrap();
    table.find(1).unwrap()
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

/// What the backend sends, behind what the client answers and its length.
fn conversation(client: &[u8], backend: &[Vec<u8>]) -> Vec<u8> {
    let length = u8::try_from(client.len()).unwrap();
    [&[length], client, &backend.concat()].concat()
}

fn conversations() -> Vec<Vec<u8>> {
    let sasl = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    let ok = message(b'R', &[0; 4]);
    let key = message(b'K', b"\0\0\x01\x02\x09\x08\x07\x06");
    let ready = message(b'Z', b"I");
    let answer = |mechanism: &str| {
        let response = b"n,,n=,r=nonce";
        let length = u32::try_from(response.len()).unwrap().to_be_bytes();
        message(
            b'p',
            &[mechanism.as_bytes(), b"\0", &length, response].concat(),
        )
    };
    let refusal = message(b'E', b"SFATAL\0C28P01\0Mno such user\0\0");
    vec![
        conversation(
            b"",
            &[
                ok.clone(),
                key.clone(),
                ready.clone(),
                message(b'D', &[1; 40]),
            ],
        ),
        conversation(&answer("SCRAM-SHA-256"), &[sasl.clone(), ok, key, ready]),
        conversation(&answer("SCRAM-SHA-256-PLUS"), std::slice::from_ref(&sasl)),
        conversation(&message(b'p', b"secret\0"), &[sasl]),
        conversation(b"", &[refusal]),
        conversation(b"", &[b"Ecould not fork new process\n\0".to_vec()]),
    ]
}

/// What the phase came to: whether the session became ready, what the client's side passed on, what stopped it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Outcome {
    is_ready: bool,
    has_key: bool,
    /// Whether it is at a boundary, and whether the backend may end here.
    end: (bool, bool),
    passed_on: Result<Vec<u8>, String>,
}

/// What the client is told of the backend's bytes, when channel binding is hidden from it.
fn told(route: &Route, place: &CancelPlace, input: &[u8], size: usize) -> Vec<u8> {
    let (&length, rest) = input.split_first().unwrap_or((&0, &[]));
    let (_, backend) = rest.split_at(usize::from(length).min(rest.len()));
    let registry = CancelRegistry::default();
    let mut phase = Authentication::new(&registry, route, place.clone(), ChannelBinding::Hidden);
    let mut told = Vec::new();
    for piece in backend.chunks(size) {
        let step = phase.backend_sent(piece);
        told.extend_from_slice(phase.for_client(piece));
        if step.is_ok_and(|step| step == Step::Leave) {
            break;
        }
    }
    told
}

fn watch(route: &Route, place: &CancelPlace, input: &[u8], size: usize) -> Outcome {
    let (&length, rest) = input.split_first().unwrap_or((&0, &[]));
    let (client, backend) = rest.split_at(usize::from(length).min(rest.len()));
    let registry = CancelRegistry::default();
    let mut phase = Authentication::new(&registry, route, place.clone(), ChannelBinding::Conflicts);
    let mut is_ready = false;
    let mut behind = 0;
    for piece in backend.chunks(size) {
        behind += piece.len();
        let step = phase.backend_sent(piece);
        if step.unwrap_or_else(|_| panic!("a backend's bytes pass whatever they are"))
            == Step::Leave
        {
            is_ready = true;
            break;
        }
    }
    if is_ready {
        // What is behind ReadyForQuery is the relay's.
        let _ = phase.walk.advance(&backend[behind..]);
    }
    let mut passed_on = Ok(Vec::new());
    for piece in client.chunks(size) {
        match (phase.client_sent(piece), &mut passed_on) {
            (Ok(bytes), Ok(all)) => all.extend_from_slice(bytes),
            (Err(ending), _) => {
                passed_on = Err(format!("{ending:?}"));
                break;
            }
            (Ok(_), Err(_)) => {}
        }
    }
    if let Ok(passed_on) = &passed_on {
        assert!(client.starts_with(passed_on), "unchanged, and in order");
    }
    let is_at_boundary = if is_ready {
        phase.walk.is_at_boundary()
    } else {
        phase.is_at_boundary()
    };
    Outcome {
        is_ready,
        has_key: phase.cancel_entry.is_some(),
        end: (is_at_boundary, phase.backend_ended().is_none()),
        passed_on,
    }
}

/// Whether ReadyForQuery comes before anything that is no message.
fn is_ready_by_definition(input: &[u8]) -> bool {
    let (&length, rest) = input.split_first().unwrap_or((&0, &[]));
    let mut backend = rest.get(usize::from(length)..).unwrap_or_default();
    while let Ok(Some(message)) = next_message(backend, 1024 * 1024) {
        if message.tag == b'Z' {
            return true;
        }
        backend = &backend[message.length..];
    }
    false
}

#[test]
fn a_login_is_watched_the_same_however_its_bytes_arrive() {
    let route = route();
    let place = CancelPlace {
        backend: crate::backend::Backend::build(
            &backend_options(Sslmode::Disable),
            &std::sync::Arc::default(),
            None,
        )
        .unwrap(),
        target: Target::Unix("/nowhere".into()),
    };
    Fuzz::new("login-watch", 25_000)
        .from(conversations())
        .with_words(&[
            b"Z\0\0\0\x05I",
            b"-PLUS",
            b"R\0\0\0\x08\0\0\0\x0a",
            b"K\0\0\0\x0c",
            b"p\0\0\0",
        ])
        .run(|input| {
            let whole = watch(&route, &place, input, usize::MAX);
            let sizes = Random::new(u64::try_from(input.len()).unwrap_or(0)).below(40) + 1;
            let in_pieces = watch(&route, &place, input, sizes);
            assert_eq!(in_pieces, whole);
            // The whole has more only behind ReadyForQuery, which is the relay's.
            let all = told(&route, &place, input, usize::MAX);
            assert!(all.starts_with(&told(&route, &place, input, sizes)));
            assert_eq!(whole.is_ready, is_ready_by_definition(input));
            (
                whole.is_ready,
                whole.has_key,
                whole.end.1,
                whole.passed_on.map(|bytes| bytes.len()),
            )
        });
}

#[cfg(feature = "tls")]
mod answers {
    use std::cell::RefCell;
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener};
    use std::sync::Arc;
    use std::sync::mpsc;
    use std::thread;

    use super::*;
    use crate::backend::Backend;
    use crate::connection::connect::connect_in_time;
    use crate::connection::peer::Scratch;

    /// A server that answers every connection's first bytes with the newest input, and listens until the other side leaves.
    fn server() -> (Target, mpsc::Sender<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (inputs, answers) = mpsc::channel::<Vec<u8>>();
        thread::spawn(move || {
            while let Ok(answer) = answers.recv() {
                let (mut socket, _) = listener.accept().unwrap();
                let mut request = [0; 8];
                if socket.read_exact(&mut request).is_ok() {
                    // The peer may have left already.
                    let _ = socket.write_all(&answer);
                    let _ = socket.shutdown(Shutdown::Write);
                    let _ = socket.read_to_end(&mut Vec::new());
                }
            }
        });
        let host = "localhost".to_owned();
        (Target::Tcp { host, address }, inputs)
    }

    #[test]
    fn no_answer_to_an_sslrequest_but_a_handshake_makes_a_link_that_requires_tls() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (target, inputs) = server();
        let options = backend_options(Sslmode::Require);
        let backend = Backend::build(&options, &Arc::default(), None).unwrap();
        let scratch = RefCell::new(Scratch::default());
        let fatal_alert: &[u8] = &[b'S', 21, 3, 3, 0, 2, 2, 40];
        Fuzz::new("ssl-answer", 1_500)
            .from([&b"S"[..], b"N", b"", b"Ex\0", b"SS", fatal_alert])
            .at_most(2_000)
            .with_words(&[
                b"S",
                b"N",
                b"E",
                &[22, 3, 3, 0, 4, 2, 0, 0, 0],
                &[22, 3, 3, 0, 90, 2],
            ])
            .run(|input| {
                inputs.send(input.to_vec()).unwrap();
                let link = runtime.block_on(connect_in_time(&backend, &target, None, &scratch));
                let ending = link.err().expect("there is no TLS to be had");
                let words = format!("{ending:?}");
                assert!(!words.contains("Internal"), "{words}");
                words
                    .chars()
                    .filter(char::is_ascii_alphabetic)
                    .take(300)
                    .collect::<String>()
            });
    }
}
