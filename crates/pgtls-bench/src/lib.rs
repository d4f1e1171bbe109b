//! The bench addon, unpublished: lets the `benchmark` package drive the data plane's own code inside Node.
//!
//! Says in `addon` what bench/lib/bench-addon.mjs expects; `pair` has sessions whose wire is memory, `records`, `writers` and
//! `handoffs` what is done with them. May import every crate; imported by none. The program `pgtls-instructions` shares `pair` and `plane`.

#![allow(
    unreachable_pub,
    clippy::needless_pass_by_value,
    reason = "what JavaScript calls is pub and takes its arguments by value"
)]

mod addon;
mod handoffs;
mod pair;
mod plane;
mod records;
mod writers;
