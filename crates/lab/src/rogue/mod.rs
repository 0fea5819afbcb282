//! An upstream that does what no server should do, or what every server does, but at the worst moment.
//!
//! A rogue reads a request whole, asks its **plan** what to do ([`Act`]), and does it. Between two requests it asks
//! what to do with the resting connection ([`Idle`]). Both are closures with a seeded generator, so any mix of
//! misbehaviour is a line in the test that needs it, and [`Counts`] says afterwards what really arrived.
//!
//! It speaks HTTP/1.1 with its own parser, which is lenient on purpose, and HTTP/2 (prior knowledge) with the `h2`
//! crate. The first bytes decide between them. It ends with all its connections when it is dropped.
//!
//! ```
//! use std::time::Duration;
//! use seawall_lab::rogue::{Act, Answer, Idle, Rogue};
//!
//! # async fn rogues() -> std::io::Result<()> {
//! // Reads 1 % of the requests and closes without an answer.
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
//! // Hangs twice, then answers.
//! let waker = Rogue::builder().acts([Act::Hang, Act::Hang, Answer::ok("at last").into()]).bind()?;
//!
//! // Takes four HTTP/2 streams, then sends them away: stream 1 may have been processed, 3, 5 and 7 were not.
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

/// The most connections that are open at the same time. More connections wait in the backlog.
pub const MOST_CONNECTIONS: usize = 8192;

/// A running rogue. Dropping it ends it.
#[derive(Debug)]
pub struct Rogue {
    address: SocketAddr,
    log: Arc<Log>,
    task: JoinHandle<()>,
}

impl Rogue {
    /// A rogue that answers every request with an empty 200, until its plan says otherwise.
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

    /// The address on 127.0.0.1 on which it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Looks at what it has seen.
    pub fn read<R>(&self, look: impl FnOnce(&Counts) -> R) -> R {
        self.log.read(look)
    }

    /// A copy of what it has seen.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.log.read(Counts::clone)
    }

    /// Waits until `reached` holds for what it has seen. Set your own time limit around it.
    pub async fn until(&self, reached: impl FnMut(&Counts) -> bool) {
        self.log.until(reached).await;
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A rogue that is being built.
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
    /// Seeds the generator that the closures draw from. Default 1.
    #[must_use]
    pub fn seed(self, seed: u64) -> Builder {
        Builder { seed, ..self }
    }

    /// Every request gets this answer.
    #[must_use]
    pub fn answer(self, answer: Answer) -> Builder {
        self.each(move |_, _| Act::Answer(answer.clone()))
    }

    /// The n-th request gets the n-th act, and those past the last act get the last one. Without any act it is an empty
    /// 200.
    #[must_use]
    pub fn acts(self, acts: impl IntoIterator<Item = Act>) -> Builder {
        let acts: Vec<Act> = acts.into_iter().collect();
        self.each(move |heard, _| {
            let act = usize::try_from(heard.number).ok().and_then(|number| acts.get(number)).or(acts.last());
            act.cloned().unwrap_or_else(|| Answer::status(200).into())
        })
    }

    /// Asks `each` what to do with each request. It is called for one request at a time, in the order in which they
    /// were read.
    #[must_use]
    pub fn each(self, each: impl FnMut(&Heard, &mut Rng) -> Act + Send + 'static) -> Builder {
        Builder { each: Box::new(each), ..self }
    }

    /// Asks `idle` what to do with a connection each time it rests after an answer. HTTP/1.1 only.
    #[must_use]
    pub fn idle(self, idle: impl FnMut(&mut Rng) -> Idle + Send + 'static) -> Builder {
        Builder { idle: Box::new(idle), ..self }
    }

    /// Asks `welcome` what to do with each new connection before its first byte.
    #[must_use]
    pub fn welcome(self, welcome: impl FnMut(&mut Rng) -> Idle + Send + 'static) -> Builder {
        Builder { welcome: Box::new(welcome), ..self }
    }

    /// Acts as soon as it has the head, and leaves the body unread. An HTTP/1.1 connection with an unread body ends
    /// after the act, whatever that says.
    #[must_use]
    pub fn at_head(mut self) -> Builder {
        self.settings.at_head = true;
        self
    }

    /// Sets how many bytes of each body are kept in [`Heard`]. Default 64 KiB. The rest is counted and fingerprinted.
    #[must_use]
    pub fn keep_body(mut self, bytes: usize) -> Builder {
        self.settings.keep_body = bytes;
        self
    }

    /// Sets how many requests are kept in [`Counts`]; these are the first ones. Default 64.
    #[must_use]
    pub fn keep_heard(mut self, requests: usize) -> Builder {
        self.settings.keep_heard = requests;
        self
    }

    /// Binds a free port on 127.0.0.1 and begins to serve, on the tokio runtime in which it is called.
    ///
    /// # Errors
    /// Those of binding.
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
            // Most likely there are no descriptors left, which changes only as connections end.
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
    // What breaks a connection was done by the caller. It is noted where a request was under way.
    if let Ok(Some((speech, ahead))) = wire::listen_in(&mut stream).await {
        match speech {
            Speech::Http1 => http1::serve(stream, ahead, &den, number).await,
            Speech::Http2 => http2::serve(stream, ahead, den, number).await,
        }
    }
}

/// One open connection.
struct Open(Arc<Log>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.write(|counts| counts.open -= 1);
    }
}
