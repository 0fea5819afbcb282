//! The tests, over any store, of what real partners do: they forget keys, say "duplicate", can be asked or take a cancel only
//! for some time, refuse refunds, and say why they refuse.

use std::time::Duration;

use seawall_ledger::{
    Action, ActionId, AttemptKind, AttemptOutcome, AttemptRow, By, CancelKind, CancelRules, Cancelling,
    ConfirmRules, End, Known, Ledger, Limits, Money, NotApplied, Resolution, Rules, Window,
};
use seawall_ledger::{store::Filter, store::Store};
use seawall_policy::Idempotency;

use crate::provider::{DECLINED, Fate, Provider};
use crate::suite::{asking, charge, ended, soon, until};
use crate::world::{World, ledger, quick};

/// The longest time of an attempt in these tests.
const ATTEMPT: Duration = Duration::from_secs(1);
const QUIET: Duration = Duration::from_millis(200);

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Makes the times of rules so short that a test can wait for the end of a key's life and of a window.
pub(crate) fn short(rules: Rules) -> Rules {
    Rules {
        attempt: ATTEMPT,
        quiet: QUIET,
        lease: millis(2000),
        network: millis(20),
        pause: millis(20),
        backoff: seawall_policy::Backoff { base: millis(20), cap: millis(100) },
        ..rules
    }
}

pub(crate) fn ann() -> By {
    By::new("ann", "the provider's back office shows it")
}

/// The statement that begins a transaction beside the workers: with serializable transactions, one of both would have to be
/// repeated.
fn begin<W: World>() -> String {
    let level = if W::ACTIONS.contains('.') { " ISOLATION LEVEL READ COMMITTED" } else { "" };
    format!("{}{level}", W::BEGIN)
}

/// Cancels an action in a transaction, and returns what became of it.
pub(crate) async fn take_back<W: World>(world: &W, ledger: &Ledger<W::Store>, id: ActionId) -> Cancelling {
    let mut conn = world.connect().await;
    W::execute(&mut conn, &begin::<W>()).await;
    let became = ledger.cancel_in(&mut conn, id).await.unwrap();
    W::execute(&mut conn, "COMMIT").await;
    became
}

pub(crate) async fn stuck<S: Store>(ledger: &Ledger<S>, id: ActionId, why: &str) -> Action {
    let action = until(ledger, id, |action| action.state.end() == Some(End::Stuck)).await;
    assert!(action.state.why().unwrap().contains(why), "{action:#?}");
    action
}

pub(crate) async fn lines<S: Store>(ledger: &Ledger<S>, id: ActionId, kind: AttemptKind) -> Vec<AttemptRow> {
    let mut lines = ledger.story(id).await.unwrap().attempts;
    lines.retain(|line| line.kind == kind);
    lines
}

/// Changes a column of an action in the database. The next write of a worker finds the row changed, and reads it again.
async fn set<W: World>(world: &W, id: ActionId, column: &str, to: &str) {
    let text = format!("UPDATE {} SET version = version + 1, {column} = {to} WHERE id = '{id}'", W::ACTIONS);
    let mut conn = world.connect().await;
    W::execute(&mut conn, &begin::<W>()).await;
    W::execute(&mut conn, &text).await;
    W::execute(&mut conn, "COMMIT").await;
}

/// SQL for a time in a column, and this number of milliseconds.
fn plus<W: World>(column: &str, millis: i64) -> String {
    if W::ACTIONS.contains('.') {
        format!("{column} + interval '{millis} milliseconds'")
    } else {
        format!("{column} + {}", millis * 1000)
    }
}

/// Ends the windows of an action that are counted from the first send: it was sent a day earlier.
async fn windows_end<W: World>(world: &W, id: ActionId) {
    set(world, id, "first_sent_at", &plus::<W>("first_sent_at", -24 * 3600 * 1000)).await;
}

pub(crate) async fn nothing_is_sent_under_a_key_that_may_be_forgotten<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::DoneUnanswered, Fate::LostUnanswered]);
    let confirm = ConfirmRules { after: millis(250), ..ConfirmRules::default() };
    let rules = Rules { confirm: Some(confirm), quiet: millis(400), ..short(asking(Idempotency::Keyed)) };
    let ledger = ledger(world.open().await, rules, &provider);
    let arrived = ledger.perform(&charge("arrived")).await.unwrap();
    let lost = ledger.perform(&charge("lost")).await.unwrap();
    for doubtful in [&arrived, &lost] {
        assert_eq!((doubtful.state.known(), doubtful.state.end()), (Known::Unknown, None));
        // "Midnight" is near. The quiet time ends after it.
        set(&world, doubtful.id, "key_ends_at", &plus::<W>("first_sent_at", 1200)).await;
    }
    let worker = ledger.worker(soon());
    let done = ended(&ledger, arrived.id).await;
    assert_eq!((done.state.end(), done.state.known()), (Some(End::Done), Known::Applied));
    // The provider is believed only when nothing may be sent any more.
    let failed = ended(&ledger, lost.id).await;
    assert_eq!((failed.state.end(), failed.state.known()), (Some(End::Failed), Known::Never));
    assert!(failed.state.why().unwrap().contains("not to be sent again"));
    for (key, effects) in [("arrived", 1), ("lost", 0)] {
        assert!(provider.confirms(key) > 0, "{key}");
        assert_eq!((provider.performs(key), provider.effects(key)), (1, effects), "{key}");
    }
    drop(worker);
}

