//! [`Histogram`]: durations counted into buckets whose bounds never change.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Durations by bucket.
#[derive(Debug)]
pub(crate) struct Histogram<const N: usize> {
    /// Inclusive upper bounds, ascending.
    bounds: &'static [Duration; N],
    /// Of each bucket alone, not of those below it.
    counts: [AtomicU64; N],
    /// Longer than the last bound.
    longer: AtomicU64,
    sum_micros: AtomicU64,
}

/// What a histogram stood at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// Inclusive upper bounds, ascending.
    pub bounds: &'static [Duration],
    /// How many there are in each bucket alone; one more than there are bounds, for what is longer than the last.
    pub counts: Vec<u64>,
    /// All of them together.
    pub sum: Duration,
}

impl<const N: usize> Histogram<N> {
    pub(crate) fn new(bounds: &'static [Duration; N]) -> Self {
        Self {
            bounds,
            counts: [const { AtomicU64::new(0) }; N],
            longer: AtomicU64::new(0),
            sum_micros: AtomicU64::new(0),
        }
    }

    /// Counts one.
    pub(crate) fn observe(&self, duration: Duration) {
        let place = self.bounds.partition_point(|bound| *bound < duration);
        let count = self.counts.get(place).unwrap_or(&self.longer);
        count.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.sum_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> HistogramSnapshot {
        let counts = self.counts.iter().chain([&self.longer]);
        HistogramSnapshot {
            bounds: self.bounds,
            counts: counts.map(|count| count.load(Ordering::Relaxed)).collect(),
            sum: Duration::from_micros(self.sum_micros.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static BOUNDS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(10)];

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it_and_what_is_longer_to_none() {
        let histogram = Histogram::new(&BOUNDS);
        for micros in [0, 1_000, 1_001, 10_000, 10_001] {
            histogram.observe(Duration::from_micros(micros));
        }
        let HistogramSnapshot { counts, sum, .. } = histogram.snapshot();
        assert_eq!(counts, [2, 2, 1]);
        assert_eq!(sum, Duration::from_micros(22_002));
    }
}
