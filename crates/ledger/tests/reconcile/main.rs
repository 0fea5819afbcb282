//! The tests of reconciliation, on real stores.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod exact;
mod partner;
#[path = "../contract/pooler.rs"]
mod pooler;
mod schedule;
#[allow(dead_code, unreachable_pub, reason = "shared with other tests, each of which uses its part")]
#[path = "../support/scratch.rs"]
mod scratch;
mod trouble;
mod world;

use std::sync::Arc;
use std::time::Duration;

use seawall_ledger::reconcile::{Compared, Settings, Window, Zone};
use seawall_ledger::store::Store;
use seawall_ledger::{Ledger, Operation, Remote};

/// The day that the tests compare: a Sunday in Seoul.
fn day() -> Window {
    Window::day(&Zone::named("Asia/Seoul").unwrap(), "2024-05-05").unwrap()
}

fn settings(dependency: &str) -> Settings {
    let mut settings = Settings::of(dependency, "charge", Compared::default().amount_at("/amount"));
    settings.zone = Zone::named("Asia/Seoul").unwrap();
    settings.page_tries = 1;
    settings
}

fn ledger<S: Store>(store: &S, dependency: &str, remote: Arc<dyn Remote>) -> Ledger<S> {
    let operation = Operation::new(dependency, "charge", partner::rules(), remote);
    Ledger::builder(store.clone()).operation(operation).build().unwrap()
}

/// The longest wait for anything. It is long, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes a test on one store of each behaviour.
macro_rules! on {
    ($store:ident: $($module:ident :: $name:ident),* $(,)?) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    // When the test has ended, the folder of the store is deleted.
                    let (store, _home) = crate::stores::$store().await;
                    crate::$module::$name(store).await;
                }
            )*
        }
    };
}

macro_rules! suite {
    ($store:ident) => {
        on! { $store:
            exact::ten_thousand_records_are_reported_exactly,
            world::small_worlds_agree_with_a_naive_comparison,
            trouble::an_effect_without_a_row_is_only_there_and_is_left_alone,
            trouble::what_came_to_rest_after_the_asking_began_is_pending,
            trouble::a_list_that_is_not_understood_or_does_not_end_is_incomplete,
            trouble::a_lost_report_goes_on_where_its_last_page_was_stored,
            trouble::a_worker_that_wakes_up_late_changes_nothing,
            trouble::corrections_are_made_where_the_operation_allows_them_and_only_there,
            schedule::many_workers_make_one_report_of_a_window,
            schedule::what_is_incomplete_is_asked_again_when_its_time_has_come,
            schedule::old_reports_are_forgotten_with_what_they_list,
        }
    };
}

suite!(sqlite);
suite!(postgres);
suite!(serializable);
suite!(pooled);

mod stores {
    use seawall_ledger::store::Store;
    use seawall_ledger::store::postgres::{Postgres, Settings};
    use seawall_ledger::store::sqlite::Sqlite;

    use crate::pooler::Pooler;
    use crate::scratch::Server;

    pub(crate) async fn sqlite() -> (Sqlite, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(folder.path().join("ledger.db")).await.unwrap();
        store.migrate().await.unwrap();
        (store, folder)
    }

    async fn on(url: &str, settings: Settings) -> Postgres {
        let store = Postgres::connect(url, settings).await.unwrap();
        store.migrate().await.unwrap();
        store
    }

    pub(crate) async fn postgres() -> (Postgres, ()) {
        (on(&Server::shared().database(), Settings::default()).await, ())
    }

    /// PostgreSQL with serializable transactions by default.
    pub(crate) async fn serializable() -> (Postgres, ()) {
        let url = Server::shared().database();
        Server::shared().make_serializable(&url);
        (on(&url, Settings::default()).await, ())
    }

    /// PostgreSQL behind pgbouncer, which gives each transaction another server session.
    pub(crate) async fn pooled() -> (Postgres, Pooler) {
        let (pooler, url) = Pooler::before(&Server::shared().database());
        let mut settings = Settings::default();
        settings.prepared = false;
        (on(&url, settings).await, pooler)
    }
}
