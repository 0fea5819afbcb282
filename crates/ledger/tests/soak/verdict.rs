//! The comparison at the end: the provider's books against the ledger, the application's tables and the journals.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::Path;
use std::time::Duration;

use seawall_ledger::store::{Filter, Store};
use seawall_ledger::{Action, Ledger};

use crate::books::Entry;
use crate::declared::word;
use crate::desk::lines;
use crate::provider::{Books, Provider};
use crate::reached::Reached;
use crate::tables::{Database, Trouble};

/// The number of rows whose stories are printed.
const SHOWN: usize = 10;

/// An order of the application.
struct Order {
    flow: String,
    amount: String,
    state: String,
}

/// Everything that is compared. Keys are written `DEPENDENCY KEY`, with the caller's key.
pub(crate) struct Found {
    actions: BTreeMap<String, Action>,
    orders: BTreeMap<String, Order>,
    /// What the handlers and the application wrote of each key.
    outcomes: HashMap<String, Vec<String>>,
    /// What the programs were told of each action, once the database had confirmed it: `recorded`, `done`, `withdrawn`.
    told: Vec<(String, String)>,
    books: Books,
}

impl Found {
    /// Reads everything.
    pub(crate) async fn read<D: Database>(
        ledger: &Ledger<D::Store>,
        folder: &Path,
        url: &str,
        provider: &Provider,
    ) -> Result<Found, Trouble> {
        let mut actions = BTreeMap::new();
        let mut page = Filter::first(1000);
        loop {
            let rows = ledger.list(&page).await?;
            let Some(last) = rows.last() else { break };
            page.after = Some(last.id);
            actions.extend(rows.into_iter().map(|row| (format!("{} {}", row.dependency, row.key), row)));
        }
        let mut conn = D::connect(url).await?;
        let mut orders = BTreeMap::new();
        for row in D::rows(&mut conn, "SELECT id, flow, amount, state FROM orders", 4).await? {
            let [id, flow, amount, state] = <[String; 4]>::try_from(row).map_err(|_| "four columns")?;
            orders.insert(id, Order { flow, amount, state });
        }
        let mut outcomes: HashMap<String, Vec<String>> = HashMap::new();
        for row in D::rows(&mut conn, "SELECT id, ended FROM outcomes", 2).await? {
            let [id, ended] = <[String; 2]>::try_from(row).map_err(|_| "two columns")?;
            outcomes.entry(id).or_default().push(ended);
        }
        let told = told(folder);
        Ok(Found { actions, orders, outcomes, told, books: provider.books() })
    }

    fn entry(&self, action: &Action) -> Entry {
        let at = (action.dependency.clone(), action.sent_key().to_owned());
        self.books.get(&at).cloned().unwrap_or_default()
    }
}

/// Reads from all journals what the programs were told of their actions.
fn told(folder: &Path) -> Vec<(String, String)> {
    let known = |word: &str| ["recorded", "done", "withdrawn"].contains(&word);
    let words = lines(folder).filter_map(|line| {
        let (word, key) = line.split_once(' ')?;
        known(word).then(|| (word.to_owned(), key.to_owned()))
    });
    words.collect()
}

/// What is wrong with an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It took effect, or was undone, or ran its handler, more than once.
    Doubled,
    /// It is missing where it must be: in the ledger, at the provider, or in the application's tables.
    Lost,
    /// It has not come to an end, or a person must look at it.
    Stuck,
    /// Ledger, provider and application say different things about it.
    Differing,
}

/// One finding: the dependency and key of an action, and what is wrong with it.
pub(crate) struct Finding {
    what: What,
    key: String,
    how: String,
}

