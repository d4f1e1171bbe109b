//! [`Writers`]: threads that write to one client at once, through the session's mutex, as the responder's thread does.
//!
//! The threads stay for the next time; each owns a [`ClientSocket`] and its scratch. They end with [`Writers`].

use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use pgtls_tls::buffer::Buffer;
use pgtls_tls::endpoint::ClientFacing;
use pgtls_tls::session::{SessionError, SharedSession};
use pgtls_tls::socket_source::{ClientSocket, Offer};
use pgtls_tls::stream::{TlsScratch, TlsStream};

use crate::pair::{BenchError, Ends, Kind, Sink};

/// What a write says.
const MESSAGE_BYTES: usize = 64;

/// A session, and the threads that were needed so far.
pub(crate) struct Writers {
    stream: TlsStream<ClientFacing, Sink>,
    hired: Vec<mpsc::SyncSender<Order>>,
}

/// One thread's part.
struct Order {
    count: u32,
    start: Arc<Barrier>,
    done: mpsc::Sender<Result<(), SessionError>>,
}

impl Writers {
    pub(crate) fn new() -> Result<Self, BenchError> {
        let pair = Ends::new(Kind::Ecdsa)?.shake(&mut TlsScratch::default())?;
        Ok(Self {
            stream: pair.acceptor.map_socket(|_| Ok(Sink))?,
            hired: Vec::new(),
        })
    }

    /// Lets so many threads write `count` messages in all, and waits until they are done.
    pub(crate) fn write(&mut self, writers: u32, count: u32) -> Result<(), BenchError> {
        let writers = writers.max(1);
        let start = Arc::new(Barrier::new(usize::try_from(writers).unwrap_or(usize::MAX)));
        let (done, results) = mpsc::channel();
        for writer in 0..writers {
            let order = Order {
                // The first ones take what cannot be divided.
                count: count / writers + u32::from(writer < count % writers),
                start: Arc::clone(&start),
                done: done.clone(),
            };
            self.order(usize::try_from(writer).unwrap_or(usize::MAX), order)?;
        }
        drop(done);
        results.iter().try_for_each(|result| Ok(result?))
    }

    fn order(&mut self, writer: usize, order: Order) -> Result<(), BenchError> {
        while self.hired.len() <= writer {
            self.hired.push(hire(self.stream.session().clone())?);
        }
        let sent = self
            .hired
            .get(writer)
            .is_some_and(|hired| hired.send(order).is_ok());
        if sent {
            Ok(())
        } else {
            Err(BenchError::Unexpected(
                "a writer's thread is gone".to_owned(),
            ))
        }
    }
}

/// Starts a thread that writes what it is told until nobody can tell it any more.
fn hire(session: SharedSession<ClientFacing>) -> Result<mpsc::SyncSender<Order>, BenchError> {
    let (sender, orders) = mpsc::sync_channel::<Order>(1);
    thread::Builder::new()
        .name("pgtls-writer".to_owned())
        .spawn(move || {
            let socket = ClientSocket::new(session, Sink);
            let mut scratch = Buffer::default();
            for order in orders {
                order.start.wait();
                let result = write_all(&socket, order.count, &mut scratch);
                // Fails only when nobody waits for it.
                let _ = order.done.send(result);
            }
        })?;
    Ok(sender)
}

fn write_all(
    socket: &ClientSocket<ClientFacing, Sink>,
    count: u32,
    scratch: &mut Buffer,
) -> Result<(), SessionError> {
    let message = [7; MESSAGE_BYTES];
    for _ in 0..count {
        // The sink takes everything, so there is always room.
        while socket.offer(&message, scratch)? == Offer::NoRoom {}
    }
    Ok(())
}
