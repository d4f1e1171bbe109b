//! [`Meter`]: a count for each of a closed set of words.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts by word, in the order of the set.
#[derive(Debug)]
pub(crate) struct Meter<W: 'static, const N: usize> {
    words: &'static [W; N],
    counts: [AtomicU64; N],
}

impl<W: Copy + PartialEq, const N: usize> Meter<W, N> {
    pub(crate) fn new(words: &'static [W; N]) -> Self {
        Self {
            words,
            counts: [const { AtomicU64::new(0) }; N],
        }
    }

    /// Counts one; a word outside the set is not counted.
    pub(crate) fn add(&self, word: W) {
        let place = self.words.iter().position(|known| *known == word);
        if let Some(count) = place.and_then(|place| self.counts.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn snapshot(&self) -> Vec<(W, u64)> {
        let counts = self.counts.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        self.words.iter().copied().zip(counts).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static WORDS: [char; 2] = ['a', 'b'];

    #[test]
    fn counts_each_word_by_itself() {
        let meter = Meter::new(&WORDS);
        meter.add('b');
        meter.add('b');
        meter.add('c');
        assert_eq!(meter.snapshot(), [('a', 0), ('b', 2)]);
    }
}
