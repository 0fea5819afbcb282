//! The tests, over any store, of the key under which an action is sent: mapped keys that clash, the search by either key,
//! and keys that are used anew.

use std::sync::Arc;

use seawall_ledger::store::{Insert, Recorded, Store};
use seawall_ledger::{
    Action, ActionId, End, KeyRules, Known, Ledger, Naming, NewAction, Operation, Refusal, Rules, machine,
};
use seawall_policy::Idempotency;

use crate::provider::{Fate, Provider};
use crate::suite::{SECOND, asking, charge, ended, soon, until};
use crate::world::{World, ledger, quick};

/// Rules of a provider that takes 16 to 64 letters, digits, `_` and `-`.
pub(crate) fn long_keys() -> Rules {
    Rules { keys: KeyRules::parse("A-Za-z0-9_-", 16, 64).unwrap(), ..asking(Idempotency::Keyed) }
}

/// Inserts an action that is sent under the key `sent`.
async fn takes<S: Store>(store: &S, key: &str, sent: String) -> Action {
    let now = store.ask_time().await.unwrap().now();
    let far = now.saturating_add(SECOND * 3600);
    let state = machine::recorded(&long_keys(), far);
    let action = Action { mapped_key: Some(sent), ..Action::of(&charge(key), state, now) };
    let recorded = store.record(Insert { action: action.clone(), attempt: None }).await.unwrap();
    assert!(matches!(recorded, Recorded::New));
    action
}

pub(crate) fn mapped(key: &str, salt: u32) -> String {
    long_keys().keys.sent("pay", key, salt).unwrap()
}

pub(crate) async fn mapped_keys_that_clash_take_the_next_salt<W: World>(world: W) {
    let store = world.open().await;
    let provider = Provider::new();
    let ledger = ledger(store.clone(), long_keys(), &provider);
    let mut conn = world.connect().await;
    for (way, key) in ["perform", "record", "reserve", "record in", "reserve in"].into_iter().zip('a'..) {
        let key = format!("order-{key}");
        let holder = takes(&store, &format!("{key} first"), mapped(&key, 0)).await;
        takes(&store, &format!("{key} second"), mapped(&key, 1)).await;
        let new = charge(&key);
        W::execute(&mut conn, W::BEGIN).await;
        let action = match way {
            "record in" => ledger.record_in(&mut conn, &new).await,
            "reserve in" => ledger.reserve_in(&mut conn, &new).await,
            _ => {
                // The transaction of the connection would hold the lock of SQLite.
                W::execute(&mut conn, "COMMIT").await;
                match way {
                    "perform" => ledger.perform(&new).await,
                    "record" => ledger.record(&new).await,
                    _ => ledger.reserve(&new).await,
                }
            }
        };
        let action = action.unwrap();
        if way.ends_with("in") {
            W::execute(&mut conn, "COMMIT").await;
        }
        assert_eq!((action.naming, action.sent_key()), (Naming::Salted(2), &*mapped(&key, 2)), "{way}");
        assert_eq!(ledger.load(action.id).await.unwrap(), action, "{way}");
        assert_eq!(ledger.find("pay", &key).await.unwrap(), action);
        assert_eq!(ledger.find("pay", &mapped(&key, 2)).await.unwrap(), action);
        assert_eq!(ledger.find("pay", &mapped(&key, 0)).await.unwrap(), holder);
        // The same record again finds the action by the caller's key, and chooses no other salt.
        assert_eq!(ledger.record(&new).await.unwrap().id, action.id);
    }
    assert_eq!(provider.performs("order-a"), 1);
}

pub(crate) async fn many_clashes_in_one_batch_are_all_recorded<W: World>(world: W) {
    let store = world.open().await;
    let ledger = ledger(store.clone(), long_keys(), &Provider::new());
    let clashing: Vec<_> = (0..12).map(|number| format!("o-{number}")).collect();
    for key in &clashing {
        takes(&store, &format!("holder of {key}"), mapped(key, 0)).await;
    }
    let record = |key: String| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.record(&charge(&key)).await.unwrap() })
    };
    let all = clashing.iter().cloned().chain((0..12).map(|number| format!("p-{number}")));
    for task in all.map(record).collect::<Vec<_>>() {
        let action = task.await.unwrap();
        let salt = u32::from(action.key.starts_with('o'));
        assert_eq!(action.sent_key(), mapped(&action.key, salt));
        assert_eq!(ledger.load(action.id).await.unwrap(), action);
    }
}

