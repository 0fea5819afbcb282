//! Keeps the idle connections of one endpoint.
//!
//! Which idle connection a request may take depends on what a second delivery of the request would do.
//!
//! - A request that may be delivered twice takes the newest connection: if the request is lost, it is sent again.
//! - A plain POST must not be delivered twice. So it takes only a connection that has been idle for the time `settle`
//!   (some servers close a connection directly after an answer), but for much less than the server's idle lifetime
//!   ([`IdleLifetime`]). If there is no such connection, the POST gets a fresh one.
//!
//! A sweep checks the idle connections a few times a second. It closes those that are dead or old, and learns the
//! server's idle lifetime from what it sees. There is no sweep while no connection is idle.
//!
//! An idle connection saves a handshake for a request that may never come. If no file descriptor is left, a request
//! that is there already needs the descriptor more. So all pools of the process are registered in one list, and the
//! connection that has been idle for longest is closed first, whichever dependency it belongs to ([`give_up_idle`]).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use seawall_policy::{Idempotency, IdleLifetime, Problem, Time, Wrong};
use seawall_wire::Limits;

use crate::clock::Clock;
use crate::connect::{ConnectError, ConnectErrorKind, Connection, Connector, NegotiatedVersion, Scheme};
use crate::line::Line;
use crate::trunk::{Trunk, TrunkStream};

/// How idle connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// The time for which a connection must have been idle after an answer, before a plain POST or another request that
    /// must not be doubled may take it. Default 20 ms: servers that close a connection after an answer do it within a
    /// few milliseconds.
    pub settle: Duration,
    /// An idle connection is closed after this time. Default 60 s: common servers close after 60 s to 75 s. If a server
    /// closes earlier, that shorter time is learned.
    pub idle: Duration,
    /// The maximum number of idle connections that are kept. If there are more, the oldest are closed. Connections that
    /// have been idle for less than `settle` do not count. With 0, no idle connection is kept. Default 64.
    pub max_idle: usize,
    /// A connection that is older than this is not used for a further request. So a change of the host's addresses in
    /// DNS takes effect after this time at the latest. Default 1 h.
    pub max_age: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        PoolSettings {
            settle: Duration::from_millis(20),
            idle: Duration::from_secs(60),
            max_idle: 64,
            max_age: Duration::from_secs(3600),
        }
    }
}

impl PoolSettings {
    /// Returns a problem for each setting that could never work, or that is probably a mistake. The list is empty if
    /// there is none.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut found = Vec::new();
        if self.max_age.is_zero() {
            found.push(Problem::error(
                "max_age",
                Wrong::new("`max_age` is zero: no connection could be used"),
            ));
        }
        if self.settle >= self.idle {
            let what =
                "`settle` is not below `idle`: what must not be doubled takes a fresh connection every time";
            found.push(Problem::note("settle", Wrong::new(what)).with(&["idle"]));
        }
        found
    }
}

/// The time between two checks of the idle connections.
const SWEEP: Duration = Duration::from_millis(250);
/// The maximum number of idle connections that are closed to make room for one new connection.
const GIVEN_UP: u32 = 3;

/// All pools of this process that have had an idle connection.
static POOLS: Mutex<Vec<Weak<Pool>>> = Mutex::new(Vec::new());

pub(crate) struct Pool {
    connector: Connector,
    settings: PoolSettings,
    limits: Limits,
    clock: Clock,
    idle: Mutex<Idle>,
    trunks: Mutex<Vec<Trunk>>,
    /// This lock is held while an HTTP/2 connection is opened. So the pool opens one connection at a time, and other
    /// calls that need one wait and then share it.
    opening: tokio::sync::Mutex<()>,
    multiplexed: AtomicBool,
    sweeping: AtomicBool,
    /// Whether the pool is registered in the list [`POOLS`], so that its idle connections can be closed to free
    /// descriptors.
    lent: AtomicBool,
}

struct Idle {
    /// The idle connections in the order in which they became idle, the newest last.
    lines: VecDeque<Box<Line>>,
    lifetime: IdleLifetime,
}

/// What one request is sent on: a connection of its own, or a stream of a shared connection.
pub(crate) enum Channel {
    Line(Box<Line>),
    Trunk(Trunk, TrunkStream),
}

impl Pool {
    /// Makes an empty pool. `multiplexed` says whether it is known in advance that the connections speak HTTP/2. If so,
    /// even the first calls share one connection when they come at the same time.
    pub(crate) fn new(
        connector: Connector,
        settings: PoolSettings,
        limits: Limits,
        multiplexed: bool,
        clock: Clock,
    ) -> Pool {
        Pool {
            connector,
            settings,
            limits,
            clock,
            idle: Mutex::new(Idle { lines: VecDeque::new(), lifetime: IdleLifetime::new(settings.settle) }),
            trunks: Mutex::new(Vec::new()),
            opening: tokio::sync::Mutex::new(()),
            multiplexed: AtomicBool::new(multiplexed),
            sweeping: AtomicBool::new(false),
            lent: AtomicBool::new(false),
        }
    }

