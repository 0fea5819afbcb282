//! One worker: a single-threaded runtime on a thread of its own, with its own listeners and its own connections.
//!
//! The kernel spreads callers over the workers (SO_REUSEPORT), and a request stays on one core from its first byte to
//! its last. Measurements show that a runtime that moves work between cores costs more. All workers share the breakers,
//! limits and budgets, since they must decide together.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;
use seawall_client::connect::{Stream, send_overdue};
use seawall_policy::Reason;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::callers::arrival::{refuse_new, speaks_http2, turn_away};
use crate::callers::caller::io::CallerIo;
use crate::callers::caller::{Caller, Task};
use crate::callers::descriptors::no_room;
use crate::callers::door::{Door, Entrance};
use crate::callers::exchange::{Exchange, Spawner};
use crate::callers::patience::{IDLE, Patience};
use crate::config::Limits;
use crate::durable::Room;
use crate::problem::Problem;
use crate::request::handle::handle;
use crate::request::site::Site;
use crate::running::process::Running;
use crate::running::router::Router;

/// The time between two checks of all connections of a worker: the worker's round.
const ROUND: Duration = Duration::from_millis(250);

/// One worker, which all its tasks share.
pub(crate) struct Worker {
    pub(crate) router: Arc<Router>,
    site: Arc<Site>,
    callers: Mutex<Vec<Option<Arc<Caller>>>>,
    /// The number of connections that were accepted and have not ended.
    open: AtomicU64,
}

