//! The settings of a reconciliation: what is compared, when, and which corrections are allowed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use seawall_policy::Backoff;

use super::{Amount, DAY, Zone, amount_at};

/// A function that reads the amount in a stored request. The amounts of the provider's list must be in the same unit.
/// The function returns `None` if the request has no amount.
pub type ReadAmount = Arc<dyn Fn(&[u8]) -> Option<Amount> + Send + Sync>;

/// The kinds of corrections that are allowed. By default none is allowed: people read the report and decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Corrections {
    /// Whether an action is corrected as the provider's list says, if its effect is unknown in the ledger or if it is
    /// stuck. Default no.
    ///
    /// - If the list has the action as applied, it becomes applied in the ledger.
    /// - If the list has it as cancelled and it is stuck, it becomes not applied in the ledger.
    /// - If the list has it as cancelled and it is not stuck, a worker asks the provider about it.
    /// - If the list and the ledger have different amounts, nothing is corrected.
    pub adopt: bool,
    /// Whether an effect is undone at the provider if the list has it as applied, but its action failed or was
    /// cancelled in the ledger. A worker undoes it with the cancel of the action. Default no.
    pub cancel: bool,
    /// Whether each difference for which no other correction is allowed is noted in the audit trail of its action.
    /// Pending differences are never noted. Default no.
    pub mark: bool,
}

impl Corrections {
    /// All kinds of corrections.
    pub const ALL: Corrections = Corrections { adopt: true, cancel: true, mark: true };
}

/// An operation whose effects the provider's list shows.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Compared {
    /// Which differences of this operation are corrected.
    pub corrections: Corrections,
    /// The function that reads the amount from the request of an action whose row has no amount. With `None`, the
    /// amounts of such actions are not compared. If a row has an amount, that amount is always compared. It is in units
    /// of its currency, such as 10.50, and the list's amounts must be in this unit, too.
    pub amount: Option<ReadAmount>,
}

impl Compared {
    /// Returns this value with a function that reads the amount from the request of an action whose row has no amount.
    /// So the amounts of these actions are compared, too. `pointer` is the JSON pointer to the amount in the request's
    /// body.
    #[must_use]
    pub fn amount_at(self, pointer: &str) -> Compared {
        let pointer = pointer.to_owned();
        Compared { amount: Some(Arc::new(move |request| amount_at(request, &pointer))), ..self }
    }

    /// Sets which differences of this operation are corrected.
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

/// The settings for the comparison of the ledger with one provider.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// The dependency whose provider lists its records.
    pub dependency: String,
    /// The operations whose effects the list shows, by name. An action of an operation that is not named here is still
    /// compared with a record of the same key, but it is not reported if the list has no such record.
    pub operations: BTreeMap<String, Compared>,
    /// The provider's time zone. Default UTC.
    pub zone: Zone,
    /// The length of a window of the schedule. Default 24 h, which means the days of the provider's calendar.
    pub every: Duration,
    /// The time between the end of a window and its comparison. Default 10 min. By then, requests that were under way
    /// at the end of the window have arrived and are in the list.
    pub delay: Duration,
    /// The maximum difference between the provider's clock and the database's. Default 10 min. Before an action is
    /// called "only here", the time around the window is listed as well, and this value makes that time longer on both
    /// sides. A larger value makes the list longer. With a smaller value, an action that the provider dates into the
    /// next window may be reported as "only here".
    pub skew: Duration,
    /// The maximum number of missed windows that are compared afterwards, in the order of time. A window is missed if
    /// no process ran when it ended. If more windows were missed, only the latest ones are compared. Default 31; 0
    /// means 1.
    pub catch_up: u32,
    /// Whether the reports of the schedule also correct differences, as far as the operation allows. Default no.
    pub fix: bool,
    /// The longest time to wait for one page. Default 30 s.
    pub page: Duration,
    /// The number of times that one page is asked for, the first time included. If none of these requests gets a valid
    /// answer, the report becomes incomplete. Default 3.
    pub page_tries: u32,
    /// The wait before a page is asked for again, after the provider gave no valid answer. The wait is random, below a
    /// bound. By default the bound is 1 s after the first such answer, and doubles with each further one up to 10 s.
    pub page_backoff: Backoff,
    /// For how long a report belongs to its worker after the worker's last write to it. After that, another worker may
    /// take the report over. Default 2 min. The lease must be longer than `page` and the longest wait of `page_backoff`
    /// together.
    pub lease: Duration,
    /// The maximum number of times that one report reads the list from its first page, the first time included. After
    /// a failure the report is incomplete, and the list is read again later. After the last failure the report stays
    /// incomplete. Default 10.
    pub tries: u32,
    /// The wait before the list of a report is begun again. The wait is random, below a bound, but at least half of the
    /// bound of the first wait. By default the bound is 5 min after the first failure, and doubles with each further
    /// one up to 6 h.
    pub backoff: Backoff,
    /// The maximum number of pages of a list. Default 100 000. If there are more, the report becomes incomplete.
    pub most_pages: u32,
    /// The maximum number of rows in memory at the same time. Default 256. Of each row, at most 64 KiB of its request
    /// are read.
    pub batch: u32,
}

impl Settings {
    /// Returns the default settings, for one operation.
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
