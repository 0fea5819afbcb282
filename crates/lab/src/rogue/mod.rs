//! An upstream that breaks the rules of HTTP, or that does ordinary things at the worst moment.
//!
//! A rogue reads a whole request, asks its **plan** what to do ([`Act`]), and does it. Between two requests it asks
//! what to do with the idle connection ([`Idle`]). The test gives a closure for each of these two questions. The
//! closures get a seeded random generator, so a test can write any mix of misbehaviour in a line. Afterwards [`Counts`]
//! says what really arrived.
//!
//! A rogue speaks HTTP/1.1 with its own lenient parser, and HTTP/2 (prior knowledge) with the `h2` crate. The first
//! bytes of a connection decide which of the two is spoken. When a rogue is dropped, all its connections are closed.
//!
//! ```
//! use std::time::Duration;
//! use seawall_lab::rogue::{Act, Answer, Idle, Rogue};
//!
//! # async fn rogues() -> std::io::Result<()> {
//! // Reads each request. Closes the connection without an answer for 1 % of them.
//! let reader = Rogue::builder()
//!     .seed(7)
//!     .each(|_, draw| if draw.f64() < 0.01 { Act::Close } else { Answer::ok("fine").into() })
//!     .bind()?;
//! assert!(reader.read(|counts| counts.doubled().is_empty()));
//!
//! // Closes 5 % of its connections within 3 ms after an answer.
//! let closer = Rogue::builder()
//!     .answer(Answer::ok("fine"))
//!     .idle(|draw| match draw.f64() < 0.05 {
//!         true => Idle::Close(Duration::from_micros(draw.u64(..3000))),
//!         false => Idle::Keep,
//!     })
//!     .bind()?;
//!
//! // Does not answer the first two requests, and answers all later ones.
//! let waker = Rogue::builder().acts([Act::Hang, Act::Hang, Answer::ok("at last").into()]).bind()?;
//!
//! // Reads four requests on HTTP/2, then sends GOAWAY: stream 1 may have been processed; 3, 5 and 7 were not.
//! use seawall_lab::rogue::Then;
//! let leaver = Rogue::builder()
//!     .each(|heard, _| match (heard.connection, heard.on_connection) {
//!         (0, 3) => Act::GoAway { last: 1, then: Then::Close },
//!         (0, _) => Act::Hang,
//!         _ => Answer::ok("the next connection").into(),
//!     })
//!     .bind()?;
//! # Ok(())
//! # }
//! ```

mod act;
mod den;
mod http1;
mod http2;
mod load;
mod log;
mod parse;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

pub use act::{Act, Answer, Idle, Then};
pub use load::{Fingerprint, Load, pattern};
pub use log::{Counts, Departed, Departure, Heard, MOST_DEPARTURES, MOST_IDS, Tally};

use crate::wire::{self, Speech};
use den::{Den, Each, Plan, Rest, Settings};
use log::Log;

/// The maximum number of open connections. Further connections wait in the backlog.
pub const MOST_CONNECTIONS: usize = 8192;

/// A running rogue. Dropping it stops the server and closes its connections.
#[derive(Debug)]
pub struct Rogue {
    address: SocketAddr,
    log: Arc<Log>,
    task: JoinHandle<()>,
}

