//! Tells a story. The harbor and the customer are in this process. The shop is in a process of its own, which may die.
//!
//! Everything that must outlive a crash is in the database and in the harbor's books. So this process may be killed
//! too. If the story is started again, it goes on where it stopped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seawall::ledger::{End, Store};
use seawall::{Dependency, Effect, Idempotency, millis, secs};
use seawall_lab::harbor::{Books, Harbor};
use sqlx::postgres::PgConnectOptions;

use super::account::{Account, live};
use super::charges::{LEASE, PROVIDER};
use super::keeper::{Aborted, Address, Events, Keeper};
use super::orders::{Engine, Failure, Shelves, Told};
use super::outage::Detour;
use super::shop::{Called, Cart, Settings};
use super::stories::{Crash, DECLINED, Story};

/// Which story to tell, and where.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    pub(crate) story: Story,
    pub(crate) called: Called,
    pub(crate) url: String,
    /// The file of the harbor's books. By default it is beside the SQLite file.
    pub(crate) books: Option<PathBuf>,
    /// The program and arguments that start the shop if [`SHOP`](super::keeper::SHOP) is in the environment.
    pub(crate) program: (PathBuf, Vec<String>),
}

/// If a story takes longer than this, it counts as not ended.
const MOST: Duration = Duration::from_secs(27);
/// For how long the database is unavailable, or refuses.
const OUTAGE: Duration = Duration::from_secs(2);

/// Tells the story. If it has been told before, only reports how it ended.
pub(crate) async fn tell<E: Engine>(play: &Play) -> Result<Account, Failure> {
    let shelves = E::open(&play.url, None).await?;
    let (key, told) = begin(&shelves, play).await?;
    let books = open_books(&play.books_file()?).await?;
    let events = Events::default();
    match told {
        Told::Whole => {}
        Told::Never | Told::InPart => run(play, &shelves, &key, told, books.clone(), &events).await?,
    }
    let order_state = order_state(&shelves, &key).await?;
    let log = match shelves.store.find(PROVIDER, &key).await? {
        Some(action) => shelves.store.story(action.id).await?,
        None => None,
    };
    Ok(Account::of(&play.story, play.called, key, order_state, log, books.snapshot(), events.all()))
}

impl Play {
    fn books_file(&self) -> Result<PathBuf, Failure> {
        if let Some(file) = &self.books {
            return Ok(file.clone());
        }
        match self.url.strip_prefix("sqlite:") {
            Some(file) => {
                let file = file.trim_start_matches("//").split('?').next().unwrap_or_default();
                Ok(PathBuf::from(format!("{file}.harbor")))
            }
            None => {
                // There is no folder beside a server's database in which the file could be.
                let options: PgConnectOptions = self.url.parse()?;
                let name = options.get_database().unwrap_or_else(|| options.get_username());
                let name = format!("{}-{}-{name}", options.get_host(), options.get_port());
                let name: String =
                    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
                let folder = std::env::temp_dir().join("seawall-shop");
                fs::create_dir_all(&folder)?;
                Ok(folder.join(format!("{name}.harbor")))
            }
        }
    }
}

async fn begin<E: Engine>(shelves: &Shelves<E>, play: &Play) -> Result<(String, Told), Failure> {
    let called = play.called.as_str();
    // The key is drawn anew, so that a story in a new database does not find its charges in old books.
    let fresh = format!("{}-{called}-{:08x}", play.story.name, fastrand::u32(..));
    let mut tx = shelves.pool.begin_with(E::BEGIN).await?;
    let begun = E::begin_story(&mut tx, &play.story.name, called, &fresh).await?;
    tx.commit().await?;
    Ok(begun)
}

/// Opens the harbor's books. A process that was just killed may keep them locked for a moment.
async fn open_books(file: &Path) -> Result<Books, Failure> {
    let until = Instant::now() + secs(5);
    loop {
        match Books::kept_in(file) {
            Ok(books) => return Ok(books),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                tokio::time::sleep(millis(50)).await;
            }
            Err(error) => return Err(format!("the harbor's books, {}: {error}", file.display()).into()),
        }
    }
}

async fn run<E: Engine>(
    play: &Play,
    shelves: &Shelves<E>,
    key: &str,
    told: Told,
    books: Books,
    events: &Events,
) -> Result<(), Failure> {
    let story = &play.story;
    let deadline = Instant::now() + MOST;
    let script = Some(story.script.parse()?);
    let harbor = Harbor::closed(([127, 0, 0, 1], 0).into(), script)?.with_books(books.clone());
    let provider = format!("http://{}", harbor.address());
    let detour = match story.away && !play.url.starts_with("sqlite:") {
        true => Some(Detour::to(&play.url)?),
        false => None,
    };
    if story.refuses {
        refuse_payments(shelves, true).await?;
    }
    let closed = story.closed;
    let _harbor = Aborted(tokio::spawn(async move {
        tokio::time::sleep(closed).await;
        harbor.run().await
    }));

    let settings = Settings {
        url: play.url.clone(),
        socket: detour.as_ref().map(|detour| detour.folder().to_owned()),
        provider,
        called: play.called,
    };
    let point = match story.crash {
        Some(Crash::At(point)) if told == Told::Never => Some(point),
        Some(Crash::At(_) | Crash::InFlight) | None => None,
    };
    events.add(match told {
        Told::Never => "the harbor and the shop open".to_owned(),
        Told::InPart | Told::Whole => "the harbor and the shop open again".to_owned(),
    });
    let mut keeper = Keeper::new(play, settings, events.clone());
    keeper.start(point).await?;
    let address = keeper.address.clone();
    let kept = tokio::spawn(keeper.keep());
    let _kept = Aborted(kept);

    let trouble = make_trouble(story, shelves, key, &books, detour.as_ref(), &address, events);
    let customer = be_customer(play, key, &address, events);
    let ending = async {
        let (troubled, ()) = tokio::join!(trouble, customer);
        troubled?;
        while !is_over(shelves, key).await? {
            tokio::time::sleep(millis(50)).await;
        }
        Ok::<(), Failure>(())
    };
    match tokio::time::timeout_at(deadline.into(), ending).await {
        Ok(ended) => {
            ended?;
            let mut tx = shelves.pool.begin_with(E::BEGIN).await?;
            E::end_story(&mut tx, key).await?;
            tx.commit().await?;
        }
        Err(_) => events.add("it is not over yet; start the story again to go on with it".to_owned()),
    }
    Ok(())
}

