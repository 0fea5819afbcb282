//! The tests, over any store, of what is kept, and of which worker may change it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use seawall_ledger::store::{Change, Changed, Filter, Follow, Standing, Store};
use seawall_ledger::{
    Action, By, End, Error, Goal, NewAction, Observed, Owner, Performed, Refusal, Report, Resolution, Rules,
    Sizes, Stamp, machine,
};
use seawall_policy::{Draw, Idempotency};

use crate::provider::{Fate, Provider};
use crate::suite::{PATIENCE, SECOND, asking, charge, ended, left_behind, pay, soon};
use crate::world::{World, ledger, quick};

pub(crate) async fn one_key_is_one_action_in_every_way_of_recording<W: World>(world: W) {
    let provider = Provider::new();
    let one = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let two = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let mut tasks = Vec::new();
    for number in 0..20 {
        let ledger = if number % 2 == 0 { one.clone() } else { two.clone() };
        tasks.push(tokio::spawn(async move { ledger.perform(&charge("same")).await.unwrap().id }));
    }
    let mut ids = HashSet::new();
    for task in tasks {
        ids.insert(task.await.unwrap());
    }
    assert_eq!((ids.len(), provider.performs("same")), (1, 1));

    let other = NewAction { request: b"{\"amount\":6}".to_vec(), ..charge("same") };
    let refused = one.record(&other).await.unwrap_err();
    assert_eq!(refused.refusal(), Some(Refusal::KeyConflict));
    let elsewhere = NewAction { dependency: "other".to_owned(), ..charge("same") };
    assert!(matches!(one.record(&elsewhere).await, Err(Error::Misused(_))));
}

pub(crate) async fn a_scope_that_is_settled_already_runs_no_handler_again<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, asking(Idempotency::Keyed), &provider);
    let worker = ledger.worker(soon());
    let one = ledger.record(&charge("one").in_scope("both", 2)).await.unwrap();
    let two = ledger.record(&charge("two").in_scope("both", 2)).await.unwrap();
    for id in [one.id, two.id] {
        assert_eq!(ended(&ledger, id).await.state.end(), Some(End::Done));
    }
    // Two workers, each with one member, may both find that all members are applied. Then both settle the scope.
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let follow: Follow<<W::Store as Store>::Connection> = Arc::new(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    });
    let again = ledger.store().settle_scope("pay", one.scope.unwrap(), Some(follow)).await.unwrap().unwrap();
    assert!(again.members.iter().all(|member| member.state.settled()));
    assert_eq!((again.members.len(), runs.load(Ordering::SeqCst)), (2, 0));
    drop(worker);
}

pub(crate) async fn what_is_too_large_is_refused_before_anything_is_written<W: World>(world: W) {
    let provider = Provider::new();
    let ledger = ledger(world.open().await, quick(Idempotency::Keyed), &provider);
    let sizes = Sizes::default();
    let huge = NewAction { request: vec![b'x'; sizes.request + 1], ..charge("huge") };
    let long = charge(&"k".repeat(sizes.key + 1));
    for refused in [huge, long] {
        assert!(matches!(ledger.record(&refused).await, Err(Error::Misused(_))));
        assert!(matches!(ledger.perform(&refused).await, Err(Error::Misused(_))));
    }
    assert_eq!(ledger.list(&Filter::first(10)).await.unwrap(), []);
    // The largest values that are allowed are taken, and come back unchanged.
    let largest = NewAction { request: vec![0xff; sizes.request], ..charge(&"ü".repeat(sizes.key / 2)) };
    let done = ledger.perform(&largest).await.unwrap();
    assert_eq!(ledger.load(done.id).await.unwrap().request, largest.request);
}

