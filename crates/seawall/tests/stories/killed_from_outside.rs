//! The whole example is killed in the middle, together with its harbor, and started again. It goes on to the end.
//! Started once more, it only reports.

use std::time::Duration;

use crate::shop::Called;
use crate::{Place, tell};

async fn finishes(place: Place, called: Called) {
    let play = place.play("rolled-back-lost-reply", called);
    // The future is dropped after this number of milliseconds. The shop's process is then killed, and the harbor and
    // the customer end.
    for cut in [50, 400, 900, 1600] {
        let _ = tokio::time::timeout(Duration::from_millis(cut), tell(&play)).await;
    }
    let account = tell(&play).await;
    assert!(account.agree && account.effects_there == 0, "{}", account.told());
    let again = tell(&play).await;
    assert_eq!(again.detail.events, Vec::<String>::new());
    assert_eq!(again.detail.books.requests, account.detail.books.requests);
    assert_eq!((again.order_state, again.action_state), (account.order_state, account.action_state));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_that_was_killed_is_finished_and_then_only_told_on_sqlite() {
    tokio::join!(finishes(Place::sqlite(), Called::After), finishes(Place::sqlite(), Called::Before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn story_that_was_killed_is_finished_and_then_only_told_on_postgres() {
    tokio::join!(finishes(Place::postgres(), Called::After), finishes(Place::postgres(), Called::Before));
}
