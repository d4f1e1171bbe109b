//! Lines of the log to standard output where JavaScript cannot write without waiting: a socket (the journal's, a parent's), or
//! a pipe of another user's.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use napi::bindgen_prelude::BufferSlice;
use napi_derive::napi;
use socket2::SockRef;

use crate::fd::{is_writable, with_borrowed};

/// Nothing to be had by waiting: the reader is gone.
const FAILED: i32 = -1;

/// POSIX: a write of so much to a pipe happens whole, and so does not wait where the pipe has room for it.
const PIPE_BUF: usize = 4096;

/// Writes to the blocking descriptor `fd` what it takes at once of `line`, and says how many bytes that is: 0 when it takes
/// nothing now, -1 when writing fails.
///
/// Its blocking mode is not touched: other processes share it. A socket is sent to without waiting; anything else is asked first
/// whether there is room, which only another process that writes there at this moment can take away.
#[napi(catch_unwind)]
#[must_use]
pub fn send_at_once(fd: i32, line: BufferSlice<'_>) -> i32 {
    match with_borrowed(fd, |fd| send(fd, &line)) {
        Some(Ok(count)) => i32::try_from(count).unwrap_or(FAILED),
        Some(Err(error)) if is_passing(error.kind()) => 0,
        Some(Err(_)) | None => FAILED,
    }
}

fn send(fd: BorrowedFd<'_>, line: &[u8]) -> io::Result<usize> {
    match SockRef::from(&fd).send_with_flags(line, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => write_if_writable(fd, line),
        sent => sent,
    }
}

fn write_if_writable(fd: BorrowedFd<'_>, line: &[u8]) -> io::Result<usize> {
    if !is_writable(fd)? {
        return Ok(0);
    }
    let part = line.get(..PIPE_BUF).unwrap_or(line);
    File::from(fd.try_clone_to_owned()?).write(part)
}

fn is_passing(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
