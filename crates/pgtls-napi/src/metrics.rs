//! What was counted, as JavaScript objects: words, numbers and seconds.

use std::time::Duration;

use napi_derive::napi;
use pgtls_core as core;

use crate::events::number;

/// What was counted on one route since the start, besides what the snapshot has had names for.
#[napi(object, use_nullable = true)]
pub struct RouteMetrics {
    /// Connections that came as far as ReadyForQuery and have not ended.
    pub sessions: u32,
    /// Connections that are over, by the reason of their report.
    pub closed: Vec<WordCount>,
    /// ClientHellos: `host`, `default`, `none`, `refused`.
    pub server_names: Vec<WordCount>,
    /// CancelRequests that are over.
    pub cancels: Vec<CancelCount>,
    /// Handshakes with clients.
    pub client_tls: TlsMetrics,
    /// Handshakes with servers.
    pub backend_tls: TlsMetrics,
    /// How long connecting to a server took.
    pub connects: DurationHistogram,
    /// Attempts to connect to a server that failed, by reason.
    pub connect_failures: Vec<WordCount>,
    /// How long connections lasted that came as far as ReadyForQuery.
    pub session_durations: DurationHistogram,
}

/// How often a word of a closed set applied.
#[napi(object, use_nullable = true)]
pub struct WordCount {
    /// `snake_case`.
    pub word: String,
    /// How often.
    pub count: f64,
}

/// CancelRequests of one kind.
#[napi(object, use_nullable = true)]
pub struct CancelCount {
    /// Whether they came inside TLS.
    pub in_tls: bool,
    /// Whether a server got them.
    pub forwarded: bool,
    /// How many.
    pub count: f64,
}

/// Handshakes of one leg.
#[napi(object, use_nullable = true)]
pub struct TlsMetrics {
    /// Finished ones.
    pub handshakes: Vec<TlsHandshakeCount>,
    /// Failed ones, by reason.
    pub failures: Vec<WordCount>,
    /// How long the finished ones took.
    pub durations: DurationHistogram,
}

/// Finished handshakes of one kind.
#[napi(object, use_nullable = true)]
pub struct TlsHandshakeCount {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: String,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// How many.
    pub count: f64,
}

/// Open legs that agreed on the same.
#[napi(object, use_nullable = true)]
pub struct TlsConnectionCount {
    /// Which leg.
    #[napi(ts_type = "'client' | 'backend'")]
    pub side: String,
    /// IANA name, or `other`.
    pub cipher: String,
    /// Key exchange group, `none` or `other`.
    pub group: String,
    /// How many.
    pub count: u32,
}

/// Durations by bucket.
#[napi(object, use_nullable = true)]
pub struct DurationHistogram {
    /// Inclusive upper bounds, ascending.
    pub bounds_seconds: Vec<f64>,
    /// Of each bucket alone; one more than there are bounds.
    pub counts: Vec<f64>,
    /// All durations together.
    pub sum_seconds: f64,
}

impl From<core::RouteMetrics> for RouteMetrics {
    fn from(metrics: core::RouteMetrics) -> Self {
        let cancels = metrics.cancels.into_iter();
        Self {
            sessions: metrics.sessions,
            closed: words(metrics.closed, core::CloseReason::as_str),
            server_names: words(metrics.server_names, core::ServerNameMatch::as_str),
            cancels: cancels
                .map(|(outcome, count)| CancelCount {
                    in_tls: outcome.is_in_tls,
                    forwarded: outcome.is_forwarded,
                    count: number(count),
                })
                .collect(),
            client_tls: metrics.client_tls.into(),
            backend_tls: metrics.backend_tls.into(),
            connects: metrics.connects.into(),
            connect_failures: words(metrics.connect_failures, core::ConnectFailure::as_str),
            session_durations: metrics.session_durations.into(),
        }
    }
}

impl From<core::TlsMetrics> for TlsMetrics {
    fn from(metrics: core::TlsMetrics) -> Self {
        let handshakes = metrics.handshakes.into_iter();
        let failures = metrics.failures.into_iter();
        Self {
            handshakes: handshakes
                .map(|one| TlsHandshakeCount {
                    version: one.version.to_owned(),
                    resumed: one.is_resumed,
                    count: number(one.count),
                })
                .collect(),
            failures: failures
                .map(|one| WordCount {
                    word: one.reason.as_str().to_owned(),
                    count: number(one.count),
                })
                .collect(),
            durations: metrics.durations.into(),
        }
    }
}

impl From<core::TlsConnectionCount> for TlsConnectionCount {
    fn from(one: core::TlsConnectionCount) -> Self {
        Self {
            side: match one.side {
                core::TlsSide::Client => "client".to_owned(),
                core::TlsSide::Backend => "backend".to_owned(),
            },
            cipher: one.cipher.to_owned(),
            group: one.group.to_owned(),
            count: one.count,
        }
    }
}

impl From<core::HistogramSnapshot> for DurationHistogram {
    fn from(histogram: core::HistogramSnapshot) -> Self {
        Self {
            bounds_seconds: histogram.bounds.iter().map(Duration::as_secs_f64).collect(),
            counts: histogram.counts.into_iter().map(number).collect(),
            sum_seconds: histogram.sum.as_secs_f64(),
        }
    }
}

fn words<W>(counts: Vec<(W, u64)>, as_str: impl Fn(W) -> &'static str) -> Vec<WordCount> {
    let counts = counts.into_iter();
    counts
        .map(|(word, count)| WordCount {
            word: as_str(word).to_owned(),
            count: number(count),
        })
        .collect()
}
