//! [`PackedReport`]: a report at rest. A session that lives for hours keeps what is known of it in one small allocation instead
//! of a dozen; when there is something to note again, or it is over, the report is unpacked and nothing of it is lost.

use std::sync::Arc;

use crate::report::{CloseReason, ConnectionReport, FaultSide, PeerCertReport, Phase, TlsReport};

/// Words that nearly every report holds: one byte each.
const WORDS: [&str; 10] = [
    "TLSv1.3",
    "TLSv1.2",
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "X25519MLKEM768",
    "X25519",
    "secp256r1",
    "secp384r1",
    "postgresql",
];

/// Stands in front of a text: this, or a place in [`WORDS`] from 1 on, or the text's length above those.
const NO_TEXT: usize = 0;

/// Of a length, this many bits stand in each byte, the lowest first; the bit above says that more follow.
const LENGTH_BITS: u32 = 7;
const MORE: u8 = 1 << LENGTH_BITS;

/// All of a [`ConnectionReport`] but its ending: a report that has one is about to be sent.
#[derive(Debug)]
pub(crate) struct PackedReport {
    connection_id: u64,
    route_id: u32,
    reason: CloseReason,
    fault_side: Option<FaultSide>,
    phase: Phase,
    is_cancel: bool,
    /// Texts and TLS legs, in the order in which [`PackedReport::unpack`] reads them.
    texts: Box<[u8]>,
}

impl PackedReport {
    /// Packs a report, unless it says already how its connection ended.
    pub(crate) fn pack(report: &ConnectionReport) -> Option<Self> {
        // In full, so that a new field cannot be forgotten here.
        let ConnectionReport {
            connection_id,
            route_id,
            client_addr,
            listener_addr,
            backend,
            backend_addr,
            sni,
            user,
            database,
            application_name,
            client_tls,
            backend_tls,
            // Counted by the journal, which fills them in at the end.
            bytes_in: _,
            bytes_out: _,
            duration_millis: _,
            reason,
            fault_side,
            phase,
            sqlstate: None,
            message: None,
            alert: None,
            tls_failure: None,
            is_cancel,
        } = report
        else {
            return None;
        };
        let mut texts = Writer(Vec::new());
        texts.text(Some(client_addr));
        texts.text(Some(listener_addr));
        texts.text(backend.as_deref());
        for text in [backend_addr, sni, user, database, application_name] {
            texts.text(text.as_deref());
        }
        texts.leg(client_tls.as_ref());
        texts.leg(backend_tls.as_ref());
        Some(Self {
            connection_id: *connection_id,
            route_id: *route_id,
            reason: *reason,
            fault_side: *fault_side,
            phase: *phase,
            is_cancel: *is_cancel,
            texts: texts.0.into_boxed_slice(),
        })
    }

    /// The report that was packed.
    pub(crate) fn unpack(&self) -> ConnectionReport {
        let mut texts = Reader(&self.texts);
        ConnectionReport {
            connection_id: self.connection_id,
            route_id: self.route_id,
            client_addr: texts.text().unwrap_or_default(),
            listener_addr: texts.text().unwrap_or_default(),
            backend: texts.text().map(Arc::from),
            backend_addr: texts.text(),
            sni: texts.text(),
            user: texts.text(),
            database: texts.text(),
            application_name: texts.text(),
            client_tls: texts.leg(),
            backend_tls: texts.leg(),
            bytes_in: 0,
            bytes_out: 0,
            duration_millis: 0,
            reason: self.reason,
            fault_side: self.fault_side,
            phase: self.phase,
            sqlstate: None,
            message: None,
            alert: None,
            tls_failure: None,
            is_cancel: self.is_cancel,
        }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn text(&mut self, text: Option<&str>) {
        let Some(text) = text else {
            return self.number(NO_TEXT);
        };
        if let Some(place) = WORDS.iter().position(|word| *word == text) {
            return self.number(place.saturating_add(1));
        }
        self.number(text.len().saturating_add(WORDS.len()).saturating_add(1));
        self.0.extend_from_slice(text.as_bytes());
    }

    fn leg(&mut self, leg: Option<&TlsReport>) {
        self.text(leg.map(|leg| leg.version.as_str()));
        let Some(leg) = leg else {
            return;
        };
        let TlsReport {
            version: _,
            cipher,
            group,
            alpn,
            is_resumed,
            peer_cert,
        } = leg;
        self.text(Some(cipher));
        self.text(group.as_deref());
        self.text(alpn.as_deref());
        self.number(usize::from(*is_resumed));
        self.peer_cert(peer_cert.as_deref());
    }

    fn peer_cert(&mut self, certificate: Option<&PeerCertReport>) {
        self.text(certificate.map(|certificate| certificate.sha256.as_str()));
        let Some(certificate) = certificate else {
            return;
        };
        let PeerCertReport {
            subject,
            sans,
            sha256: _,
        } = certificate;
        self.text(Some(subject));
        self.number(sans.len());
        for san in sans {
            self.text(Some(san));
        }
    }

    fn number(&mut self, mut number: usize) {
        loop {
            let low = u8::try_from(number & usize::from(MORE - 1)).unwrap_or_default();
            number >>= LENGTH_BITS;
            if number == 0 {
                return self.0.push(low);
            }
            self.0.push(low | MORE);
        }
    }
}

struct Reader<'t>(&'t [u8]);

