//! What is compared, when, and what may be done about it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use seawall_policy::Backoff;

use super::{Amount, DAY, Zone, amount_at};

/// Reads the amount that a stored request asks for, in the unit of [`Listed::amount`](super::Listed::amount).
pub type ReadAmount = Arc<dyn Fn(&[u8]) -> Option<Amount> + Send + Sync>;

/// What may be done about a difference. By default nothing: the report is for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Corrections {
    /// The provider's word is taken for an action whose outcome we do not know: applied there is applied here.
    pub adopt: bool,
    /// What failed or was cancelled here and lives there is undone there, by the action protocol.
    pub cancel: bool,
    /// Whatever else differs is noted in the action's own story.
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
    /// Where a request has its amount; none: amounts are not compared.
    pub amount: Option<ReadAmount>,
}

impl Compared {
    /// Compares amounts: ours stands at this JSON pointer of the request.
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

/// How one provider is compared.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The provider.
    pub dependency: String,
    /// The operations whose effects its list shows, by name. An action of any other is matched by its key, and never
    /// missed in the list.
    pub operations: BTreeMap<String, Compared>,
    /// The provider's time zone. Default UTC.
    pub zone: Zone,
    /// How long a window of the schedule is. Default 24 h: the provider's days.
    pub every: Duration,
    /// How long after a window's end it is compared. Default 10 min: what was on its way at its end has arrived, and is
    /// in the list.
    pub delay: Duration,
    /// How far the provider's clock may be from the database's. Default 10 min. It is added to what is looked at around the
    /// window; a larger one costs a longer list, a smaller one may call "only here" what the provider dates into the next.
    pub skew: Duration,
    /// How many windows that nobody compared are made up for, the oldest first. Default 31.
    pub catch_up: u32,
    /// Corrections are made by the schedule, too, where the operation allows them. Default no.
    pub fix: bool,
    /// How long one page may take. Default 30 s.
    pub page: Duration,
    /// How often a page is asked for before the list is given up for now. Default 3.
    pub page_tries: u32,
    /// Between two askings of a page. Default 1 s doubling to 10 s.
    pub page_backoff: Backoff,
    /// How long a worker that says nothing keeps a report. Default 2 min; longer than `page`.
    pub lease: Duration,
    /// How often a list is begun anew. Default 10.
    pub tries: u32,
    /// Between two tries. Default 5 min doubling to 6 h.
    pub backoff: Backoff,
    /// How many pages a list may have. Default 100 000.
    pub most_pages: u32,
    /// How many rows are held in memory at a time. Default 256; of each, no more than 64 KiB of its request.
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