impl Found {
    /// Compares everything. Returns what is wrong.
    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut wrong = |what, key: &str, how: String| {
            findings.push(Finding { what, key: key.to_owned(), how });
        };
        for (key, action) in &self.actions {
            self.judge_effect(action, &mut |what, how| wrong(what, key, how));
            self.judge_outcomes(action, &mut |what, how| wrong(what, key, how));
        }
        for (id, order) in &self.orders {
            self.judge_order(id, order, &mut wrong);
        }
        for (word, key) in &self.told {
            let ended = self.actions.get(key).map(|action| action.state.settled());
            match (word.as_str(), ended) {
                (_, None) => wrong(What::Lost, key, format!("told to be {word}, and not in the ledger")),
                ("done", Some(false)) => wrong(What::Lost, key, "told to be done, and is not".to_owned()),
                ("withdrawn", Some(true)) => {
                    wrong(What::Differing, key, "told to be taken back, and is done".to_owned());
                }
                _ => {}
            }
        }
        let sent: BTreeSet<_> =
            self.actions.values().map(|action| (action.dependency.as_str(), action.sent_key())).collect();
        for ((dependency, key), entry) in &self.books {
            if !sent.contains(&(dependency.as_str(), key.as_str())) {
                let how = format!("at the provider without an action: {} effects", entry.effects.len());
                wrong(What::Lost, &format!("{dependency} {key}"), how);
            }
        }
        findings
    }

    fn judge_effect(&self, action: &Action, wrong: &mut dyn FnMut(What, String)) {
        let entry = self.entry(action);
        let (live, end) = (entry.live(), word(action.state.end()));
        match end {
            "done" if live < 1 => wrong(What::Lost, "done, and no effect is at the provider".to_owned()),
            "failed" | "cancelled" if live > 0 => {
                wrong(What::Differing, format!("{end}, and {live} effects are at the provider"));
            }
            "open" | "stuck" => wrong(What::Stuck, format!("{end}: {:?}", action.state.why())),
            _ => {}
        }
        if entry.effects.len() > 1 {
            wrong(What::Doubled, format!("{} effects at the provider", entry.effects.len()));
        }
        if entry.undone.len() > entry.effects.len() {
            wrong(What::Doubled, format!("undone {} times", entry.undone.len()));
        }
        let same = entry.bytes.as_ref().is_none_or(|bytes| bytes.as_bytes() == action.request);
        if entry.wrong > 0 || !same {
            wrong(What::Differing, "the provider got other bytes, or another id".to_owned());
        }
    }

    fn judge_outcomes(&self, action: &Action, wrong: &mut dyn FnMut(What, String)) {
        let end = word(action.state.end());
        let outcomes = self.outcomes.get(&action.key).map_or(&[][..], Vec::as_slice);
        let count = |word: &str| outcomes.iter().filter(|outcome| *outcome == word).count();
        if outcomes.iter().any(|outcome| count(outcome) > 1) {
            wrong(What::Doubled, format!("the application was told twice: {outcomes:?}"));
        }
        if end == "open" || end == "stuck" {
            return;
        }
        // An action that is taken back after it was done has ended twice.
        let others = outcomes.iter().filter(|outcome| *outcome != end);
        let foreign = others.filter(|outcome| !(*outcome == "done" && end == "cancelled")).count();
        if count(end) == 0 {
            wrong(What::Lost, format!("{end}, and the application was told {outcomes:?}"));
        } else if foreign > 0 {
            wrong(What::Differing, format!("{end}, and the application was told {outcomes:?}"));
        }
        if action.operation == "hold" {
            let is_paid = self.orders.contains_key(&action.key);
            if is_paid != (end == "done") {
                wrong(What::Differing, format!("{end}, and there is an order: {is_paid}"));
            }
        }
    }

    fn judge_order(&self, id: &str, order: &Order, wrong: &mut dyn FnMut(What, &str, String)) {
        let keys = match order.flow.split_once('/') {
            Some((dependency, _)) => vec![format!("{dependency} {id}")],
            None => vec![format!("pay {id}"), format!("points {id}-points")],
        };
        let amount = format!("\"amount\":{}}}", order.amount);
        for key in &keys {
            let Some(action) = self.actions.get(key) else {
                wrong(What::Lost, key, "the order is committed, and the action is not there".to_owned());
                continue;
            };
            if !String::from_utf8_lossy(&action.request).contains(&amount) {
                wrong(What::Differing, key, format!("the order's amount is {}", order.amount));
            }
            let is_done = action.state.settled();
            if (order.state == "withdrawn" && is_done) || (order.state == "paid" && !is_done) {
                wrong(What::Differing, key, format!("the order is {}", order.state));
            }
        }
        let done = keys.iter().filter(|key| self.actions.get(*key).is_some_and(|row| row.state.settled()));
        let done = done.count();
        if done != 0 && done != keys.len() {
            wrong(
                What::Differing,
                &keys[0],
                format!("{done} of {} actions of its scope are done", keys.len()),
            );
        }
    }

    /// Tells everything that is known of an action.
    async fn story<S: Store>(&self, ledger: &Ledger<S>, key: &str) -> String {
        let mut text = String::new();
        let action = self.actions.get(key);
        if let Some(action) = action {
            match ledger.story(action.id).await {
                Ok(story) => {
                    text += &format!("{:?}\n", story.action.state);
                    story.attempts.iter().for_each(|attempt| text += &format!("{attempt:?}\n"));
                }
                Err(e) => text += &format!("no story: {e}\n"),
            }
            for line in self.entry(action).story {
                text += &format!("provider: {line}\n");
            }
            text += &format!("application: {:?}\n", self.outcomes.get(&action.key));
        } else if let Some((dependency, key)) = key.split_once(' ') {
            let entry = self.books.get(&(dependency.to_owned(), key.to_owned()));
            for line in entry.map_or(&[][..], |entry| entry.story.as_slice()) {
                text += &format!("provider: {line}\n");
            }
        }
        for (word, _) in self.told.iter().filter(|(_, told)| told == key) {
            text += &format!("a program was told: {word}\n");
        }
        text
    }
}

