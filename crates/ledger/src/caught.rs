//! Runs code of the application, such as handlers and remotes (the code that sends requests), so that its panic becomes
//! an error.
//!
//! A panic that unwinds through the ledger would end the task that works on the row. Then the row would wait for the
//! end of its lease, the provider's answer would be lost, and nobody would learn why. On SQLite, the panic could end
//! the writer that the whole process uses. If a program is built with `panic = "abort"`, it ends at the panic, so
//! nothing is caught there.

use std::any::Any;
use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

/// The maximum length of a stored message, in characters.
const LONGEST_MESSAGE: usize = 2000;

/// Calls `begin` and waits for the future that it returns. Returns the future's result. If `begin` or the future
/// panics, the error is a text about the panic.
///
/// After a panic, the future is not polled again and is dropped. The application may have changed something before the
/// panic, for example rows in its transaction. The caller must treat that as it does after an error, for example roll
/// back.
pub(crate) async fn caught<F: Future>(begin: impl FnOnce() -> F) -> Result<F::Output, String> {
    let begun = catch_unwind(AssertUnwindSafe(begin)).map_err(|payload| panicked(&*payload))?;
    let mut running = pin!(begun);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Err(panicked(&*payload)).into(),
        }
    })
    .await
}

/// Calls a function of the application, and returns its result. If the function panics, the error is a text about the
/// panic.
pub(crate) fn caught_now<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| panicked(&*payload))
}

fn panicked(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    match text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)) {
        Some(text) => format!("it panicked: {text}"),
        None => "it panicked".to_owned(),
    }
}

/// Returns the text of an application's error as the ledger stores it. The text has at most [`LONGEST_MESSAGE`]
/// characters, and no zero bytes, which PostgreSQL cannot store. If the database refused the text, it would also refuse
/// what is written together with it, such as the provider's answer.
pub(crate) fn message(error: &(impl Display + ?Sized)) -> String {
    let said = caught_now(|| error.to_string()).unwrap_or_else(|panic| format!("its message: {panic}"));
    said.chars().filter(|c| *c != '\0').take(LONGEST_MESSAGE).collect()
}