pub(crate) async fn a_stale_worker_changes_no_row<W: World>(world: W) {
    let store = world.open().await;
    let rules = Rules {
        attempt: Duration::from_millis(50),
        lease: Duration::from_millis(100),
        ..asking(Idempotency::Keyed)
    };
    let old = left_behind(&store, &rules, "k").await;
    let line = ledger(store.clone(), rules.clone(), &Provider::new())
        .story(old.id)
        .await
        .unwrap()
        .attempts
        .remove(0);
    let end = Instant::now() + PATIENCE;
    let claimed = loop {
        if let Some(claimed) = store.claim_one(old.id, Owner(5), SECOND * 60).await.unwrap() {
            break claimed;
        }
        assert!(Instant::now() < end, "the lease does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert_eq!((claimed.state.fence(), claimed.state.owner()), (2, Some(Owner(5))));

    // The old worker wakes up with its answer, and tries to write a change of the row that it knew.
    let origin = old.origin();
    let event = seawall_ledger::Event::Performed(line, Performed::Yes(None), Report::default());
    let now = store.clock().moment();
    let told = machine::told(&old.state, &rules, origin, Owner(77), event.clone(), now, Draw::new(0));
    let seawall_ledger::Told::Write(write) = told else { panic!("{told:?}") };
    let stale = Change {
        action: Action { state: write.to().clone(), ..old.clone() },
        write,
        mark: None,
        follow: None,
    };
    let Changed::Stale(Some(found)) = store.change(Arc::new(stale)).await.unwrap() else {
        panic!("it was taken")
    };
    assert_eq!(*found, claimed);
    // When the machine is told the answer with the current row, the answer is only evidence.
    let told = machine::told(&found.state, &rules, origin, Owner(77), event, now, Draw::new(0));
    let seawall_ledger::Told::Late(line) = told else { panic!("{told:?}") };
    store.evidence(old.id, line).await.unwrap();
    let story = store.story(old.id).await.unwrap().unwrap();
    assert_eq!(story.action, claimed);
    assert_eq!(story.attempts[0].outcome, seawall_ledger::AttemptOutcome::Yes);
}

pub(crate) async fn no_row_is_claimed_twice<W: World>(world: W) {
    let store = world.open().await;
    let ledger = ledger(store.clone(), quick(Idempotency::Keyed), &Provider::new());
    let records = (0..120).map(|number| {
        let ledger = ledger.clone();
        tokio::spawn(async move { ledger.record(&charge(&format!("k{number}"))).await.unwrap() })
    });
    for record in records.collect::<Vec<_>>() {
        record.await.unwrap();
    }
    let mut claimers = Vec::new();
    for number in 0..6_u32 {
        let store = if number < 3 { store.clone() } else { world.open().await };
        claimers.push(tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let owner = Owner(u128::from(number));
                let claimed = store.claim(&pay(), owner, 7, SECOND * 600).await.unwrap();
                if claimed.is_empty() {
                    return mine;
                }
                assert!(
                    claimed.len() <= 7 && claimed.iter().all(|action| action.state.owner() == Some(owner))
                );
                mine.extend(claimed.into_iter().map(|action| action.id));
            }
        }));
    }
    let mut all = Vec::new();
    for claimer in claimers {
        all.extend(claimer.await.unwrap());
    }
    assert_eq!((all.len(), all.iter().collect::<HashSet<_>>().len()), (120, 120));
}

pub(crate) async fn lists_go_on_where_they_stopped_and_counts_are_bounded<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::No]);
    let ledger = ledger(world.open().await, quick(Idempotency::None), &provider);
    let failed = ledger.perform(&charge("failed")).await.unwrap();
    let mut recorded = Vec::new();
    for number in 0..25 {
        recorded.push(ledger.record(&charge(&format!("k{number}"))).await.unwrap().id);
    }
    recorded.sort();
    let mut seen = Vec::new();
    let mut filter = Filter::first(10).of("pay").standing(Standing::Open);
    loop {
        let page = ledger.list(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some(last.id);
        seen.extend(page.iter().map(|action| action.id));
    }
    assert_eq!(seen, recorded);
    let one = Filter::first(10).standing(Standing::Failed);
    assert_eq!(ledger.list(&one).await.unwrap(), [failed]);
    let none = Filter::first(10).of("nobody");
    assert_eq!(ledger.list(&none).await.unwrap(), []);
    let counts = ledger.counts("pay").await.unwrap();
    assert_eq!((counts.open, counts.unknown, counts.stuck, counts.more), (25, 0, 0, false));
    assert!(counts.oldest.is_some());
}

pub(crate) async fn what_is_stuck_waits_for_a_person_whose_reason_is_kept<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::LostUnanswered, Fate::LostUnanswered]);
    let ledger = ledger(world.open().await, quick(Idempotency::None), &provider);
    let by = By::new("ann", "the provider's log shows it");
    let stuck = ledger.perform(&charge("k")).await.unwrap();
    assert_eq!(stuck.state.end(), Some(End::Stuck), "{stuck:?}");
    assert_eq!(ledger.counts("pay").await.unwrap().stuck, 1);
    let listed = Filter::first(10).standing(Standing::Stuck);
    assert_eq!(ledger.list(&listed).await.unwrap().len(), 1);
    let done = ledger.resolve(stuck.id, Resolution::Applied, &by).await.unwrap();
    assert_eq!((done.state.end(), done.state.settled()), (Some(End::Done), true));
    let again = ledger.retry(done.id, &by).await.unwrap_err();
    assert_eq!(again.refusal(), Some(Refusal::NotStuck));

    let other = ledger.perform(&charge("l")).await.unwrap();
    let retried = ledger.retry(other.id, &By::new("bob", "again")).await.unwrap();
    assert_eq!((retried.state.end(), retried.state.goal()), (None, Goal::Perform));
    let story = ledger.story(stuck.id).await.unwrap();
    let marks: Vec<_> =
        story.marks.iter().map(|m| (m.who.as_str(), m.what.as_str(), m.why.as_str())).collect();
    assert_eq!(marks, [("ann", "resolve", "the provider's log shows it")]);
}

