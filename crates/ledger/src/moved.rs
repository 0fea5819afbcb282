//! Notices a jump of the database's clock that happened while no process of the application was running.
//!
//! A running process compares the database's time in each answer of the database with its own monotonic clock
//! ([`jumps`](crate::jumps)). A process that starts has no earlier answer. So the processes keep a pair of times in the
//! database: the database's time, and the time of another clock at the same moment. They renew the pair each minute. A
//! process that starts compares the two clocks again. If their difference has changed by more than the shortest `pause`
//! of all operations, the process begins in doubt, as if it had seen the jump.
//!
//! For PostgreSQL, the other clock is the wall clock of the process's machine. If that clock is wrong, the process
//! begins in doubt, too. This delays some decisions by minutes, and loses nothing. For SQLite, the wall clock *is* the
//! database's clock. So the other clock is the time for which the machine has been running. It cannot be compared after
//! the machine was started again. Then only a time that went backwards is noticed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::action::Action;
use crate::clock::{ClockStanding, DbClock};
use crate::error::{Error, StoreError, Trouble};
use crate::inner::{Inner, Stopped};
use crate::ledger::Ledger;
use crate::machine::{self, Back, Now, Rules, Stamp};
use crate::store::{Filter, KeptClock, OwnTime, Standing, Store};

/// The time between two renewals of the pair of times in the database.
const RENEW: Duration = Duration::from_secs(60);

/// The time between two checks whether the process has seen the database's clock set back. A check asks the database
/// nothing.
const LOOK: Duration = Duration::from_secs(1);

/// The number of open actions that are read with one statement after the database's clock was set back.
const PAGE: u32 = 200;

impl<S: Store> Ledger<S> {
    /// Returns what this process has seen of the database's clock: whether its time is in doubt, and the jumps so far.
    #[must_use]
    pub fn clock_standing(&self) -> ClockStanding {
        self.inner.store.shared_clock().standing()
    }
}

impl<S: Store> Inner<S> {
    /// Compares the database's clock and the other clock with the pair of times that an earlier process has stored in
    /// the database. The comparison is made once in each process. If the database's clock has jumped since the pair
    /// was stored, the time is in doubt from now on.
    ///
    /// Several callers may come at the same time. Each of them reads the clocks, and only the first result is used.
    /// The callers do not wait for each other: if the database is silent, each would have to wait until all callers
    /// before it have given up.
    ///
    /// # Errors
    ///
    /// The error of the database if it cannot be reached.
    pub(crate) async fn compare_clocks(&self) -> Result<(), StoreError> {
        if self.compared.get().is_some() {
            return Ok(());
        }
        let Some(kept) = self.kept_pair().await? else {
            self.compared.get_or_init(|| ());
            return Ok(());
        };
        let (now, own, took) = self.pair().await?;
        self.compared.get_or_init(|| {
            let clock = self.store.shared_clock();
            clock.remember(kept.back);
            let Some(bound) = clock.bound() else { return };
            let by_micros = moved(&kept, now.now(), own.as_ref());
            if Duration::from_micros(by_micros.unsigned_abs()) > bound.saturating_add(took) {
                clock.suspect(by_micros);
            }
        });
        Ok(())
    }