pub(crate) async fn a_forgotten_key_of_a_provider_that_cannot_be_asked_is_left_to_a_person<W: World>(
    world: W,
) {
    let provider = Provider::new().keyed().script(&[Fate::LostUnanswered; 60]);
    let limits = Limits { perform: 60, cancel: Some(20), confirm: Some(50) };
    let rules = Rules { limits, ..short(quick(Idempotency::Keyed)) };
    let ledger = ledger(world.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    let doubtful = ledger.perform(&charge("k")).await.unwrap();
    until(&ledger, doubtful.id, |_| provider.performs("k") >= 2).await;
    let end = ledger.store().ask_time().await.unwrap().now().saturating_add(millis(1300));
    let before = ledger.load(doubtful.id).await.unwrap().state.first_sent_at().unwrap();
    let after = (end.as_micros() - before.as_micros()) / 1000;
    set(&world, doubtful.id, "key_ends_at", &plus::<W>("first_sent_at", after)).await;
    let since = ledger.store().ask_time().await.unwrap().now();
    let why = "the provider may have forgotten the key";
    let forgotten = stuck(&ledger, doubtful.id, why).await;
    assert_eq!(forgotten.state.known(), Known::Unknown);
    // Each attempt since then must have arrived before the end.
    let mut sends = lines(&ledger, doubtful.id, AttemptKind::Perform).await;
    sends.retain(|line| line.recorded_at > since);
    assert!(sends.iter().all(|line| line.send_by < end), "{end:?}: {sends:#?}");
    assert!(provider.bytes_never_changed());
    // A retry by a person sends nothing either.
    let sent = provider.performs("k");
    ledger.retry(doubtful.id, &ann()).await.unwrap();
    stuck(&ledger, doubtful.id, why).await;
    assert_eq!((provider.performs("k"), provider.effects("k")), (sent, 0));
    let failed = ledger.resolve(doubtful.id, Resolution::NotApplied, &ann()).await.unwrap();
    assert_eq!(failed.state.end(), Some(End::Failed));
    drop(worker);
}

pub(crate) async fn a_duplicate_is_never_believed_absent<W: World>(world: W) {
    let script = [Fate::DoneUnanswered, Fate::Duplicate];
    let provider = Provider::new().keyed().script(&script).blind(u32::MAX);
    let rules = Rules { attempt: millis(400), ..short(asking(Idempotency::Keyed)) };
    let ledger = ledger(world.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    let doubtful = ledger.perform(&charge("k")).await.unwrap();
    // The look-up lags for so long that the provider is believed, and the request is sent again.
    until(&ledger, doubtful.id, |_| provider.performs("k") == 2).await;
    // From then on it is not believed, even if it is asked after the quiet time.
    let believable = until(&ledger, doubtful.id, |action| {
        action.state.quiet_until().is_some_and(|quiet| ledger.store().clock().now() >= quiet)
    });
    believable.await;
    let asked = provider.confirms("k");
    until(&ledger, doubtful.id, |_| provider.confirms("k") >= asked + 3).await;
    let open = ledger.load(doubtful.id).await.unwrap();
    assert_eq!((open.state.known(), open.state.end()), (Known::Unknown, None));
    let late = lines(&ledger, doubtful.id, AttemptKind::Confirm).await;
    let late = late.iter().filter(|line| Some(line.recorded_at) >= open.state.quiet_until());
    assert!(late.count() >= 1);
    provider.is_blind(0);
    let done = ended(&ledger, doubtful.id).await;
    assert_eq!((done.state.end(), done.state.known()), (Some(End::Done), Known::Applied));
    assert_eq!((provider.performs("k"), provider.effects("k"), provider.cancels("k")), (2, 1, 0));
    let sends = lines(&ledger, doubtful.id, AttemptKind::Perform).await;
    assert!(sends.iter().all(|line| line.outcome != AttemptOutcome::No), "{sends:#?}");
    drop(worker);
}

pub(crate) async fn a_window_for_questions_that_ends_while_the_provider_is_away_leaves_it_to_a_person<
    W: World,
>(
    world: W,
) {
    let provider = Provider::new().script(&[Fate::DoneUnanswered]);
    provider.is_away(true);
    let window = Some(Window::For(millis(24 * 3600 * 1000)));
    let confirm = ConfirmRules { after: millis(20), until: window, ..ConfirmRules::default() };
    let rules = Rules { confirm: Some(confirm), ..short(asking(Idempotency::None)) };
    let ledger = ledger(world.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    let doubtful = ledger.perform(&charge("k")).await.unwrap();
    until(&ledger, doubtful.id, |_| provider.confirms("k") >= 2).await;
    windows_end(&world, doubtful.id).await;
    let why = "can no longer be asked";
    let past = stuck(&ledger, doubtful.id, why).await;
    assert_eq!(past.state.known(), Known::Unknown);
    let asked = provider.confirms("k");
    // The provider is back. It has forgotten the action and would say "not found", but it is not asked any more.
    provider.is_away(false);
    provider.is_blind(u32::MAX);
    ledger.retry(doubtful.id, &ann()).await.unwrap();
    let again = stuck(&ledger, doubtful.id, why).await;
    assert!(again.state.version() > past.state.version());
    assert_eq!((again.state.known(), provider.confirms("k")), (Known::Unknown, asked));
    let done = ledger.resolve(doubtful.id, Resolution::Applied, &ann()).await.unwrap();
    assert_eq!((done.state.end(), done.state.known()), (Some(End::Done), Known::Applied));
    assert_eq!((provider.performs("k"), provider.effects("k"), provider.confirms("k")), (1, 1, asked));
    drop(worker);
}

pub(crate) async fn a_window_for_cancels_that_ends_while_the_provider_is_away_leaves_it_to_a_person<
    W: World,
>(
    world: W,
) {
    let provider = Provider::new();
    let cancel = CancelRules {
        kind: CancelKind::State,
        by_key: true,
        until: Some(Window::For(millis(24 * 3600 * 1000))),
        ..CancelRules::default()
    };
    let limits = Limits { perform: 5, cancel: Some(1000), confirm: Some(50) };
    let rules = Rules { confirm: None, cancel: Some(cancel), limits, ..short(asking(Idempotency::None)) };
    let ledger = ledger(world.open().await, rules, &provider);
    let worker = ledger.worker(soon());
    let done = ledger.perform(&charge("k")).await.unwrap();
    provider.is_away(true);
    assert_eq!(take_back(&world, &ledger, done.id).await, Cancelling::UnderWay);
    until(&ledger, done.id, |_| provider.cancels("k") >= 2).await;
    windows_end(&world, done.id).await;
    let why = "can no longer be cancelled";
    let past = stuck(&ledger, done.id, why).await;
    assert_eq!(past.state.known(), Known::Applied);
    let tried = provider.cancels("k");
    // The provider is back, but the window is over.
    provider.is_away(false);
    ledger.retry(done.id, &ann()).await.unwrap();
    let again = stuck(&ledger, done.id, why).await;
    assert!(again.state.version() > past.state.version());
    assert_eq!((again.state.known(), provider.cancels("k")), (Known::Applied, tried));
    assert_eq!(provider.effects("k"), 1);
    let undone = ledger.resolve(done.id, Resolution::NotApplied, &ann()).await.unwrap();
    assert_eq!(undone.state.end(), Some(End::Cancelled));
    assert_eq!(undone.state.known(), Known::NotApplied(NotApplied::Resolved));
    drop(worker);
}

/// Rules of a provider whose refunds add up, and carry a key.
fn refunding() -> Rules {
    let cancel = CancelRules { keyed: true, by_key: true, ..CancelRules::default() };
    let limits = Limits { perform: 5, cancel: Some(3), confirm: Some(50) };
    Rules { cancel: Some(cancel), limits, ..short(asking(Idempotency::Keyed)) }
}

pub(crate) async fn a_cancel_that_is_refused_is_tried_under_a_new_key_each_time_and_then_stuck<W: World>(
    world: W,
) {
    let provider = Provider::new().keyed().cancel_script(&[Fate::Refused; 3]);
    let ledger = ledger(world.open().await, refunding(), &provider);
    let worker = ledger.worker(soon());
    let done = ledger.perform(&charge("k")).await.unwrap();
    take_back(&world, &ledger, done.id).await;
    let refused = stuck(&ledger, done.id, "the cancel failed too often").await;
    // The charge never counts as returned.
    assert_eq!((refused.state.known(), provider.effects("k")), (Known::Applied, 1));
    let mut cancels = lines(&ledger, done.id, AttemptKind::Cancel).await;
    cancels.retain(|line| line.outcome != AttemptOutcome::NotSent);
    assert!(cancels.iter().all(|line| line.outcome == AttemptOutcome::No), "{cancels:#?}");
    assert_eq!(cancels.iter().map(|line| line.generation).collect::<Vec<_>>(), [0, 1, 2]);
    ledger.retry(done.id, &ann()).await.unwrap();
    let undone = ended(&ledger, done.id).await;
    assert_eq!(undone.state.known(), Known::NotApplied(NotApplied::Cancelled));
    let keys = provider.cancelled_as("k");
    let different: std::collections::HashSet<_> = keys.iter().collect();
    assert_eq!((keys.len(), different.len(), provider.effects("k")), (4, 4, 0), "{keys:?}");
    drop(worker);
}

pub(crate) async fn a_cancel_that_is_refused_for_ever_is_stuck_immediately<W: World>(world: W) {
    let provider = Provider::new().keyed().cancel_script(&[Fate::Never]);
    let ledger = ledger(world.open().await, refunding(), &provider);
    let worker = ledger.worker(soon());
    let done = ledger.perform(&charge("k")).await.unwrap();
    take_back(&world, &ledger, done.id).await;
    let never = stuck(&ledger, done.id, "the provider says that it cannot be undone").await;
    assert_eq!(never.state.known(), Known::Applied);
    assert_eq!((provider.cancels("k"), provider.effects("k")), (1, 1));
    drop(worker);
}

pub(crate) async fn a_refusal_is_given_back_with_its_body<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::Declined]);
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let refused = ledger.perform(&charge("k")).await.unwrap();
    assert_eq!(refused.state.end(), Some(End::Failed));
    assert_eq!(refused.state.known(), Known::NotApplied(NotApplied::Refused));
    assert_eq!(refused.state.answer(), Some(DECLINED));
    assert_eq!(ledger.load(refused.id).await.unwrap(), refused);
    let sent = lines(&ledger, refused.id, AttemptKind::Perform).await;
    assert_eq!((sent.len(), sent[0].outcome, sent[0].status), (1, AttemptOutcome::No, Some(402)));
    assert_eq!(sent[0].answer.as_deref(), Some(DECLINED));
    // The same request again gets the same answer, in every way of recording, and nothing is sent.
    assert_eq!(ledger.perform(&charge("k")).await.unwrap(), refused);
    assert_eq!(ledger.perform_or_close(&charge("k")).await.unwrap(), refused);
    assert_eq!(ledger.record(&charge("k")).await.unwrap(), refused);
    assert_eq!(provider.performs("k"), 1);
}

