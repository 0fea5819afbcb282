//! A TCP relay between the programs and PostgreSQL, which can reset its connections, or let them fall silent.
//!
//! A silent connection stays open, takes everything that is sent, and never answers, as after a fail-over without a
//! reset. The connection to the server is closed immediately, as if the old server were gone.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use crate::reached::Reached;

/// What the relay does to connections.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// The number of times that all connections fell silent, and that all were reset. A connection compares them with
    /// the numbers at its begin.
    silences: u64,
    resets: u64,
    /// Whether new connections are silent.
    is_silent: bool,
}

/// The relay. A clone is another handle to it.
#[derive(Clone)]
pub(crate) struct Relay(Arc<Inner>);

struct Inner {
    address: String,
    socket: PathBuf,
    weather: watch::Sender<Weather>,
    reached: Reached,
    /// The number of bytes that were passed on to the server.
    passed: AtomicU64,
    /// The number of connections that the server closed.
    lost: AtomicU64,
}

/// How the life of a connection ended.
enum End {
    Closed,
    Reset,
    /// The flags say whether an answer was awaited, and whether it was the answer to a commit.
    Silent(bool, bool),
}

impl Relay {
    /// Starts a relay from `address`, which may have the port 0, to the server's socket.
    pub(crate) async fn open(address: &str, socket: PathBuf, reached: Reached) -> Relay {
        let listener = TcpListener::bind(address).await.expect("a loopback address is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let weather = watch::Sender::new(Weather::default());
        let (passed, lost) = (AtomicU64::new(0), AtomicU64::new(0));
        let relay = Relay(Arc::new(Inner { address, socket, weather, reached, passed, lost }));
        let accepting = relay.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let relay = accepting.clone();
                tokio::spawn(async move { relay.serve(client).await });
            }
        });
        relay
    }

    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }

    pub(crate) fn passed(&self) -> u64 {
        self.0.passed.load(Ordering::SeqCst)
    }

    pub(crate) fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::SeqCst)
    }

    /// Resets all connections.
    pub(crate) fn reset(&self) {
        self.0.weather.send_modify(|weather| weather.resets += 1);
    }

    /// Lets all connections fall silent for ever. New ones are silent, too, until [`Relay::speak`].
    pub(crate) fn fall_silent(&self) {
        self.0.weather.send_modify(|weather| {
            weather.silences += 1;
            weather.is_silent = true;
        });
    }

    /// Serves new connections again.
    pub(crate) fn speak(&self) {
        self.0.weather.send_modify(|weather| weather.is_silent = false);
    }

    async fn serve(&self, mut client: TcpStream) {
        let _ = client.set_nodelay(true);
        let mut weather = self.0.weather.subscribe();
        let reached = &self.0.reached;
        let end = if weather.borrow_and_update().is_silent {
            reached.reached("database: silent while connecting");
            End::Silent(false, false)
        } else {
            self.relay(&mut client, weather).await
        };
        match end {
            End::Closed => {}
            End::Reset => {
                reached.reached("database: connections reset");
                let _ = client.set_zero_linger();
            }
            End::Silent(awaited, commit) => {
                if awaited {
                    reached.reached("database: silent in a statement");
                }
                if commit {
                    reached.reached("database: silent after a commit");
                }
                let mut swallowed = false;
                let mut bytes = vec![0; 16 << 10];
                while client.read(&mut bytes).await.is_ok_and(|count| count > 0) {
                    swallowed = true;
                }
                if awaited || swallowed {
                    reached.reached("database: silent connection");
                }
            }
        }
    }

    async fn relay(&self, client: &mut TcpStream, mut weather: watch::Receiver<Weather>) -> End {
        let begun = *weather.borrow_and_update();
        let Ok(mut server) = UnixStream::connect(&self.0.socket).await else { return End::Closed };
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let (mut asked, mut answered) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        let (mut awaited, mut commit) = (false, false);
        loop {
            tokio::select! {
                read = from_client.read(&mut asked) => {
                    let Some(count) = read.ok().filter(|count| *count > 0) else { return End::Closed };
                    if to_server.write_all(&asked[..count]).await.is_err() {
                        return End::Closed;
                    }
                    awaited = true;
                    commit = asked[..count].windows(6).any(|text| text == b"COMMIT");
                    self.0.passed.fetch_add(count as u64, Ordering::SeqCst);
                }
                read = from_server.read(&mut answered) => {
                    let Some(count) = read.ok().filter(|count| *count > 0) else {
                        self.0.lost.fetch_add(1, Ordering::SeqCst);
                        return End::Closed;
                    };
                    if to_client.write_all(&answered[..count]).await.is_err() {
                        return End::Closed;
                    }
                    (awaited, commit) = (false, false);
                }
                changed = weather.changed() => {
                    let now = *weather.borrow_and_update();
                    if changed.is_err() {
                        return End::Closed;
                    }
                    if now.silences > begun.silences {
                        return End::Silent(awaited, commit);
                    }
                    if now.resets > begun.resets {
                        return End::Reset;
                    }
                }
            }
        }
    }
}