    /// Reads the pair of times that an earlier process has stored in the database. Returns `None` if there is no such
    /// pair or if it cannot be read. Fails if the database cannot be reached.
    async fn kept_pair(&self) -> Result<Option<KeptClock>, StoreError> {
        match self.store.kept_clock().await {
            Ok(kept) => Ok(kept),
            Err(e) if matches!(e.trouble(), Trouble::Refused | Trouble::Foreign) => {
                tracing::warn!(error = %e, "what was kept of the database's clock cannot be read");
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Reads the database's clock and the other clock at nearly the same moment. The other clock is the machine's wall
    /// clock for PostgreSQL, and the running time of the machine for SQLite. Returns the database's time, the time of
    /// the other clock (`None` if it cannot be read), and how long the database took to answer.
    async fn pair(&self) -> Result<(DbClock, Option<OwnTime>, Duration), StoreError> {
        let asked = Instant::now();
        let now = self.store.ask_time().await?;
        let took = asked.elapsed();
        Ok((now, self.store.own_time(), took))
    }

    /// Reads the database's time and the time of the other clock, and stores the two in the database. Nothing is
    /// stored while the database's time is in doubt. Returns how long to wait before this is done again.
    async fn keep_clock(&self) -> Result<Duration, StoreError> {
        self.compare_clocks().await?;
        let (clock, own, _) = self.pair().await?;
        let moment = clock.moment();
        if let Some(doubt) = moment.doubt {
            return Ok(doubt.min(RENEW));
        }
        self.store.keep_clock(KeptClock { database: moment.at, own, back: moment.back }).await?;
        Ok(RENEW)
    }
}

/// Compares the database's clock with a second clock. `kept` has the times of both clocks at an earlier moment, and
/// `now` and `own` are their times now. Returns how much further the database's clock has moved than the second clock,
/// in microseconds; negative if it has moved less far. If the machine was started again, or if there is no second
/// clock, the second clock cannot be compared. Then only a step backwards of the database's clock is noticed: the
/// result is that step, as a negative number, or zero.
fn moved(kept: &KeptClock, now: Stamp, own: Option<&OwnTime>) -> i64 {
    let passed = now.as_micros().saturating_sub(kept.database.as_micros());
    match (&kept.own, own) {
        (Some(then), Some(own)) if then.boot == own.boot => {
            passed.saturating_sub(own.micros.saturating_sub(then.micros))
        }
        (Some(_) | None, Some(_) | None) => passed.min(0),
    }
}

/// Stores the database's time and the time of the second clock in the database once a minute, until the worker stops.
/// If the database's clock was set back, the times in the open actions may lie too far in the future. They are
/// corrected when the database's time can be relied on again.
pub(crate) async fn keep<S: Store>(inner: Arc<Inner<S>>, mut stopped: Stopped) {
    let (mut renewed, mut wait) = (Instant::now(), Duration::ZERO);
    let mut corrected = Back::default();
    loop {
        if renewed.elapsed() >= wait {
            wait = inner.keep_clock().await.unwrap_or_else(|e| {
                tracing::debug!(error = %e, "the database's clock is not kept");
                RENEW
            });
            renewed = Instant::now();
        }
        let now = inner.store.shared_clock().get().moment();
        if now.is_sure() && now.back != corrected {
            match correct(&inner).await {
                Ok(()) => corrected = now.back,
                Err(e) => tracing::debug!(error = %e, "the times of open actions are not corrected"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait.saturating_sub(renewed.elapsed()).min(LOOK)) => {}
            _ = stopped.changed() => return,
        }
    }
}

/// Corrects the times of all open actions after the database's clock was set back ([`machine::set_back`]). Each action is
/// changed in a transaction of its own. If this fails or is dropped, some of the actions are corrected already.
async fn correct<S: Store>(inner: &Arc<Inner<S>>) -> Result<(), Error> {
    let ledger = Ledger { inner: inner.clone() };
    let mut page = Filter::first(PAGE).standing(Standing::Open);
    let mut count = 0_u64;
    loop {
        let actions = ledger.list(&page).await?;
        let Some(last) = actions.last().map(|action| action.id) else { break };
        for action in actions {
            let moment = inner.time().await?.moment();
            let is_ahead = |action: &Action| action.state.due_at().is_some_and(|due| due > moment.at);
            if !is_ahead(&action) || inner.operations.of(&action).is_err() {
                continue;
            }
            let wish = |action: &Action, rules: &Rules, at: Stamp| {
                Ok(machine::set_back(&action.state, rules, Now { at, ..moment }))
            };
            match ledger.amend(action.id, None, wish).await {
                Ok(_) => count += 1,
                // Other writers change the action all the time, or only a newer program may change it. It is left as it
                // is.
                Err(Error::Refused(_) | Error::Misused(_)) => {}
                Err(e) => return Err(e),
            }
        }
        page.after = Some(last);
    }
    tracing::warn!(actions = count, "the clock was set back: the times of open actions are corrected");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(micros: i64, boot: Option<&str>) -> OwnTime {
        OwnTime { micros, boot: boot.map(str::to_owned) }
    }

    #[test]
    fn only_what_the_other_clock_proves_is_a_jump() {
        let kept = |own| KeptClock { database: Stamp::from_micros(1_000), own, back: Back::default() };
        let at = Stamp::from_micros;
        for boot in [None, Some("a")] {
            let kept = kept(Some(own(50, boot)));
            assert_eq!(moved(&kept, at(1_700), Some(&own(750, boot))), 0);
            assert_eq!(moved(&kept, at(1_900), Some(&own(750, boot))), 200);
            assert_eq!(moved(&kept, at(900), Some(&own(750, boot))), -800);
            // The machine was started again in between, or it is not known whether it was.
            assert_eq!(moved(&kept, at(1_900), Some(&own(7, Some("b")))), 0);
            assert_eq!(moved(&kept, at(900), Some(&own(7, Some("b")))), -100);
            assert_eq!(moved(&kept, at(900), None), -100);
        }
        assert_eq!(moved(&kept(None), at(900), Some(&own(750, None))), -100);
    }
}