/// Makes a row as plain SQL records it: without the key under which it is sent.
pub(crate) async fn recorded_by_sql<W: World>(world: &W, ledger: &Ledger<W::Store>, key: &str) -> ActionId {
    let now = ledger.store().ask_time().await.unwrap().now();
    let state = machine::recorded(&quick(Idempotency::None), now);
    let action = Action { naming: Naming::Open, ..Action::of(&charge(key), state, now) };
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    let insert = Insert { action: action.clone(), attempt: None };
    assert!(matches!(ledger.store().record_in(&mut conn, &insert).await.unwrap(), Recorded::New));
    W::execute(&mut conn, "COMMIT").await;
    assert_eq!(ledger.load(action.id).await.unwrap().naming, Naming::Open);
    action.id
}

/// Gives an action up before its first attempt, as the first release did.
pub(crate) async fn fails_by_sql<W: World>(world: &W, id: ActionId) {
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    let gives_up = format!("UPDATE {} SET ended = 'failed', due_at = NULL WHERE id = '{id}'", W::ACTIONS);
    W::execute(&mut conn, &gives_up).await;
    W::execute(&mut conn, "COMMIT").await;
}

pub(crate) async fn what_plain_sql_recorded_gets_its_key_before_its_first_attempt<W: World>(world: W) {
    let store = world.open().await;
    let provider = Provider::new();
    let ledger = ledger(store.clone(), long_keys(), &provider);
    let free = recorded_by_sql(&world, &ledger, "free").await;
    let clashes = recorded_by_sql(&world, &ledger, "clashes").await;
    takes(&store, "first", mapped("clashes", 0)).await;
    takes(&store, "second", mapped("clashes", 1)).await;
    let fits = recorded_by_sql(&world, &ledger, "a-key-that-is-long-enough").await;
    let worker = ledger.worker(soon());
    let wanted = [
        (free, "free", mapped("free", 0), 0),
        (clashes, "clashes", mapped("clashes", 2), 2),
        (fits, "a-key-that-is-long-enough", "a-key-that-is-long-enough".to_owned(), 0),
    ];
    for (id, key, sent, salt) in wanted {
        let done = ended(&ledger, id).await;
        assert_eq!((done.state.end(), done.sent_key()), (Some(End::Done), sent.as_str()));
        assert_eq!(done.naming, Naming::Salted(salt));
        assert_eq!((provider.performs(key), provider.sent_as(key)), (1, vec![sent.clone()]));
        assert_eq!(ledger.find("pay", &sent).await.unwrap(), done);
    }
    drop(worker);
}

/// Makes an action that failed although nothing of it was ever sent.
async fn failed_unsent<S: Store>(ledger: &Ledger<S>, key: &str) -> Action {
    let failed = ledger.perform_or_close(&charge(key)).await.unwrap();
    assert_eq!((failed.state.end(), failed.state.known()), (Some(End::Failed), Known::Never), "{failed:?}");
    failed
}

pub(crate) async fn a_key_that_never_left_is_used_anew_in_every_way<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::NotSent; 5]);
    let ledger = ledger(world.open().await, asking(Idempotency::Keyed), &provider);
    let mut conn = world.connect().await;
    let mut anew = Vec::new();
    let failed = [
        failed_unsent(&ledger, "record").await,
        failed_unsent(&ledger, "record in").await,
        failed_unsent(&ledger, "reserve").await,
        failed_unsent(&ledger, "perform").await,
        failed_unsent(&ledger, "perform or close").await,
    ];
    let other = NewAction { request: b"{}".to_vec(), ..charge("record") };
    assert_eq!(ledger.record(&other).await.unwrap_err().refusal(), Some(Refusal::KeyConflict));
    for before in &failed {
        let new = charge(&before.key);
        let action = match before.key.as_str() {
            "record" => ledger.record(&new).await.unwrap(),
            "record in" => {
                W::execute(&mut conn, W::BEGIN).await;
                let action = ledger.record_in(&mut conn, &new).await.unwrap();
                W::execute(&mut conn, "ROLLBACK").await;
                assert_eq!(ledger.load(before.id).await.unwrap(), *before, "it was rolled back");
                assert_eq!(action.state.end(), None);
                W::execute(&mut conn, W::BEGIN).await;
                let action = ledger.record_in(&mut conn, &new).await.unwrap();
                W::execute(&mut conn, "COMMIT").await;
                action
            }
            "reserve" => ledger.reserve(&new).await.unwrap(),
            "perform" => ledger.perform(&new).await.unwrap(),
            _ => ledger.perform_or_close(&new).await.unwrap(),
        };
        assert_eq!(action.id, before.id, "it is the same action");
        assert!(action.state.begun_at() > before.state.begun_at());
        assert!(action.state.logged() >= before.state.logged(), "the log goes on");
        anew.push(action.id);
    }
    let worker = ledger.worker(soon());
    ledger.run(failed[2].id).await.unwrap();
    for id in anew {
        let done = ended(&ledger, id).await;
        assert_eq!((done.state.end(), provider.effects(&done.key)), (Some(End::Done), 1));
        let lines = ledger.story(id).await.unwrap().attempts;
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 2]);
        // A key that has left is not used anew.
        assert_eq!(ledger.perform(&charge(&done.key)).await.unwrap(), done);
    }
    drop(worker);
}

