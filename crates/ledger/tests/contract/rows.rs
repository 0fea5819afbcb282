//! The tests, over any store, of a row whose fields all differ, and of rows that no version of the program wrote.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use seawall_ledger::machine::{self, Effect, Row};
use seawall_ledger::store::{Change, Changed, Filter, Insert, Recorded, Store};
use seawall_ledger::{
    Action, ActionId, AttemptKind, AttemptOutcome, AttemptRow, End, Event, Goal, Known, Money, Naming,
    NotApplied, Now, Owner, Performed, Prints, Report, Stamp, State, Step, Told, Trouble,
};
use seawall_policy::{Draw, Idempotency};

use crate::provider::Provider;
use crate::suite::{PATIENCE, asking, charge, pay};
use crate::world::{World, ledger, quick};

/// A moment of the year 2026, another one for each number.
fn at(number: i64) -> Stamp {
    Stamp::from_micros(1_770_000_000_000_000 + number * 1_000_003)
}

/// A row that is being undone, in which no two fields of one type are equal.
fn open_row() -> Row {
    Row {
        version: 1001,
        needs: 1,
        goal: Goal::Cancel,
        effect: Effect::Applied,
        reason: None,
        open_attempts: 3,
        attempts: 4,
        maybe_sent: 5,
        first_sent_at: Some(at(1)),
        quiet_until: Some(at(2)),
        send_by: Some(at(16)),
        key_ends_at: Some(at(3)),
        seen: true,
        logged: 6,
        in_flight: Some(7),
        asks: 8,
        absences: 9,
        ended: None,
        why: Some("why".to_owned()),
        owner: Some(Owner(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)),
        fence: 1010,
        leased_until: Some(at(4)),
        begun_at: at(5),
        next_at: at(6),
        settle_by: Some(at(7)),
        answer: Some(b"\x00answer\xff".to_vec()),
        cancel_gen: 11,
        cancel_tries: 12,
        cancel_asked: false,
        cancel_open: 13,
        cancel_gen_early: true,
        cancel_first_at: Some(at(8)),
        cancel_quiet_until: Some(at(9)),
        cancel_send_by: Some(at(14)),
        cancel_key_ends_at: Some(at(15)),
        cancel_key: Some("cancel key".to_owned()),
        handler_tries: 14,
        handler_error: Some("handler error".to_owned()),
        audit_at: Some(at(10)),
        disputed_at: Some(at(11)),
        failing_since: Some(at(13)),
        due_at: None,
    }
}

/// A row that has ended. Each flag and each column that may be empty differs from [`open_row`].
fn ended_row(version: u64) -> Row {
    Row {
        version,
        needs: 2,
        goal: Goal::Perform,
        effect: Effect::NotApplied,
        reason: Some(NotApplied::NoSuch),
        open_attempts: 0,
        seen: false,
        key_ends_at: None,
        in_flight: None,
        ended: Some(End::Failed),
        why: None,
        owner: None,
        leased_until: None,
        settle_by: None,
        answer: None,
        cancel_asked: true,
        cancel_open: 0,
        cancel_gen_early: false,
        cancel_first_at: None,
        cancel_quiet_until: None,
        cancel_send_by: None,
        cancel_key_ends_at: None,
        cancel_key: None,
        handler_tries: 0,
        handler_error: None,
        audit_at: Some(at(12)),
        disputed_at: None,
        failing_since: None,
        ..open_row()
    }
}

fn line(number: u32) -> AttemptRow {
    AttemptRow {
        kind: AttemptKind::Cancel,
        number,
        generation: 21,
        fence: 22,
        recorded_at: at(23),
        send_by: at(24),
        after_quiet: true,
        ended_at: Some(at(25)),
        outcome: AttemptOutcome::NotSent,
        status: Some(26),
        detail: Some("detail".to_owned()),
        answer: Some(b"refusal\xfe".to_vec()),
    }
}