/// Counts a connection until this value is dropped. A panic drops it, too.
struct Counted(Arc<Worker>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.router.running.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps a connection in the list of those that the worker looks after. Dropping this value removes the connection from
/// the list.
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
    /// Makes a worker for the configuration in force.
    pub(crate) fn new(index: usize, running: Arc<Running>, room: Arc<Room>) -> Result<Worker, String> {
        let router = Arc::new(Router::new(index, running)?);
        let site = Arc::new(Site { router: Arc::clone(&router), room });
        Ok(Worker { router, site, callers: Mutex::default(), open: AtomicU64::new(0) })
    }

    /// Serves until `stop` becomes true, and then until the last accepted work is finished. Never fails.
    pub(crate) async fn serve(
        self: Arc<Self>,
        entrances: Vec<Entrance>,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let round = tokio::spawn(Arc::clone(&self).look_after());
        self.router.serve_here();
        self.router.watch_health();
        let mut doors = Vec::new();
        for entrance in entrances {
            doors.push(tokio::spawn(Arc::clone(&self).accept(entrance, stop.clone())));
        }
        // An error means that the sender was dropped. In that case the worker stops, too.
        let _ = stop.wait_for(|stop| *stop).await;
        self.router.end_witnesses();
        for door in doors {
            let _ = door.await;
        }
        while self.open.load(Ordering::Relaxed) > 0 || self.router.follows_calls() {
            // This is repeated, because a new configuration may come into force during the drain, and bring further
            // witnesses: attempts that are followed only to learn whether an endpoint hangs.
            self.router.end_witnesses();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        round.abort();
        Ok(())
    }

    async fn accept(self: Arc<Self>, entrance: Entrance, mut stop: watch::Receiver<bool>) {
        let (listener, door) = Door::new(entrance, &self.router.routes().compiled.settings.gateway.hosts);
        let door = Arc::new(door);
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
                    // A worker sends its answers together at the end of each turn of the event loop. Answers that have
                    // waited long enough are sent here. Otherwise they would wait until a whole crowd of connections
                    // has been accepted.
                    send_overdue();
                }
                Err(error) => {
                    self.router.running.refusals.not_accepted("data", &error);
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        // From here on, the kernel drops requests for new connections. The connections that the kernel has accepted
        // already are still served. They are taken directly from the kernel, since the runtime has not been told of the
        // last ones yet.
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
        let limits = self.router.routes().compiled.settings.gateway.limits.clone();
        let before = self.router.running.connections.fetch_add(1, Ordering::Relaxed);
        let full = before >= limits.connections as u64;
        let no_room = if full { None } else { no_room(&tcp, before) };
        if full || no_room.is_some() {
            self.router.running.connections.fetch_sub(1, Ordering::Relaxed);
            turn_away(&tcp, no_room.as_ref().map_or(Reason::ConcurrencyLimit, |problem| problem.reason));
            no_room.iter().for_each(|problem| self.router.running.refusals.note(problem));
            return;
        }
        let _ = tcp.set_nodelay(true);
        self.open.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(self));
        let (door, stop) = (Arc::clone(door), stop.clone());
        let task = Task::default();
        let its = Arc::clone(&task);
        let spawned = tokio::spawn(async move { counted.0.converse(tcp, its, door, limits, stop).await });
        // `task` cannot have been set before: the spawned task has not run yet, and no other code sets `task`.
        let _ = task.set(spawned.abort_handle());
    }

    async fn converse(
        self: &Arc<Self>,
        tcp: TcpStream,
        task: Task,
        door: Arc<Door>,
        limits: Limits,
        mut stop: watch::Receiver<bool>,
    ) {
        let head_limit = usize::try_from(limits.header_bytes).unwrap_or(usize::MAX);
        let Some(http2) = speaks_http2(&tcp, limits.header_time, stop.clone()).await else { return };
        let (stream, meter, probe) = Stream::accepted(tcp);
        let io = CallerIo::new(stream, meter, probe, task, self.router.running.clock, head_limit, http2);
        let caller = io.caller();
        let caller_seen = Arc::clone(&caller);
        let _registered = self.register(&caller);
        let site = Arc::clone(&self.site);
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
                            handle(Arc::clone(&site), Arc::clone(&door), Exchange::next(&caller), request)
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
                self.router.running.refusals.note(&Problem::refused(Reason::CallerRefused, None, why));
            }
        } else {
            let mut builder = http1::Builder::new();
            // Head and body go into one buffer. hyper's `pipeline_flush` would also put them into one buffer, but it
            // has two faults: it delays an answer while further bytes of the caller are waiting, and it loses the
            // answer if these bytes are the reason to close the connection.
            builder.writev(false).max_buf_size(head_limit.max(MIN_BUFFER));
            if limits.headers != HYPERS_HEADERS {
                builder.max_headers(limits.headers);
            }
            // HTTP/1 and HTTP/2 each have a service of their own, because the compiler then builds each service
            // directly where it is used. A service for both would be built first and then be copied to that place.
            let service = service_fn(move |request| {
                handle(Arc::clone(&site), Arc::clone(&door), Exchange::next(&caller), request)
            });
            let served = builder.serve_connection(io, service).await;
            if let Some(why) = caller_seen.unread() {
                self.router.running.refusals.note(&Problem::refused(Reason::BadRequest, None, why));
            }
            // The connection is over, but some bytes of an answer were not sent. The caller can no longer be told. But
            // the log can help a person who looks for the answer.
            if caller_seen.lost_bytes() {
                let why = served
                    .err()
                    .map_or_else(|| "the caller's connection broke".to_owned(), |e| e.to_string());
                self.router.running.refusals.undelivered(None, None, &why);
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

    /// Checks all connections four times a second, and takes over a new configuration when there is one.
    async fn look_after(self: Arc<Self>) {
        let mut replaced = self.router.running.replaced();
        // A configuration may have come into force after this worker was made and before this task started. The channel
        // does not report such a configuration, so it is taken over here.
        self.router.take_over();
        let mut round = tokio::time::interval(ROUND);
        loop {
            tokio::select! {
                _ = round.tick() => {}
                // This cannot fail, since the worker itself holds the sender.
                _ = replaced.changed() => {
                    self.router.take_over();
                    continue;
                }
            }
            let head = self.router.routes().compiled.settings.gateway.limits.header_time;
            let patience = Patience { head, draining: self.router.running.is_draining() };
            let now = self.router.running.clock.now();
            for caller in self.callers.lock().iter().flatten() {
                caller.look_after(now, &patience);
            }
        }
    }
}

/// The number of header fields that hyper allows by default. Any other number costs an allocation for each request.
const HYPERS_HEADERS: usize = 100;
/// The size of hyper's smallest read buffer, in bytes.
const MIN_BUFFER: usize = 8192;

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
