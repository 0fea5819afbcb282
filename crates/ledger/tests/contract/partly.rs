//! The tests, over any store, of effects that others change, too: partial refunds beside a full cancel, reports that contradict
//! an end, and what a cancel says of an action.

use std::sync::{Arc, Mutex};

use seawall_ledger::store::Boxed;
use seawall_ledger::{
    CancelRules, Cancelling, Delivery, End, Found, Known, Ledger, NewAction, NotApplied, Observed, Operation,
    Performed, Refusal, Remote, Report, Rules, SettleBy, Undone,
};
use seawall_policy::Idempotency;

use crate::partners::{ann, millis, short, stuck, take_back};
use crate::provider::{Fate, Provider};
use crate::suite::{SECOND, asking, charge, ended, soon, until};
use crate::world::{World, ledger, quick};

/// What happens to a full cancel, before it is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    /// Somebody refunds 2 in the provider's back office. So the cancel names too much, and is refused.
    Refunded,
    /// It is lost.
    Lost,
}

/// A request as the provider saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Saw {
    Question,
    /// A cancel of this amount, under this key.
    Cancel(u32, String),
    Refund,
}

/// The books of one charge, of which partial refunds and a full cancel give money back.
struct Books {
    left: u32,
    returned: u32,
    saw: Vec<Saw>,
    script: Vec<Meanwhile>,
}

/// A provider with one charge of 10. A question is answered with what is left of it; a full cancel must name exactly that.
#[derive(Clone)]
struct Account(Arc<Mutex<Books>>);

impl Books {
    /// Gives back an amount, if that much is left.
    fn gives_back(&mut self, amount: u32) -> bool {
        if amount > self.left || amount == 0 {
            return false;
        }
        self.left -= amount;
        self.returned += amount;
        true
    }
}

impl Account {
    fn new(script: &[Meanwhile]) -> Account {
        let script = script.iter().rev().copied().collect();
        Account(Arc::new(Mutex::new(Books { left: 0, returned: 0, saw: Vec::new(), script })))
    }
}

fn said(left: u32) -> Option<Vec<u8>> {
    Some(left.to_string().into_bytes())
}

impl Remote for Account {
    fn perform<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Performed, Report)> {
        let mut books = self.0.lock().unwrap();
        let how = if delivery.action.operation == "charge" {
            books.left = 10;
            Performed::Yes(said(10))
        } else {
            books.saw.push(Saw::Refund);
            if books.gives_back(1) { Performed::Yes(None) } else { Performed::No(None) }
        };
        Box::pin(async move { (how, Report::default()) })
    }

    fn confirm<'a>(&'a self, _: Delivery<'a>) -> Boxed<'a, (Found, Report)> {
        let mut books = self.0.lock().unwrap();
        books.saw.push(Saw::Question);
        let found = if books.left == 0 { Found::Cancelled } else { Found::Applied(said(books.left)) };
        Box::pin(async move { (found, Report::default()) })
    }

    fn cancel<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Undone, Report)> {
        let mut books = self.0.lock().unwrap();
        let named = delivery.action.state.answer().unwrap();
        let named: u32 = std::str::from_utf8(named).unwrap().parse().unwrap();
        books.saw.push(Saw::Cancel(named, delivery.action.cancel_key()));
        let undone = match books.script.pop() {
            Some(Meanwhile::Lost) => Undone::Unknown,
            Some(Meanwhile::Refunded) => {
                assert!(books.gives_back(2));
                Undone::Refused
            }
            None if named == books.left && books.gives_back(named) => Undone::Yes,
            None => Undone::Refused,
        };
        Box::pin(async move { (undone, Report::default()) })
    }
}

