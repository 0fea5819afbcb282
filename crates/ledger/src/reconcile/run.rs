//! Does the work on one report, from the first page to the last difference.
//!
//! The work has four stages. Each can be done again from its beginning, so a worker that takes a report over may repeat
//! the current stage:
//!
//! 1. **List.** The provider is asked page by page. Each page is stored in one transaction with the cursor of the next
//!    one. An error that does not go away makes the report incomplete. Then it shows no differences, and the list is
//!    asked for again later, from the first page.
//! 2. **Join.** For each record, the ledger's row with the same key is looked up, even if the row was recorded outside
//!    of the window. Then the ledger's rows of the window whose keys were not listed are examined. Before a row is
//!    called "only here", the time around the window is listed as well. That time allows for a difference between the
//!    clocks, and for a request that arrived late. Then the join is done again.
//! 3. **Fix.** Differences are corrected, if that was asked for and the operation allows it.
//! 4. **Purge.** The stored records that agree with the ledger are deleted.

use seawall_policy::Draw;
use tokio::time::{sleep, timeout};

use super::judge::{There, judge};
use super::list::{ListAsk, NoPage, Page};
use super::listed::{Judged, OurRow, Pair};
use super::paging::{Onward, Paging};
use super::report::{Sum, Totals};
use super::row::Stage;
use super::shelf::{Hold, Shelf};
use super::tables::Tables;
use super::{Difference, ListedState, Reconciler, Window};
use crate::action::ActionId;
use crate::caught::{caught, message};
use crate::error::Error;
use crate::machine::Stamp;
use crate::store::Store;

/// How one stage of the work ended.
enum Went {
    /// The stage is finished. The work goes on with the next stage, which [`Hold`] names in its field `stage`.
    On,
    /// Another worker has taken the report over.
    Lost,
    /// The list could not be read whole.
    Incomplete(String),
}

/// Takes the result of a write, which is `false` if another worker has taken the report over. In that case the
/// surrounding function returns `Went::Lost`.
macro_rules! or_lost {
    ($ours:expr) => {
        if !$ours {
            return Ok(Went::Lost);
        }
    };
}

impl<S: Store + Tables> Reconciler<S> {
    /// Works on a report until it is complete or incomplete, or until another worker takes it over.
    pub(super) async fn work(&self, mut hold: Hold) -> Result<(), Error> {
        let shelf = self.shelf();
        loop {
            let went = match hold.stage {
                Stage::List => self.list(&shelf, &mut hold).await?,
                Stage::Join => self.join(&shelf, &mut hold).await?,
                Stage::Fix => {
                    if hold.report.fix && !self.fix(&hold).await? {
                        return Ok(());
                    }
                    hold.stage = Stage::Purge;
                    if shelf.reach(&hold, Stage::Purge).await? { Went::On } else { Went::Lost }
                }
                Stage::Purge => {
                    if shelf.drop_agreed(&hold).await? {
                        shelf.complete(&hold).await?;
                    }
                    return Ok(());
                }
            };
            match went {
                Went::On => {}
                Went::Lost => return Ok(()),
                Went::Incomplete(why) => {
                    let tries = hold.report.tries;
                    let again = tries < self.settings.tries;
                    let wait = self.settings.backoff.wait(tries, None, Draw::new(fastrand::u64(..)));
                    // The random wait can be zero. Then a list that fails would be asked for again immediately, so the
                    // wait is at least half of `base`, the bound of the first wait.
                    let after = again.then(|| wait.max(self.settings.backoff.base / 2));
                    tracing::warn!(dependency = %hold.report.dependency, report = %hold.report.id, why, "no whole list");
                    shelf.incomplete(&hold, &why, after).await?;
                    return Ok(());
                }
            }
        }
    }

    // ---- list ----