impl Rogue {
    /// Returns a builder. Unless another plan is set, its rogue answers every request with an empty 200.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            seed: 1,
            each: Box::new(|_, _| Answer::status(200).into()),
            idle: Box::new(|_| Idle::Keep),
            welcome: Box::new(|_| Idle::Keep),
            settings: Settings { keep_body: 64 << 10, keep_heard: 64, at_head: false },
        }
    }

    /// Returns the address on 127.0.0.1 on which the rogue listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls `look` with what the rogue has seen so far, and returns the result. The rogue records nothing during this
    /// call.
    pub fn read<R>(&self, look: impl FnOnce(&Counts) -> R) -> R {
        self.log.read(look)
    }

    /// Returns a copy of what the rogue has seen so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.log.read(Counts::clone)
    }

    /// Waits until `reached` returns `true` for what the rogue has seen. The wait has no time limit; the test sets one
    /// around it.
    pub async fn until(&self, reached: impl FnMut(&Counts) -> bool) {
        self.log.until(reached).await;
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The settings of a rogue that is not running yet. [`Builder::bind`] starts it.
pub struct Builder {
    seed: u64,
    each: Each,
    idle: Rest,
    welcome: Rest,
    settings: Settings,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("seed", &self.seed)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Builder {
    /// Sets the seed of the random generator that the closures draw from. The default is 1.
    #[must_use]
    pub fn seed(self, seed: u64) -> Builder {
        Builder { seed, ..self }
    }

    /// Sets a plan that answers every request with this answer.
    #[must_use]
    pub fn answer(self, answer: Answer) -> Builder {
        self.each(move |_, _| Act::Answer(answer.clone()))
    }

    /// Sets a plan that does the n-th of `acts` for the n-th request. When all acts are used, every further request
    /// gets the last of them. If `acts` is empty, every request gets an empty 200.
    #[must_use]
    pub fn acts(self, acts: impl IntoIterator<Item = Act>) -> Builder {
        let acts: Vec<Act> = acts.into_iter().collect();
        self.each(move |heard, _| {
            let act = usize::try_from(heard.number).ok().and_then(|number| acts.get(number)).or(acts.last());
            act.cloned().unwrap_or_else(|| Answer::status(200).into())
        })
    }

    /// Sets `each` as the plan: it decides what is done with each request. It is called for one request at a time, in
    /// the order in which the requests were recorded.
    #[must_use]
    pub fn each(self, each: impl FnMut(&Heard, &mut Rng) -> Act + Send + 'static) -> Builder {
        Builder { each: Box::new(each), ..self }
    }

    /// Sets the closure that decides what is done with an HTTP/1.1 connection. It is called each time the connection
    /// becomes idle after an answer. By default, connections are kept.
    #[must_use]
    pub fn idle(self, idle: impl FnMut(&mut Rng) -> Idle + Send + 'static) -> Builder {
        Builder { idle: Box::new(idle), ..self }
    }

    /// Sets the closure that decides what is done with each new connection while the caller has not sent anything on
    /// it. By default, connections are kept.
    #[must_use]
    pub fn welcome(self, welcome: impl FnMut(&mut Rng) -> Idle + Send + 'static) -> Builder {
        Builder { welcome: Box::new(welcome), ..self }
    }

    /// Lets the rogue act as soon as the head of a request is read, and leave the body unread. An HTTP/1.1 connection
    /// with an unread body is ended after the act, even if the act says to keep it. By default, the rogue reads the
    /// body before it acts.
    #[must_use]
    pub fn at_head(mut self) -> Builder {
        self.settings.at_head = true;
        self
    }

    /// Sets how many bytes of each body are kept in [`Heard`]. The default is 64 KiB. Further bytes are only counted in
    /// the length and the fingerprint.
    #[must_use]
    pub fn keep_body(mut self, bytes: usize) -> Builder {
        self.settings.keep_body = bytes;
        self
    }

    /// Sets how many requests are kept in [`Counts`]. The default is 64. The first requests are kept, and later ones
    /// are only counted.
    #[must_use]
    pub fn keep_heard(mut self, requests: usize) -> Builder {
        self.settings.keep_heard = requests;
        self
    }

    /// Binds a free port on 127.0.0.1 and starts to serve, on the tokio runtime from which it is called. Returns the
    /// running rogue.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn bind(self) -> io::Result<Rogue> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.listen(1024)?;
        let listener = TcpListener::from_std(socket.into())?;
        let address = listener.local_addr()?;
        let log = Arc::new(Log::default());
        let plan =
            Plan { each: self.each, idle: self.idle, welcome: self.welcome, draw: Rng::with_seed(self.seed) };
        let den = Arc::new(Den { log: Arc::clone(&log), plan: Mutex::new(plan), settings: self.settings });
        Ok(Rogue { address, log, task: tokio::spawn(accept(listener, den)) })
    }
}

async fn accept(listener: TcpListener, den: Arc<Den>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        if connections.len() >= MOST_CONNECTIONS {
            connections.join_next().await;
            continue;
        }
        match listener.accept().await {
            Ok((stream, _)) => drop(connections.spawn(connection(stream, Arc::clone(&den)))),
            // The usual cause is that no file descriptors are left. A descriptor becomes free only when a connection
            // ends. A short wait keeps this loop from trying in vain all the time until then.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(mut stream: TcpStream, den: Arc<Den>) {
    let _ = stream.set_nodelay(true);
    let number = den.log.write(|counts| {
        counts.open += 1;
        counts.connections += 1;
        counts.connections - 1
    });
    let _open = Open(Arc::clone(&den.log));
    let welcome = den.welcome();
    if !http1::rest(&mut stream, welcome).await {
        return;
    }
    // An error of `listen_in` comes from the caller, so it is not reported. If a request breaks off later, `http1` or
    // `http2` counts it as broken.
    if let Ok(Some((speech, ahead))) = wire::listen_in(&mut stream).await {
        match speech {
            Speech::Http1 => http1::serve(stream, ahead, &den, number).await,
            Speech::Http2 => http2::serve(stream, ahead, den, number).await,
        }
    }
}

/// Counts one connection as open for as long as this value lives.
struct Open(Arc<Log>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.write(|counts| counts.open -= 1);
    }
}
