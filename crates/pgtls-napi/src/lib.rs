//! The Node addon: conversions between JavaScript values and pgtls-core's, nothing else.
//!
//! Same names and order of fields on both sides, `T | null` for what may be absent, unions tagged by `type`. Every export
//! catches panics. `fd` alone contains `unsafe`.

#![allow(unreachable_pub, reason = "what JavaScript calls must be pub, though no Rust crate can reach it")]

mod data_plane;
mod error;
mod events;
mod fd;
mod inspect;
mod options;