fn full(key: &str, row: Row) -> Action {
    let money = Money { amount: "10.50".parse().unwrap(), currency: "KRW".to_owned() };
    let new = charge(key).in_scope("scope", 31).of_amount(money);
    Action {
        naming: Naming::Salted(32),
        mapped_key: Some(format!("sent as {key}")),
        prints: Some(Prints { head: [34; 32], body: [35; 32] }),
        client: Some("client".to_owned()),
        ..Action::of(&new, State::of_row(row).unwrap(), at(33))
    }
}

async fn insert<S: Store>(store: &S, action: &Action, attempt: Option<AttemptRow>) {
    let recorded = store.record(Insert { action: action.clone(), attempt }).await.unwrap();
    assert!(matches!(recorded, Recorded::New), "{recorded:?}");
}

/// Reads an action in each of the ways in which the store reads one, and checks that it is the wanted one.
async fn assert_read<S: Store>(store: &S, wanted: &Action) {
    assert_eq!(store.load(wanted.id).await.unwrap().as_ref(), Some(wanted));
    assert_eq!(store.find(&wanted.dependency, &wanted.key).await.unwrap().as_ref(), Some(wanted));
    let sent = wanted.mapped_key.clone().unwrap();
    assert_eq!(store.find(&wanted.dependency, &sent).await.unwrap().as_ref(), Some(wanted));
    assert!(store.members("scope").await.unwrap().contains(wanted));
    assert!(store.list(&Filter::first(100)).await.unwrap().contains(wanted));
}

pub(crate) async fn a_row_whose_fields_all_differ_is_read_as_it_was_written<W: World>(world: W) {
    let store = world.open().await;
    let open = full("open", open_row());
    insert(&store, &open, Some(line(1))).await;
    assert_read(&store, &open).await;
    let story = store.story(open.id).await.unwrap().unwrap();
    assert_eq!((story.action, story.attempts), (open.clone(), vec![line(1)]));

    let ended =
        Action { scope: None, amount: None, prints: None, client: None, ..full("ended", ended_row(5)) };
    let ended = Action { naming: Naming::FirstRelease, mapped_key: None, ..ended };
    let bare = AttemptRow {
        kind: AttemptKind::Confirm,
        after_quiet: false,
        ended_at: None,
        outcome: AttemptOutcome::Open,
        status: None,
        detail: None,
        answer: None,
        ..line(2)
    };
    insert(&store, &ended, Some(bare.clone())).await;
    let story = store.story(ended.id).await.unwrap().unwrap();
    assert_eq!((story.action, story.attempts), (ended, vec![bare]));

    let in_transaction = full("in a transaction", open_row());
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    let insert = Insert { action: in_transaction.clone(), attempt: Some(line(1)) };
    assert!(matches!(store.record_in(&mut conn, &insert).await.unwrap(), Recorded::New));
    W::execute(&mut conn, "COMMIT").await;
    assert_read(&store, &in_transaction).await;
}

pub(crate) async fn a_change_of_every_field_is_read_as_it_was_written<W: World>(world: W) {
    let store = world.open().await;
    let (one, two) = (full("one", open_row()), full("two", open_row()));
    for action in [&one, &two] {
        insert(&store, action, None).await;
    }
    // A note changes nothing but the version. So the row that it is made of is the one that is written.
    let changes = |action: &Action| {
        let write = machine::note(&State::of_row(ended_row(1001)).unwrap(), at(0));
        let action = Action { state: write.to().clone(), ..action.clone() };
        Arc::new(Change { action, write, mark: None, follow: None })
    };
    let (first, second) = (changes(&one), changes(&two));
    let (a, b) = tokio::join!(store.change(first.clone()), store.change(second.clone()));
    assert!(matches!((a.unwrap(), b.unwrap()), (Changed::Taken, Changed::Taken)));
    for change in [&first, &second] {
        assert_eq!(change.action.state.row().version, 1002);
        assert_read(&store, &change.action).await;
    }
    // And back, in a transaction of the caller.
    let write = machine::note(&State::of_row(Row { version: 1002, ..open_row() }).unwrap(), at(0));
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    assert!(store.change_in(&mut conn, one.id, &write, None).await.unwrap());
    W::execute(&mut conn, "COMMIT").await;
    assert_read(&store, &Action { state: write.to().clone(), ..one }).await;
}

