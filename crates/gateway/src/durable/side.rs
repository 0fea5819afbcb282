//! The gateway's side of the ledger: opens it in the background, keeps it open, and lets a reload replace its
//! operations.
//!
//! A gateway must serve calls that are not durable even if the ledger's database cannot be reached. So a task on a
//! thread of its own opens the ledger, again and again until that succeeds. Until then, durable calls are refused, with
//! the reason in words.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use seawall_actions::stored::StoredAnswer;
use seawall_client::Clock;
use seawall_ledger::store::Declared;
use seawall_ledger::{Sizes, StoreError, Trouble, Worker, WorkerSettings};
use seawall_policy::Draw;
use tokio::sync::watch;

use super::books::{Books, Database};
use super::health::{Away, Health};
use super::reloaded::Reloaded;
use super::webhook;
use crate::running::compiled::Compiled;
use crate::running::durable::DurableOperation;
use crate::running::process::Running;
use crate::running::router::Router;

/// When the gateway ends, how long the ledger's actions under way may still take. Another gateway, or this one after
/// its next start, goes on with the actions that are left.
pub(crate) const LAST_WORK: Duration = Duration::from_secs(5);
/// The part of [`LAST_WORK`] that the actions under way have. In the rest of that time, the claims on their rows are
/// given up.
const LAST_ACTIONS: Duration = Duration::from_secs(4);
/// The longest wait before the ledger is opened again, if its database could not be reached.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait before the ledger is opened again, if opening was refused, for example because the tables are of
/// another version. Only a person can change that.
const LONGEST_REFUSED: Duration = Duration::from_secs(60);
/// For how long the list of declared operations is used before it is read from the ledger again.
const DECLARED_AGE: Duration = Duration::from_secs(5);
/// An upper bound for the number of bytes that a recorded request has in addition to its method, target, headers and
/// body, such as spaces and line ends.
const REQUEST_LINE: usize = 64;
/// How long the database has to answer a probe.
const PROBE_TIME: Duration = Duration::from_secs(2);

/// What is known of the ledger.
#[derive(Clone)]
pub(crate) enum Standing {
    /// No operation of the configuration is durable, so there is no ledger. Or the gateway has just started.
    Unused,
    /// The ledger could not be opened yet. The value says since when, and why.
    Away(Away),
    /// The ledger is open.
    Open(Books),
}

/// The ledger of this process, which all workers share.
pub(crate) struct LedgerSide {
    standing: ArcSwap<Standing>,
    health: Arc<Health>,
    /// The operations that some process declares, and when they were read from the ledger. `None` if they were not read
    /// yet.
    declared: tokio::sync::Mutex<Option<(Instant, Vec<Declared>)>>,
}

impl fmt::Debug for LedgerSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LedgerSide").field("health", &self.health).finish_non_exhaustive()
    }
}

impl LedgerSide {
    pub(crate) fn new() -> LedgerSide {
        LedgerSide {
            standing: ArcSwap::from_pointee(Standing::Unused),
            health: Arc::default(),
            declared: tokio::sync::Mutex::default(),
        }
    }

    /// Returns what is known of the ledger now.
    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// Returns the ledger.
    ///
    /// # Errors
    /// If the ledger is not open. The text says why.
    pub(crate) fn books(&self) -> Result<Books, Arc<str>> {
        match &**self.standing.load() {
            Standing::Open(books) => Ok(books.clone()),
            Standing::Away(away) => Err(Arc::clone(&away.why)),
            Standing::Unused => Err("the ledger is being opened".into()),
        }
    }

    /// Returns, in words, whether the ledger is open, or since when it cannot be reached and why. If the ledger is
    /// open, its database is asked whether it answers. `used` says whether the configuration has durable operations.
    pub(crate) async fn in_words(&self, used: bool) -> String {
        let away = match &*self.standing() {
            Standing::Unused if used => return "being opened".to_owned(),
            Standing::Unused => return "not used: no operation is durable".to_owned(),
            Standing::Away(away) => away.clone(),
            Standing::Open(books) => {
                let late = tokio::time::timeout(PROBE_TIME, books.probe()).await.is_err();
                match self.health.away() {
                    Some(away) => away,
                    None if late => return format!("open, but has not answered within {PROBE_TIME:?}"),
                    None => return "open".to_owned(),
                }
            }
        };
        let since = jiff::Timestamp::try_from(away.since).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        format!("away since {since:.0}: {}", away.why)
    }

