//! A provider whose list can be long, late, broken off or repeated, and rows of the ledger to compare it with.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use seawall_ledger::machine::{self, NotApplied};
use seawall_ledger::reconcile::{Amount, ListAsk, Listed, ListedState, NoPage, Page};
use seawall_ledger::store::{Boxed, Insert, Store};
use seawall_ledger::{
    Action, ActionId, Delivery, End, Found, Goal, NewAction, Performed, Remote, Report, Rules, Stamp, State,
    Undone,
};
use seawall_policy::Idempotency;

/// What goes wrong with one answer. Answers are numbered in the order in which they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No answer comes, and the asking fails immediately.
    Lost,
    /// The answer cannot be read.
    Garbage,
    /// The previous page comes again, and names the page after it as the next one.
    Repeated,
    /// The page names itself as the next one.
    Stuck,
    /// No answer comes, and the asking does not end.
    Silent,
}

type Hook = Box<dyn Fn(usize) + Send + Sync>;

/// A provider that has a list.
pub(crate) struct Partner {
    pub(crate) records: Mutex<Vec<Listed>>,
    pub(crate) page: usize,
    pub(crate) faults: Mutex<HashMap<usize, Fault>>,
    pub(crate) always: Mutex<Option<Fault>>,
    pub(crate) asked: AtomicUsize,
    pub(crate) firsts: AtomicUsize,
    pub(crate) largest: AtomicUsize,
    pub(crate) cancels: AtomicUsize,
    pub(crate) hook: Mutex<Option<Hook>>,
}

impl Partner {
    pub(crate) fn new(records: Vec<Listed>, page: usize) -> Partner {
        Partner {
            records: Mutex::new(records),
            page,
            faults: Mutex::default(),
            always: Mutex::default(),
            asked: AtomicUsize::new(0),
            firsts: AtomicUsize::new(0),
            largest: AtomicUsize::new(0),
            cancels: AtomicUsize::new(0),
            hook: Mutex::default(),
        }
    }

    /// Makes the `n`th answer from now on, counted from 1, go wrong.
    pub(crate) fn fault(&self, n: usize, fault: Fault) {
        let number = self.asked.load(Ordering::SeqCst) + n;
        self.faults.lock().unwrap().insert(number, fault);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn slice(&self, ask: &ListAsk, start: usize) -> Page {
        let within = |record: &&Listed| {
            let at = record.at.expect("the partner dates its records");
            ask.window.from() <= at && at < ask.window.to()
        };
        let all = self.records.lock().unwrap();
        let mut rest = all.iter().filter(within).skip(start);
        let records: Vec<Listed> = rest.by_ref().take(self.page).cloned().collect();
        let next = rest.next().map(|_| (start + records.len()).to_string());
        self.largest.fetch_max(records.len(), Ordering::SeqCst);
        Page { records, next }
    }
}

impl Remote for Partner {
    fn perform<'a>(&'a self, _: Delivery<'a>) -> Boxed<'a, (Performed, Report)> {
        Box::pin(std::future::ready((Performed::Yes(None), Report::default())))
    }

    fn confirm<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Found, Report)> {
        let records = self.records.lock().unwrap();
        let found = records.iter().find(|record| record.key.as_ref() == Some(&delivery.action.key));
        let found = match found.map(|record| record.state) {
            Some(ListedState::Applied) => Found::Applied(None),
            Some(ListedState::Cancelled) => Found::Cancelled,
            Some(ListedState::Other) => Found::Other,
            None => Found::Absent,
        };
        Box::pin(std::future::ready((found, Report::default())))
    }

    fn cancel<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Undone, Report)> {
        self.cancels.fetch_add(1, Ordering::SeqCst);
        let mut records = self.records.lock().unwrap();
        let found = records.iter_mut().find(|record| record.key.as_ref() == Some(&delivery.action.key));
        let undone = match found {
            Some(record) => {
                record.state = ListedState::Cancelled;
                Undone::Yes
            }
            None => Undone::NoSuch,
        };
        Box::pin(std::future::ready((undone, Report::default())))
    }

    fn list<'a>(&'a self, ask: &'a ListAsk) -> Boxed<'a, Result<Page, NoPage>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        if ask.cursor.is_none() {
            self.firsts.fetch_add(1, Ordering::SeqCst);
        }
        if let Some(hook) = &*self.hook.lock().unwrap() {
            hook(number);
        }
        let fault = self.faults.lock().unwrap().get(&number).copied().or(*self.always.lock().unwrap());
        let start: usize = ask.cursor.as_ref().map_or(0, |cursor| cursor.parse().unwrap());
        let page = match fault {
            None => Ok(self.slice(ask, start)),
            Some(Fault::Lost) => Err(NoPage::Unavailable("connection reset".to_owned())),
            Some(Fault::Garbage) => Err(NoPage::Unreadable("it is not JSON".to_owned())),
            Some(Fault::Repeated) => Ok(self.slice(ask, start.saturating_sub(self.page))),
            Some(Fault::Stuck) => Ok(Page { next: Some(start.to_string()), ..self.slice(ask, start) }),
            Some(Fault::Silent) => return Box::pin(std::future::pending()),
        };
        Box::pin(std::future::ready(page))
    }
}

