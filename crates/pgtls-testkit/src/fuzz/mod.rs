//! [`Fuzz`]: a small fuzzer on stable Rust. It begins with valid inputs, changes them ([`Edit`]), and gives them to a target,
//! which panics when a property doesn't hold. An input that a target answers as it answered none before is kept, and changed
//! further: what coverage tells other fuzzers, typed errors tell this one.
//!
//! Under `cargo test` each target gets a fixed number of inputs. `npm run fuzz` sets the environment below.

#![allow(
    clippy::indexing_slicing,
    reason = "a fuzzer that goes wrong ends the test, as it should"
)]

mod edit;
mod pool;
mod random;
mod tampering;

use std::any::Any;
use std::fmt::Write as _;
use std::hash::Hash;
use std::io::{self, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use edit::{EDIT_BYTES, Edit};
use pool::Pool;
pub use random::Random;
pub use tampering::{MAX_RECORD_BYTES, Sent, tampering_provider, with_tampering};

/// How long each target runs, in seconds; without it, for a fixed number of inputs.
const SECONDS: &str = "PGTLS_FUZZ_SECONDS";
/// What determines the inputs; without it, the time does.
const SEED: &str = "PGTLS_FUZZ_SEED";
/// The only target to run.
const TARGET: &str = "PGTLS_FUZZ_TARGET";
/// The only input to give to it, in hexadecimal digits.
const INPUT: &str = "PGTLS_FUZZ_INPUT";

/// A target whose conversation is new each time gets an input that failed so often.
const REPETITIONS: usize = 64;
/// One input may take so long, on any machine.
const MAX_INPUT_TIME: Duration = Duration::from_secs(20);

/// A target and what its inputs are made of.
#[derive(Debug)]
pub struct Fuzz<'a> {
    target: &'static str,
    corpus: Vec<Vec<u8>>,
    words: Vec<&'a [u8]>,
    inputs: u64,
    max_bytes: usize,
}

/// What a run came to.
#[derive(Debug, Default)]
struct Tally {
    inputs: u64,
    slowest: Duration,
}

impl<'a> Fuzz<'a> {
    /// A target by its name, which nobody else has. Under `cargo test` it gets `inputs` inputs.
    #[must_use]
    pub const fn new(target: &'static str, inputs: u64) -> Self {
        Self {
            target,
            corpus: Vec::new(),
            words: Vec::new(),
            inputs,
            max_bytes: 8 * 1024,
        }
    }

    /// Begins with these inputs, valid ones for the most part.
    #[must_use]
    pub fn from<I: Into<Vec<u8>>>(mut self, corpus: impl IntoIterator<Item = I>) -> Self {
        self.corpus.extend(corpus.into_iter().map(Into::into));
        self
    }