/// The result of a run.
pub(crate) struct Verdict {
    findings: Vec<Finding>,
    stories: Vec<String>,
    reached: Reached,
    actions: usize,
    orders: usize,
    effects: usize,
    rest: Option<Duration>,
    ran: Duration,
}

impl Verdict {
    /// Compares what was read after a run that came to rest after `rest`.
    pub(crate) async fn of<S: Store>(
        found: Found,
        ledger: &Ledger<S>,
        reached: Reached,
        rest: Option<Duration>,
        ran: Duration,
    ) -> Verdict {
        let findings = found.findings();
        let mut keys: Vec<&String> = findings.iter().map(|finding| &finding.key).collect();
        keys.dedup();
        let mut stories = Vec::new();
        for key in keys.into_iter().take(SHOWN) {
            stories.push(format!("== {key}\n{}", found.story(ledger, key).await));
        }
        let effects = found.books.values().map(|entry| entry.effects.len()).sum();
        let (actions, orders) = (found.actions.len(), found.orders.len());
        Verdict { findings, stories, reached, actions, orders, effects, rest, ran }
    }

    /// Returns the number of actions with this kind of finding.
    fn count(&self, what: What) -> usize {
        let of_kind = self.findings.iter().filter(|finding| finding.what == what);
        of_kind.map(|finding| &finding.key).collect::<BTreeSet<_>>().len()
    }

    /// Returns whether nothing is wrong, all rows came to rest, and every kind of fault was reached.
    pub(crate) fn is_good(&self) -> bool {
        self.findings.is_empty()
            && self.rest.is_some()
            && self.reached.missed().is_empty()
            && self.actions > 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in self.findings.iter().take(10 * SHOWN) {
            writeln!(f, "{:?}: {}: {}", finding.what, finding.key, finding.how)?;
        }
        for story in &self.stories {
            writeln!(f, "{story}")?;
        }
        writeln!(f, "\n{}", self.reached)?;
        for kind in self.reached.missed() {
            writeln!(f, "never reached: {kind}")?;
        }
        writeln!(f, "actions      {:>8}", self.actions)?;
        writeln!(f, "orders       {:>8}", self.orders)?;
        writeln!(f, "effects      {:>8}", self.effects)?;
        writeln!(f, "doubled      {:>8}", self.count(What::Doubled))?;
        writeln!(f, "lost         {:>8}", self.count(What::Lost))?;
        writeln!(f, "stuck        {:>8}", self.count(What::Stuck))?;
        writeln!(f, "differing    {:>8}", self.count(What::Differing))?;
        match self.rest {
            Some(rest) => writeln!(f, "time to rest {:>6.1} s", rest.as_secs_f64())?,
            None => writeln!(f, "time to rest: not within the bound")?,
        }
        writeln!(f, "ran for      {:>6.1} s", self.ran.as_secs_f64())
    }
}
