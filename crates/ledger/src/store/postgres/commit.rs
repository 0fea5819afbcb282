//! COMMIT, and what is known after it.
//!
//! The obvious rule says that a transaction is durable when COMMIT was answered, and that a row that can be read is
//! durable. With synchronous replication, neither is always true. While a COMMIT waits for the standby, the wait can be
//! ended from outside:
//!
//! - By `pg_cancel_backend`: COMMIT then succeeds, with a warning that the transaction "might not have been replicated".
//! - By `pg_terminate_backend` or the end of the server: the connection ends. The transaction is committed on this server,
//!   and everybody can read it there from then on. If a standby is promoted, it may be gone.
//!
//! So a COMMIT that was cut off, that was not answered in time, or that was answered with a warning leaves a *doubt*. While
//! there is a doubt, each new transaction first makes sure of what was committed before ([`MAKES_SURE`]): it writes a
//! message into the write-ahead log, and waits for its COMMIT. The standby gets the log in its order, so when it has that
//! message, it has all earlier transactions, too. Only then is something read or told.
//!
//! **How the warning is seen.** sqlx passes no notice on to its caller. It only makes an event of it, with the target
//! `sqlx::postgres::notice`. While a COMMIT is under way, a subscriber of our own listens to these events and passes all
//! of them on. Each warning counts, since its code is not in the event and its text depends on the server's language.
//! A warning is not seen if the server is told to send none (`client_min_messages = error`), or if the program was
//! compiled with tracing's events switched off.
//!
//! **What is not seen.** A doubt of another process: if an operator ends the wait of its COMMIT, this process may read what it
//! wrote. The same holds for what was committed before the server was restarted. Without synchronous replication there
//! is nothing to wait for, and the message is only a small write.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use sqlx::postgres::PgConnection;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

use crate::error::{StoreError, Trouble};
use crate::store::Result;

use super::statements::failed;

/// Writes a message into the write-ahead log, in a transaction of its own. Any role may do so.
const MAKES_SURE: &str = "SELECT pg_logical_emit_message(true, 'seawall', '')";

/// The target of the events that sqlx makes of the server's notices.
const NOTICES: &str = "sqlx::postgres::notice";

/// How many commits have left a doubt, and up to which one it is settled.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    raised: AtomicU64,
    settled: AtomicU64,
    /// One connection at a time waits for the standby. Otherwise each caller would leave one behind on the server.
    settling: tokio::sync::Mutex<()>,
}

/// Raises a doubt when it is dropped, unless the commit has succeeded.
struct Raises(Option<Arc<Doubts>>);

impl Drop for Raises {
    fn drop(&mut self) {
        if let Some(doubts) = &self.0 {
            doubts.raised.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Doubts {
    /// Runs a COMMIT. It leaves a doubt if it fails, if the future is dropped, or if the server sends a warning.
    ///
    /// # Errors
    ///
    /// Those of `commit`. [`Trouble::Away`] after a warning.
    pub(super) async fn commit(
        self: &Arc<Self>,
        commit: impl Future<Output = sqlx::Result<()>>,
    ) -> Result<()> {
        let mut raises = Raises(Some(Arc::clone(self)));
        let (committed, warning) = heard(commit).await;
        committed.map_err(failed)?;
        if let Some(warning) = warning {
            let said = format!("it is not known whether the standby has the commit: {warning}");
            return Err(StoreError::new(Trouble::Away, said).after_commit());
        }
        raises.0 = None;
        Ok(())
    }

    /// Makes sure of all earlier commits. `conn` must not be in a transaction.
    ///
    /// # Errors
    ///
    /// [`Trouble::Away`] if the doubt remains.
    pub(super) async fn settle(&self, conn: &mut PgConnection) -> Result<()> {
        let raised = self.raised.load(Ordering::SeqCst);
        let making_sure = async { sqlx::raw_sql(MAKES_SURE).execute(conn).await.map(drop) };
        let (made, warning) = heard(making_sure).await;
        made.map_err(failed)?;
        if let Some(warning) = warning {
            let said = format!("it is not known whether the standby has the last commits: {warning}");
            return Err(StoreError::new(Trouble::Away, said));
        }
        self.settled.fetch_max(raised, Ordering::SeqCst);
        Ok(())
    }

    /// Waits until nobody else makes sure of earlier commits.
    pub(super) async fn one_at_a_time(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.settling.lock().await
    }

    /// Returns whether there is no doubt.
    pub(super) fn are_settled(&self) -> bool {
        self.raised.load(Ordering::SeqCst) == self.settled.load(Ordering::SeqCst)
    }
}

thread_local! {
    /// The subscriber that is in force outside of the commit that this thread works on, and the first warning.
    static LISTENS: RefCell<Option<(Dispatch, Option<String>)>> = const { RefCell::new(None) };
}

/// Runs `work`, and returns its result with the first warning that the server sent meanwhile.
async fn heard<T>(work: impl Future<Output = T>) -> (T, Option<String>) {
    static LISTENER: OnceLock<Dispatch> = OnceLock::new();
    let listener = LISTENER.get_or_init(|| Dispatch::new(Listener));
    let mut work = pin!(work);
    let mut warning: Option<String> = None;
    std::future::poll_fn(|cx| {
        let outside = tracing::dispatcher::get_default(Dispatch::clone);
        LISTENS.set(Some((outside, warning.take())));
        let polled = tracing::dispatcher::with_default(listener, || work.as_mut().poll(cx));
        warning = LISTENS.take().and_then(|(_, warning)| warning);
        match polled {
            Poll::Ready(done) => Poll::Ready((done, warning.take())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Notes the warnings of the server, and passes everything on to the subscriber outside.
struct Listener;

/// Runs `f` with the subscriber outside; `None` if there is none.
fn outside<T>(f: impl FnOnce(&Dispatch) -> T) -> Option<T> {
    let outside = LISTENS.with_borrow(|listens| listens.as_ref().map(|(outside, _)| outside.clone()));
    outside.as_ref().map(f)
}

fn is_warning(metadata: &Metadata<'_>) -> bool {
    metadata.target() == NOTICES && *metadata.level() <= Level::WARN
}

impl Subscriber for Listener {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_warning(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::WARN)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        is_warning(metadata)
            || (metadata.is_event() && outside(|outside| outside.enabled(metadata)).unwrap_or(false))
    }

    // Spans are off meanwhile, so none of these is called.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if is_warning(event.metadata()) {
            let mut message = Message(None);
            event.record(&mut message);
            let said = message.0.unwrap_or_else(|| "a warning".to_owned());
            LISTENS.with_borrow_mut(|listens| {
                if let Some((_, warning)) = listens {
                    warning.get_or_insert(said);
                }
            });
        }
        outside(|outside| {
            if outside.enabled(event.metadata()) {
                outside.event(event);
            }
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Reads the text of an event.
struct Message(Option<String>);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = Some(format!("{value:?}").trim_matches('"').to_owned());
        }
    }
}
