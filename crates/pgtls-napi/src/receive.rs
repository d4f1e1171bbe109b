//! What a client has sent before its accepted socket was looked at.

use std::io::Read;

use napi::bindgen_prelude::BufferSlice;
use napi_derive::napi;
use socket2::SockRef;

use crate::fd::with_borrowed;

/// Nothing to be had by waiting: the socket has failed.
const FAILED: i32 = -1;

/// Reads into `buffer` what the non-blocking socket behind `fd` has received by now, and says how many bytes that is: 0 when there is
/// nothing yet or the peer has ended, -1 when the socket has failed.
#[napi(catch_unwind)]
pub fn receive_at_once(fd: i32, mut buffer: BufferSlice<'_>) -> i32 {
    let read = with_borrowed(fd, |fd| {
        let socket = SockRef::from(&fd);
        (&*socket).read(&mut buffer)
    });
    match read {
        Some(Ok(count)) => i32::try_from(count).unwrap_or(FAILED),
        Some(Err(error)) if is_passing(error.kind()) => 0,
        Some(Err(_)) | None => FAILED,
    }
}

fn is_passing(kind: std::io::ErrorKind) -> bool {
    matches!(
        kind,
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
    )
}