    async fn list(&self, shelf: &Shelf<'_, S>, hold: &mut Hold) -> Result<Went, Error> {
        loop {
            let Some(window) = self.stretch(hold) else {
                hold.stage = Stage::Join;
                let placed = shelf.placed(hold);
                or_lost!(shelf.tables.transact(vec![placed]).await?);
                return Ok(Went::On);
            };
            or_lost!(shelf.keep(hold).await?);
            let page = match self.ask(shelf, hold, &window).await? {
                Some(Ok(page)) => page,
                Some(Err(why)) => return Ok(Went::Incomplete(why.to_string())),
                None => return Ok(Went::Lost),
            };
            if let Some(why) = page.records.iter().find_map(super::Listed::unreadable) {
                return Ok(Went::Incomplete(NoPage::Unreadable(why.to_owned()).to_string()));
            }
            let span = hold.span;
            let fresh = shelf.fresh(hold, &page.records).await?;
            match hold.paging.page(fresh, page.next, self.settings.most_pages) {
                Onward::Ask(paging) => hold.paging = paging,
                Onward::Whole(paging) => {
                    hold.paging = Paging { pages: paging.pages, ..Paging::default() };
                    hold.span += 1;
                }
                Onward::Endless(why) => return Ok(Went::Incomplete(format!("the list does not end: {why}"))),
            }
            or_lost!(shelf.page(hold, span, &page.records).await?);
        }
    }

    /// Returns the span of time that is being listed now: the window of the report, the time before it, or the time
    /// after it. Returns `None` if all spans that are needed were listed.
    fn stretch(&self, hold: &Hold) -> Option<Window> {
        let window = &hold.report.window;
        let zone = window.zone();
        let skew = i64::try_from(self.settings.skew.as_micros()).unwrap_or(i64::MAX);
        let before = Stamp::from_micros(window.from().as_micros().saturating_sub(skew));
        match (hold.span, hold.edge_to) {
            (0, _) => Some(window.clone()),
            (_, None) => None,
            (1, Some(_)) => Window::new(zone, before, window.from()).ok(),
            (2, Some(to)) => Window::new(zone, window.to(), to).ok(),
            (_, Some(_)) => None,
        }
    }

    /// Asks for one page, up to `page_tries` times. Returns the page, or the error of the last of these requests.
    /// Returns `None` if another worker has taken the report over in the meantime.
    async fn ask(
        &self,
        shelf: &Shelf<'_, S>,
        hold: &Hold,
        window: &Window,
    ) -> Result<Option<Result<Page, NoPage>>, Error> {
        let ask = ListAsk {
            dependency: hold.report.dependency.clone(),
            window: window.clone(),
            cursor: hold.paging.cursor.clone(),
        };
        let mut times = 1;
        loop {
            let page = match timeout(self.settings.page, caught(|| self.remote.list(&ask))).await {
                Ok(Ok(page)) => page,
                Ok(Err(panic)) => Err(NoPage::Unavailable(message(&format!("the remote failed: {panic}")))),
                Err(_) => Err(NoPage::Unavailable("no answer in time".to_owned())),
            };
            match page {
                Err(NoPage::Unavailable(_) | NoPage::Unreadable(_)) if times < self.settings.page_tries => {
                    let wait = self.settings.page_backoff.wait(times, None, Draw::new(fastrand::u64(..)));
                    sleep(wait).await;
                    times += 1;
                    if !shelf.keep(hold).await? {
                        return Ok(None);
                    }
                }
                Ok(_) | Err(_) => return Ok(Some(page)),
            }
        }
    }

    // ---- join ----

    async fn join(&self, shelf: &Shelf<'_, S>, hold: &mut Hold) -> Result<Went, Error> {
        or_lost!(shelf.drop_earlier(hold).await?);
        or_lost!(shelf.drop_unlisted(hold).await?);
        let mut sums = Sums::default();
        or_lost!(self.join_theirs(shelf, hold, &mut sums).await?);
        let Some(latest) = self.join_ours(shelf, hold, &mut sums).await? else { return Ok(Went::Lost) };
        if sums.totals.of(Difference::OnlyHere) > 0 && hold.edge_to.is_none() {
            hold.stage = Stage::List;
            hold.span = 1;
            hold.edge_to = Some(latest.saturating_add(self.settings.skew).max(hold.report.window.to()));
            let placed = shelf.placed(hold);
            or_lost!(shelf.tables.transact(vec![placed]).await?);
            return Ok(Went::On);
        }
        let totals = sums.done(self.settings.compares_amounts());
        or_lost!(shelf.counted(hold, &totals).await?);
        hold.stage = Stage::Fix;
        Ok(Went::On)
    }

