//! A payment provider that misbehaves on request, and keeps its own books.
//!
//! It speaks HTTP/1.1 and HTTP/2 (prior knowledge) on one port, without TLS.
//!
//! | request | answer |
//! | --- | --- |
//! | `POST /v1/charges` `{amount, currency, metadata}` | makes the charge and returns it. If `amount` is 402 or `metadata.decline` is `true`, makes no charge, and answers 200 with `code` `DECLINED` |
//! | `GET /v1/charges?key=K`, `GET /v1/charges/ID` | the charge that was made with the key K, or that has this ID; 404 if there is none |
//! | `GET /v1/charges?from=&to=&cursor=&limit=` | `{"data": […], "next": CURSOR or null}`: the charges from the time `from` until before the time `to`, the oldest first. At most `limit` of them (default 100) are returned; with `next` as its `cursor`, the next request gets those that follow |
//! | `DELETE /v1/charges/ID` | 204, also the second time |
//! | `POST /v1/refunds` `{charge, amount}` | makes the refund and returns it. Without `amount`, refunds all that is left of the charge. If nothing is left, returns the last refund and does nothing |
//! | `PUT /v1/customers/ID` | the customer as written |
//! | `GET /health`, `GET /v1/ping` | 200 |
//! | `GET /books`, `DELETE /books` | GET returns the [books](Snapshot), and DELETE clears them. The books do not count these requests |
//!
//! `Idempotency-Key` is honoured on everything that writes. A request with the same key and the same bytes gets the
//! saved answer, with `idempotent-replayed: true`. A request with the same key and other bytes gets a 422. A repeat
//! that comes while the first request is being worked on gets a 409. Only 2xx answers are saved.
//!
//! # Faults
//!
//! The header `harbor-fault: WORD[,WORD][;always]` makes a request go wrong; [`WORDS`] lists the words. The fault
//! strikes only the first request with the same `Idempotency-Key` or, without a key, with the same `harbor-id`. With
//! `;always` it strikes every request that carries the fault. A request that has neither key nor id is struck each
//! time, because the harbor cannot know whether it is a repeat. A [`Script`] makes requests go wrong by rate and time.
//! A fault in the header takes precedence over the script.
//!
//! If the [books are kept in a file](Books::kept_in), a harbor that is killed and started again finds its books in the
//! file.
//!
//! A fault without an effect leaves the key free for a repeat. Work that has begun is finished, even when the caller
//! leaves during a `delay`, as with a real provider.
//!
//! On HTTP/2 a fault strikes one stream and not the whole connection: `reset` and `close` are RST_STREAM
//! (INTERNAL_ERROR, CANCEL), `garbage` is RST_STREAM (PROTOCOL_ERROR), `truncate` is RST_STREAM in the body, and
//! `slow-head` delays the whole head.

mod asked;
mod books;
mod connection;
mod desk;
mod fault;
mod journal;
mod pier;
mod reply_body;
mod script;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::pier::Pier;
pub use books::{Books, Charge, Count, KeyCount, MOST_BYTES, MOST_ENTRIES, Snapshot, Status};
pub use fault::{Fault, FaultError, WORDS};
pub use pier::{Faults, MOST_BODY};
pub use script::{Script, ScriptError};

/// The maximum number of open connections. Further connections wait in the backlog.
pub const MOST_CONNECTIONS: usize = 4096;
/// The maximum number of connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// A harbor that has a port but does not run yet. Until it runs, connections wait in the backlog if it was made with
/// [`Harbor::bind`], and are refused if it was made with [`Harbor::closed`].
#[derive(Debug)]
pub struct Harbor {
    socket: Socket,
    is_open: bool,
    address: SocketAddr,
    books: Books,
    faults: Faults,
}

impl Harbor {
    /// Binds `address`; port 0 takes a free port. No tokio runtime is needed. A `script` of `None` means that only
    /// faults in headers strike.
    ///
    /// # Errors
    /// If the address cannot be bound or listened on.
    pub fn bind(address: SocketAddr, script: Option<Script>) -> io::Result<Harbor> {
        let closed = Harbor::closed(address, script)?;
        closed.socket.listen(BACKLOG)?;
        Ok(Harbor { is_open: true, ..closed })
    }

    /// Binds `address` like [`Harbor::bind`], but connections are refused until the harbor runs: the port is bound, but
    /// nothing listens on it.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub fn closed(address: SocketAddr, script: Option<Script>) -> io::Result<Harbor> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // With this option, a harbor that is started again can bind its port, even if connections of the previous
        // harbor have not quite ended.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let address = socket.local_addr()?.as_socket().expect("bound to an internet address above");
        let faults = Faults::new(script);
        Ok(Harbor { socket, is_open: false, address, books: Books::default(), faults })
    }

    /// Makes the harbor use `books` instead of new ones. These are usually books that are [kept in a
    /// file](Books::kept_in).
    #[must_use]
    pub fn with_books(self, books: Books) -> Harbor {
        Harbor { books, ..self }
    }

    /// Returns the address that the harbor has bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns a handle to the harbor's books, for tests in the same process.
    #[must_use]
    pub fn books(&self) -> Books {
        self.books.clone()
    }

    /// Returns a handle to the harbor's faults, with which a test can change them while the harbor runs.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    /// Serves until the returned future is dropped, which closes every connection. The times of a script count from the
    /// first poll of this future.
    ///
    /// # Errors
    /// If the listener cannot be handed to the runtime. A failed accept is logged and tried again.
    pub async fn run(self) -> io::Result<()> {
        if !self.is_open {
            self.socket.listen(BACKLOG)?;
        }
        let listener = TcpListener::from_std(self.socket.into())?;
        let pier = Arc::new(Pier { books: self.books, faults: self.faults, started: Instant::now() });
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            if connections.len() >= MOST_CONNECTIONS {
                connections.join_next().await;
                continue;
            }
            match listener.accept().await {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    connections.spawn(connection::serve(stream, Arc::clone(&pier)));
                }
                Err(error) => {
                    tracing::warn!(%error, "harbor: accept failed");
                    // The usual cause is that no file descriptors are left. A descriptor becomes free only when a
                    // connection ends. A short wait keeps this loop from trying in vain all the time until then.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
}
