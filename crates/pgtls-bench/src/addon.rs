//! What JavaScript calls: conversions, and what is kept between two calls, so that only the work itself takes time.
//!
//! The state of the synchronous functions belongs to the JavaScript thread; that of the others to whoever holds its lock.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use napi::bindgen_prelude::AsyncTask;
use napi::{Env, Error, Result, Task};
use napi_derive::napi;
use pgtls_tls::stream::TlsScratch;

use crate::handoffs::Handoffs;
use crate::pair::{BenchError, Ends, Kind};
use crate::records::Records;
use crate::writers::Writers;

thread_local! {
    static RECORDS: RefCell<HashMap<u32, Records>> = RefCell::default();
    static ENDS: RefCell<HashMap<String, Ends>> = RefCell::default();
    static SCRATCH: RefCell<TlsScratch> = RefCell::default();
}

/// Guards the threads, and which of them write.
static WRITERS: Mutex<Option<Writers>> = Mutex::new(None);

/// Guards the running data plane and its connections' numbers.
static HANDOFFS: Mutex<Option<Handoffs>> = Mutex::new(None);

/// Encrypts so many records of so many bytes, TLS 1.3, AES-256-GCM.
#[napi(catch_unwind)]
pub fn encrypt_records(record_bytes: u32, count: u32) -> Result<()> {
    with_records(record_bytes, |records| records.encrypt(size(count)))
}

/// Decrypts so many records of so many bytes; how many nanoseconds that took, without what their sender took to encrypt them.
#[napi(catch_unwind)]
pub fn decrypt_records(record_bytes: u32, count: u32) -> Result<f64> {
    let took = with_records(record_bytes, |records| records.decrypt(size(count)))?;
    Ok(took.as_secs_f64() * 1e9)
}

/// Shakes hands, both ends on this thread.
#[napi(
    catch_unwind,
    ts_args_type = "kind: 'ecdsa' | 'rsa' | 'resumed', count: number"
)]
pub fn handshakes(kind: String, count: u32) -> Result<()> {
    ENDS.with_borrow_mut(|all| {
        let ends = kept(all, kind.clone(), || Ends::new(kind_named(&kind)?))?;
        SCRATCH
            .with_borrow_mut(|scratch| (0..count).try_for_each(|_| ends.shake(scratch).map(drop)))
    })
    .map_err(thrown)
}

/// Lets so many threads encrypt 64 bytes each under one session's mutex, `count` times in all.
#[napi(catch_unwind, ts_return_type = "Promise<void>")]
pub fn shared_writes(writers: u32, count: u32) -> AsyncTask<SharedWrites> {
    AsyncTask::new(SharedWrites { writers, count })
}

/// Hands so many connections over, as far as a worker's first look at each.
#[napi(catch_unwind, ts_return_type = "Promise<void>")]
pub fn handoffs(count: u32) -> AsyncTask<HandingOff> {
    AsyncTask::new(HandingOff { count })
}

/// A call of `sharedWrites`.
pub struct SharedWrites {
    writers: u32,
    count: u32,
}

impl Task for SharedWrites {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> Result<()> {
        with_kept(&WRITERS, Writers::new, |writers| {
            writers.write(self.writers, self.count)
        })
    }

    fn resolve(&mut self, _: Env, (): ()) -> Result<()> {
        Ok(())
    }
}

/// A call of `handoffs`.
pub struct HandingOff {
    count: u32,
}

impl Task for HandingOff {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> Result<()> {
        with_kept(&HANDOFFS, Handoffs::new, |handoffs| {
            handoffs.hand_off(self.count)
        })
    }

    fn resolve(&mut self, _: Env, (): ()) -> Result<()> {
        Ok(())
    }
}

fn with_records<T>(
    record_bytes: u32,
    work: impl FnOnce(&mut Records) -> std::result::Result<T, BenchError>,
) -> Result<T> {
    RECORDS
        .with_borrow_mut(|all| {
            work(kept(all, record_bytes, || {
                Records::new(&Ends::new(Kind::Ecdsa)?, size(record_bytes))
            })?)
        })
        .map_err(thrown)
}

/// What was made at the first call for this key.
fn kept<K: std::hash::Hash + Eq, V>(
    all: &mut HashMap<K, V>,
    key: K,
    make: impl FnOnce() -> std::result::Result<V, BenchError>,
) -> std::result::Result<&mut V, BenchError> {
    match all.entry(key) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => Ok(entry.insert(make()?)),
    }
}

/// Works with what was made at the first call.
fn with_kept<V>(
    place: &Mutex<Option<V>>,
    make: impl FnOnce() -> std::result::Result<V, BenchError>,
    work: impl FnOnce(&mut V) -> std::result::Result<(), BenchError>,
) -> Result<()> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    let value = match &mut *place {
        Some(value) => value,
        empty => empty.insert(make().map_err(thrown)?),
    };
    work(value).map_err(thrown)
}

fn kind_named(name: &str) -> std::result::Result<Kind, BenchError> {
    match name {
        "ecdsa" => Ok(Kind::Ecdsa),
        "rsa" => Ok(Kind::Rsa),
        "resumed" => Ok(Kind::Resumed),
        _ => Err(BenchError::Unexpected(format!(
            "{name} is no kind of handshake"
        ))),
    }
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn thrown(error: BenchError) -> Error {
    Error::from_reason(error.to_string())
}
