//! The gateway's side of the ledger: opens it in the background, keeps it open, and lets a reload replace its operations.
//!
//! A gateway must serve what is not durable although the ledger's database is away. So the ledger is opened by a task on a
//! thread of its own, which tries again until it succeeds. Until then, durable calls are refused in words.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use seawall_ledger::{Sizes, Worker, WorkerSettings};
use seawall_policy::Draw;
use tokio::sync::watch;

use super::books::{Books, Database};
use crate::running::compiled::Compiled;
use crate::running::durable::DurableOperation;
use crate::running::process::Running;
use crate::running::router::Router;

/// How long the ledger's own work under way may take at the end of the gateway. Another gateway, or the next start, goes on
/// with what is left.
pub(crate) const LAST_WORK: Duration = Duration::from_secs(5);
/// The longest wait between two tries to open the ledger.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What is known of the ledger.
#[derive(Clone)]
pub(crate) enum Standing {
    /// No operation of the configuration is durable, so there is no ledger.
    Unused,
    /// It could not be opened yet. The text says why.
    Away(Arc<str>),
    /// It is open.
    Open(Books),
}

/// The ledger of this process, which all workers share.
pub(crate) struct LedgerSide {
    standing: ArcSwap<Standing>,
}

impl LedgerSide {
    pub(crate) fn new() -> LedgerSide {
        LedgerSide { standing: ArcSwap::from_pointee(Standing::Unused) }
    }

    /// Returns what is known of the ledger now.
    pub(crate) fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// Returns the ledger.
    ///
    /// # Errors
    /// If it is not open. The text says why.
    pub(crate) fn books(&self) -> Result<Books, Arc<str>> {
        match &**self.standing.load() {
            Standing::Open(books) => Ok(books.clone()),
            Standing::Away(why) => Err(Arc::clone(why)),
            Standing::Unused => Err("the ledger is being opened".into()),
        }
    }
}

/// Opens the ledger when the configuration has a durable operation, and follows each reload. Runs on the ledger's own thread
/// until `stop` becomes true, and then lets the actions under way end for at most [`LAST_WORK`].
pub(crate) async fn keep(side: Arc<LedgerSide>, router: Arc<Router>, mut stop: watch::Receiver<bool>) {
    router.serve_here();
    router.watch_health();
    let mut replaced = router.running.replaced();
    let mut keeper = Keeper { side, database: None, generation: 0, worker: None, failed: 0 };
    loop {
        router.take_over();
        let wait = keeper.renew(&router.running).await;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = replaced.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    if let Some(worker) = keeper.worker {
        worker.drain(LAST_WORK * 9 / 10).await;
    }
}

struct Keeper {
    side: Arc<LedgerSide>,
    database: Option<Database>,
    /// The generation of the configuration whose operations the ledger has. 0 before the first.
    generation: u64,
    worker: Option<Worker>,
    /// The number of tries to open the database that have failed since the last success.
    failed: u32,
}

impl Keeper {
    /// Opens the ledger if it is needed and not open, or gives it the operations of the configuration in force. Returns the
    /// time after which this must be called again if nothing else happens.
    async fn renew(&mut self, running: &Running) -> Duration {
        let compiled = running.compiled.load_full();
        if compiled.generation == self.generation {
            return Duration::MAX;
        }
        if self.database.is_none() && durable(&compiled).next().is_none() {
            self.generation = compiled.generation;
            return Duration::MAX;
        }
        let database = match &self.database {
            Some(database) => database.clone(),
            None => match Database::open(compiled.settings.ledger.url.reveal()).await {
                Ok(database) => {
                    self.failed = 0;
                    self.database.insert(database).clone()
                }
                Err(error) => return self.away(&error.to_string()),
            },
        };
        let before = match &*self.side.standing() {
            Standing::Open(books) => Some(books.clone()),
            Standing::Unused | Standing::Away(_) => None,
        };
        let sizes = sizes(&compiled);
        match database.books(durable(&compiled).map(Arc::as_ref), sizes, before.as_ref()) {
            Ok(books) => {
                // The worker before claims nothing more. Its actions that are under way go on to their ends.
                self.worker = Some(books.worker(WorkerSettings::default()));
                self.generation = compiled.generation;
                self.side.standing.store(Arc::new(Standing::Open(books)));
                if before.is_none() {
                    tracing::info!("the ledger is open");
                }
                Duration::MAX
            }
            Err(misuse) => {
                self.generation = compiled.generation;
                tracing::error!(error = %misuse, "the ledger cannot take the new operations");
                Duration::MAX
            }
        }
    }

    fn away(&mut self, why: &str) -> Duration {
        if self.failed == 0 {
            tracing::error!(
                error = why,
                "the ledger cannot be opened: durable operations are refused until it can"
            );
        }
        self.side.standing.store(Arc::new(Standing::Away(why.into())));
        let bound = Duration::from_millis(100).saturating_mul(1 << self.failed.min(6)).min(LONGEST_WAIT);
        self.failed = self.failed.saturating_add(1);
        bound / 2 + Draw::new(fastrand::u64(..)).share_of(bound / 2)
    }
}

fn durable(compiled: &Compiled) -> impl Iterator<Item = &Arc<DurableOperation>> {
    compiled.dependencies.iter().flat_map(|dependency| dependency.operations.durable())
}

fn sizes(compiled: &Compiled) -> Sizes {
    let ledger = &compiled.settings.ledger;
    let mut sizes = Sizes::default();
    // The request is recorded with its line and its headers.
    sizes.request = ledger.request_max.saturating_add(64 << 10);
    sizes.answer = ledger.answer_max.saturating_add(16 << 10);
    sizes
}
