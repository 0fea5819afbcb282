//! What is compared, when, and what may be done about it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use seawall_policy::Backoff;

use super::{Amount, DAY, Zone, amount_at};

/// Reads the amount that a stored request asks for, in the unit of [`Listed::amount`](super::Listed::amount).
pub type ReadAmount = Arc<dyn Fn(&[u8]) -> Option<Amount> + Send + Sync>;

/// What may be done about a difference. By default nothing is done: the report is for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Corrections {
    /// The provider's word is believed for an action whose outcome we do not know: applied there is applied here.
    /// Default no.
    pub adopt: bool,
    /// What failed or was cancelled here and stands there is undone there, by the action protocol. Default no.
    pub cancel: bool,
    /// Every other difference is noted in the action's own story. Default no.
    pub mark: bool,
}

impl Corrections {
    /// Everything that may be corrected.
    pub const ALL: Corrections = Corrections { adopt: true, cancel: true, mark: true };
}

/// An operation whose effects the provider's list shows.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Compared {
    /// What may be done about a difference.
    pub corrections: Corrections,
    /// Where a request has its amount; `None`: amounts are not compared.
    pub amount: Option<ReadAmount>,
}

impl Compared {
    /// Compares amounts. Our amount stands at this JSON pointer of the request.
    #[must_use]
    pub fn amount_at(self, pointer: &str) -> Compared {
        let pointer = pointer.to_owned();
        Compared { amount: Some(Arc::new(move |request| amount_at(request, &pointer))), ..self }
    }

    /// Allows corrections.
    #[must_use]
    pub fn allowing(self, corrections: Corrections) -> Compared {
        Compared { corrections, ..self }
    }
}

impl fmt::Debug for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compared")
            .field("corrections", &self.corrections)
            .field("amount", &self.amount.is_some())
            .finish()
    }
}

/// How the ledger is compared with one provider.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The dependency.
    pub dependency: String,
    /// The names of the operations whose effects its list shows. An action of another operation is matched by its key,
    /// and never missed in the list.
    pub operations: BTreeMap<String, Compared>,
    /// The provider's time zone. Default UTC.
    pub zone: Zone,
    /// How long a window of the schedule is. Default 24 h: the provider's days.
    pub every: Duration,
    /// How long after a window's end it is compared. Default 10 min. By then, what was under way at the window's end
    /// has arrived, and is in the list.
    pub delay: Duration,
    /// How far the provider's clock may be from the database's. Default 10 min. It is added on both sides of the time
    /// that is looked at around the window. With a larger value the list is longer. With a smaller one, an action that
    /// the provider dates into the next window may be called "only here".
    pub skew: Duration,
    /// The most windows that are made up for where nobody compared them, the oldest first. Default 31.
    pub catch_up: u32,
    /// Whether the schedule corrects, too, where the operation allows it. Default no.
    pub fix: bool,
    /// How long one page may take. Default 30 s.
    pub page: Duration,
    /// How often a page is asked for before this try is given up. Default 3.
    pub page_tries: u32,
    /// The wait between two tries of a page. Default 1 s, doubling to 10 s.
    pub page_backoff: Backoff,
    /// How long a worker that is silent keeps a report. Default 2 min. It must be longer than `page`.
    pub lease: Duration,
    /// How often a list is begun from its first page. Default 10.
    pub tries: u32,
    /// The wait between two such tries. Default 5 min, doubling to 6 h.
    pub backoff: Backoff,
    /// The most pages that a list may have. Default 100 000.
    pub most_pages: u32,
    /// The most rows held in memory at a time. Default 256. Of each row, at most 64 KiB of its request are held.
    pub batch: u32,
}

impl Settings {
    /// The defaults, for one operation.
    #[must_use]
    pub fn of(dependency: impl Into<String>, operation: impl Into<String>, compared: Compared) -> Settings {
        Settings {
            dependency: dependency.into(),
            operations: BTreeMap::from([(operation.into(), compared)]),
            zone: Zone::utc(),
            every: DAY,
            delay: Duration::from_secs(600),
            skew: Duration::from_secs(600),
            catch_up: 31,
            fix: false,
            page: Duration::from_secs(30),
            page_tries: 3,
            page_backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(10) },
            lease: Duration::from_secs(120),
            tries: 10,
            backoff: Backoff { base: Duration::from_secs(300), cap: Duration::from_secs(6 * 3600) },
            most_pages: 100_000,
            batch: 256,
        }
    }

    pub(crate) fn compares_amounts(&self) -> bool {
        self.operations.values().any(|compared| compared.amount.is_some())
    }
}
