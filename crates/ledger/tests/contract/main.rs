//! One suite for all stores: what holds on SQLite holds on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(dead_code, unreachable_pub, reason = "shared with other tests, each of which uses its part")]

#[path = "../support/provider.rs"]
mod provider;
#[path = "../../src/scratch.rs"]
mod scratch;
mod suite;
mod world;

/// Each test of the suite, as a test on one store.
macro_rules! on {
    ($store:ident, $world:path: $($name:ident)*) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    crate::suite::$name(<$world as crate::world::World>::new().await).await;
                }
            )*
        }
    };
}

/// The names of the suite.
macro_rules! suite {
    ($store:ident, $world:path) => {
        on! { $store, $world:
            performs_at_once_and_keeps_the_answer
        }
    };
}

suite!(sqlite, crate::world::SqliteWorld);
suite!(postgres, crate::world::PostgresWorld);