    /// Compares each of the provider's records of the window with the ledger's row that has the same key. Returns
    /// `false` if another worker has taken the report over.
    async fn join_theirs(&self, shelf: &Shelf<'_, S>, hold: &Hold, sums: &mut Sums) -> Result<bool, Error> {
        let mut after = String::new();
        loop {
            let pairs = shelf.pairs(hold, &self.settings, &after).await?;
            let Some(last) = pairs.last() else { return Ok(true) };
            after.clone_from(&last.name);
            let mut changed = Vec::new();
            for pair in &pairs {
                let verdict = verdict(pair);
                sums.theirs(pair, verdict);
                if verdict != pair.judged || verdict.is_some() {
                    changed.push(Judged::new(pair.name.clone(), verdict, pair.ours.as_ref()));
                }
            }
            if !shelf.judged(hold, &changed).await? {
                return Ok(false);
            }
        }
    }

    /// Examines the ledger's rows of the window whose keys are not in the provider's list. Returns `None` if another
    /// worker has taken the report over.
    ///
    /// For a row that is "only here", the provider may have dated its record after the end of the window, because the
    /// request arrived late. So this function returns the latest time at which a request of such a row can have
    /// arrived. The time up to then is listed, too. The returned time is never before the end of the window.
    async fn join_ours(
        &self,
        shelf: &Shelf<'_, S>,
        hold: &Hold,
        sums: &mut Sums,
    ) -> Result<Option<Stamp>, Error> {
        let mut after = ActionId::from_u128(0);
        let mut latest = hold.report.window.to();
        loop {
            let rows = shelf.ours(hold, &self.settings, after).await?;
            let Some((last, _)) = rows.last() else { return Ok(Some(latest)) };
            after = last.id;
            let mut unlisted = Vec::new();
            let declared = |row: &OurRow| self.settings.operations.contains_key(&row.operation);
            for (row, listed) in rows.iter().filter(|(row, _)| declared(row)) {
                sums.ours(row);
                if *listed {
                    continue;
                }
                let Some(difference) = judge(Some(&row.here), None) else { continue };
                sums.unlisted(row, difference);
                if difference == Difference::OnlyHere {
                    latest = latest.max(row.quiet_until.unwrap_or(hold.began_at));
                }
                unlisted.push(Judged::unlisted(difference, row));
            }
            if !shelf.judged(hold, &unlisted).await? {
                return Ok(None);
            }
        }
    }
}

/// Returns the difference between one record and the ledger; `None` if there is none. Of several records with one key,
/// only one is compared with the ledger ([`Pair::beaten`] says which). Each of the other records is
/// [`Difference::Doubled`] if it is applied, and no difference otherwise.
fn verdict(pair: &Pair) -> Option<Difference> {
    if pair.beaten {
        return (pair.state == ListedState::Applied).then_some(Difference::Doubled);
    }
    let there = There { state: pair.state, amount: pair.amount };
    judge(pair.ours.as_ref().map(|row| &row.here), Some(&there))
}

/// The counts and sums of a comparison while it is being made.
#[derive(Default)]
struct Sums {
    totals: Totals,
    there: Sum,
    here: Sum,
    only_here: Sum,
    only_there: Sum,
    /// Whether one of our rows has an amount.
    amounts: bool,
}

impl Sums {
    fn theirs(&mut self, pair: &Pair, verdict: Option<Difference>) {
        let applied = pair.state == ListedState::Applied;
        if applied {
            self.totals.there += 1;
            self.there.add(pair.amount);
        }
        match verdict {
            Some(difference) => {
                self.totals.count(difference);
                if applied && difference == Difference::OnlyThere {
                    self.only_there.add(pair.amount);
                }
            }
            None => {
                self.totals.agreed += 1;
                let ours = pair.ours.as_ref().and_then(|row| row.here.amount);
                self.totals.uncompared += u64::from(applied && (ours.is_none() || pair.amount.is_none()));
            }
        }
    }

    fn ours(&mut self, row: &OurRow) {
        if row.here.counts() {
            self.totals.here += 1;
            self.here.add(row.here.amount);
            self.amounts |= row.here.amount.is_some();
        }
    }

    fn unlisted(&mut self, row: &OurRow, difference: Difference) {
        self.totals.count(difference);
        if difference == Difference::OnlyHere {
            self.only_here.add(row.here.amount);
        }
    }

    fn done(self, compared: bool) -> Totals {
        let shown = |sum: Sum| if compared || self.amounts { sum.total() } else { None };
        Totals {
            sum_there: self.there.total(),
            sum_only_there: self.only_there.total(),
            sum_here: shown(self.here),
            sum_only_here: shown(self.only_here),
            ..self.totals
        }
    }
}
