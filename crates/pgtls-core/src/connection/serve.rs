//! [`serve`]: a connection from its adoption to its report. Whatever panics inside costs this connection alone.

use std::any::Any;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::connection::close::{close_client, close_told};
use crate::connection::journal::{Arrival, Journal};
use crate::connection::login::log_in;
use crate::connection::peer::Scratch;
use crate::connection::session::{SessionEnd, run_session};
use crate::data_plane::Shared;
use crate::messages::Placed;
use crate::report::Phase;
use crate::responder::ResponderHandle;

/// What a connection needs of its worker.
#[derive(Clone, Copy)]
pub(crate) struct Context<'w> {
    pub(crate) shared: &'w Arc<Shared>,
    pub(crate) scratch: &'w RefCell<Scratch>,
    /// The responder that this worker was started with.
    pub(crate) responder: Option<&'w ResponderHandle>,
}

/// Serves a connection to its end. Never panics: a panic inside costs this connection alone.
pub(crate) async fn serve(placed: Placed, context: Context<'_>) {
    let Placed {
        mut journal,
        arrival,
    } = placed;
    let panic = {
        let mut phases = pin!(run_phases(arrival, context, &mut journal));
        poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| phases.as_mut().poll(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(())) => Poll::Ready(None),
                Err(panic) => Poll::Ready(Some(panic_text(panic.as_ref()))),
            },
        )
        .await
    };
    if let Some(text) = panic {
        journal.note_panic(text);
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

async fn run_phases(arrival: Box<Arrival>, context: Context<'_>, journal: &mut Journal) {
    // Boxed, so that an idle session does not carry the login's state.
    let Some(mut session) = Box::pin(log_in(arrival, context, journal)).await else {
        return;
    };
    journal.note(|report| report.phase = Phase::Relay);
    let SessionEnd { ending, is_told } = run_session(&mut session, context, journal).await;
    if is_told {
        Box::pin(close_told(&session.client, context.scratch)).await;
    } else if ending.notice.is_some() {
        Box::pin(close_client(
            &session.client,
            ending.notice.as_ref(),
            context.scratch,
        ))
        .await;
    }
    journal.note_ending(ending);
}
