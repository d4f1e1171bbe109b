//! A descriptor number from JavaScript becomes a descriptor Rust may borrow.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// Borrows descriptor `fd` for the length of `use_it`.
///
/// The caller's contract, kept by `src/listener/handoff.ts`: `fd` is open and stays open during the call, because Node's
/// socket that owns it is destroyed only after `adopt` has returned, on the same thread.
#[allow(unsafe_code, reason = "JavaScript names descriptors by number")]
pub(crate) fn with_borrowed<T>(fd: RawFd, use_it: impl FnOnce(BorrowedFd<'_>) -> T) -> Option<T> {
    if fd < 0 {
        return None;
    }
    // SAFETY: not -1, and open for the length of this call by the contract above; the borrow does not outlive it.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    Some(use_it(borrowed))
}

/// Whether a write to `fd` would not wait.
#[allow(unsafe_code, reason = "a C library call")]
pub(crate) fn is_writable(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut asked = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: poll reads and writes the one struct it is given, which outlives the call; with a timeout of 0 it returns at once.
    let result = unsafe { libc::poll(&raw mut asked, 1, 0) };
    match result {
        -1 => Err(io::Error::last_os_error()),
        count => Ok(count > 0),
    }
}
