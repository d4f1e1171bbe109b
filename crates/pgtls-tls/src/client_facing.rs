//! [`ClientFacing`]: the connection towards a client, rustls' own but for a listener whose [`AlpnChooser`] is asked first.
//!
//! rustls' unbuffered connection has its configuration from the start. With a chooser, nothing is consumed until the ClientHello is
//! whole; the connection is then made anew with the protocol chosen, and given the same bytes. Everybody else's ClientHello is parsed
//! once.

use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::{CommonState, Error, ServerConfig};

use crate::alpn_chooser::{AlpnChooser, config_for, without_protocols};
use crate::buffer::Buffer;
use crate::client_hello_reader::{ClientHelloParser, ClientHelloProgress};
use crate::ops::{Driven, TlsConnectionOps, Write};
use crate::server_config::ServerTls;

/// The connection towards a client: pgtls is the TLS server.
pub struct ClientFacing {
    connection: UnbufferedServerConnection,
    /// Until the protocol is chosen, if somebody is to choose it.
    undecided: Option<Box<Undecided>>,
}

/// A ClientHello that is not whole yet.
struct Undecided {
    config: Arc<ServerConfig>,
    chooser: Arc<dyn AlpnChooser>,
    parser: ClientHelloParser,
    /// How many bytes of the input the parser has.
    parsed: usize,
}

impl ClientFacing {
    /// A connection under `config`, which knows of no chooser.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            undecided: None,
        })
    }

    /// A connection with a client of the listener.
    pub fn of(tls: &ServerTls) -> Result<Self, Error> {
        let undecided = tls.alpn_chooser.as_ref().map(|chooser| {
            Box::new(Undecided {
                config: Arc::clone(&tls.config),
                chooser: Arc::clone(chooser),
                parser: ClientHelloParser::default(),
                parsed: 0,
            })
        });
        Ok(Self {
            undecided,
            ..Self::new(Arc::clone(&tls.config))?
        })
    }
}

impl TlsConnectionOps for ClientFacing {
    fn drive(
        &mut self,
        incoming: &mut [u8],
        write: Write<'_>,
        plaintext: &mut Buffer,
        outgoing: &mut Buffer,
    ) -> Result<Driven, Error> {
        if let Some(undecided) = &mut self.undecided {
            let unparsed = incoming.get(undecided.parsed..).unwrap_or_default();
            undecided.parsed = incoming.len();
            match undecided.parser.push(unparsed) {
                ClientHelloProgress::Incomplete => return Ok(Driven::default()),
                ClientHelloProgress::Complete(hello) => {
                    let chosen = config_for(&hello, &undecided.config, &*undecided.chooser);
                    if let Some(config) = chosen {
                        self.connection = UnbufferedServerConnection::new(config)?;
                    }
                }
                // The connection finds that again, and has the alert. What it takes all the same, as its limit is another one
                // than the parser's, was not shown to the chooser: it gets no protocol.
                ClientHelloProgress::Invalid => {
                    let config = without_protocols(&undecided.config);
                    self.connection = UnbufferedServerConnection::new(config)?;
                }
            }
            self.undecided = None;
        }
        self.connection.drive(incoming, write, plaintext, outgoing)
    }

    fn state(&self) -> &CommonState {
        self.connection.state()
    }
}
