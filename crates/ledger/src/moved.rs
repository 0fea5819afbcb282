//! Notices a jump of the database's clock that happened while no process of the application was running.
//!
//! A running process compares each answer with its monotonic clock ([`jumps`](crate::jumps)). A process that starts has
//! no earlier answer. So the processes keep a pair of times in the database: the database's time, and the time of
//! another clock at the same moment. They renew the pair each minute. A process that starts compares the two clocks
//! again. If their difference has changed too much, it begins in doubt, as if it had seen the jump.
//!
//! For PostgreSQL, the other clock is the wall clock of the process's machine. If that clock is wrong, the process
//! begins in doubt, too. This delays some decisions by minutes, and loses nothing. For SQLite, the wall clock *is* the
//! database's clock. So the other clock is the time for which the machine has been running. It cannot be compared after
//! the machine was started again. Then only a time that went backwards is noticed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::{ClockStanding, DbClock};
use crate::error::{StoreError, Trouble};
use crate::inner::{Inner, Stopped};
use crate::ledger::Ledger;
use crate::machine::Stamp;
use crate::store::{KeptClock, OwnTime, Store};

/// The time between two renewals of the pair in the database.
const RENEW: Duration = Duration::from_secs(60);

impl<S: Store> Ledger<S> {
    /// Returns what this process has seen of the database's clock: whether its time is in doubt, and the jumps so far.
    #[must_use]
    pub fn clock_standing(&self) -> ClockStanding {
        self.inner.store.shared_clock().standing()
    }
}

impl<S: Store> Inner<S> {
    /// Compares the database's clock with the pair of times that was kept, if this process has not done so yet. If the
    /// clock has jumped, the time is in doubt from now on.
    ///
    /// Several callers may read the clocks at the same time, and the first one that has read decides. They do not take
    /// turns: if the database is silent, each caller would have to wait until all callers before it have given up.
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

    /// Returns the pair that was kept; `None` if there is none or if it cannot be read. Fails if the database cannot be
    /// reached.
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

    /// Reads the two clocks at nearly the same moment. Returns the database's time, the time of the other clock, and
    /// how long the database took to answer.
    async fn pair(&self) -> Result<(DbClock, Option<OwnTime>, Duration), StoreError> {
        let asked = Instant::now();
        let now = self.store.ask_time().await?;
        let took = asked.elapsed();
        Ok((now, self.store.own_time(), took))
    }

    /// Keeps the pair of times in the database, unless the time is in doubt. Returns the wait until the pair is to be
    /// kept again.
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

/// Returns by how many microseconds the database's clock has moved against the other clock since the pair was kept. If
/// the two clocks cannot be compared, returns by how much the database's clock went backwards, as a negative number, or
/// zero.
fn moved(kept: &KeptClock, now: Stamp, own: Option<&OwnTime>) -> i64 {
    let passed = now.as_micros().saturating_sub(kept.database.as_micros());
    match (&kept.own, own) {
        (Some(then), Some(own)) if then.boot == own.boot => {
            passed.saturating_sub(own.micros.saturating_sub(then.micros))
        }
        (Some(_) | None, Some(_) | None) => passed.min(0),
    }
}

/// Keeps the pair of clocks up to date until the worker stops.
pub(crate) async fn keep<S: Store>(inner: Arc<Inner<S>>, mut stopped: Stopped) {
    loop {
        let wait = inner.keep_clock().await.unwrap_or_else(|e| {
            tracing::debug!(error = %e, "the database's clock is not kept");
            RENEW
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped.changed() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Back;

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
            // The machine was started again, or nobody knows.
            assert_eq!(moved(&kept, at(1_900), Some(&own(7, Some("b")))), 0);
            assert_eq!(moved(&kept, at(900), Some(&own(7, Some("b")))), -100);
            assert_eq!(moved(&kept, at(900), None), -100);
        }
        assert_eq!(moved(&kept(None), at(900), Some(&own(750, None))), -100);
    }
}