    /// Returns whether no process declares this operation any longer: no process has renewed the declaration for ten
    /// minutes. The result may be some seconds old. Returns `false` if the ledger cannot be asked.
    pub(crate) async fn is_undeclared(&self, books: &Books, dependency: &str, operation: &str) -> bool {
        let mut declared = self.declared.lock().await;
        if declared.as_ref().is_none_or(|(asked, _)| asked.elapsed() >= DECLARED_AGE) {
            *declared = books.declared().await.ok().map(|all| (Instant::now(), all));
        }
        let Some((_, all)) = &*declared else { return false };
        let is_it =
            |of: &Declared| of.dependency == dependency && of.operations.iter().any(|it| it == operation);
        !all.iter().any(is_it)
    }
}

/// Opens the ledger once the configuration has a durable operation, and gives it the operations of each new
/// configuration. This runs on the ledger's own thread until `stop` becomes true. Then it waits for the actions under
/// way, but at most for [`LAST_WORK`].
pub(crate) async fn keep(side: Arc<LedgerSide>, router: Arc<Router>, mut stop: watch::Receiver<bool>) {
    router.serve_here();
    router.watch_health();
    let mut replaced = router.running.replaced();
    let mut keeper = Keeper { side, open: None, compiled: None, worker: None, failed: 0 };
    loop {
        router.take_over();
        let wait = keeper.renew(&router.running).await;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = replaced.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    keeper.end().await;
}

struct Keeper {
    side: Arc<LedgerSide>,
    /// The database, and the URL with which it was opened; `None` until it is open.
    open: Option<(Database, String)>,
    /// The configuration whose operations the ledger has; `None` until the ledger has the operations of a
    /// configuration.
    compiled: Option<Arc<Compiled>>,
    worker: Option<Worker>,
    /// How often opening the database has failed since it last succeeded.
    failed: u32,
}

impl Keeper {
    /// Opens the ledger if it is needed and not open, or gives it the operations of the configuration in force. Returns
    /// the time after which this function must be called again, even if no new configuration comes.
    async fn renew(&mut self, running: &Running) -> Duration {
        let compiled = running.compiled.load_full();
        if self.compiled.as_ref().is_some_and(|known| known.generation == compiled.generation) {
            return Duration::MAX;
        }
        if self.open.is_none() && durable(&compiled).next().is_none() {
            self.side.standing.store(Arc::new(Standing::Unused));
            self.compiled = Some(compiled);
            return Duration::MAX;
        }
        let url = compiled.settings.ledger.url.reveal();
        let database = match &self.open {
            Some((database, opened)) => {
                if opened != url {
                    tracing::warn!(what = "ledger.url", "takes effect at the next start only");
                }
                database.clone()
            }
            None => match Database::open(url).await {
                Ok(database) => {
                    self.failed = 0;
                    self.open.insert((database, url.to_owned())).0.clone()
                }
                Err(error) => return self.away(&error),
            },
        };
        self.declare(&database, &compiled, running.clock);
        self.compiled = Some(compiled);
        Duration::MAX
    }

    /// Gives the ledger the operations of this configuration, and starts a worker for them.
    fn declare(&mut self, database: &Database, compiled: &Arc<Compiled>, clock: Clock) {
        let before = match &*self.side.standing() {
            Standing::Open(books) => Some(books.clone()),
            Standing::Unused | Standing::Away(_) => None,
        };
        let operations = durable(compiled).map(Arc::as_ref);
        let on_stuck = compiled.settings.ledger.on_stuck.as_ref();
        let on_stuck = on_stuck.and_then(|settings| match webhook::receiver(settings, clock) {
            Ok(receiver) => Some(receiver),
            Err(error) => {
                tracing::error!(error, "nobody is told of stuck actions: `on_stuck` cannot be used");
                None
            }
        });
        let books = database.books(operations, sizes(compiled), on_stuck, before.as_ref(), &self.side.health);
        let books = match books {
            Ok(books) => books,
            Err(misuse) => {
                tracing::error!(error = %misuse, "the ledger cannot take the new operations");
                return;
            }
        };
        // The new worker replaces that of the earlier configuration. The earlier worker claims no more actions, and its
        // actions that are under way go on to their ends.
        self.worker = Some(books.worker(worker_settings(compiled)));
        self.side.standing.store(Arc::new(Standing::Open(books.clone())));
        if before.is_none() {
            tracing::info!("the ledger is open");
        }
        if let Some(old) = &self.compiled {
            let reloaded = Reloaded::between(&old.settings, &compiled.settings);
            if !reloaded.is_empty() {
                tokio::spawn(tell(reloaded, books));
            }
        }
    }

    /// Notes that the ledger could not be opened. Returns the time after which it is to be opened again.
    fn away(&mut self, error: &StoreError) -> Duration {
        let why: Arc<str> = error.to_string().into();
        let before = match &*self.side.standing() {
            Standing::Away(away) => Some(away.clone()),
            Standing::Unused | Standing::Open(_) => None,
        };
        let is_known = before.as_ref().is_some_and(|before| before.why == why);
        let since = before.map_or_else(SystemTime::now, |before| before.since);
        // Those who have read the log's line find the new state.
        self.side.standing.store(Arc::new(Standing::Away(Away { since, why: why.clone() })));
        if !is_known {
            tracing::error!(
                error = &*why,
                "the ledger cannot be opened: durable operations are refused until it can"
            );
        }
        let longest = match error.trouble() {
            Trouble::Foreign | Trouble::Refused => LONGEST_REFUSED,
            _ => LONGEST_WAIT,
        };
        let bound = Duration::from_millis(100).saturating_mul(1 << self.failed.min(10)).min(longest);
        self.failed = self.failed.saturating_add(1);
        bound / 2 + Draw::new(fastrand::u64(..)).share_of(bound / 2)
    }

    /// Waits for the actions under way, but at most for [`LAST_ACTIONS`]. Then gives up the claims that this process
    /// still has on rows, so that another gateway can go on with these actions immediately.
    async fn end(self) {
        if let Some(worker) = self.worker {
            worker.drain(LAST_ACTIONS).await;
        }
        if let Standing::Open(books) = &*self.side.standing() {
            let giving = tokio::time::timeout((LAST_WORK - LAST_ACTIONS) * 3 / 4, books.give_back());
            match giving.await {
                Ok(Ok(0)) => {}
                Ok(Ok(rows)) => tracing::info!(actions = rows, "actions were given back to other gateways"),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "actions stay with this gateway until their leases end")
                }
                Err(_) => tracing::warn!("actions stay with this gateway until their leases end"),
            }
        }
    }
}

