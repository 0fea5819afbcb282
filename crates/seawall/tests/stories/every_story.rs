//! Every story, in both orders of call and commit, on both stores: the shop and the harbor agree in the end.
//!
//! Some stories are told at the same time, since each mostly waits. Each has a database of its own, so that none waits
//! for another's lock.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::shop::Called;
use crate::{Place, stories, tell};

const AT_ONCE: usize = 6;

async fn all_agree(place: fn() -> Place, prefix: &[&str], called: Called) {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let all = stories::all();
    let names = all.into_iter().map(|story| story.name);
    let tellings: Vec<_> = names
        .filter(|name| prefix.iter().any(|prefix| name.starts_with(prefix)))
        .map(|name| {
            let turns = Arc::clone(&turns);
            tokio::spawn(async move {
                let _turn = turns.acquire().await;
                // Making a database blocks the thread, and the harbors run on these threads.
                let place = tokio::task::spawn_blocking(place).await.unwrap();
                tell(&place.play(&name, called)).await
            })
        })
        .collect();
    assert!(tellings.len() > 15, "{} stories", tellings.len());
    for telling in tellings {
        let account = telling.await.unwrap();
        assert!(account.agree, "{}", account.told());
        let books = &account.detail.books;
        let count = books.by_key.get(&account.detail.key).copied().unwrap_or_default();
        assert!(count.effects <= 1, "charged {} times\n{}", count.effects, account.told());
        assert!(count.refunds <= count.effects, "refunded {} times\n{}", count.refunds, account.told());
        assert_eq!(books.bytes_mismatch, 0, "{}", account.told());
    }
}

macro_rules! stories {
    ($($name:ident: $place:ident $prefix:expr, $called:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                all_agree(Place::$place, &$prefix, Called::$called).await;
            }
        )*
    };
}

stories! {
    rolled_back_after_on_sqlite: sqlite ["rolled-back"], After;
    rolled_back_before_on_sqlite: sqlite ["rolled-back"], Before;
    rolled_back_after_on_postgres: postgres ["rolled-back"], After;
    rolled_back_before_on_postgres: postgres ["rolled-back"], Before;
    database_failed_after_on_sqlite: sqlite ["database-failed"], After;
    database_failed_before_on_sqlite: sqlite ["database-failed"], Before;
    database_failed_after_on_postgres: postgres ["database-failed"], After;
    database_failed_before_on_postgres: postgres ["database-failed"], Before;
}
