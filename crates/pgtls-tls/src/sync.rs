//! The synchronisation primitives under a shared session: std's or, with the feature `loom`, the model checker's.
//!
//! The feature is for `tests/session_model` alone: whatever is made of these types then works inside a model only.

#[cfg(feature = "loom")]
pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
