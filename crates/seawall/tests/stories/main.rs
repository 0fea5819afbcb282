//! The failure stories, told by the example `shop` with real processes: how each must end, and what must not happen.
//!
//! This program contains the modules of the example, and so its shop. A test starts this same program again as the
//! process that dies.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(dead_code, reason = "the example's own account for people")]

#[path = "../../examples/shop/account.rs"]
mod account;
#[path = "../../examples/shop/charges.rs"]
mod charges;
#[path = "../../examples/shop/keeper.rs"]
mod keeper;
#[path = "../../examples/shop/orders.rs"]
mod orders;
#[path = "../../examples/shop/outage.rs"]
mod outage;
#[path = "../../examples/shop/shop.rs"]
mod shop;
#[path = "../../examples/shop/stage.rs"]
mod stage;
#[path = "../../examples/shop/stories.rs"]
mod stories;

mod every_story;
mod in_flight;
mod killed_from_outside;
mod refunds_fail;
mod scenarios;
#[allow(unreachable_pub, reason = "shared with the ledger's tests")]
#[path = "../../../ledger/tests/support/scratch.rs"]
mod scratch;

use std::path::PathBuf;

use account::Account;
use keeper::SHOP;
use scratch::Server;
use shop::{Called, Settings};
use stage::Play;

/// This is not a test: if a test has started this program for it, this is the process that dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn process_of_a_story() {
    if let Ok(settings) = std::env::var(SHOP) {
        let settings: Settings = serde_json::from_str(&settings).unwrap();
        let served = match settings.url.starts_with("sqlite:") {
            true => shop::serve::<sqlx::Sqlite>(settings).await,
            false => shop::serve::<sqlx::Postgres>(settings).await,
        };
        served.unwrap();
    } else if let Ok(flight) = std::env::var(in_flight::FLIGHT) {
        in_flight::fly(&flight).await;
    }
}

/// This program, and the arguments with which it runs [`process_of_a_story`].
fn program() -> (PathBuf, Vec<String>) {
    let words = ["process_of_a_story", "--exact", "--nocapture", "--test-threads=1"];
    (std::env::current_exe().unwrap(), words.map(str::to_owned).to_vec())
}

/// A database of a test's own.
struct Place {
    url: String,
    folder: tempfile::TempDir,
}

impl Place {
    fn sqlite() -> Place {
        let folder = tempfile::tempdir().unwrap();
        Place { url: format!("sqlite:{}", folder.path().join("shop.db").display()), folder }
    }

    fn postgres() -> Place {
        Place { url: Server::shared().database(), folder: tempfile::tempdir().unwrap() }
    }

    fn play(&self, story: &str, called: Called) -> Play {
        Play {
            story: stories::named(story).unwrap_or_else(|| panic!("no story `{story}`")),
            called,
            url: self.url.clone(),
            // Each story has books of its own, since several are told at the same time.
            books: Some(self.folder.path().join(format!("{story}-{}", called.as_str()))),
            program: program(),
        }
    }
}

async fn tell(play: &Play) -> Account {
    let told = match play.url.starts_with("sqlite:") {
        true => stage::tell::<sqlx::Sqlite>(play).await,
        false => stage::tell::<sqlx::Postgres>(play).await,
    };
    told.unwrap_or_else(|error| panic!("{}: {error}", play.story.name))
}
