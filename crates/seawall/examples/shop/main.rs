//! A shop that charges through a payment provider which misbehaves. At the end it prints what both sides say.
//!
//! ```text
//! cargo run --example shop -- --list
//! cargo run --example shop -- --db sqlite:/tmp/shop.db --story rolled-back-lost-reply
//! cargo run --example shop -- --db postgres://localhost/shop --story lost-reply --order before --json
//! ```
//!
//! Copy from `shop.rs` and `charges.rs`. The other files cause the failures. `stage.rs` starts the harbor and the shop,
//! and kills what the story says. Both keep what they know only in the harbor's books and in the database.

mod account;
mod charges;
mod keeper;
mod orders;
mod outage;
mod shop;
mod stage;
mod stories;

use std::path::PathBuf;
use std::process::ExitCode;

use keeper::SHOP;
use orders::{Engine, Failure};
use shop::{Called, Settings};
use stage::Play;

const USAGE: &str = "\
usage: shop --db URL --story NAME [--order after|before] [--json] [--books FILE]
       shop --list

  --db URL       sqlite:FILE or postgres://…
  --story NAME   what goes wrong; --list names the stories
  --order ORDER  after: the call is made after the order is committed (default); before: before it is
  --json         one JSON object as the last line instead of an account for people
  --books FILE   where the harbor keeps its books; beside an SQLite file by default, else in the temporary folder";

fn main() -> ExitCode {
    let ended = match std::env::var(SHOP) {
        Ok(settings) => serve(&settings).map(|()| ExitCode::SUCCESS),
        Err(_) => match Wish::read(std::env::args().skip(1)) {
            Ok(wish) => fulfil(wish),
            Err(why) => {
                eprintln!("shop: {why}");
                return ExitCode::from(2);
            }
        },
    };
    ended.unwrap_or_else(|error| {
        eprintln!("shop: {error}");
        ExitCode::FAILURE
    })
}

/// This process becomes the shop.
fn serve(settings: &str) -> Result<(), Failure> {
    let settings: Settings = serde_json::from_str(settings)?;
    let serving = async {
        match is_sqlite(&settings.url) {
            true => shop::serve::<sqlx::Sqlite>(settings).await,
            false => shop::serve::<sqlx::Postgres>(settings).await,
        }
    };
    runtime()?.block_on(serving)
}

enum Wish {
    Usage,
    List,
    Tell(Box<Play>, bool),
}

impl Wish {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Wish, String> {
        let (mut url, mut story, mut called, mut json, mut books) = (None, None, Called::After, false, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} wants a value\n{USAGE}"));
            match word.as_str() {
                "--help" | "-h" => return Ok(Wish::Usage),
                "--list" => return Ok(Wish::List),
                "--json" => json = true,
                "--db" => url = Some(value()?),
                "--story" => story = Some(value()?),
                "--books" => books = Some(PathBuf::from(value()?)),
                "--order" => {
                    called = match value()?.as_str() {
                        "after" => Called::After,
                        "before" => Called::Before,
                        other => return Err(format!("`{other}` is no order: after or before")),
                    }
                }
                other => return Err(format!("`{other}` is no option\n{USAGE}")),
            }
        }
        let (Some(url), Some(name)) = (url, story) else {
            return Err(format!("--db and --story are needed\n{USAGE}"));
        };
        if !is_sqlite(&url) && !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(format!("`{url}` is no database: sqlite:FILE or postgres://…"));
        }
        let Some(story) = stories::named(&name) else {
            let nearest = stories::nearest(&name);
            return Err(format!("no story `{name}`; did you mean `{nearest}`? --list names them all"));
        };
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let play = Play { story, called, url, books, program: (program, Vec::new()) };
        Ok(Wish::Tell(Box::new(play), json))
    }
}

fn fulfil(wish: Wish) -> Result<ExitCode, Failure> {
    match wish {
        Wish::Usage => println!("{USAGE}"),
        Wish::List => stories::all().iter().for_each(|story| println!("{}", story.name)),
        Wish::Tell(play, json) => {
            let account = runtime()?.block_on(async {
                match is_sqlite(&play.url) {
                    true => tell::<sqlx::Sqlite>(&play).await,
                    false => tell::<sqlx::Postgres>(&play).await,
                }
            })?;
            match json {
                true => println!("{}", serde_json::to_string(&account)?),
                false => print!("{}", account.told()),
            }
            if !account.agree {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn tell<E: Engine>(play: &Play) -> Result<account::Account, Failure> {
    stage::tell::<E>(play).await
}

fn is_sqlite(url: &str) -> bool {
    url.starts_with("sqlite:")
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
