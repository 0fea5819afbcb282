//! One worker: a single-threaded runtime on a thread of its own, with its own listeners and its own connections.
//!
//! The kernel spreads callers over the workers (SO_REUSEPORT), and a request stays on one core from its first byte to its
//! last: measured, that costs less than a runtime that moves work between cores. What must be decided together, breakers,
//! limits and budgets, is shared.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::uri::PathAndQuery;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use seawall_client::connect::Stream;
use seawall_client::{Clock, Dependency};
use seawall_policy::Reason;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::caller::{Caller, CallerIo, Patience};
use crate::gate::Gate;
use crate::handle::{handle, split_prefix};
use crate::refusals::Refusals;
use crate::reply::Problem;
use crate::running::{Compiled, Running};

/// How often connections are looked after.
const ROUND: Duration = Duration::from_millis(250);
/// Callers may leave a connection idle for so long.
const IDLE: Duration = Duration::from_secs(120);
/// A call's answer may be on its way for so long after its deadline.
const GRACE: Duration = Duration::from_secs(2);
/// While draining, an idle connection is given so long to send what its caller may just be writing.
const SETTLE: Duration = Duration::from_millis(300);

/// A configuration with this worker's own connections.
pub(crate) struct Routes {
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) dependencies: Vec<Arc<Dependency>>,
}

/// One worker, as its tasks see it.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) running: Arc<Running>,
    pub(crate) refusals: Arc<Refusals>,
    routes: ArcSwap<Routes>,
    callers: Mutex<Vec<Option<Arc<Caller>>>>,
    /// Connections that were accepted and are not over.
    open: AtomicU64,
}

/// A bound listener and what comes in by it.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) listener: StdListener,
    pub(crate) address: SocketAddr,
    /// The dependency whose own port it is.
    pub(crate) own: Option<String>,
    pub(crate) tokens: Option<Vec<Vec<u8>>>,
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