/// The time that is `minutes` after the beginning of the day that the tests compare.
pub(crate) fn minute(minutes: i64) -> Stamp {
    // 2024-05-05T00:00:00+09:00
    Stamp::from_micros((1_714_834_800 + minutes * 60) * 1_000_000)
}

/// Rules for an operation of which these tests use only a part.
pub(crate) fn rules() -> Rules {
    Rules::of(Idempotency::Keyed)
}

/// A record of the provider.
pub(crate) fn record(key: &str, at: Stamp, amount: i64, state: ListedState) -> Listed {
    Listed {
        key: Some(key.to_owned()),
        id: Some(format!("ch_{key}")),
        amount: Some(Amount::from(amount)),
        state,
        at: Some(at),
    }
}

/// The state of a row, a long time after its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Row {
    Done,
    Failed,
    Cancelled,
    Unknown,
    /// The row is done, but what was sent may still be on its way.
    Fresh,
    Stuck,
}

pub(crate) fn action(dependency: &str, key: &str, at: Stamp, amount: i64, row: Row) -> Action {
    let quiet = Stamp::from_micros(at.as_micros() + 60_000_000);
    let far = Stamp::from_micros(4_000_000_000_000_000);
    let sent = machine::Row {
        maybe_sent: 1,
        quiet_until: Some(quiet),
        first_sent_at: Some(at),
        ..machine::recorded(&rules(), at).row()
    };
    let (effect, reason) = (machine::Effect::NotApplied, Some(NotApplied::Refused));
    let row = match row {
        Row::Done => machine::Row { effect: machine::Effect::Applied, ended: Some(End::Done), ..sent },
        Row::Failed => machine::Row { effect, reason, ended: Some(End::Failed), ..sent },
        Row::Cancelled => machine::Row {
            goal: Goal::Cancel,
            effect,
            reason: Some(NotApplied::Absent),
            ended: Some(End::Cancelled),
            ..sent
        },
        Row::Unknown => machine::Row {
            effect: machine::Effect::Unknown,
            open_attempts: 1,
            attempts: 1,
            next_at: far,
            ..sent
        },
        Row::Fresh => machine::Row {
            effect: machine::Effect::Applied,
            ended: Some(End::Done),
            quiet_until: Some(far),
            ..sent
        },
        Row::Stuck => machine::Row {
            effect: machine::Effect::Unknown,
            open_attempts: 1,
            ended: Some(End::Stuck),
            ..sent
        },
    };
    let state = State::of_row(row).expect("the machine could have written it");
    let random = u128::from(fastrand::u64(..));
    let request = format!(r#"{{"amount": {amount}}}"#);
    Action {
        id: ActionId::from_u128(ActionId::lowest_at(at).as_u128() | (7 << 76) | random),
        ..Action::of(&NewAction::new(dependency, "charge", key, request), state, at)
    }
}

/// Writes rows, with many of them in one commit.
pub(crate) async fn plant<S: Store>(store: &S, actions: Vec<Action>) {
    let mut writes = tokio::task::JoinSet::new();
    for action in actions {
        let store = store.clone();
        writes.spawn(async move { store.record(Insert { action, attempt: None }).await.unwrap() });
    }
    while let Some(done) = writes.join_next().await {
        done.unwrap();
    }
}

/// The number of differences by kind and key. A difference without a key has the provider's id instead.
pub(crate) type Named = BTreeMap<(String, String), u32>;

/// Adds one difference of a kind.
pub(crate) fn count(found: &mut Named, kind: &str, name: &str) {
    *found.entry((kind.to_owned(), name.to_owned())).or_default() += 1;
}