    /// Returns the limits of an answer's head: its length, and the number of its fields.
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes an idle connection that a request with this idempotency may use. On HTTP/2, takes a free stream instead.
    /// Returns `None` if there is none. Connections that turn out to be closed or too old are dropped.
    pub(crate) fn take_idle(&self, idempotency: Idempotency, now: Time) -> Option<Channel> {
        if self.multiplexed.load(Ordering::Relaxed) {
            return self.take_stream(now);
        }
        loop {
            let mut line = self.idle.lock().candidate(idempotency, now)?;
            if !line.is_quiet() {
                self.idle.lock().lifetime.seen_closed(line.seen_open);
            } else if now.since(line.born) < self.settings.max_age {
                return Some(Channel::Line(line));
            }
        }
    }

    fn take_stream(&self, now: Time) -> Option<Channel> {
        let mut trunks = self.trunks.lock();
        trunks.retain(|trunk| !trunk.is_closed());
        trunks
            .iter()
            .filter(|trunk| now.since(trunk.born) < self.settings.max_age)
            .find_map(|trunk| Some(Channel::Trunk(trunk.clone(), trunk.take()?)))
    }

    /// Returns a way to send a request that does not use an idle connection. On HTTP/1.1 this is a new connection. On
    /// HTTP/2 it is a stream on a new connection, or on one that another call has just opened. Fails if no connection
    /// is made by the time `by`.
    pub(crate) async fn connect(&self, by: Time) -> Result<Channel, ConnectError> {
        if !self.multiplexed.load(Ordering::Relaxed) {
            return self.open(by).await;
        }
        let deadline = self.clock.instant(by);
        let Ok(_opening) = tokio::time::timeout_at(deadline, self.opening.lock()).await else {
            return Err(ConnectError::new(ConnectErrorKind::Timeout, "waited for another's connection"));
        };
        match self.take_stream(self.clock.now()) {
            Some(channel) => Ok(channel),
            None => self.open(by).await,
        }
    }

    /// Makes a new connection and returns it. If no descriptor is left, an idle connection is closed to free one, and
    /// the new connection is made with that descriptor. Fails if no connection is made by the time `by`.
    async fn connection(&self, by: Time) -> Result<Connection, ConnectError> {
        let deadline = self.clock.instant(by);
        // The number of tries is bounded, since another part of the program may take each descriptor that is freed
        // here.
        for _ in 0..GIVEN_UP {
            let connected = self.connector.connect(deadline).await;
            let starved = |error: &ConnectError| error.kind() == ConnectErrorKind::OutOfDescriptors;
            if !(connected.as_ref().is_err_and(starved) && give_up_idle()) {
                return connected;
            }
        }
        self.connector.connect(deadline).await
    }

    async fn open(&self, by: Time) -> Result<Channel, ConnectError> {
        let connection = self.connection(by).await?;
        let now = self.clock.now();
        match connection.version {
            NegotiatedVersion::Http1 => {
                self.multiplexed.store(false, Ordering::Relaxed);
                let tls = self.connector.target().scheme == Scheme::Https;
                Ok(Channel::Line(Line::open(connection, self.limits, tls, self.clock, now)))
            }
            NegotiatedVersion::Http2 => {
                self.multiplexed.store(true, Ordering::Relaxed);
                let trunk = Trunk::open(connection, self.limits, now).await.map_err(broke)?;
                let stream = trunk.take().ok_or_else(|| {
                    ConnectError::new(ConnectErrorKind::Refused, "the connection ended at once")
                })?;
                self.trunks.lock().push(trunk.clone());
                Ok(Channel::Trunk(trunk, stream))
            }
        }
    }

    /// Takes back a connection whose exchange has ended. If HTTP allows no further request on it, it is closed.
    pub(crate) fn put(self: &Arc<Self>, mut line: Box<Line>, now: Time) {
        // If the request was not sent whole, nobody will finish it, so the connection is ended with a reset.
        line.meter.reset_on_drop(!line.has_sent_whole());
        if !line.is_ready() {
            return;
        }
        line.idle_since = now;
        line.seen_open = Duration::ZERO;
        let over = {
            let mut idle = self.idle.lock();
            idle.lines.push_back(line);
            idle.over(&self.settings, now)
        };
        drop(over);
        if !self.sweeping.load(Ordering::Relaxed) && !self.sweeping.swap(true, Ordering::Relaxed) {
            self.sweep_while_idle();
        }
    }

