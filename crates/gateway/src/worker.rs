//! One worker: a single-threaded runtime on a thread of its own, with its own listeners and its own connections.
//!
//! The kernel spreads callers over the workers (SO_REUSEPORT), and a request stays on one core from its first byte to its
//! last: measured, that costs less than a runtime that moves work between cores. What must be decided together, breakers,
//! limits and budgets, is shared.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::uri::PathAndQuery;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;
use seawall_client::connect::{Stream, send_overdue};
use seawall_client::{Clock, Dependency, Outcome};
use seawall_policy::Reason;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::arrival::{refuse_new, speaks_http2, turn_away};
use crate::caller::{Caller, CallerIo, Patience, Task};
use crate::descriptors::no_room;
use crate::gate::Gate;
use crate::handle::{handle, split_prefix};
use crate::reply::Problem;
use crate::running::{Compiled, Running};
use crate::streams::{Exchange, Spawner};
use crate::tokens::TokenFile;

/// How often connections are looked after.
const ROUND: Duration = Duration::from_millis(250);
/// Callers may leave a connection idle for so long.
pub(crate) const IDLE: Duration = Duration::from_secs(120);
/// A call's answer may be on its way for so long after its deadline.
const GRACE: Duration = Duration::from_secs(2);
/// The same for a stream of HTTP/2, which a look every [`ROUND`] ends: two seconds in all are promised.
const LATE: Duration = Duration::from_secs(1);
/// Where a call has no deadline, a caller may take so long for each piece of its answer, at most 16 KiB: as long as nginx gives
/// it (`send_timeout`). It also bounds what is still to be written when the call is over.
const UNREAD: Duration = Duration::from_secs(60);
/// While draining, an idle connection is given so long to send what its caller may just be writing.
pub(crate) const SETTLE: Duration = Duration::from_millis(300);

/// A configuration with this worker's own connections.
pub(crate) struct Routes {
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) dependencies: Vec<Arc<Dependency>>,
}

/// One worker, as its tasks see it.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) running: Arc<Running>,
    routes: ArcSwap<Routes>,
    callers: Mutex<Vec<Option<Arc<Caller>>>>,
    /// Connections that were accepted and are not over.
    open: AtomicU64,
    /// Dependencies of former configurations that may still have calls.
    retired: Mutex<Vec<Weak<Dependency>>>,
}

/// A bound listener and what comes in by it.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) listener: StdListener,
    pub(crate) address: SocketAddr,
    /// The dependency whose own port it is.
    pub(crate) own: Option<String>,
    pub(crate) tokens: Option<TokenFile>,
}

/// What a listener lets in, and where that goes.
pub(crate) struct Door {
    pub(crate) gate: Gate,
    own: Option<String>,
}

impl Door {
    /// The dependency's index, and the path as the dependency knows it.
    pub(crate) fn route(
        &self,
        routes: &Routes,
        path: Option<&PathAndQuery>,
    ) -> Result<(usize, PathAndQuery), Problem> {
        let path = path
            .filter(|path| path.as_str().starts_with('/'))
            .ok_or_else(|| Problem::refused(Reason::BadRequest, None, "a path must begin with /"))?;
        let unknown = |name: &str| {
            let why = match name {
                "" => "the first segment of the path names the dependency, and there is none".to_owned(),
                "-" => "paths under /-/ are Seawall's own, and there is none of this name".to_owned(),
                name => format!("there is no dependency `{name}`"),
            };
            Problem::refused(Reason::UnknownDependency, None, why)
        };
        if let Some(own) = &self.own {
            let (index, _) = routes.compiled.by_name(own).ok_or_else(|| unknown(own))?;
            return Ok((index, path.clone()));
        }
        let (name, rest) = split_prefix(path)
            .ok_or_else(|| Problem::refused(Reason::BadRequest, None, "the path is malformed"))?;
        let (index, _) = routes.compiled.by_name(name).ok_or_else(|| unknown(name))?;
        Ok((index, rest))
    }
}

