//! Whether the ledger's database answers, as this process last saw it.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use seawall_ledger::{Error, Trouble};

/// Since when the database has not answered, and why.
#[derive(Clone, Debug)]
pub(crate) struct Away {
    pub(crate) since: SystemTime,
    pub(crate) why: Arc<str>,
}

/// What is known of the database of an open ledger. Every call to the ledger notes here whether the database answered.
#[derive(Debug, Default)]
pub(crate) struct Health {
    away: Mutex<Option<Away>>,
}

impl Health {
    /// Notes the end of a call to the ledger: its error, or `None` if it has succeeded. A refusal of the ledger itself
    /// says that the database has answered. The log says when the database goes away, and when it is back.
    pub(crate) fn note(&self, error: Option<&Error>) {
        let why = match error {
            Some(error) if error.trouble() == Some(Trouble::Away) => error.to_string(),
            Some(error) if error.trouble() == Some(Trouble::Busy) => return,
            Some(_) | None => return self.answered(),
        };
        let mut away = self.away.lock();
        match &mut *away {
            Some(away) => away.why = why.into(),
            None => {
                tracing::error!(
                    error = why,
                    "the ledger is away: durable operations are refused until it is back"
                );
                *away = Some(Away { since: SystemTime::now(), why: why.into() });
            }
        }
    }

    fn answered(&self) {
        if self.away.lock().take().is_some() {
            tracing::info!("the ledger is back");
        }
    }

    /// Returns since when the database has not answered, and why; `None` if it answered the last call.
    pub(crate) fn away(&self) -> Option<Away> {
        self.away.lock().clone()
    }
}