pub(crate) async fn a_full_cancel_undoes_what_partial_refunds_left<W: World>(world: W) {
    let account = Account::new(&[Meanwhile::Refunded, Meanwhile::Lost]);
    let cancel = CancelRules { keyed: true, by_key: true, asks_first: true, ..CancelRules::default() };
    let full = Rules { cancel: Some(cancel), ..short(asking(Idempotency::Keyed)) };
    let part = Rules { attempt: full.attempt, lease: full.lease, ..quick(Idempotency::Keyed) };
    let remote = Arc::new(account.clone());
    let ledger = Ledger::builder(world.open().await)
        .operation(Operation::new("pay", "charge", full, remote.clone()))
        .operation(Operation::new("pay", "refund", part, remote))
        .build()
        .unwrap();
    let workers = [ledger.worker(soon()), ledger.worker(soon())];
    let charged = ledger.perform(&charge("k")).await.unwrap();
    let mut refunds = Vec::new();
    for number in 0..3 {
        let new = NewAction::new("pay", "refund", format!("k-part-{number}"), b"1".to_vec());
        refunds.push(ledger.record(&new).await.unwrap().id);
    }
    assert_eq!(take_back(&world, &ledger, charged.id).await, Cancelling::UnderWay);
    let undone = ended(&ledger, charged.id).await;
    assert_eq!(undone.state.known(), Known::NotApplied(NotApplied::Cancelled));
    let mut parts = 0;
    for id in refunds {
        parts += u32::from(ended(&ledger, id).await.state.end() == Some(End::Done));
    }
    let books = account.0.lock().unwrap();
    assert_eq!((books.left, books.returned), (0, 10), "returned once, and whole");
    // A partial refund may come between the question and its cancel; no other question or cancel does.
    let saw: Vec<_> = books.saw.iter().filter(|saw| **saw != Saw::Refund).collect();
    let mut keys = Vec::new();
    for (at, seen) in saw.iter().enumerate() {
        if let Saw::Cancel(_, key) = seen {
            assert!(at > 0 && *saw[at - 1] == Saw::Question, "{saw:?}");
            assert!(!keys.contains(key), "{saw:?}");
            keys.push(key.clone());
        }
    }
    assert!(keys.len() >= 3, "{saw:?}");
    // What was given back is what the refunds took, the 2 of the back office, and the rest by the last cancel.
    assert!(matches!(saw.last(), Some(Saw::Cancel(rest, _)) if *rest == 8 - parts), "{saw:?}");
    drop(workers);
}

pub(crate) async fn what_contradicts_an_end_is_marked_and_changes_nothing<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, asking(Idempotency::Keyed), &provider);
    let done = ledger.perform(&charge("k")).await.unwrap();
    assert_eq!(done.state.disputed_at(), None);
    let disputed = ledger.observe(done.id, Observed::Otherwise, &ann()).await.unwrap();
    assert_eq!(ledger.load(done.id).await.unwrap(), disputed);
    assert!(disputed.state.disputed_at().is_some());
    assert_eq!((disputed.state.end(), disputed.state.known()), (Some(End::Done), Known::Applied));
    assert_eq!((disputed.state.settled(), disputed.state.answer()), (true, done.state.answer()));
    let story = ledger.story(done.id).await.unwrap();
    let marks: Vec<_> = story.marks.iter().map(|mark| (mark.who.as_str(), mark.what.as_str())).collect();
    assert_eq!(marks, [("ann", "observe")]);
    assert_eq!(story.marks[0].why, ann().why);
    // A report that agrees with the end is no contradiction.
    let agrees = ledger.observe(done.id, Observed::Applied(None), &ann()).await.unwrap();
    assert_eq!(agrees, disputed);
    assert_eq!((provider.performs("k"), provider.cancels("k")), (1, 0));
}

