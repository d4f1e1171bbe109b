//! [`Journal`]: the report of a connection while it is being written. Whatever happens, exactly one report leaves it.

use std::mem;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgtls_tls::failure::TlsFailureReason;
use pgtls_tls::summary::TlsSummary;

use crate::admission::{Permit, ip_of};
use crate::connection::connect::Target;
use crate::connection::ending::Ending;
use crate::connection::handshake::{Client, FailedClient};
use crate::connection::packed_report::PackedReport;
use crate::connection::proxy_header::ClientEnds;
use crate::data_plane::{ClientEncryption, Event, Shared};
use crate::messages::{Adopted, OverLimit};
use crate::metrics::ServerNameMatch;
use crate::report::{CloseReason, ConnectionReport, FaultSide, Phase, TlsReport, TlsSide};
use crate::routes::Route;
use crate::runtime::reports;

/// Collects a connection's report and sends it when it is dropped; then the connection's place in the limits is free.
pub(crate) struct Journal {
    shared: Arc<Shared>,
    since: Instant,
    /// Plaintext bytes from the client.
    bytes_in: u64,
    /// Plaintext bytes from the backend, and of answers that another thread gave.
    bytes_out: u64,
    report: Report,
    permit: Permit,
}

/// The report, in the form that suits what its connection is doing.
enum Report {
    /// The connection is in a phase that has things to note.
    Open(Box<ConnectionReport>),
    /// The session goes on; nothing is to be noted before it ends.
    Packed(PackedReport),
    Sent,
}

/// What the phases start with: an adopted connection less what its journal took.
pub(crate) struct Arrival {
    pub(crate) fd: OwnedFd,
    pub(crate) encryption: ClientEncryption,
    pub(crate) prefix: Vec<u8>,
    pub(crate) login_deadline: Instant,
    pub(crate) over_limit: Option<OverLimit>,
}

/// Where a connection comes from.
pub(crate) struct Origin {
    pub(crate) connection_id: u64,
    pub(crate) route_id: u32,
    pub(crate) client_addr: String,
}

impl Journal {
    /// Begins a report. If nobody writes an ending, it says that the worker was lost.
    pub(crate) fn open(adopted: Adopted, shared: &Arc<Shared>) -> (Self, Box<Arrival>) {
        let report = ConnectionReport::opened(
            adopted.connection_id,
            adopted.permit.route().id,
            adopted.peer,
            adopted.local_address,
        );
        let journal = Self {
            shared: Arc::clone(shared),
            since: adopted.since,
            bytes_in: 0,
            bytes_out: 0,
            report: Report::Open(Box::new(report)),
            permit: adopted.permit,
        };
        let arrival = Arrival {
            fd: adopted.fd,
            encryption: adopted.encryption,
            prefix: adopted.prefix,
            login_deadline: adopted.login_deadline,
            over_limit: adopted.over_limit,
        };
        (journal, Box::new(arrival))
    }

    /// The connection's route, its own for life.
    pub(crate) fn route(&self) -> &Arc<Route> {
        self.permit.route()
    }

    /// Whose report it is; none once the session has begun.
    pub(crate) fn origin(&self) -> Option<Origin> {
        let Report::Open(report) = &self.report else {
            return None;
        };
        Some(Origin {
            connection_id: report.connection_id,
            route_id: report.route_id,
            client_addr: report.client_addr.clone(),
        })
    }

    /// Both ends of the client's connection; none once the session has begun.
    pub(crate) fn ends(&self) -> Option<ClientEnds> {
        let Report::Open(report) = &self.report else {
            return None;
        };
        Some(ClientEnds {
            client: report.client_addr.clone(),
            listener: report.listener_addr.clone(),
        })
    }

    /// The client's address; none of a Unix-domain socket.
    pub(crate) fn client_ip(&self) -> Option<IpAddr> {
        match &self.report {
            Report::Open(report) => ip_of(&report.client_addr),
            Report::Packed(_) | Report::Sent => None,
        }
    }

    /// Counts plaintext from the client.
    pub(crate) fn add_bytes_in(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes_in = self.bytes_in.saturating_add(bytes);
        self.route().counters.add_bytes_in(bytes);
    }

    /// Counts plaintext to the client, but for messages of the proxy's own.
    pub(crate) fn add_bytes_out(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes_out = self.bytes_out.saturating_add(bytes);
        self.route().counters.add_bytes_out(bytes);
    }

    /// Changes the report, unless it was sent.
    pub(crate) fn note(&mut self, change: impl FnOnce(&mut ConnectionReport)) {
        if let Report::Packed(packed) = &self.report {
            self.report = Report::Open(Box::new(packed.unpack()));
        }
        if let Report::Open(report) = &mut self.report {
            change(report);
        }
    }

    /// The session begins, and may stay idle for long: its report takes little memory from here on, until it is noted in again.
    pub(crate) fn begin_session(&mut self) {
        self.route().counters.meters.begin_session();
        self.note(|report| report.phase = Phase::Relay);
        self.rest();
    }

    fn rest(&mut self) {
        if let Report::Open(report) = &self.report
            && let Some(packed) = PackedReport::pack(report)
        {
            self.report = Report::Packed(packed);
        }
    }