impl Reader<'_> {
    fn text(&mut self) -> Option<String> {
        let place = self.number().checked_sub(1)?;
        if let Some(word) = WORDS.get(place) {
            return Some((*word).to_owned());
        }
        let length = place.saturating_sub(WORDS.len());
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn leg(&mut self) -> Option<TlsReport> {
        Some(TlsReport {
            version: self.text()?,
            cipher: self.text().unwrap_or_default(),
            group: self.text(),
            alpn: self.text(),
            is_resumed: self.number() != 0,
            peer_cert: self.peer_cert().map(Box::new),
        })
    }

    fn peer_cert(&mut self) -> Option<PeerCertReport> {
        Some(PeerCertReport {
            sha256: self.text()?,
            subject: self.text().unwrap_or_default(),
            sans: (0..self.number())
                .map(|_| self.text().unwrap_or_default())
                .collect(),
        })
    }

    fn number(&mut self) -> usize {
        let mut number = 0_usize;
        let mut shift = 0;
        while let Some((byte, rest)) = self.0.split_first() {
            self.0 = rest;
            number |= usize::from(byte & !MORE)
                .checked_shl(shift)
                .unwrap_or_default();
            shift = shift.saturating_add(LENGTH_BITS);
            if byte & MORE == 0 {
                break;
            }
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> ConnectionReport {
        ConnectionReport {
            connection_id: u64::MAX,
            route_id: 7,
            client_addr: "192.0.2.1:50000".to_owned(),
            listener_addr: "[2001:db8::1]:6432".to_owned(),
            backend: Some("replica".into()),
            backend_addr: Some("10.0.0.1:5432".to_owned()),
            sni: Some("db.example".to_owned()),
            user: Some("alice".to_owned()),
            database: Some(String::new()),
            application_name: None,
            client_tls: Some(TlsReport {
                version: "TLSv1.3".to_owned(),
                cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
                group: Some("X25519MLKEM768".to_owned()),
                alpn: Some("postgresql".to_owned()),
                is_resumed: true,
                peer_cert: Some(Box::new(PeerCertReport {
                    subject: "CN=a".repeat(100),
                    sans: vec!["a.example".to_owned(), "email:a@example".to_owned()],
                    sha256: "0f".repeat(32),
                })),
            }),
            backend_tls: None,
            bytes_in: 0,
            bytes_out: 0,
            duration_millis: 0,
            reason: CloseReason::WorkerLost,
            fault_side: Some(FaultSide::Proxy),
            phase: Phase::Relay,
            sqlstate: None,
            message: None,
            alert: None,
            tls_failure: None,
            is_cancel: false,
        }
    }

    fn same_again(report: &ConnectionReport) {
        let unpacked = PackedReport::pack(report).unwrap().unpack();
        assert_eq!(format!("{unpacked:?}"), format!("{report:?}"));
    }

    #[test]
    fn unpacks_what_was_packed() {
        same_again(&report());
        same_again(&ConnectionReport {
            client_tls: None,
            backend_tls: Some(TlsReport {
                version: "TLSv1.2".to_owned(),
                cipher: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384".to_owned(),
                group: None,
                alpn: None,
                is_resumed: false,
                peer_cert: None,
            }),
            backend: None,
            backend_addr: None,
            sni: None,
            user: None,
            database: Some("X25519".to_owned()),
            is_cancel: true,
            ..report()
        });
    }

    #[test]
    fn unpacks_texts_of_every_length() {
        for length in [1, 116, 117, 118, 127, 128, 10_000, 20_000] {
            same_again(&ConnectionReport {
                user: Some("ü".repeat(length)),
                ..report()
            });
        }
    }

    #[test]
    fn leaves_a_report_with_an_ending_alone() {
        let ended = ConnectionReport {
            message: Some("connection reset".to_owned()),
            ..report()
        };
        assert!(PackedReport::pack(&ended).is_none());
    }

    #[test]
    fn takes_little_memory() {
        let packed = PackedReport::pack(&ConnectionReport {
            client_tls: report().client_tls.map(|tls| TlsReport {
                peer_cert: None,
                ..tls
            }),
            ..report()
        });
        assert!(size_of::<PackedReport>() <= 32);
        assert!(packed.unwrap().texts.len() < 96);
    }
}
