//! The Node addon: conversions between JavaScript values and pgtls-core's, nothing else.
//!
//! Same names and order of fields on both sides, `T | null` for what may be absent, unions tagged by `type`. Every export
//! catches panics. `fd` and `process` alone contain `unsafe`.

#![allow(
    unreachable_pub,
    clippy::needless_pass_by_value,
    clippy::large_enum_variant,
    reason = "what JavaScript calls is pub, takes its arguments by value and is converted at once"
)]

mod bind;
mod choice_options;
mod data_plane;
mod error;
mod events;
mod fd;
mod inspect;
mod loader;
mod metrics;
mod options;
mod process;
mod questions;
mod receive;
mod send;
mod server_options;
