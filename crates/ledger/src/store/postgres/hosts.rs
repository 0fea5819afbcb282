//! Several servers of which one takes writes, as in a cluster that fails over.
//!
//! The obvious rule takes the first server that answers. After a fail-over this can be the old primary, which came back
//! as a standby: each write is refused there, for as long as its connections last. So a server is asked before it is used,
//! as libpq does for `target_session_attrs=read-write`, and all servers are asked again after each loss.
//!
//! - All servers are asked at the same time, so a server that is down costs the others nothing. Of those that take writes,
//!   the one that was used last is preferred, and then the order of the URL decides. A preferred server that has not
//!   answered yet is waited for only for [`GRACE`].
//! - While no server takes writes, they are asked again and again, by one task for all callers. New connections wait for
//!   its result. Callers that wait until their deadline are told what each server said.
//! - When another server is chosen, all connections to the earlier one are closed: idle ones immediately, the others when
//!   they are given back. Their [`Turn`] is over.
//!
//! This cannot prevent a split brain. If two servers take writes, because the old primary came back as one, both say so.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};

use crate::error::{StoreError, Trouble};
use crate::store::Result;

use super::statements::failed;

/// How long a server that takes writes waits for the answer of one that is preferred.
const GRACE: Duration = Duration::from_millis(250);

/// The wait after a search that found nothing. It doubles from the first to the second value.
const SPACING: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Asks whether a server is a standby, and whether its transactions are read-only for another reason.
const REFUSES: &str = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')::boolean";

/// Asks only whether the transactions of a session are read-only, for whatever reason.
pub(super) const REFUSES_NOW: &str = "SELECT current_setting('transaction_read_only')::boolean";

/// The servers of a URL, and which of them is used.
#[derive(Debug)]
pub(super) struct Hosts {
    all: Vec<PgConnectOptions>,
    /// Whether a server must say that it takes writes before it is used.
    must_write: bool,
    /// How long a server has to connect and to answer.
    within: Duration,
    standing: watch::Sender<Standing>,
}

#[derive(Clone, Debug)]
struct Standing {
    /// The server that is used, or that was used last.
    at: usize,
    /// How often another server was chosen.
    turn: u64,
    /// Why no server can be used; `None` if one can.
    sought: Option<Arc<str>>,
}

/// The time in which one server is used. A connection belongs to the turn in which it was taken from the pool. The default
/// is a turn that never ends, for a pool whose servers are the application's business.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn {
    hosts: Option<Arc<Hosts>>,
    number: u64,
}

impl Turn {
    /// Returns whether another server was chosen since then.
    pub(super) fn is_over(&self) -> bool {
        self.hosts.as_ref().is_some_and(|hosts| hosts.standing.borrow().turn != self.number)
    }
}

impl Hosts {
    /// Makes the value for these servers, of which the first one is used for the time being. `within` is the time that the
    /// database has for an answer.
    pub(super) fn new(all: Vec<PgConnectOptions>, must_write: bool, within: Duration) -> Hosts {
        let (standing, _) = watch::channel(Standing { at: 0, turn: 0, sought: None });
        Hosts { all, must_write, within, standing }
    }

    /// Searches for the server to use, once, and returns it.
    ///
    /// # Errors
    ///
    /// If none can be used. The error says why, for each server.
    pub(super) async fn first(&self) -> Result<PgConnectOptions> {
        let at = self.search(self.within).await?;
        self.standing.send_modify(|standing| standing.at = at);
        Ok(self.all[at].clone())
    }

    /// Waits until there is a server to use, and returns its turn.
    ///
    /// # Errors
    ///
    /// [`Trouble::Away`] if there is none before the deadline.
    pub(super) async fn found(self: &Arc<Self>, until: Instant) -> Result<Turn> {
        let mut standing = self.standing.subscribe();
        let found = standing.wait_for(|standing| standing.sought.is_none());
        match timeout_at(until.into(), found).await {
            // The sender lives as long as `self`, so the wait never fails.
            Ok(Ok(found)) => Ok(Turn { hosts: Some(self.clone()), number: found.turn }),
            Ok(Err(_)) | Err(_) => {
                let said = self.standing.borrow().sought.clone().unwrap_or_default();
                Err(StoreError::new(Trouble::Away, &*said))
            }
        }
    }

    /// Notes that the database was lost. With several servers, a task then searches for the one that takes writes, and lets
    /// `pool` open its connections there.
    pub(super) fn lost(self: &Arc<Self>, pool: &PgPool) {
        if self.all.len() < 2 {
            return;
        }
        let begins = self.standing.send_if_modified(|standing| {
            let begins = standing.sought.is_none();
            let said = "the server that takes writes is being searched for";
            standing.sought.get_or_insert_with(|| said.into());
            begins
        });
        if begins {
            tokio::spawn(seek(Arc::downgrade(self), pool.clone()));
        }
    }