/// A connection that is counted. What a panic ends is not counted for ever.
struct Counted(Arc<Worker>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.running.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that is looked after from outside.
struct Registered {
    worker: Arc<Worker>,
    place: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.callers.lock()[self.place] = None;
    }
}

impl Worker {
    /// Makes a worker with connections for what is in force.
    pub(crate) fn new(index: usize, running: Arc<Running>) -> Result<Worker, String> {
        let routes = Routes::new(running.compiled.load_full(), None, running.clock, index)?;
        Ok(Worker {
            index,
            running,
            routes: ArcSwap::from_pointee(routes),
            callers: Mutex::default(),
            open: AtomicU64::new(0),
            retired: Mutex::default(),
        })
    }

    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.routes.load_full()
    }

    /// Serves until `stop` says so, and then until the last accepted work is done.
    pub(crate) async fn serve(
        self: Arc<Self>,
        entrances: Vec<Entrance>,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let round = tokio::spawn(Arc::clone(&self).look_after());
        self.routes().watch_health(None);
        let mut doors = Vec::new();
        for entrance in entrances {
            doors.push(tokio::spawn(Arc::clone(&self).accept(entrance, stop.clone())));
        }
        // A sender that is gone means the same as its word.
        let _ = stop.wait_for(|stop| *stop).await;
        self.end_witnesses();
        for door in doors {
            let _ = door.await;
        }
        while self.open.load(Ordering::Relaxed) > 0 || self.follows_calls() {
            // Those of a configuration that came during the drain, too.
            self.end_witnesses();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        round.abort();
        Ok(())
    }

    async fn accept(self: Arc<Self>, entrance: Entrance, mut stop: watch::Receiver<bool>) {
        let Entrance { listener, address, own, tokens } = entrance;
        let hosts = self.routes().compiled.settings.gateway.hosts.clone();
        let door = Arc::new(Door { gate: Gate::new(address, &hosts, tokens), own });
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            match accepted {
                Ok((tcp, _)) => {
                    self.welcome(tcp, &door, &stop);
                    // Answers do not wait for all of a crowd to be taken in.
                    send_overdue();
                }
                Err(error) => {
                    self.running.refusals.not_accepted("data", &error);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        // New connections go elsewhere; those that the kernel has accepted already are still served. It is asked for them
        // directly: the reactor has not heard of the last of them yet.
        refuse_new(&listener);
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((tcp, _)) = listener.accept() {
            let tcp = tcp.set_nonblocking(true).and_then(|()| TcpStream::from_std(tcp));
            if let Ok(tcp) = tcp {
                self.welcome(tcp, &door, &stop);
            }
        }
    }

    fn welcome(self: &Arc<Self>, tcp: TcpStream, door: &Arc<Door>, stop: &watch::Receiver<bool>) {
        let limits = self.routes().compiled.settings.gateway.limits.clone();
        let before = self.running.connections.fetch_add(1, Ordering::Relaxed);
        let full = before >= limits.connections as u64;
        let no_room = if full { None } else { no_room(&tcp, before) };
        if full || no_room.is_some() {
            self.running.connections.fetch_sub(1, Ordering::Relaxed);
            turn_away(&tcp, no_room.as_ref().map_or(Reason::ConcurrencyLimit, |problem| problem.reason));
            no_room.iter().for_each(|problem| self.running.refusals.note(problem));
            return;
        }
        let _ = tcp.set_nodelay(true);
        self.open.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(self));
        let (door, stop) = (Arc::clone(door), stop.clone());
        let task = Task::default();
        let its = Arc::clone(&task);
        let spawned = tokio::spawn(async move { counted.0.converse(tcp, its, door, limits, stop).await });
        // It has not run yet, and nobody else sets it.
        let _ = task.set(spawned.abort_handle());
    }

    async fn converse(
        self: &Arc<Self>,
        tcp: TcpStream,
        task: Task,
        door: Arc<Door>,
        limits: crate::config::Limits,
        mut stop: watch::Receiver<bool>,
    ) {
        let head_limit = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX);
        let Some(http2) = speaks_http2(&tcp, limits.header_time, stop.clone()).await else { return };
        let (stream, meter, probe) = Stream::accepted(tcp);
        let io = CallerIo::new(stream, meter, probe, task, self.running.clock, head_limit, http2);
        let caller = io.caller();
        let caller_seen = Arc::clone(&caller);
        let _registered = self.register(&caller);
        let worker = Arc::clone(self);
        if let Some(streams) = caller_seen.streams() {
            let mut conn = std::pin::pin!(
                http2::Builder::new(Spawner(Arc::clone(&caller_seen)))
                    .timer(TokioTimer::new())
                    .max_header_list_size(u32::try_from(head_limit).unwrap_or(u32::MAX))
                    .adaptive_window(true)
                    .keep_alive_interval(IDLE / 2)
                    .keep_alive_timeout(limits.header_time)
                    .serve_connection(
                        io,
                        service_fn(move |request| {
                            handle(Arc::clone(&worker), Arc::clone(&door), Exchange::next(&caller), request)
                        })
                    )
            );
            let mut stopping = false;
            loop {
                tokio::select! {
                    _ = conn.as_mut() => break,
                    _ = stop.wait_for(|stop| *stop), if !stopping => {
                        stopping = true;
                        conn.as_mut().graceful_shutdown();
                    }
                    () = streams.told_to_leave() => conn.as_mut().graceful_shutdown(),
                }
            }
            if caller_seen.was_flooded() {
                let why = "an HTTP/2 connection was closed: its caller sent control frames and little else";
                self.running.refusals.note(&Problem::refused(Reason::CallerRefused, None, why));
            }
        } else {
            let mut builder = http1::Builder::new();
            // One buffer for head and body. Not `pipeline_flush`, which brings that too: it holds an answer back while
            // more of the caller's bytes are at hand, and loses it when they are the reason to close.
            builder.writev(false).max_buf_size(head_limit.max(MIN_BUFFER));
            if limits.headers != HYPERS_HEADERS {
                builder.max_headers(limits.headers);
            }
            // Not one service for both versions: where it is called once, it is made in its place, and not copied there.
            let service = service_fn(move |request| {
                handle(Arc::clone(&worker), Arc::clone(&door), Exchange::next(&caller), request)
            });
            let served = builder.serve_connection(io, service).await;
            if let Some(why) = caller_seen.unread() {
                self.running.refusals.note(&Problem::refused(Reason::BadRequest, None, why));
            }
            // The caller cannot be told any more, but whoever looks for its answer can.
            if caller_seen.lost_bytes() {
                let why = served
                    .err()
                    .map_or_else(|| "the caller's connection broke".to_owned(), |e| e.to_string());
                self.running.refusals.undelivered(None, None, &why);
            }
        }
    }

    fn register(self: &Arc<Self>, caller: &Arc<Caller>) -> Registered {
        let mut callers = self.callers.lock();
        let free = callers.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            callers.push(None);
            callers.len() - 1
        });
        callers[place] = Some(Arc::clone(caller));
        Registered { worker: Arc::clone(self), place }
    }

    /// Looks after all connections, and takes over a new configuration when there is one.
    async fn look_after(self: Arc<Self>) {
        let mut replaced = self.running.replaced();
        // What was replaced between this worker's making and its start is told by nobody.
        self.take_over();
        let mut round = tokio::time::interval(ROUND);
        loop {
            tokio::select! {
                _ = round.tick() => {}
                // It cannot be gone while the worker holds it.
                _ = replaced.changed() => {
                    self.take_over();
                    continue;
                }
            }
            let limits = &self.routes().compiled.settings.gateway.limits;
            let patience = Patience {
                head: limits.header_time,
                grace: GRACE,
                late: LATE,
                unread: UNREAD,
                idle: IDLE,
                settle: SETTLE,
                draining: self.running.is_draining(),
            };
            let now = self.running.clock.now();
            for caller in self.callers.lock().iter().flatten() {
                caller.look_after(now, &patience);
            }
        }
    }

    /// Whether calls go on without a caller's connection: each holds its dependency.
    fn follows_calls(&self) -> bool {
        let now = self.routes();
        now.dependencies.iter().any(|dependency| Arc::strong_count(dependency) > 1)
            || self.retired.lock().iter().any(|dependency| dependency.strong_count() > 0)
    }

    /// Attempts that are followed only to learn whether an endpoint hangs do not hold up the end.
    fn end_witnesses(&self) {
        self.routes().dependencies.iter().for_each(|dependency| dependency.end_witnesses());
        for retired in self.retired.lock().iter().filter_map(Weak::upgrade) {
            retired.end_witnesses();
        }
    }

    /// Takes over the configuration in force, keeping the connections of every dependency that did not change.
    pub(crate) fn take_over(&self) {
        let compiled = self.running.compiled.load_full();
        let old = self.routes();
        if compiled.generation == old.compiled.generation {
            return;
        }
        match Routes::new(compiled, Some(&old), self.running.clock, self.index) {
            Ok(routes) => {
                let kept = |d: &&Arc<Dependency>| routes.dependencies.iter().any(|new| Arc::ptr_eq(new, d));
                let gone = old.dependencies.iter().filter(|d| !kept(d)).map(Arc::downgrade);
                let mut retired = self.retired.lock();
                retired.retain(|dependency| dependency.strong_count() > 0);
                retired.extend(gone);
                drop(retired);
                let generation = routes.compiled.generation;
                routes.watch_health(Some(&old));
                self.routes.store(Arc::new(routes));
                self.running.taken_over(self.index, generation);
            }
            Err(error) => {
                tracing::error!(worker = self.index, error, "the new configuration was not taken over")
            }
        }
    }
}

