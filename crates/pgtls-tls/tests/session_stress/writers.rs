//! The threads that write without owning: rightly through a `ClientSocket`, or wrongly.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;
use std::{io, os::fd::AsFd as _};

use pgtls_tls::buffer::Buffer;
use pgtls_tls::session::SessionError;
use pgtls_tls::socket_source::{Descriptor, Offer};
use pgtls_tls::stream::TrySend as _;
use tokio::sync::mpsc;

use crate::message::{self, DATA, LAST, Message};
use crate::owner::Owned;

/// Sends one message; says whether it found room at once.
pub(crate) type Writer = Box<dyn FnMut(&[u8]) -> Result<Offer, SessionError> + Send>;

#[derive(Debug)]
pub(crate) struct WriterReport {
    pub(crate) sent: u64,
    pub(crate) refused: u64,
}

/// Writes until `until`, then its last message. `_sign` is of life.
pub(crate) fn run(
    id: u8,
    mut writer: Writer,
    until: Instant,
    _sign: mpsc::Sender<()>,
) -> Result<WriterReport, SessionError> {
    let mut bytes = Vec::new();
    let mut report = WriterReport {
        sent: 0,
        refused: 0,
    };
    loop {
        let is_last = Instant::now() >= until;
        let message = Message {
            kind: if is_last { LAST } else { DATA },
            writer: id,
            sequence: report.sent,
        };
        message::write(&mut bytes, &message);
        if writer(&bytes)? == Offer::NoRoom {
            report.refused += 1;
        }
        if is_last {
            return Ok(report);
        }
        report.sent += 1;
    }
}

/// As it shall be.
pub(crate) fn shared(owned: &Owned) -> Writer {
    let socket = owned.socket_source().client_socket().unwrap();
    let mut scratch = Buffer::default();
    Box::new(move |message| {
        let offer = socket.offer(message, &mut scratch)?;
        if offer == Offer::NoRoom {
            block_on(socket.send(message, &mut scratch))?;
        }
        Ok(offer)
    })
}

/// The mutant: encrypts under the lock, but writes after it.
pub(crate) fn naive(owned: &Owned) -> Writer {
    let session = owned.session().clone();
    let descriptor = owned.socket().as_fd().try_clone_to_owned().unwrap();
    let socket = Descriptor::new(descriptor);
    let mut scratch = Buffer::default();
    Box::new(move |message| {
        scratch.clear();
        session.lock()?.encrypt(message, &mut scratch)?;
        let mut rest = scratch.filled();
        while !rest.is_empty() {
            match socket.try_send(rest) {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Offer::Taken)
    })
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}