pub(crate) async fn only_what_ended_long_ago_is_deleted<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::Yes, Fate::Yes, Fate::LostUnanswered]);
    let store = world.open().await;
    let ledger = ledger(store.clone(), quick(Idempotency::None), &provider);
    let done = ledger.perform(&charge("done")).await.unwrap();
    let also = ledger.perform(&charge("also")).await.unwrap();
    let stuck = ledger.perform(&charge("stuck")).await.unwrap();
    let open = ledger.record(&charge("open")).await.unwrap();
    let before = Stamp::from_micros(done.created_at.as_micros() - 1_000_000);
    assert_eq!(store.sweep(before, None, 100).await.unwrap().deleted, 0, "it ended later");
    let after = store.clock().now().saturating_add(SECOND * 60);
    let mut deleted = 0;
    let mut at = None;
    let mut steps = 0;
    loop {
        let swept = store.sweep(after, at, 2).await.unwrap();
        (deleted, steps) = (deleted + swept.deleted, steps + 1);
        at = swept.after;
        if at.is_none() {
            break;
        }
    }
    assert_eq!(deleted, 2);
    assert!(steps >= 2, "in small steps");
    for gone in [done.id, also.id] {
        assert_eq!(store.story(gone).await.unwrap(), None);
    }
    assert_eq!(ledger.story(stuck.id).await.unwrap().attempts.len(), 1);
    assert_eq!(ledger.load(open.id).await.unwrap(), open);
}

pub(crate) async fn what_a_person_ends_is_kept_from_then_on<W: World>(world: W) {
    let provider = Provider::new().script(&[Fate::LostUnanswered]);
    let store = world.open().await;
    let ledger = ledger(store.clone(), quick(Idempotency::None), &provider);
    let stuck = ledger.perform(&charge("k")).await.unwrap();
    assert_eq!(stuck.state.end(), Some(End::Stuck));
    // It was stuck for a long time before somebody looked at it.
    let mut conn = world.connect().await;
    W::execute(&mut conn, W::BEGIN).await;
    W::execute(&mut conn, &format!("UPDATE {} SET ended_at = created_at", W::ACTIONS)).await;
    W::execute(&mut conn, "COMMIT").await;
    let before = store.ask_time().await.unwrap().now();
    let by = By::new("ann", "the provider's log shows it");
    let done = ledger.resolve(stuck.id, Resolution::Applied, &by).await.unwrap();
    assert_eq!(store.sweep(before, None, 100).await.unwrap().deleted, 0);
    assert_eq!(ledger.load(done.id).await.unwrap(), done);
    // A change after the end does not move it.
    let after = store.ask_time().await.unwrap().now().saturating_add(Duration::from_millis(1));
    ledger.observe(done.id, Observed::Otherwise, &by).await.unwrap();
    assert_eq!(store.sweep(after, None, 100).await.unwrap().deleted, 1);
}

pub(crate) async fn many_processes_may_migrate_at_once_and_a_newer_schema_is_refused<W: World>(world: W) {
    let mut tasks = Vec::new();
    for _ in 0..6 {
        let store = world.open().await;
        tasks.push(tokio::spawn(async move { store.migrate().await }));
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let mut conn = world.connect().await;
    let schema = W::ACTIONS.replace("action", "schema");
    // A later version that only added columns leaves room for this one.
    W::execute(&mut conn, &format!("UPDATE {schema} SET version = 99")).await;
    world.open().await.migrate().await.unwrap();
    W::execute(&mut conn, &format!("UPDATE {schema} SET works_from = 98")).await;
    let refused = world.open().await.migrate().await.unwrap_err();
    assert_eq!(refused.trouble(), seawall_ledger::Trouble::Foreign);
    for number in ["version 99", "from version 98", "of version 6"] {
        assert!(refused.to_string().contains(number), "{refused}");
    }
}
