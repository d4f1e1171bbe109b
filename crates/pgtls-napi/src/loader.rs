//! [`Loader`]: threads for the work that reads files, so that neither a slow disk nor `ssl_passphrase_command` keeps JavaScript
//! waiting; its result is a promise.
//!
//! A thread of our own and not libuv's pool: Node waits for the pool when it exits, and look-ups of names need it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use napi::bindgen_prelude::{Object, ToNapiValue};
use napi::{Env, JsError};
use pgtls_tls::interrupt::Interrupt;

use crate::error::{Code, Result, fail};

/// Work for one data plane: one after the other, in the order it was asked for. Dropping it ends the work.
#[derive(Default)]
pub(crate) struct Loader {
    interrupt: Interrupt,
    /// Guards the youngest thread, which joins the one before it; nothing else runs under it.
    youngest: Mutex<Option<JoinHandle<()>>>,
}

impl Loader {
    /// A promise of what `work` returns; PGTLS_CLOSED if it is ended before that.
    pub(crate) fn promise<'env, T>(
        &self,
        env: &'env Env,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<Object<'env>>
    where
        T: ToNapiValue + Send + 'static,
    {
        let mut youngest = self.youngest.lock().unwrap_or_else(PoisonError::into_inner);
        let before = youngest.take();
        let interrupt = self.interrupt.clone();
        let (thread, promise) = spawn(env, move || {
            if let Some(before) = before {
                let _ = before.join();
            }
            let ended = || fail(Code::Closed, "the data plane was closed meanwhile");
            if interrupt.is_raised() {
                return Err(ended());
            }
            let result = interrupt.during(work);
            if interrupt.is_raised() {
                result.map_err(|_| ended())
            } else {
                result
            }
        })?;
        *youngest = thread;
        Ok(promise)
    }

    /// Ends the work and joins the threads; idempotent.
    pub(crate) fn end(&self) {
        self.interrupt.raise();
        let youngest = self
            .youngest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = youngest {
            let _ = thread.join();
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.end();
    }
}

/// A promise of what `work` returns, which belongs to no data plane: its thread ends with it.
pub(crate) fn promise<T>(
    env: &Env,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<Object<'_>>
where
    T: ToNapiValue + Send + 'static,
{
    let (_thread, promise) = spawn(env, work)?;
    Ok(promise)
}

/// The thread is none when it could not be started; the promise says so then.
fn spawn<T>(
    env: &Env,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<(Option<JoinHandle<()>>, Object<'_>)>
where
    T: ToNapiValue + Send + 'static,
{
    let (deferred, promise) = env
        .create_deferred()
        .map_err(|error| fail(Code::DataPlaneFailed, error.to_string()))?;
    let unstarted = deferred.clone();
    let thread = Builder::new()
        .name("pgtls-loader".to_owned())
        .spawn(move || {
            // The panic itself has been printed.
            let result = catch_unwind(AssertUnwindSafe(work))
                .unwrap_or_else(|_| Err(fail(Code::DataPlaneFailed, "reading the files panicked")));
            deferred.resolve(move |env| result.map_err(|error| rejection(env, error)));
        });
    let thread = thread.inspect_err(|error| {
        let reason = format!("the thread that reads files cannot be started: {error}");
        unstarted.reject(napi::Error::from_reason(reason));
    });
    Ok((thread.ok(), promise))
}

/// The error with its code: promises are rejected with napi's own codes else.
fn rejection(env: Env, error: napi::Error<Code>) -> napi::Error {
    JsError::from(error).into_unknown(env).into()
}
