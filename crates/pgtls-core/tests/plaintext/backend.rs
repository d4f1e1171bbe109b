//! [`Backend`]: as much of a PostgreSQL server as sessions need that log in, ask for an echo and cancel. A thread per connection.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use crate::stage::DEADLINE;

pub(crate) const PROCESS_ID: u32 = 4242;
pub(crate) const KEY: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];
/// What a client is told that has ended its direction.
pub(crate) const FAREWELL: &[u8] = b"goodbye";

const CANCEL_REQUEST: u32 = 80_877_102;

/// Listens until the test ends.
pub(crate) struct Backend {
    port: u16,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    packets: Mutex<Packets>,
    changed: Condvar,
}

#[derive(Default)]
struct Packets {
    startups: Vec<Vec<u8>>,
    cancels: Vec<(u32, Vec<u8>)>,
}

impl Backend {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let seen = Arc::clone(&shared);
                // A connection that breaks off is the client's to notice.
                thread::spawn(move || stream.and_then(|stream| serve(stream, &seen)));
            }
        });
        Self { port, seen }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The StartupMessages received so far, whole.
    pub(crate) fn startups(&self) -> Vec<Vec<u8>> {
        self.seen.packets.lock().unwrap().startups.clone()
    }

    /// The first CancelRequest, once it is here.
    pub(crate) fn await_cancel(&self) -> (u32, Vec<u8>) {
        let packets = self.seen.packets.lock().unwrap();
        let changed = &self.seen.changed;
        let (packets, _) = changed
            .wait_timeout_while(packets, DEADLINE, |packets| packets.cancels.is_empty())
            .unwrap();
        packets.cancels[0].clone()
    }
}

/// A message of the protocol's version 3.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[tag], &length.to_be_bytes()[..], body].concat()
}

fn serve(mut stream: TcpStream, seen: &Seen) -> io::Result<()> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let packet = read_packet(&mut stream)?;
    let number = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
    if number(4) == CANCEL_REQUEST {
        let cancel = (number(8), packet[12..].to_vec());
        seen.packets.lock().unwrap().cancels.push(cancel);
        seen.changed.notify_all();
        return Ok(());
    }
    seen.packets.lock().unwrap().startups.push(packet);
    let key_data = [&PROCESS_ID.to_be_bytes()[..], &KEY].concat();
    stream.write_all(&message(b'R', &[0; 4]))?;
    stream.write_all(&message(b'K', &key_data))?;
    stream.write_all(&message(b'Z', b"I"))?;
    loop {
        let mut tag = [0];
        if stream.read(&mut tag)? == 0 {
            return stream.write_all(&message(b'N', FAREWELL));
        }
        let packet = read_packet(&mut stream)?;
        if tag == *b"X" {
            return Ok(());
        }
        stream.write_all(&message(b'D', &packet[4..]))?;
        stream.write_all(&message(b'Z', b"I"))?;
    }
}

/// A length that counts itself, and what it is the length of.
fn read_packet(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 4];
    stream.read_exact(&mut packet)?;
    let length = u32::from_be_bytes(packet[..].try_into().unwrap());
    packet.resize(usize::try_from(length).unwrap(), 0);
    stream.read_exact(&mut packet[4..])?;
    Ok(packet)
}