    /// Notes how the client was greeted. What a handshake failed of is noted with the ending.
    pub(crate) fn note_greeting(
        &mut self,
        greeted: &Result<Client, Box<FailedClient>>,
        took: Duration,
    ) {
        let meters = &self.route().counters.meters;
        if let Some(found) = server_name_match(greeted) {
            meters.add_server_name(found);
        }
        if let Ok(Client { tls: Some(tls), .. }) = greeted {
            meters.client_tls.finish(tls, took);
        }
        match greeted {
            Ok(client) => {
                self.note(|report| report.sni.clone_from(&client.sni));
                if let Some(tls) = &client.tls {
                    self.note_tls(TlsSide::Client, tls);
                }
            }
            Err(failed) => self.note(|report| report.sni.clone_from(&failed.sni)),
        }
    }

    /// Notes a finished handshake.
    pub(crate) fn note_tls(&mut self, side: TlsSide, summary: &TlsSummary) {
        let tls = TlsReport::of(summary, side);
        let shared = Arc::clone(&self.shared);
        self.note(|report| {
            if shared.reports_tls {
                (shared.events)(Event::TlsEstablished {
                    connection_id: report.connection_id,
                    route_id: report.route_id,
                    side,
                    tls: tls.clone(),
                });
            }
            shared.tls_connections.open(side, &tls);
            match side {
                TlsSide::Client => report.client_tls = Some(tls),
                TlsSide::Backend => report.backend_tls = Some(tls),
            }
        });
    }

    /// The backend's TLS was given up for a connection without.
    pub(crate) fn forget_backend_tls(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.note(|report| {
            if let Some(tls) = report.backend_tls.take() {
                shared.tls_connections.close(TlsSide::Backend, &tls);
            }
        });
    }

    /// Tells that verify-full accepted the backend's certificate by its CN.
    pub(crate) fn tell_common_name(&self, target: &Target) {
        let Report::Open(report) = &self.report else {
            return;
        };
        let certificate = report.backend_tls.as_ref();
        let certificate = certificate.and_then(|tls| tls.peer_cert.as_deref());
        (self.shared.events)(Event::CommonNameUsed {
            route_id: report.route_id,
            backend_addr: target.to_string(),
            certificate: certificate.cloned(),
        });
    }

    /// Notes how it ended, and the notice that the client was sent along with that.
    pub(crate) fn note_ending(&mut self, ending: Ending) {
        if ending.reason == CloseReason::ChannelBindingConflict {
            self.route().counters.add_channel_binding_conflict();
        }
        if let Some(reason) = ending.tls_failure
            && let Report::Open(report) = &self.report
            && report.phase == Phase::ClientHandshake
        {
            self.route().counters.meters.client_tls.fail(reason);
        }
        self.note(|report| {
            report.reason = ending.reason;
            report.fault_side = ending.fault;
            report.message = ending.message;
            report.alert = ending.alert.map(|alert| *alert);
            report.tls_failure = ending.tls_failure;
            if ending.backend_addr.is_some() {
                report.backend_addr = ending.backend_addr;
            }
            report.sqlstate = ending.notice.map(|notice| notice.sqlstate.code());
        });
    }

    /// Notes that this connection's own code panicked.
    pub(crate) fn note_panic(&mut self, message: String) {
        self.note_ending(Ending::by(FaultSide::Proxy, CloseReason::Panic, message));
    }

    /// The connection is over.
    fn count(&self, report: &ConnectionReport) {
        let meters = &self.route().counters.meters;
        meters.end_connection(report, self.since.elapsed());
        let legs = [
            (TlsSide::Client, &report.client_tls),
            (TlsSide::Backend, &report.backend_tls),
        ];
        for (side, tls) in legs {
            if let Some(tls) = tls {
                self.shared.tls_connections.close(side, tls);
            }
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let (bytes_in, bytes_out) = (self.bytes_in, self.bytes_out);
        let duration = self.since.elapsed().as_millis();
        self.note(|report| {
            report.bytes_in = bytes_in;
            report.bytes_out = bytes_out;
            report.duration_millis = u64::try_from(duration).unwrap_or(u64::MAX);
        });
        if let Report::Open(report) = mem::replace(&mut self.report, Report::Sent) {
            self.count(&report);
            reports::send(*report, &self.shared.events);
        }
    }
}

/// What the ClientHello's server name led to; none where there was no ClientHello, or it was answered with a failure of another kind.
fn server_name_match(greeted: &Result<Client, Box<FailedClient>>) -> Option<ServerNameMatch> {
    match greeted {
        Ok(client) => {
            let shown = client.shown.as_ref()?;
            Some(match (&client.sni, shown.host) {
                (_, Some(_)) => ServerNameMatch::Host,
                (Some(_), None) => ServerNameMatch::Default,
                (None, None) => ServerNameMatch::None,
            })
        }
        Err(failed) => matches!(
            failed.ending.tls_failure,
            Some(TlsFailureReason::ServerNameMissing | TlsFailureReason::ServerNameUnknown)
        )
        .then_some(ServerNameMatch::Refused),
    }
}
