//! [`Pool`]: the inputs that others are made from.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::fuzz::edit::Edit;
use crate::fuzz::random::Random;

/// So many are kept besides the corpus.
const MAX_KEPT: usize = 2_000;

/// The corpus, and what was answered as nothing before.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    inputs: Vec<Vec<u8>>,
    corpus: usize,
    outcomes: HashSet<u64>,
}

impl Pool {
    /// Keeps an input of the corpus.
    pub(crate) fn keep(&mut self, input: Vec<u8>, outcome: &impl Hash) {
        self.outcomes.insert(hash(outcome));
        self.inputs.push(input);
        self.corpus += 1;
    }

    /// Keeps an input whose outcome is new.
    pub(crate) fn note(&mut self, input: Vec<u8>, outcome: &impl Hash, random: &mut Random) {
        if !self.outcomes.insert(hash(outcome)) {
            return;
        }
        if self.inputs.len() < self.corpus + MAX_KEPT {
            self.inputs.push(input);
        } else {
            let replaced = self.corpus + random.below(MAX_KEPT);
            self.inputs[replaced] = input;
        }
    }

    /// A changed copy of one of the inputs, spliced with another one now and then.
    pub(crate) fn descendant(&self, random: &mut Random, words: &[&[u8]]) -> Vec<u8> {
        let mut input = self.any(random);
        if random.once_in(8) {
            let other = self.any(random);
            input.truncate(random.below(input.len() + 1));
            input.extend_from_slice(&other[random.below(other.len() + 1)..]);
        }
        loop {
            Edit::any(random, input.len()).apply(&mut input, words);
            if random.once_in(2) {
                return input;
            }
        }
    }

    /// One of the corpus as often as one that was found.
    fn any(&self, random: &mut Random) -> Vec<u8> {
        let of_all = random.once_in(2);
        let bound = if of_all {
            self.inputs.len()
        } else {
            self.corpus
        };
        let chosen = self.inputs.get(random.below(bound));
        chosen.cloned().unwrap_or_default()
    }
}

fn hash(outcome: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    outcome.hash(&mut hasher);
    hasher.finish()
}