    /// Must be called when the server closed a connection just as a request was sent on it. `age` is the time for which
    /// the connection had been idle. The pool learns from this how long the server keeps idle connections.
    pub(crate) fn lost(&self, age: Duration) {
        self.idle.lock().lifetime.seen_closed(age);
    }

    /// Must be called when the server has said, in an answer, how long it keeps idle connections.
    pub(crate) fn announce(&self, lifetime: Duration) {
        self.idle.lock().lifetime.announce(lifetime);
    }

    /// Returns how long the pool's oldest idle connection has been idle; `None` if no connection is idle.
    fn longest_idle(&self) -> Option<Duration> {
        let now = self.clock.now();
        self.idle.lock().lines.front().map(|line| now.since(line.idle_since))
    }

    /// Closes the pool's oldest idle connection. Returns whether there was one.
    fn give_up_oldest(&self) -> bool {
        let oldest = self.idle.lock().lines.pop_front();
        oldest.is_some()
    }

    fn sweep_while_idle(self: &Arc<Self>) {
        if !self.lent.swap(true, Ordering::Relaxed) {
            lend(self);
        }
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(pool) = pool.upgrade() else { return };
                if !pool.sweep(pool.clock.now()) {
                    return;
                }
            }
        });
    }

    /// Closes the idle connections that the server has closed, that are idle for too long, or that are too old. Returns
    /// `false` if no idle connection remains, so that no further sweep is needed.
    fn sweep(&self, now: Time) -> bool {
        let mut idle = self.idle.lock();
        let Idle { lines, lifetime } = &mut *idle;
        let mut ended = Vec::new();
        for _ in 0..lines.len() {
            let Some(mut line) = lines.pop_front() else { break };
            let age = now.since(line.idle_since);
            if !line.is_quiet() {
                // It is not known when the server closed the connection. It is only known that the connection was still
                // open when it had been idle for the time `seen_open`.
                lifetime.seen_closed(line.seen_open);
                ended.push(line);
            } else if age >= self.settings.idle || now.since(line.born) >= self.settings.max_age {
                ended.push(line);
            } else {
                line.seen_open = age;
                lifetime.seen_open(age);
                lines.push_back(line);
            }
        }
        let more = !lines.is_empty();
        if !more {
            // The flag is cleared while the lock is held. Otherwise a connection could become idle after `more` was
            // computed and before the flag is cleared, and no sweep would check this connection.
            self.sweeping.store(false, Ordering::Relaxed);
        }
        more
    }
}

impl Idle {
    fn candidate(&mut self, idempotency: Idempotency, now: Time) -> Option<Box<Line>> {
        let lifetime = &self.lifetime;
        let found = self
            .lines
            .iter()
            .rposition(|line| lifetime.may_reuse(idempotency, now.since(line.idle_since)))?;
        self.lines.remove(found)
    }

    /// Removes and returns the oldest idle connection if there are too many. Otherwise returns `None`. There are too
    /// many if `max_idle` is zero, or if more than `max_idle` connections have been idle for at least the time
    /// `settle`. Newer connections do not count, because no POST may take them before that time has passed. If they
    /// were closed, each POST of a quick series would need a fresh connection.
    fn over(&mut self, settings: &PoolSettings, now: Time) -> Option<Box<Line>> {
        let too_many = settings.max_idle == 0
            || self.lines.get(settings.max_idle).is_some_and(|l| now.since(l.idle_since) >= settings.settle);
        if too_many { self.lines.pop_front() } else { None }
    }
}

/// Adds the pool to the list of pools whose idle connections may be closed to free descriptors. Must be called once for
/// each pool.
fn lend(pool: &Arc<Pool>) {
    let mut pools = POOLS.lock();
    pools.retain(|pool| pool.strong_count() > 0);
    pools.push(Arc::downgrade(pool));
}

/// Closes the connection of this process that has been idle for longest, so that its descriptor is free. Returns
/// `false` if no connection was idle.
#[must_use]
pub fn give_up_idle() -> bool {
    // The list is unlocked at the end of this statement. Below, the last reference to a pool may be dropped, and with
    // it all connections of the pool. The list must not be locked during that.
    let pools: Vec<Arc<Pool>> = POOLS.lock().iter().filter_map(Weak::upgrade).collect();
    let longest = pools.iter().filter_map(|pool| Some((pool.longest_idle()?, pool)));
    longest.max_by_key(|(idle, _)| *idle).is_some_and(|(_, pool)| pool.give_up_oldest())
}

fn broke(error: hyper::Error) -> ConnectError {
    ConnectError::because(
        ConnectErrorKind::Refused,
        "the connection broke at once",
        std::io::Error::other(error),
    )
}