/// hyper's own number of header fields; any other costs an allocation for each request.
const HYPERS_HEADERS: usize = 100;
/// hyper's smallest read buffer.
const MIN_BUFFER: usize = 8192;

impl Routes {
    fn new(
        compiled: Arc<Compiled>,
        old: Option<&Routes>,
        clock: Clock,
        worker: usize,
    ) -> Result<Routes, String> {
        let mut dependencies = Vec::with_capacity(compiled.dependencies.len());
        for dependency in &compiled.dependencies {
            let same = old.and_then(|old| {
                let at = old.compiled.dependencies.iter().position(|d| Arc::ptr_eq(d, dependency))?;
                Some(Arc::clone(&old.dependencies[at]))
            });
            dependencies.push(match same {
                Some(same) => same,
                None => {
                    let made =
                        Dependency::new(dependency.client.clone(), Arc::clone(&dependency.shared), clock);
                    let counted = Arc::clone(dependency);
                    let tell = move |outcome: &Outcome| {
                        let finish = &outcome.finish;
                        counted.counters[worker].ended(finish.effect, outcome.reason(), finish.attempts);
                    };
                    let made = made.map_err(|error| error.to_string())?.on_followed(Arc::new(tell));
                    Arc::new(made)
                }
            });
        }
        Ok(Routes { compiled, dependencies })
    }

    /// Watches those that were not there before, until nobody calls them any more.
    fn watch_health(&self, old: Option<&Routes>) {
        let known =
            |d: &Arc<Dependency>| old.is_some_and(|old| old.dependencies.iter().any(|o| Arc::ptr_eq(o, d)));
        for new in self.dependencies.iter().filter(|dependency| !known(dependency)) {
            tokio::spawn(Dependency::watch_health(Arc::downgrade(new)));
        }
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