    /// Puts these words into inputs.
    #[must_use]
    pub fn with_words(mut self, words: &[&'a [u8]]) -> Self {
        self.words.extend(words);
        self
    }

    /// Inputs have at most so many bytes.
    #[must_use]
    pub const fn at_most(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Gives inputs to `target`, which panics at a property that doesn't hold, and answers with what it made of the input: few
    /// different answers for the many.
    ///
    /// # Panics
    /// When the target does, or takes too long, with the input and how to repeat it.
    pub fn run<O: Hash>(self, mut target: impl FnMut(&[u8]) -> O) {
        if variable(TARGET).is_some_and(|only| only != self.target) {
            return;
        }
        if let Some(input) = variable(INPUT).filter(|_| variable(TARGET).is_some()) {
            let input = from_hex(&input);
            for _ in 0..REPETITIONS {
                self.attempt(&input, &mut target, &mut Tally::default());
            }
            let _ = writeln!(io::stdout(), "fuzz {}: 1 inputs", self.target);
            return;
        }
        let seed = variable(SEED).map_or_else(seed_of_now, |seed| seed.parse().expect("a seed"));
        let duration = variable(SECONDS).map(|seconds| {
            let seconds = seconds.parse().expect("a number of seconds");
            Duration::from_secs_f64(seconds)
        });
        let tally = self.run_with(seed, duration, &mut target);
        if duration.is_some() {
            let Tally { inputs, slowest } = tally;
            let _ = writeln!(
                io::stdout(),
                "fuzz {}: {inputs} inputs, slowest {} µs, seed {seed}",
                self.target,
                slowest.as_micros()
            );
        }
    }

    fn run_with<O: Hash>(
        &self,
        seed: u64,
        duration: Option<Duration>,
        target: &mut impl FnMut(&[u8]) -> O,
    ) -> Tally {
        let mut random = Random::new(seed);
        let mut tally = Tally::default();
        let mut pool = Pool::default();
        for input in &self.corpus {
            let outcome = self.attempt(input, target, &mut tally);
            pool.keep(input.clone(), &outcome);
        }
        let begin = Instant::now();
        let is_over = |tally: &Tally| match duration {
            Some(duration) => begin.elapsed() >= duration,
            None => tally.inputs >= self.inputs,
        };
        while !is_over(&tally) {
            let mut input = pool.descendant(&mut random, &self.words);
            input.truncate(self.max_bytes);
            let outcome = self.attempt(&input, target, &mut tally);
            pool.note(input, &outcome, &mut random);
        }
        tally
    }

    fn attempt<O>(
        &self,
        input: &[u8],
        target: &mut impl FnMut(&[u8]) -> O,
        tally: &mut Tally,
    ) -> O {
        let begin = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| target(input)));
        let elapsed = begin.elapsed();
        tally.inputs += 1;
        tally.slowest = tally.slowest.max(elapsed);
        match outcome {
            Ok(_) if elapsed > MAX_INPUT_TIME => self.fail(input, "it takes too long"),
            Ok(outcome) => outcome,
            Err(panic) => self.fail(input, message(panic.as_ref())),
        }
    }

    fn fail(&self, input: &[u8], why: &str) -> ! {
        panic!(
            "fuzz target {target} failed: {why}\ninput: {input}\nrepeat it: npm run fuzz -- --target {target} --input {input}",
            target = self.target,
            input = to_hex(input),
        )
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn seed_of_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |now| u64::from(now.subsec_nanos()) ^ now.as_secs() << 20)
}

/// The words a panic came with.
fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes everything");
        hex
    })
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits = hex.trim().as_bytes().chunks(2);
    digits
        .map(|digits| {
            let digits = str::from_utf8(digits).expect("hexadecimal digits");
            u8::from_str_radix(digits, 16).expect("hexadecimal digits")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds a bug behind four typed errors that random bytes would not get past.
    #[test]
    fn an_input_that_is_answered_differently_is_built_upon() {
        let secret = b"bug!";
        let found = catch_unwind(|| {
            Fuzz::new("testkit", 400_000).from([b"xxxx"]).run_with(
                1,
                None,
                &mut |input: &[u8]| {
                    let right = input.iter().zip(secret).take_while(|(a, b)| a == b).count();
                    assert!(right < secret.len(), "found");
                    right
                },
            )
        });
        let panic = found.expect_err("the bug has to be found");
        let words = message(panic.as_ref());
        assert!(words.contains("failed: found\ninput: 62756721"), "{words}");
    }

    #[test]
    fn a_seed_repeats_a_run() {
        let inputs = |seed| {
            let mut inputs = Vec::new();
            let mut target = |input: &[u8]| {
                inputs.push(input.to_vec());
                input.len()
            };
            Fuzz::new("testkit", 300)
                .from([b"corpus"])
                .run_with(seed, None, &mut target);
            inputs
        };
        assert_eq!(inputs(5), inputs(5));
        assert_ne!(inputs(5), inputs(6));
    }

    #[test]
    fn hexadecimal_digits_are_read_back() {
        assert_eq!(from_hex(&to_hex(&[0, 0x7f, 0xff])), [0, 0x7f, 0xff]);
    }
}