/// Waits until the charge is made, and then causes the trouble that the story names.
async fn make_trouble<E: Engine>(
    story: &Story,
    shelves: &Shelves<E>,
    key: &str,
    books: &Books,
    detour: Option<&Detour>,
    address: &Address,
    events: &Events,
) -> Result<(), Failure> {
    let kills = story.crash == Some(Crash::InFlight);
    if !(story.away || story.refuses || kills) {
        return Ok(());
    }
    // If the order is never charged, there is no such trouble.
    let until = Instant::now() + secs(8);
    while live(&books.snapshot(), key).next().is_none() && Instant::now() < until {
        tokio::time::sleep(millis(10)).await;
    }
    if kills {
        address.kill(events);
    }
    if story.away {
        events.add(format!("the database is away for {OUTAGE:?}"));
        match detour {
            Some(detour) => detour.cut(OUTAGE).await,
            None => {
                let lock = shelves.pool.begin_with(E::BEGIN).await?;
                tokio::time::sleep(OUTAGE).await;
                lock.rollback().await?;
            }
        }
        events.add("the database is back".to_owned());
    }
    if story.refuses {
        // With a crash, the outage also lasts until another worker can take over the actions of the shop that died.
        tokio::time::sleep(if story.crash.is_some() { LEASE + OUTAGE } else { OUTAGE }).await;
        refuse_payments(shelves, false).await?;
        events.add("the database takes payments in again".to_owned());
    }
    Ok(())
}

async fn refuse_payments<E: Engine>(shelves: &Shelves<E>, refuses: bool) -> Result<(), Failure> {
    let mut tx = shelves.pool.begin_with(E::BEGIN).await?;
    E::refuse_payments(&mut tx, refuses).await?;
    Ok(tx.commit().await?)
}

/// Plays the customer: orders, and takes the order back if the story says so. A customer who gets no answer asks again,
/// if the story says so.
async fn be_customer(play: &Play, key: &str, address: &Address, events: &Events) {
    let story = &play.story;
    let before = play.called == Called::Before;
    let amount = if story.name == DECLINED { 402 } else { 1200 };
    let cart = Cart { amount, sold_out: story.taken_back && before };
    let path = format!("/orders/{key}");
    loop {
        let answer = ask(address, &path, Some(&cart), story.patience).await;
        events.add(format!("the customer orders: {}", answer.as_ref().unwrap_or_else(|why| why)));
        if answer.is_ok() || !story.repeats {
            break;
        }
        tokio::time::sleep(millis(100)).await;
    }
    if !story.taken_back || before {
        return;
    }
    loop {
        let answer = ask(address, &format!("{path}/cancel"), None, secs(5)).await;
        events.add(format!("the order is taken back: {}", answer.as_ref().unwrap_or_else(|why| why)));
        if answer.is_ok_and(|answer| !answer.starts_with('5')) {
            return;
        }
        tokio::time::sleep(millis(100)).await;
    }
}

/// What the shop answers.
async fn ask(
    address: &Address,
    path: &str,
    cart: Option<&Cart>,
    patience: Duration,
) -> Result<String, String> {
    let told = |error: seawall::Error| match error.effect() {
        Effect::NotApplied => "nobody answers".to_owned(),
        Effect::Applied | Effect::Unknown => format!("no answer ({error})"),
    };
    let shop = Dependency::builder("shop").endpoint(address.now()).and_then(|shop| shop.build());
    let shop = shop.map_err(|misuse| misuse.to_string())?;
    let request = match cart {
        Some(cart) => shop.http().put(path).json(cart),
        None => shop.http().post(path).idempotency(Idempotency::Idempotent),
    };
    let answer = request.within(patience).once().send().await.map_err(told)?;
    let status = answer.status();
    let body: serde_json::Value = answer.json().await.map_err(told)?;
    Ok(format!("{} {body}", status.as_u16()))
}

/// Whether the shop and the harbor have finished: nothing is under way, and nothing is left to do.
async fn is_over<E: Engine>(shelves: &Shelves<E>, key: &str) -> Result<bool, Failure> {
    let action = shelves.store.find(PROVIDER, key).await?;
    let order = order_state(shelves, key).await?;
    Ok(match action.map(|action| action.state.end()) {
        Some(Some(End::Done | End::Failed | End::Cancelled | End::Stuck)) | None => {
            order.as_deref() != Some("confirming")
        }
        Some(None) => false,
    })
}

async fn order_state<E: Engine>(shelves: &Shelves<E>, key: &str) -> Result<Option<String>, Failure> {
    let mut conn = shelves.pool.acquire().await?;
    Ok(E::state(&mut conn, key).await?)
}