pub(crate) async fn a_line_of_the_log_is_completed_with_the_refusal<W: World>(world: W) {
    let store = world.open().await;
    let rules = quick(Idempotency::None);
    let now = store.ask_time().await.unwrap().now();
    let action = Action::of(&charge("k"), machine::reserved(&rules, Owner(5), now), now);
    insert(&store, &action, None).await;
    let Step::Perform(write) =
        machine::plan(&action.state, &rules, action.origin(), Now::sure(now), Owner(5))
    else {
        panic!("it is to be sent")
    };
    let (action, begun) = changed(&store, action, write).await;
    let report = Report { status: Some(402), detail: Some("declined".to_owned()), retry_after: None };
    let event = Event::Performed(begun.clone(), Performed::No(Some(b"no money".to_vec())), report);
    let later = Now::sure(now.saturating_add(Duration::from_millis(3)));
    let told = machine::told(&action.state, &rules, action.origin(), Owner(5), event, later, Draw::new(0));
    let Told::Write(write) = told else { panic!("{told:?}") };
    let (action, closed) = changed(&store, action, write).await;
    assert_eq!((closed.answer.as_deref(), closed.status), (Some(&b"no money"[..]), Some(402)));
    assert_eq!(action.state.answer(), Some(&b"no money"[..]));
    let story = store.story(action.id).await.unwrap().unwrap();
    assert_eq!((story.action, story.attempts), (action, vec![closed]));
}

/// Writes a change that has a line of the log. Returns the action after it, and the line.
async fn changed<S: Store>(store: &S, action: Action, write: machine::Write) -> (Action, AttemptRow) {
    let line = write.attempt().cloned().unwrap();
    let action = Action { state: write.to().clone(), ..action };
    let change = Change { action: action.clone(), write, mark: None, follow: None };
    assert!(matches!(store.change(Arc::new(change)).await.unwrap(), Changed::Taken));
    (action, line)
}

/// What somebody could write into a row by hand, so that it contradicts itself.
const WRONG: &[&str] = &[
    "version = -9",
    "needs = -1",
    "goal = 'do'",
    "effect = 'maybe'",
    "effect = 'unknown'",
    "effect = 'not-applied'",
    "reason = 'refused'",
    "effect = 'not-applied', reason = 'bad luck'",
    "open_attempts = -1",
    "open_attempts = 1",
    "attempts = -1",
    "attempts = 4294967296",
    "maybe_sent = -1",
    "maybe_sent = 1",
    "first_sent_at = created_at",
    "quiet_until = created_at",
    "maybe_sent = 1, open_attempts = 2, first_sent_at = created_at, quiet_until = created_at",
    "maybe_sent = 1, open_attempts = 1, first_sent_at = created_at, quiet_until = created_at",
    "key_ends_at = created_at",
    "seen = true",
    "logged = -1",
    "asks = -1",
    "absences = -1",
    "ended = 'over'",
    "ended = 'done'",
    "ended = 'cancelled'",
    "goal = 'cancel', ended = 'failed'",
    "fence = -9",
    "cancel_gen = -1",
    "cancel_tries = -1",
    "cancel_open = -1",
    "cancel_open = 1",
    "cancel_open = 1, cancel_first_at = created_at",
    "cancel_gen_early = true",
    "cancel_first_at = created_at",
    "cancel_quiet_until = created_at",
    "cancel_key = 'c'",
    "handler_tries = -1",
    "handler_tries = 1",
    "handler_error = 'no'",
    "ended = 'failed', handler_tries = 1, handler_error = 'no'",
    "salt = -2",
    "salt = 4294967296",
    "amount = '1,5', currency = 'KRW'",
    "amount = '1'",
    "currency = 'KRW'",
    "head_print = request",
    "body_print = request",
    "head_print = request, body_print = request",
    "scope = 's'",
    "scope_size = 1",
    "scope = 's', scope_size = -1",
];

