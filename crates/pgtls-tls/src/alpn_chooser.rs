//! [`AlpnChooser`]: lets a program that embeds this crate choose the application protocol (RFC 7301) of each connection.
//!
//! rustls takes the first protocol of the listener's list that the client offers, too. With a chooser the ClientHello is looked at
//! before a connection is made for it ([`crate::client_facing`]), and the connection then knows the chosen protocol alone. A
//! protocol belongs to a connection and not to a session: the chooser is asked in every handshake, resumed ones included.

use std::fmt;
use std::ptr;
use std::sync::Arc;

use rustls::ServerConfig;

use crate::client_hello_reader::ClientHelloInfo;

/// Chooses a protocol for a client.
pub trait AlpnChooser: fmt::Debug + Send + Sync {
    /// One of `candidates`: the listener's protocols, in its order, that the client offers; there is at least one. None, or any
    /// other name, refuses the client with the alert `no_application_protocol`.
    ///
    /// Called on the worker's thread and under the session's lock; must not block, and a panic costs the connection. Not asked where
    /// there is nothing to choose: the client offers no protocol, or none that the listener has.
    fn choose<'a>(&self, hello: &ClientHelloInfo, candidates: &[&'a str]) -> Option<&'a str>;
}

/// By identity: two choosers are the same if they are one.
impl PartialEq for dyn AlpnChooser {
    fn eq(&self, other: &Self) -> bool {
        ptr::addr_eq(self, other)
    }
}

impl Eq for dyn AlpnChooser {}

/// The configuration to answer `hello` with; none is `config` as it is.
pub(crate) fn config_for(
    hello: &ClientHelloInfo,
    config: &ServerConfig,
    chooser: &dyn AlpnChooser,
) -> Option<Arc<ServerConfig>> {
    let candidates: Vec<&str> = config
        .alpn_protocols
        .iter()
        .filter_map(|name| std::str::from_utf8(name).ok())
        .filter(|&name| hello.alpn.iter().any(|offered| offered == name))
        .collect();
    if candidates.is_empty() {
        return None;
    }
    let chosen = chooser
        .choose(hello, &candidates)
        .filter(|chosen| candidates.contains(chosen));
    Some(chosen.map_or_else(
        || without_protocols(config),
        |name| with_protocol(config, name.as_bytes()),
    ))
}

/// The configuration that refuses whoever offers protocols: no client can offer the empty name (RFC 7301 section 3.1), so rustls
/// finds nothing in common, and says so.
pub(crate) fn without_protocols(config: &ServerConfig) -> Arc<ServerConfig> {
    with_protocol(config, b"")
}

fn with_protocol(config: &ServerConfig, name: &[u8]) -> Arc<ServerConfig> {
    let mut config = ServerConfig::clone(config);
    config.alpn_protocols = vec![name.to_vec()];
    Arc::new(config)
}