/// Says in the log what a reload means for open actions.
async fn tell(reloaded: Reloaded, books: Books) {
    match books.open_counts().await {
        Ok(open) => reloaded.lines(&open).iter().for_each(|line| tracing::warn!("{line}")),
        Err(error) => {
            tracing::warn!(%error, "the open actions of the changed operations could not be counted")
        }
    }
}

fn worker_settings(compiled: &Compiled) -> WorkerSettings {
    let mut settings = WorkerSettings::default();
    settings.undeclared_after = compiled.settings.ledger.undeclared_after;
    settings
}

fn durable(compiled: &Compiled) -> impl Iterator<Item = &Arc<DurableOperation>> {
    compiled.dependencies.iter().flat_map(|dependency| dependency.operations.durable())
}

fn sizes(compiled: &Compiled) -> Sizes {
    let (ledger, limits) = (&compiled.settings.ledger, &compiled.settings.gateway.limits);
    // A recorded request has a request line and some of the caller's headers. Each header is recorded with a space
    // after the colon, which the caller may have left out.
    let head = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX).saturating_add(limits.headers);
    let mut sizes = Sizes::default();
    sizes.request = ledger.request_max.saturating_add(head).saturating_add(REQUEST_LINE);
    sizes.answer = ledger.answer_max.saturating_add(StoredAnswer::HEAD_BYTES);
    sizes
}
