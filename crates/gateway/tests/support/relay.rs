//! A TCP relay before a PostgreSQL server of the tests. It can be slow, and it can lose the answer to one statement.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix;
use tokio::net::{TcpListener, TcpStream, UnixStream, tcp};
use tokio::sync::watch;

use super::scratch::Server;

/// What happens to the answer of a statement that a trap has caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The connection is closed. The server has got the statement, and the caller gets no answer.
    Cut,
    /// All connections are closed, and new ones are closed immediately, until [`Relay::release`].
    Down,
    /// The answer waits until [`Relay::release`].
    Hold,
    /// The statement itself waits until [`Relay::release`].
    HoldBefore,
}

struct Trap {
    /// What a client must have sent on one connection, one after the other.
    needles: Vec<String>,
    then: Then,
}

/// A running relay. It ends with the test's runtime.
#[derive(Clone)]
pub struct Relay {
    /// The URL of the database through the relay.
    pub url: String,
    state: Arc<State>,
}

struct State {
    delay: Mutex<Duration>,
    trap: Mutex<Option<Trap>>,
    /// The number of statements that were caught.
    caught: watch::Sender<u32>,
    held: watch::Sender<bool>,
    /// Whether no connection is served.
    down: watch::Sender<bool>,
}

impl Relay {
    /// Starts a relay before a database of this server, which must have a folder with its socket.
    pub async fn before(server: &Server, url: &str) -> Relay {
        let socket = server.folder().unwrap().join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let name = url.split('?').next().unwrap().rsplit('/').next().unwrap();
        let state = State {
            delay: Mutex::default(),
            trap: Mutex::default(),
            caught: watch::Sender::new(0),
            held: watch::Sender::new(false),
            down: watch::Sender::new(false),
        };
        let relay = Relay { url: format!("postgres://postgres@{address}/{name}"), state: Arc::new(state) };
        tokio::spawn(serve(listener, socket, Arc::clone(&relay.state)));
        relay
    }

    /// Holds each message of the client back for this time.
    pub fn delay(&self, by: Duration) {
        *self.state.delay.lock().unwrap() = by;
    }

    /// Catches the statement with which a client has sent all of `needles` on one connection, one after the other.
    pub fn trap(&self, needles: &[&str], then: Then) {
        self.state.held.send_replace(matches!(then, Then::Hold | Then::HoldBefore));
        let needles = needles.iter().map(|needle| (*needle).to_owned()).collect();
        *self.state.trap.lock().unwrap() = Some(Trap { needles, then });
    }

    /// Waits until this number of statements was caught.
    pub async fn until_caught(&self, number: u32) {
        let mut caught = self.state.caught.subscribe();
        super::soon("a caught statement", caught.wait_for(|caught| *caught >= number)).await.unwrap();
    }

    /// Passes on what was held, and takes connections again.
    pub fn release(&self) {
        self.state.held.send_replace(false);
        self.state.down.send_replace(false);
    }
}

async fn serve(listener: TcpListener, socket: PathBuf, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        let socket = socket.clone();
        tokio::spawn(async move {
            let Ok(server) = UnixStream::connect(socket).await else { return };
            pass(client, server, &state).await;
        });
    }
}

/// Passes on both directions of a connection until one of them ends, or until the connection is cut.
async fn pass(client: TcpStream, server: UnixStream, state: &State) {
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let caught = watch::Sender::new(None);
    let mut down_now = state.down.subscribe();
    tokio::select! {
        _ = down_now.wait_for(|down| *down) => {}
        () = up(from_client, to_server, state, &caught) => {}
        () = down(from_server, to_client, state, caught.subscribe()) => {}
    }
}

async fn up(
    mut from: tcp::OwnedReadHalf,
    mut to: unix::OwnedWriteHalf,
    state: &State,
    caught: &watch::Sender<Option<Then>>,
) {
    let mut bytes = vec![0; 64 << 10];
    let mut found = 0;
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let delay = *state.delay.lock().unwrap();
        tokio::time::sleep(delay).await;
        if let Some(then) = catch(state, &bytes[..read], &mut found) {
            caught.send_replace(Some(then));
            state.caught.send_modify(|caught| *caught += 1);
            if then == Then::HoldBefore {
                let mut held = state.held.subscribe();
                let _ = held.wait_for(|held| !held).await;
            }
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}

/// Returns what happens to the answer of these bytes of a client. `found` is the number of needles that this connection has
/// sent before.
fn catch(state: &State, bytes: &[u8], found: &mut usize) -> Option<Then> {
    let mut trap = state.trap.lock().unwrap();
    let set = trap.as_ref()?;
    while let Some(needle) = set.needles.get(*found) {
        if !bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
            return None;
        }
        *found += 1;
    }
    let then = set.then;
    *trap = None;
    *found = 0;
    Some(then)
}

async fn down(
    mut from: unix::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    state: &State,
    caught: watch::Receiver<Option<Then>>,
) {
    let mut bytes = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let then = *caught.borrow();
        match then {
            Some(Then::Cut) => return,
            Some(Then::Down) => {
                state.down.send_replace(true);
                return;
            }
            Some(Then::Hold) => {
                let mut held = state.held.subscribe();
                let _ = held.wait_for(|held| !held).await;
            }
            Some(Then::HoldBefore) | None => {}
        }
        if to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
