//! A TCP relay before a PostgreSQL server. It can go silent, as a server does that fails over without a reset, or as a
//! pooler does that hangs: it keeps its connections open, and passes nothing on.

use std::sync::{Arc, Mutex};

use sqlx::postgres::PgConnectOptions;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

/// Whether the relay passes on the bytes at which it goes silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silent {
    /// The server does not get them.
    Before,
    /// The server gets them. Its answer is lost.
    After,
}

/// Bytes from a client at which the relay goes silent.
struct Trap {
    /// What the client sends one after the other, with anything between them. The relay goes silent at the last one.
    needles: &'static [&'static str],
    silent: Silent,
}

#[derive(Default)]
struct State {
    /// The number of connections until now.
    made: u64,
    /// The connections with lower numbers pass nothing on.
    silent_below: u64,
    trap: Option<Trap>,
    /// The number of traps that were reached.
    reached: u32,
}

/// A running relay. It ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct Relay {
    state: Arc<Mutex<State>>,
    /// The database's URL through the relay.
    pub(crate) url: String,
    pub(crate) port: u16,
}

impl Relay {
    /// Starts a relay before the server of this URL.
    pub(crate) async fn before(url: &str) -> Relay {
        let target: PgConnectOptions = url.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let database = target.get_database().unwrap();
        let url = format!("postgres://{}@127.0.0.1:{port}/{database}", target.get_username());
        let relay = Relay { state: Arc::default(), url, port };
        let state = relay.state.clone();
        tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { return };
                let number = {
                    let mut state = state.lock().unwrap();
                    state.made += 1;
                    state.made - 1
                };
                let (client, to_client) = client.into_split();
                let one = One { number, state: state.clone() };
                if let Some(folder) = target.get_socket() {
                    let path = folder.join(format!(".s.PGSQL.{}", target.get_port()));
                    let (server, to_server) = UnixStream::connect(path).await.unwrap().into_split();
                    tokio::spawn(one.clone().pass(client, to_server, true));
                    tokio::spawn(one.pass(server, to_client, false));
                } else {
                    let at = (target.get_host(), target.get_port());
                    let (server, to_server) = TcpStream::connect(at).await.unwrap().into_split();
                    tokio::spawn(one.clone().pass(client, to_server, true));
                    tokio::spawn(one.pass(server, to_client, false));
                }
            }
        });
        relay
    }

    /// Goes silent on the connections that exist. New ones work.
    pub(crate) fn silence(&self) {
        let mut state = self.state.lock().unwrap();
        state.silent_below = state.made;
    }

    /// Goes silent on all connections, and on those that are made until [`Relay::heal`].
    pub(crate) fn silence_all(&self) {
        self.state.lock().unwrap().silent_below = u64::MAX;
    }

    /// Passes on what comes on new connections. The ones that were silent stay so.
    pub(crate) fn heal(&self) {
        self.silence();
    }

    /// Goes silent on the connections that exist when clients have sent all of `needles`, one after the other.
    pub(crate) fn trap(&self, needles: &'static [&'static str], silent: Silent) {
        self.state.lock().unwrap().trap = Some(Trap { needles, silent });
    }

    /// The number of times that a client has sent the bytes of a trap.
    pub(crate) fn reached(&self) -> u32 {
        self.state.lock().unwrap().reached
    }
}

/// One connection through the relay.
#[derive(Clone)]
struct One {
    number: u64,
    state: Arc<Mutex<State>>,
}

impl One {
    /// Passes on one direction, until it ends or the connection goes silent. Then this waits for ever, and keeps the
    /// sockets open.
    async fn pass(
        self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        from_client: bool,
    ) {
        let mut bytes = vec![0; 64 * 1024];
        loop {
            let read = from.read(&mut bytes).await.unwrap_or(0);
            if !self.passes(&bytes[..read], from_client) {
                std::future::pending::<()>().await;
            }
            if read == 0 || to.write_all(&bytes[..read]).await.is_err() {
                let _ = to.shutdown().await;
                return;
            }
        }
    }

    /// Whether these bytes are passed on.
    fn passes(&self, bytes: &[u8], from_client: bool) -> bool {
        let mut state = self.state.lock().unwrap();
        if self.number < state.silent_below {
            return false;
        }
        let Some(trap) = state.trap.as_mut().filter(|_| from_client) else { return true };
        let Some((needle, more)) = trap.needles.split_first() else { return true };
        if !bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
            return true;
        }
        trap.needles = more;
        if !more.is_empty() {
            return true;
        }
        let silent = trap.silent;
        state.reached += 1;
        state.silent_below = state.made;
        silent == Silent::After
    }
}