pub(crate) async fn amounts_are_read_exactly_as_they_were_recorded<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let texts = ["10.50", "-0.05", "0", "123456789012345678901234567890", "-12345678901234567890.0123456789"];
    let mut conn = world.connect().await;
    for (text, currency) in texts.into_iter().zip(["KRW", "USD", "JPY", "IDR", "BHD"]) {
        let money = Money { amount: text.parse().unwrap(), currency: currency.to_owned() };
        let new = charge(text).of_amount(money.clone());
        let performed = ledger.perform(&new).await.unwrap();
        let read = ledger.find("pay", text).await.unwrap();
        assert_eq!((read.amount.as_ref(), &read), (Some(&money), &performed));
        // The text in the column has all digits, for everybody who reads it without this program.
        let column = format!(
            "SELECT count(*) FROM {} WHERE amount = '{}' AND currency = '{currency}'",
            W::ACTIONS,
            money.amount
        );
        assert_eq!(W::number(&mut conn, &column).await, 1, "{text}");
        assert_eq!(money.amount.to_string().parse(), Ok(money.amount));
        let again = ledger.perform(&charge(text).of_amount(money.clone())).await.unwrap();
        assert_eq!(again, performed);
    }
    let money = Money { amount: "10.50".parse().unwrap(), currency: "KRW".to_owned() };
    W::execute(&mut conn, W::BEGIN).await;
    let within = ledger.record_in(&mut conn, &charge("within").of_amount(money.clone())).await.unwrap();
    W::execute(&mut conn, "COMMIT").await;
    assert_eq!(ledger.load(within.id).await.unwrap().amount, Some(money));
    let none = ledger.record(&charge("none")).await.unwrap();
    assert_eq!(ledger.load(none.id).await.unwrap().amount, None);
    let listed = ledger.list(&Filter::first(10)).await.unwrap();
    assert_eq!(listed.iter().filter(|action| action.amount.is_some()).count(), 6);
}