pub(crate) async fn a_report_is_settled_by_the_question_that_follows_it<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::LostUnanswered]);
    let rules = Rules { attempt: millis(400), ..short(asking(Idempotency::None)) };
    let ledger = ledger(world.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    let lost = ledger.perform(&charge("k")).await.unwrap();
    let failed = ended(&ledger, lost.id).await;
    assert_eq!((failed.state.end(), failed.state.disputed_at()), (Some(End::Failed), None));
    let asked = provider.confirms("k");
    let disputed = ledger.observe(lost.id, Observed::Applied(None), &ann()).await.unwrap();
    assert!(disputed.state.disputed_at().is_some());
    assert_eq!((disputed.state.end(), disputed.state.known()), (Some(End::Failed), failed.state.known()));
    assert!(disputed.state.audit_at() > failed.state.disputed_at(), "it is asked about");
    // The provider confirms the end.
    let cleared = until(&ledger, lost.id, |action| action.state.disputed_at().is_none()).await;
    assert_eq!((cleared.state.end(), cleared.state.audit_at()), (Some(End::Failed), None));
    assert_eq!(provider.confirms("k"), asked + 1);
    assert_eq!(ledger.story(lost.id).await.unwrap().marks.len(), 1, "the mark is kept");

    // The next report is right: the effect is there, and is undone.
    provider.has("k");
    ledger.observe(lost.id, Observed::Applied(None), &ann()).await.unwrap();
    let undone = until(&ledger, lost.id, |action| action.state.end() == Some(End::Cancelled)).await;
    assert_eq!(undone.state.known(), Known::NotApplied(NotApplied::Cancelled));
    assert_eq!((provider.effects("k"), provider.cancels("k")), (0, 1));
    drop(worker);
}

pub(crate) async fn a_cancel_says_what_became_of_it<W: World>(world: W) {
    let provider = Provider::new().cancel_script(&[Fate::Never]);
    let rules = Rules { settle: SettleBy::Explicit(SECOND * 600), ..asking(Idempotency::Keyed) };
    let ledger = ledger(world.open().await, rules, &provider);
    let became = |action: &seawall_ledger::Action| Cancelling::of(&action.state);

    // Nothing was sent.
    let unsent = ledger.record(&charge("unsent")).await.unwrap();
    let also = ledger.record(&charge("also")).await.unwrap();
    assert_eq!(became(&ledger.cancel(unsent.id).await.unwrap()), Cancelling::Ended(End::Cancelled));
    assert_eq!(take_back(&world, &ledger, also.id).await, Cancelling::Ended(End::Cancelled));

    // It took effect, and is undone by a worker. The first worker finds that it cannot be undone.
    let mut charged = Vec::new();
    for key in ["never", "undone"] {
        charged.push(ledger.perform(&charge(key)).await.unwrap().id);
    }
    let worker = ledger.worker(soon());
    assert_eq!(became(&ledger.cancel(charged[0]).await.unwrap()), Cancelling::UnderWay);
    stuck(&ledger, charged[0], "cannot be undone").await;
    assert_eq!(take_back(&world, &ledger, charged[1]).await, Cancelling::UnderWay);
    ended(&ledger, charged[1]).await;
    for (id, end) in [(charged[0], End::Stuck), (charged[1], End::Cancelled)] {
        assert_eq!(became(&ledger.cancel(id).await.unwrap()), Cancelling::Ended(end));
        assert_eq!(take_back(&world, &ledger, id).await, Cancelling::Ended(end));
    }
    assert_eq!((provider.cancels("never"), provider.cancels("undone")), (1, 1));

    // It was refused, so that there is nothing to cancel.
    let refusing = provider.clone().script(&[Fate::Declined]);
    let refused = ledger.perform(&charge("refused")).await.unwrap();
    assert_eq!(became(&ledger.cancel(refused.id).await.unwrap()), Cancelling::Ended(End::Failed));
    assert_eq!(take_back(&world, &ledger, refused.id).await, Cancelling::Ended(End::Failed));
    assert_eq!(refusing.cancels("refused"), 0);

    // It is settled: only a transaction that also takes the business row back may cancel it.
    let settled = ledger.perform(&charge("settled")).await.unwrap();
    ledger.settle(settled.id).await.unwrap();
    assert_eq!(ledger.cancel(settled.id).await.unwrap_err().refusal(), Some(Refusal::Settled));
    assert_eq!(take_back(&world, &ledger, settled.id).await, Cancelling::UnderWay);
    ended(&ledger, settled.id).await;
    assert_eq!(provider.effects("settled"), 0);
    drop(worker);
}
