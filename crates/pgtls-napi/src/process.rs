//! What concerns the whole process: memory that the allocator holds back, how many files it may open, and what
//! the service manager is told.

use std::env;
use std::ffi::OsStr;
use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use napi_derive::napi;

use crate::error::{Code, Result, fail};

/// Tells the service manager `message`, lines of `KEY=value` as in sd_notify(3): false when `NOTIFY_SOCKET` names nobody to tell.
#[napi(catch_unwind)]
pub fn notify(message: String) -> Result<bool> {
    match env::var_os("NOTIFY_SOCKET") {
        None => Ok(false),
        Some(name) if name.is_empty() => Ok(false),
        Some(name) => send(&name, message.as_bytes())
            .map(|()| true)
            .map_err(|error| fail(Code::NotifyFailed, format!("{}: {error}", name.display()))),
    }
}

/// One datagram, without waiting for a manager that does not read.
fn send(name: &OsStr, message: &[u8]) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message, &address(name)?)?;
    Ok(())
}

/// A path, or an abstract name behind an `@`.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(name),
    }
}

/// Gives freed memory back to the system: glibc keeps it otherwise. `None` where the allocator needs no telling.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) const RELEASE_MEMORY: Option<fn()> = Some(release_memory);

/// Likewise.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const RELEASE_MEMORY: Option<fn()> = None;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "a C library call")]
fn release_memory() {
    // SAFETY: malloc_trim may be called at any time from any thread; it touches nothing that is in use.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// How many files this process may have open, raised to the most that it may have; null when the system does not tell.
#[napi(catch_unwind)]
#[must_use]
pub fn raise_open_files_limit() -> Option<u32> {
    let limit = open_files_limit()?;
    if limit.rlim_cur < limit.rlim_max && set_open_files_limit(limit.rlim_max, limit) {
        return Some(u32::try_from(limit.rlim_max).unwrap_or(u32::MAX));
    }
    Some(u32::try_from(limit.rlim_cur).unwrap_or(u32::MAX))
}

#[allow(unsafe_code, reason = "a C library call")]
fn open_files_limit() -> Option<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: getrlimit writes to the struct it is given, which outlives the call, and to nothing else.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (result == 0).then_some(limit)
}

/// Whether the limit is `wanted` now.
#[allow(unsafe_code, reason = "a C library call")]
fn set_open_files_limit(wanted: libc::rlim_t, limit: libc::rlimit) -> bool {
    let limit = libc::rlimit {
        rlim_cur: wanted,
        ..limit
    };
    // SAFETY: setrlimit reads the struct it is given, which outlives the call, and nothing else.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    result == 0
}
