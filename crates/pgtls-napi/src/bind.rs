//! The functions `bindListener` and `boundAddress`: listening sockets with what Node's `listen` has no option for, and what one that
//! another process has bound is bound to.
//!
//! Node unlinks the path of a Unix-domain socket that it has bound whenever it closes it, also when a successor has the socket by
//! then; and its version 20 does not know `SO_REUSEPORT`.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::IntoRawFd;

use napi_derive::napi;
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use crate::error::{Code, Result, fail};
use crate::fd::with_borrowed;

/// What is to be bound.
#[napi(object, use_nullable = true)]
pub struct BindOptions {
    /// What `host` is.
    #[napi(ts_type = "'tcp' | 'unix'")]
    pub kind: String,
    /// An IP address, or the path of the socket.
    pub host: String,
    /// 0 = any, and for a path.
    pub port: u16,
    /// Leaves the IPv4 port of an IPv6 wildcard to others.
    pub ipv6_only: bool,
    /// Shares the port with others that ask for it, too (`SO_REUSEPORT`).
    pub reuse_port: bool,
}

/// Binds a socket and gives its descriptor, which the caller owns: non-blocking, closed in children, not listening yet. The error's
/// message is the operating system's.
#[napi(catch_unwind)]
pub fn bind_listener(options: BindOptions) -> Result<i32> {
    let bound = match options.kind.as_str() {
        "unix" => bind_unix(&options.host),
        _tcp => bind_tcp(&options),
    };
    match bound {
        Ok(socket) => Ok(socket.into_raw_fd()),
        Err(error) => Err(fail(Code::BindFailed, error.to_string())),
    }
}

/// Where a listening socket is bound.
#[napi(object, use_nullable = true)]
pub struct BoundAddress {
    /// What `host` is.
    #[napi(ts_type = "'tcp' | 'unix'")]
    pub kind: String,
    /// An IP address, or the path of the socket.
    pub host: String,
    /// 0 for a path.
    pub port: u16,
}

/// Where the socket behind `fd` is bound; null when it is no stream socket that listens, or has neither IP address nor path.
#[napi(catch_unwind)]
pub fn bound_address(fd: i32) -> Option<BoundAddress> {
    with_borrowed(fd, |fd| {
        let socket = SockRef::from(&fd);
        if !socket.is_listener().ok()? || socket.r#type().ok()? != Type::STREAM {
            return None;
        }
        let address = socket.local_addr().ok()?;
        if let Some(address) = address.as_socket() {
            return Some(BoundAddress {
                kind: "tcp".to_owned(),
                host: address.ip().to_string(),
                port: address.port(),
            });
        }
        Some(BoundAddress {
            kind: "unix".to_owned(),
            host: address.as_pathname()?.to_str()?.to_owned(),
            port: 0,
        })
    })
    .flatten()
}

fn bind_unix(path: &str) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind_tcp(options: &BindOptions) -> io::Result<Socket> {
    let host: IpAddr = options.host.parse().map_err(io::Error::other)?;
    let address = SocketAddr::new(host, options.port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(options.ipv6_only)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