/// The same, in the columns that each claim writes anew.
const WRONG_CLAIM: &[&str] = &[
    "in_flight = 1",
    "in_flight = -1, owner = '00000000-0000-0000-0000-000000000001', leased_until = created_at",
    "owner = '00000000-0000-0000-0000-000000000001'",
    "leased_until = created_at",
];

async fn assert_named<S: Store>(store: &S, id: ActionId, set: &str) {
    for error in [store.load(id).await.unwrap_err(), store.story(id).await.unwrap_err()] {
        assert_eq!(error.trouble(), Trouble::Foreign, "{set}: {error}");
        assert!(error.to_string().contains(&id.to_string()), "{set}: {error}");
    }
}

pub(crate) async fn a_row_that_contradicts_itself_is_named_and_stops_no_other<W: World>(world: W) {
    let store = world.open().await;
    let ledger = ledger(store.clone(), asking(Idempotency::Keyed), &Provider::new());
    let mut conn = world.connect().await;
    let mut wrong = Vec::new();
    let mut right = HashSet::new();
    for (number, set) in WRONG.iter().chain(WRONG_CLAIM).enumerate() {
        let action = ledger.record(&charge(&format!("wrong-{number}"))).await.unwrap();
        W::execute(&mut conn, W::BEGIN).await;
        let key = &action.key;
        W::execute(&mut conn, &format!("UPDATE {} SET {set} WHERE key = '{key}'", W::ACTIONS)).await;
        W::execute(&mut conn, "COMMIT").await;
        wrong.push((action.id, *set));
        if number % 5 == 0 {
            right.insert(ledger.record(&charge(&format!("right-{number}"))).await.unwrap().id);
        }
    }
    for (id, set) in &wrong {
        assert_named(&store, *id, set).await;
        if WRONG_CLAIM.contains(set) {
            right.insert(*id);
            continue;
        }
        let claimed = store.claim_one(*id, Owner(4), Duration::from_secs(60)).await;
        assert!(!matches!(claimed, Ok(Some(_))), "{set}");
        assert_named(&store, *id, set).await;
    }
    // Each claim takes wrong rows, too. They wait for the end of their lease, and the next claim gets the others.
    let mut claimed = HashSet::new();
    for _ in 0..WRONG.len() {
        let some = store.claim(&pay(), Owner(5), 7, Duration::from_secs(600)).await.unwrap();
        claimed.extend(some.into_iter().map(|action| action.id));
    }
    assert_eq!(claimed, right);
    // A list leaves the wrong rows out, and its pages are full nevertheless.
    let (mut listed, mut filter) = (Vec::new(), Filter::first(2).of("pay"));
    loop {
        let page = store.list(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some(last.id);
        listed.extend(page.iter().map(|action| action.id));
        assert!(page.len() == 2 || listed.len() == right.len(), "{}", page.len());
    }
    assert!(listed.is_sorted());
    assert_eq!(listed.into_iter().collect::<HashSet<_>>(), right);
}

pub(crate) async fn a_scope_with_an_unreadable_member_is_given_up_until_the_lease_ends<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let one = ledger.record(&charge("one").in_scope("both", 2)).await.unwrap();
    assert_eq!(ledger.run_within(one.id, Duration::ZERO).await.unwrap().state.known(), Known::Applied);
    let two = ledger.record(&charge("two").in_scope("both", 2)).await.unwrap();
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    let wrong = format!("UPDATE {} SET ended = 'over' WHERE id = '{}'", W::ACTIONS, two.id);
    W::execute(&mut conn, &wrong).await;
    W::execute(&mut conn, "COMMIT").await;
    let run = ledger.run_within(one.id, Duration::from_secs(1));
    let run = tokio::time::timeout(PATIENCE, run).await.expect("it is tried for ever").unwrap();
    assert_eq!(
        (run.state.known(), run.state.settled(), provider.performs("one")),
        (Known::Applied, false, 1)
    );
    // The members of a scope are never told without one of them.
    let members = ledger.store().members("both").await.unwrap_err();
    assert!(members.to_string().contains(&two.id.to_string()), "{members}");
}