pub(crate) async fn a_key_without_a_name_is_mapped_before_it_is_used_anew<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, long_keys(), &provider);
    let id = recorded_by_sql(&world, &ledger, "order-1").await;
    fails_by_sql(&world, id).await;
    let done = ledger.perform(&charge("order-1")).await.unwrap();
    assert_eq!((done.id, done.state.end()), (id, Some(End::Done)));
    assert_eq!(provider.sent_as("order-1"), [mapped("order-1", 0)]);
    assert_eq!(ledger.find("pay", &mapped("order-1", 0)).await.unwrap(), done);
}

pub(crate) async fn what_could_not_be_sent_is_closed_for_a_waiting_caller<W: World>(world: W) {
    let script = [Fate::NotSent, Fate::NotSent, Fate::No, Fate::DoneUnanswered, Fate::NotSent];
    let provider = Provider::new().script(&script);
    let handled = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = handled.clone();
    let rules = asking(Idempotency::Keyed);
    let operation = Operation::new("pay", "charge", rules.clone(), Arc::new(provider.clone())).on_settled(
        move |_, action| {
            log.lock().unwrap().push((action.key.clone(), action.state.end()));
            Box::pin(async { Ok(()) })
        },
    );
    let ledger = Ledger::builder(world.open().await).operation(operation).build().unwrap();
    let worker = ledger.worker(soon());
    let failed = failed_unsent(&ledger, "unsent").await;
    assert_eq!(ledger.load(failed.id).await.unwrap(), failed);
    // The record with its attempt, and the end of the attempt, which is the end of the action.
    assert_eq!((failed.state.version(), failed.state.due_at()), (2, None));
    let line = ledger.story(failed.id).await.unwrap().attempts.remove(0);
    assert_eq!(line.outcome, seawall_ledger::AttemptOutcome::NotSent);
    assert!(failed.state.why().unwrap().contains("could not be sent"));

    // Another caller of the same key waits for the first one, and the key is then used anew.
    let again = failed_unsent(&ledger, "unsent").await;
    assert_eq!((again.id, again.state.version()), (failed.id, 4));
    let refused = ledger.perform_or_close(&charge("refused")).await.unwrap();
    assert_eq!((refused.state.end(), provider.performs("refused")), (Some(End::Failed), 1));
    assert_eq!(ledger.perform_or_close(&charge("refused")).await.unwrap(), refused, "it had left");
    // What may have left is asked about, as ever.
    let doubtful = ledger.perform_or_close(&charge("doubtful")).await.unwrap();
    let done = ended(&ledger, doubtful.id).await;
    assert_eq!((done.state.end(), provider.performs("doubtful")), (Some(End::Done), 1));
    // An action that a worker has to perform is not closed by somebody who waits for it.
    let recorded = ledger.record(&charge("recorded")).await.unwrap();
    let waited = ledger.perform_or_close(&charge("recorded")).await.unwrap();
    assert_eq!(waited.id, recorded.id);
    let done = until(&ledger, recorded.id, |action| action.state.end().is_some()).await;
    assert_eq!((done.state.end(), provider.performs("recorded")), (Some(End::Done), 2));
    let handled = handled.lock().unwrap().clone();
    let of = |key: &str| handled.iter().filter(|(at, _)| at == key).map(|(_, end)| *end).collect::<Vec<_>>();
    assert_eq!(of("unsent"), [Some(End::Failed), Some(End::Failed)]);
    assert_eq!(of("recorded"), [Some(End::Done)]);
    drop(worker);
}

pub(crate) async fn what_could_not_be_settled_in_time_is_closed_unsent<W: World>(world: W) {
    let provider = Provider::new();
    let settle = seawall_ledger::SettleBy::Explicit(SECOND);
    let rules = Rules { settle, attempt: SECOND * 3, ..asking(Idempotency::Keyed) };
    let ledger = ledger(world.open().await, rules, &provider);
    let failed = failed_unsent(&ledger, "k").await;
    assert_eq!((failed.state.logged(), provider.performs("k")), (0, 0));
    assert!(failed.state.why().unwrap().contains("in time to be settled"));
}