impl Worker {
    /// Makes a worker with connections for what is in force.
    pub(crate) fn new(
        index: usize,
        running: Arc<Running>,
        refusals: Arc<Refusals>,
    ) -> Result<Worker, String> {
        let routes = Routes::new(running.compiled.load_full(), None, running.clock)?;
        Ok(Worker {
            index,
            running,
            refusals,
            routes: ArcSwap::from_pointee(routes),
            callers: Mutex::default(),
            open: AtomicU64::new(0),
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
        let mut doors = Vec::new();
        for entrance in entrances {
            doors.push(tokio::spawn(Arc::clone(&self).accept(entrance, stop.clone())));
        }
        // A sender that is gone means the same as its word.
        let _ = stop.wait_for(|stop| *stop).await;
        for door in doors {
            let _ = door.await;
        }
        while self.open.load(Ordering::Relaxed) > 0 {
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
        let mut stopping = false;
        loop {
            let accepted = tokio::select! {
                biased;
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop), if !stopping => {
                    // New connections go elsewhere; those that the kernel has accepted already are still served.
                    stopping = true;
                    refuse_new(&listener);
                    continue;
                }
                () = std::future::ready(()), if stopping => return,
            };
            match accepted {
                Ok((tcp, _)) => self.welcome(tcp, &door, &stop),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }

    fn welcome(self: &Arc<Self>, tcp: TcpStream, door: &Arc<Door>, stop: &watch::Receiver<bool>) {
        let limits = self.routes().compiled.settings.gateway.limits.clone();
        let before = self.running.connections.fetch_add(1, Ordering::Relaxed);
        if before >= limits.connections as u64 {
            self.running.connections.fetch_sub(1, Ordering::Relaxed);
            turn_away(&tcp);
            return;
        }
        let _ = tcp.set_nodelay(true);
        self.open.fetch_add(1, Ordering::Relaxed);
        let worker = Arc::clone(self);
        let (door, stop) = (Arc::clone(door), stop.clone());
        tokio::spawn(async move {
            worker.converse(tcp, door, limits, stop).await;
            worker.open.fetch_sub(1, Ordering::Relaxed);
            worker.running.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }

    async fn converse(
        self: &Arc<Self>,
        tcp: TcpStream,
        door: Arc<Door>,
        limits: crate::config::Limits,
        mut stop: watch::Receiver<bool>,
    ) {
        let head_limit = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX);
        let Some(http2) = speaks_http2(&tcp, limits.header_time, stop.clone()).await else { return };
        let (stream, meter, probe) = Stream::accepted(tcp);
        let io = CallerIo::new(stream, meter, probe, self.running.clock, head_limit);
        let caller = io.caller();
        let place = self.register(&caller);
        let service = {
            let worker = Arc::clone(self);
            service_fn(move |request| {
                let (worker, door, caller) = (Arc::clone(&worker), Arc::clone(&door), Arc::clone(&caller));
                async move { Ok::<_, std::convert::Infallible>(handle(&worker, &door, &caller, request).await) }
            })
        };
        if http2 {
            io.multiplex();
            let mut conn = std::pin::pin!(
                http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .max_header_list_size(u32::try_from(head_limit).unwrap_or(u32::MAX))
                    .adaptive_window(true)
                    .keep_alive_interval(IDLE / 2)
                    .keep_alive_timeout(limits.header_time)
                    .serve_connection(io, service)
            );
            let mut stopping = false;
            loop {
                tokio::select! {
                    _ = conn.as_mut() => break,
                    _ = stop.wait_for(|stop| *stop), if !stopping => {
                        stopping = true;
                        conn.as_mut().graceful_shutdown();
                    }
                }
            }
        } else {
            let mut builder = http1::Builder::new();
            // One buffer for head and body. Not `pipeline_flush`, which brings that too: it holds an answer back while
            // more of the caller's bytes are at hand, and loses it when they are the reason to close.
            builder.writev(false).max_buf_size(head_limit.max(MIN_BUFFER));
            if limits.headers != HYPERS_HEADERS {
                builder.max_headers(limits.headers);
            }
            // Errors here are the caller's connection's: it is gone, and so is whom one could tell.
            let _ = builder.serve_connection(io, service).await;
        }
        self.callers.lock()[place] = None;
    }

    fn register(&self, caller: &Arc<Caller>) -> usize {
        let mut callers = self.callers.lock();
        let free = callers.iter().position(Option::is_none);
        let place = free.unwrap_or_else(|| {
            callers.push(None);
            callers.len() - 1
        });
        callers[place] = Some(Arc::clone(caller));
        place
    }

    /// Looks after all connections, and takes over a new configuration when there is one.
    async fn look_after(self: Arc<Self>) {
        let mut replaced = self.running.replaced();
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

    /// Takes over the configuration in force, keeping the connections of every dependency that did not change.
    pub(crate) fn take_over(&self) {
        let compiled = self.running.compiled.load_full();
        let old = self.routes();
        if compiled.generation == old.compiled.generation {
            return;
        }
        match Routes::new(compiled, Some(&old), self.running.clock) {
            Ok(routes) => {
                self.running.taken_over(self.index, routes.compiled.generation);
                self.routes.store(Arc::new(routes));
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
    fn new(compiled: Arc<Compiled>, old: Option<&Routes>, clock: Clock) -> Result<Routes, String> {
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
                    Arc::new(made.map_err(|error| error.to_string())?)
                }
            });
        }
        Ok(Routes { compiled, dependencies })
    }
}

/// Whether the connection begins with HTTP/2's preface (RFC 9113, section 3.4); none where it says too little.
///
/// The first byte may take as long as between two calls, or until the drain has let idle connections go; the rest of
/// a preface no longer than a head may.
async fn speaks_http2(
    tcp: &TcpStream,
    header_time: Duration,
    mut stop: watch::Receiver<bool>,
) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut seen = [0; PREFACE.len()];
    let leaving = async {
        // A sender that is gone means the same as its word.
        let _ = stop.wait_for(|stop| *stop).await;
        tokio::time::sleep(SETTLE).await;
    };
    let mut n = tokio::select! {
        biased;
        n = tcp.peek(&mut seen) => n.ok()?,
        () = leaving => return None,
        () = tokio::time::sleep(IDLE) => return None,
    };
    let (end, mut pause) = (tokio::time::Instant::now() + header_time, Duration::from_millis(1));
    loop {
        if n == 0 || seen[..n] != PREFACE[..n] {
            return Some(false);
        }
        if n == PREFACE.len() {
            return Some(true);
        }
        if tokio::time::Instant::now() >= end {
            return None;
        }
        // Part of it. The socket stays readable, so nobody tells when there is more.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
        n = tcp.peek(&mut seen).await.ok()?;
    }
}

/// More connections than allowed: said, not shown by silence.
fn turn_away(tcp: &TcpStream) {
    const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\n\
        retry-after: 1\r\nseawall-reason: concurrency-limit\r\nseawall-origin: seawall\r\n\
        seawall-effect: not-applied\r\nseawall-attempts: 0\r\nseawall-endpoint: 0\r\n\r\n";
    let _ = tcp.try_write(FULL);
}

/// The kernel drops what asks for a new connection from now on, so that nothing is accepted behind our back and then
/// reset by the close of the listener; who asked asks again, and meets another instance or a refusal.
fn refuse_new(listener: &TcpListener) {
    let drop_all = [libc_filter()];
    if let Err(error) = SockRef::from(listener).attach_filter(&drop_all) {
        tracing::debug!(%error, "new connections cannot be held off while draining");
    }
}

/// `return 0`: a filter that keeps no byte of any packet (BPF_RET | BPF_K).
fn libc_filter() -> socket2::SockFilter {
    const RETURN: u16 = 0x06;
    socket2::SockFilter::new(RETURN, 0, 0, 0)
}