    /// Asks all servers, and returns the number of the one to use.
    async fn search(&self, within: Duration) -> Result<usize> {
        if let ([only], false) = (&*self.all, self.must_write) {
            return ask(only, within, false).await.map(|()| 0);
        }
        let last = self.standing.borrow().at;
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|&at| (at != last, at));
        let mut asked = JoinSet::new();
        for (rank, &at) in order.iter().enumerate() {
            let options = self.all[at].clone();
            asked.spawn(async move { (rank, ask(&options, within, true).await) });
        }
        let mut answers: Vec<Option<Result<()>>> = order.iter().map(|_| None).collect();
        let mut end = None;
        loop {
            let answer = match end {
                Some(end) => timeout_at(end, asked.join_next()).await.unwrap_or(None),
                None => asked.join_next().await,
            };
            let waits = answer.is_some();
            if let Some(Ok((rank, answer))) = answer {
                answers[rank] = Some(answer);
            }
            let Some(best) = answers.iter().position(|answer| matches!(answer, Some(Ok(())))) else {
                if waits {
                    continue;
                }
                let said = answers.into_iter().flatten().filter_map(Result::err).map(|e| e.said());
                let said = format!("no server takes writes: {}", said.collect::<Vec<_>>().join("; "));
                return Err(StoreError::new(Trouble::Away, said));
            };
            if !waits || answers[..best].iter().all(Option::is_some) {
                return Ok(order[best]);
            }
            end.get_or_insert_with(|| tokio::time::Instant::now() + GRACE);
        }
    }
}

/// Searches until a server can be used, or until nobody needs one any more.
async fn seek(hosts: Weak<Hosts>, pool: PgPool) {
    let [mut wait, longest] = SPACING;
    loop {
        let Some(hosts) = hosts.upgrade() else { return };
        match hosts.search(hosts.within / 2).await {
            Ok(at) => {
                let before = hosts.standing.borrow().at;
                if before != at {
                    let (before, now) = (address(&hosts.all[before]), address(&hosts.all[at]));
                    tracing::warn!(%before, %now, "the ledger goes on with another server of its database");
                    pool.set_connect_options(hosts.all[at].clone());
                    // From now on, connections to the server before are closed when they are given back.
                    hosts.standing.send_modify(|standing| {
                        standing.turn += 1;
                        standing.at = at;
                    });
                    close_idle(&pool);
                }
                hosts.standing.send_modify(|standing| standing.sought = None);
                return;
            }
            Err(e) => hosts.standing.send_modify(|standing| standing.sought = Some(e.said().into())),
        }
        drop(hosts);
        sleep(wait).await;
        wait = (wait * 2).min(longest);
    }
}

/// Connects once without the pool, and closes the connection. An error of the pool would only say that it waited too long,
/// and not why the database cannot be reached. If `must_write`, fails also if the server takes no writes.
async fn ask(options: &PgConnectOptions, within: Duration, must_write: bool) -> Result<()> {
    let at = address(options);
    let asking = async {
        let mut conn = options.connect().await?;
        let mut refuses = None;
        if must_write {
            let row = sqlx::raw_sql(REFUSES).fetch_one(&mut conn).await?;
            refuses = match (row.try_get(0)?, row.try_get(1)?) {
                (true, _) => Some("it is a standby, which takes no writes"),
                (false, true) => Some("its transactions are read-only (default_transaction_read_only)"),
                (false, false) => None,
            };
        }
        conn.close().await.map(|()| refuses)
    };
    match timeout(within, asking).await {
        Ok(Ok(None)) => Ok(()),
        Ok(Ok(Some(why))) => Err(StoreError::new(Trouble::Away, format!("{at}: {why}"))),
        Ok(Err(e)) => {
            let said = format!("{at}: {e}");
            Err(StoreError::new(failed(e).trouble(), said))
        }
        Err(_) => Err(StoreError::new(Trouble::Away, format!("{at}: no answer within {within:?}"))),
    }
}

/// Closes the idle connections of a pool. The pool opens new ones when they are needed.
pub(super) fn close_idle(pool: &PgPool) {
    // Each pass of this loop closes one idle connection. Other tasks may give connections back meanwhile, so the loop might
    // never end without a limit. The limit is the number of connections of the pool.
    for _ in 0..pool.size() {
        let Some(idle) = pool.try_acquire() else { return };
        drop(idle.detach());
    }
}

/// Returns the server's address for messages: its host or the folder of its Unix socket, and its port.
pub(super) fn address(options: &PgConnectOptions) -> String {
    let host = options.get_socket().map(|folder| folder.to_string_lossy());
    format!("{}:{}", host.as_deref().unwrap_or(options.get_host()), options.get_port())
}
