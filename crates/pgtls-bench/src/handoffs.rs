//! [`Handoffs`]: descriptors given to a running data plane, until its worker has looked at them for the first time.
//!
//! That is when the client gets its `S` (docs/adr/0002-hand-off.md). Then it leaves, before it has said anything.

use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use pgtls_core::{BackendAddress, DataPlane, Hooks};

use crate::pair::{BenchError, Kind, with_listener_options};
use crate::plane::{DEADLINE, handoff, options};

/// So many are under way at once.
const AT_ONCE: u32 = 64;

/// A data plane whose backend nobody gets as far as.
pub(crate) struct Handoffs {
    data_plane: DataPlane,
    last_id: u64,
}

impl Handoffs {
    pub(crate) fn new() -> Result<Self, BenchError> {
        let backend = BackendAddress::Tcp {
            host: "127.0.0.1".to_owned(),
            port: 5432,
        };
        let data_plane = with_listener_options(Kind::Ecdsa, |tls| {
            DataPlane::start(&options(tls, backend), Hooks::events(Arc::new(drop)))
                .map_err(|error| BenchError::Unexpected(error.to_string()))
        })?;
        Ok(Self {
            data_plane,
            last_id: 0,
        })
    }

    /// Makes a socket pair for each, hands one end over, and waits for the `S` at the other.
    pub(crate) fn hand_off(&mut self, count: u32) -> Result<(), BenchError> {
        let mut left = count;
        while left > 0 {
            let batch = left.min(AT_ONCE);
            let mut clients = Vec::new();
            for _ in 0..batch {
                clients.push(self.adopt()?);
            }
            for mut client in clients {
                let mut answer = [0];
                client.read_exact(&mut answer)?;
            }
            left -= batch;
        }
        Ok(())
    }

    fn adopt(&mut self) -> Result<UnixStream, BenchError> {
        let (client, accepted) = UnixStream::pair()?;
        client.set_read_timeout(Some(DEADLINE))?;
        self.last_id += 1;
        self.data_plane
            .adopt(accepted.as_fd(), handoff(self.last_id))
            .map_err(|error| BenchError::Unexpected(error.to_string()))?;
        Ok(client)
    }
}
