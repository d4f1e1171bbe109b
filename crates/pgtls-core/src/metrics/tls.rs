//! TLS in numbers: handshakes of one leg of a route ([`TlsMeters`]), and the legs that are open now ([`TlsConnections`]).

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pgtls_tls::failure::TlsFailureReason;
use pgtls_tls::summary::TlsSummary;

use crate::metrics::histogram::{Histogram, HistogramSnapshot};
use crate::metrics::meter::Meter;
use crate::report::{TlsReport, TlsSide};

/// What two handshakes differ in, as far as they are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    version: &'static str,
    is_resumed: bool,
}

const fn kind(version: &'static str, is_resumed: bool) -> Kind {
    Kind {
        version,
        is_resumed,
    }
}

static KINDS: [Kind; 4] = [
    kind("TLSv1.2", false),
    kind("TLSv1.2", true),
    kind("TLSv1.3", false),
    kind("TLSv1.3", true),
];

/// The handshakes of one leg of a route.
#[derive(Debug)]
pub(crate) struct TlsMeters<const N: usize> {
    finished: Meter<Kind, 4>,
    failed: Meter<TlsFailureReason, { TlsFailureReason::ALL.len() }>,
    durations: Histogram<N>,
}

/// What was counted of the handshakes of one leg of a route, since the start.
#[derive(Clone, Debug)]
pub struct TlsMetrics {
    /// Finished ones.
    pub handshakes: Vec<TlsHandshakeCount>,
    /// Failed ones.
    pub failures: Vec<TlsFailureCount>,
    /// How long the finished ones took.
    pub durations: HistogramSnapshot,
}

/// Finished handshakes of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsHandshakeCount {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// Whether an earlier session was resumed.
    pub is_resumed: bool,
    /// How many.
    pub count: u64,
}

/// Handshakes that failed for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsFailureCount {
    /// Why.
    pub reason: TlsFailureReason,
    /// How many.
    pub count: u64,
}

impl<const N: usize> TlsMeters<N> {
    pub(crate) fn new(bounds: &'static [Duration; N]) -> Self {
        Self {
            finished: Meter::new(&KINDS),
            failed: Meter::new(&TlsFailureReason::ALL),
            durations: Histogram::new(bounds),
        }
    }

    /// A handshake is finished.
    pub(crate) fn finish(&self, summary: &TlsSummary, took: Duration) {
        self.finished.add(kind(summary.version, summary.is_resumed));
        self.durations.observe(took);
    }

    /// A handshake failed.
    pub(crate) fn fail(&self, reason: TlsFailureReason) {
        self.failed.add(reason);
    }

    pub(crate) fn snapshot(&self) -> TlsMetrics {
        let finished = self.finished.snapshot().into_iter();
        let failed = self.failed.snapshot().into_iter();
        TlsMetrics {
            handshakes: finished
                .map(|(kind, count)| TlsHandshakeCount {
                    version: kind.version,
                    is_resumed: kind.is_resumed,
                    count,
                })
                .collect(),
            failures: failed
                .map(|(reason, count)| TlsFailureCount { reason, count })
                .collect(),
            durations: self.durations.snapshot(),
        }
    }
}

/// Every cipher suite there is, by IANA's name; behind them a place for what is none of these.
const CIPHERS: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Every group there is, behind it likewise; no group, as in a resumption of TLS 1.2, has the word `none`.
const GROUPS: [&str; 6] = [
    "X25519MLKEM768",
    "X25519",
    "secp256r1",
    "secp384r1",
    "SecP256r1MLKEM768",
    NO_GROUP,
];

const NO_GROUP: &str = "none";
const OTHER: &str = "other";

type Cells = [[AtomicU32; GROUPS.len() + 1]; CIPHERS.len() + 1];

/// The TLS legs of connections that are open now.
#[derive(Debug, Default)]
pub(crate) struct TlsConnections {
    client: Cells,
    backend: Cells,
}

/// Legs open now that agreed on the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsConnectionCount {
    /// Which leg.
    pub side: TlsSide,
    /// IANA's name of the cipher suite.
    pub cipher: &'static str,
    /// Key exchange group, or `none`.
    pub group: &'static str,
    /// How many.
    pub count: u32,
}

impl TlsConnections {
    pub(crate) fn open(&self, side: TlsSide, tls: &TlsReport) {
        if let Some(cell) = self.cell(side, tls) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn close(&self, side: TlsSide, tls: &TlsReport) {
        if let Some(cell) = self.cell(side, tls) {
            cell.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Those of which there are any.
    pub(crate) fn snapshot(&self) -> Vec<TlsConnectionCount> {
        let sides = [
            (TlsSide::Client, &self.client),
            (TlsSide::Backend, &self.backend),
        ];
        let ciphers = || CIPHERS.iter().chain([&OTHER]);
        let groups = || GROUPS.iter().chain([&OTHER]);
        let mut counts = Vec::new();
        for (side, cells) in sides {
            for (cipher, row) in ciphers().zip(cells) {
                for (group, cell) in groups().zip(row) {
                    let count = cell.load(Ordering::Relaxed);
                    if count > 0 {
                        counts.push(TlsConnectionCount {
                            side,
                            cipher,
                            group,
                            count,
                        });
                    }
                }
            }
        }
        counts
    }

    fn cell(&self, side: TlsSide, tls: &TlsReport) -> Option<&AtomicU32> {
        let cells = match side {
            TlsSide::Client => &self.client,
            TlsSide::Backend => &self.backend,
        };
        let cipher = place_of(&tls.cipher, &CIPHERS);
        let group = place_of(tls.group.as_deref().unwrap_or(NO_GROUP), &GROUPS);
        cells.get(cipher)?.get(group)
    }
}

/// Where the word stands, or the place behind the last.
fn place_of(word: &str, words: &[&str]) -> usize {
    let place = words
        .iter()
        .position(|known| known.eq_ignore_ascii_case(word));
    place.unwrap_or(words.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(cipher: &str, group: Option<&str>) -> TlsReport {
        TlsReport {
            version: "TLSv1.3".to_owned(),
            cipher: cipher.to_owned(),
            group: group.map(str::to_owned),
            alpn: None,
            is_resumed: false,
            peer_cert: None,
        }
    }

    #[test]
    fn a_leg_counts_under_its_names_until_it_is_closed() {
        let legs = TlsConnections::default();
        let known = leg("TLS_AES_128_GCM_SHA256", Some("secp256r1MLKEM768"));
        let odd = leg("TLS_ROT13", Some("GC512A"));
        legs.open(TlsSide::Client, &known);
        legs.open(TlsSide::Backend, &odd);
        legs.open(TlsSide::Backend, &leg("TLS_ROT13", None));
        let told = |one: &TlsConnectionCount| (one.side, one.cipher, one.group, one.count);
        let all: Vec<_> = legs.snapshot().iter().map(told).collect();
        let aes = "TLS_AES_128_GCM_SHA256";
        assert_eq!(
            all,
            [
                (TlsSide::Client, aes, "SecP256r1MLKEM768", 1),
                (TlsSide::Backend, "other", "none", 1),
                (TlsSide::Backend, "other", "other", 1),
            ]
        );
        legs.close(TlsSide::Client, &known);
        assert_eq!(legs.snapshot().len(), 2);
    }
}
