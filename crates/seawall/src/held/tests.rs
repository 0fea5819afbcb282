use std::panic::Location;
use std::time::Duration;

use super::*;

fn dependency(name: &str) -> Arc<str> {
    Arc::from(name)
}

#[track_caller]
fn call(name: &str) -> Result<Waiting, ConnectionHeld> {
    enter(&dependency(name), Location::caller())
}

#[track_caller]
fn take(on: OnHeld) -> Hold {
    Hold::take(on, Location::caller())
}

fn total(name: &str) -> HeldTotal {
    snapshot().totals.into_iter().find(|total| total.dependency == name).unwrap_or_default()
}

#[tokio::test]
async fn denied_call_names_both_places() {
    let hold = take(OnHeld::Deny);
    let (taken_at, denied) = (line!() - 1, call("denied").unwrap_err());
    assert_eq!((denied.acquired().line(), denied.called().line()), (taken_at, taken_at + 1));
    let said = denied.to_string();
    assert!(said.contains(&format!("tests.rs:{taken_at}:")) && said.contains("`denied`"), "{said}");
    assert_eq!((total("denied").denied, total("denied").calls), (1, 0));
    drop(hold);
    assert!(call("denied").is_ok(), "nothing is held any more");
}

#[tokio::test]
async fn warned_and_counted_calls_are_made() {
    for on in [OnHeld::Warn, OnHeld::Count] {
        let name = format!("made-{on:?}");
        let hold = take(on);
        for _ in 0..3 {
            drop(call(&name).unwrap());
        }
        drop(hold);
        drop(call(&name).unwrap());
        assert_eq!((total(&name).calls, total(&name).denied), (3, 0));
        let place = snapshot().places.into_iter().find(|place| place.dependency == name).unwrap();
        assert_eq!(place.times, 3);
    }
}

#[tokio::test]
async fn strictest_of_several_pools_decides() {
    let (_lax, _strict) = (take(OnHeld::Count), take(OnHeld::Deny));
    let _other = take(OnHeld::Warn);
    assert!(call("strictest").is_err());
}

#[tokio::test]
async fn other_task_is_free_to_call() {
    let _hold = take(OnHeld::Deny);
    tokio::spawn(async { call("elsewhere").map(drop).unwrap() }).await.unwrap();
    assert!(call("elsewhere").is_err());
}

#[tokio::test]
async fn moved_connection_follows_its_acquirer() {
    let (taken, moved) = tokio::sync::oneshot::channel();
    let acquirer = tokio::spawn(async move {
        taken.send(take(OnHeld::Deny)).unwrap();
        // The connection is moved to the test's own task. This task, which took it, stays its holder. Here it only
        // waits.
        std::future::pending::<()>().await;
    });
    let hold = moved.await.unwrap();
    assert!(call("moved").is_ok());
    acquirer.abort();
    drop(hold);
}

#[tokio::test]
async fn held_outside_is_held_in_a_scope_and_not_the_other_way_round() {
    let outside = take(OnHeld::Deny);
    scope(async { assert!(call("scope").is_err()) }).await;
    drop(outside);
    let inside = scope(async { take(OnHeld::Deny) }).await;
    assert!(call("scope").is_ok());
    scope(async { assert!(call("scope").is_ok(), "a scope beside the other") }).await;
    drop(inside);
    scope(async {
        let _outer = take(OnHeld::Deny);
        scope(async { assert!(call("scope").is_err()) }).await;
    })
    .await;
}

#[tokio::test]
async fn branches_count_as_one_unless_each_has_a_scope() {
    let barrier = tokio::sync::Barrier::new(2);
    let holder = async {
        let hold = take(OnHeld::Deny);
        barrier.wait().await;
        barrier.wait().await;
        drop(hold);
    };
    let caller = async {
        barrier.wait().await;
        let called = call("branches");
        barrier.wait().await;
        called.is_err()
    };
    assert!(tokio::join!(holder, caller).1);
    let holder = scope(async {
        let hold = take(OnHeld::Deny);
        barrier.wait().await;
        barrier.wait().await;
        drop(hold);
    });
    let caller = scope(async {
        barrier.wait().await;
        let called = call("branches");
        barrier.wait().await;
        called.is_err()
    });
    assert!(!tokio::join!(holder, caller).1);
}

#[test]
fn thread_that_blocks_on_a_future_is_a_holder() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    runtime.block_on(async {
        let _hold = take(OnHeld::Deny);
        tokio::task::yield_now().await;
        assert!(call("blocking").is_err());
        tokio::spawn(async { call("blocking").map(drop).unwrap() }).await.unwrap();
    });
    runtime.block_on(async { assert!(call("blocking").is_ok()) });
}

#[tokio::test]
async fn waiting_is_added_up_over_connections_and_ends_with_each() {
    let (first, second) = (take(OnHeld::Count), take(OnHeld::Count));
    let waiting = call("seconds").unwrap();
    let overlap = waiting.0.as_ref().unwrap();
    let (began, held) = (overlap.began, overlap.held.clone());
    drop(first);
    let first_until = *held[0].released.get().unwrap();
    while began.elapsed() < Duration::from_millis(2) {
        std::hint::spin_loop();
    }
    drop(waiting);
    let least = (first_until - began) + Duration::from_millis(2);
    let most = 2 * began.elapsed();
    let waited = total("seconds").waited;
    assert!((least..most).contains(&waited), "{waited:?} not in {least:?}..{most:?}");
    drop(second);
}

#[tokio::test]
async fn nothing_is_left_of_what_was_given_back() {
    let holder = tokio::spawn(async {
        let holds: Vec<Hold> = (0..10).map(|_| take(OnHeld::Deny)).collect();
        let holder = holds[0].holder.unwrap();
        assert_eq!(REGISTER.lock()[&holder].len(), 10);
        holder
    });
    let holder = holder.await.unwrap();
    assert!(!REGISTER.lock().contains_key(&holder));
}
