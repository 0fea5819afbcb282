use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use seawall_client::connect::{join_turns, send_turn};
use seawall_lab::rogue::{Answer, Rogue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::*;
use crate::callers::door::Entrance;
use crate::config;
use crate::running::process::Running;
use crate::serve::worker::Worker;

/// The places where a panic is wanted: after the routing, after the dependency's answer, and in the middle of the
/// answer's body.
const PLACES: [&str; 3] = ["head", "call", "body"];
const CONNECTIONS: usize = 8;

struct Stage {
    running: Arc<Running>,
    address: SocketAddr,
    worker: std::thread::JoinHandle<()>,
    stop: watch::Sender<bool>,
}

/// Starts one worker on a thread of its own, in front of an upstream that answers well.
fn start(upstream: SocketAddr) -> Stage {
    let mut text = format!("[gateway]\nlimits = {{ connections = {CONNECTIONS} }}\n");
    for name in PLACES.map(|place| format!("panics-{place}")).iter().map(String::as_str).chain(["fine"]) {
        text += &format!("[dependency.{name}]\nurl = \"http://{upstream}\"\nconcurrency = {{ max = 1 }}\n");
    }
    let settings = config::parse("test", &text, &|_| None).unwrap().settings;
    let running = Arc::new(Running::new(settings, 1).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let entrance = Entrance { listener, address, own: None, tokens: None };
    let worker = Worker::new(0, Arc::clone(&running), crate::durable::Room::new()).unwrap();
    let worker = std::thread::spawn(move || {
        join_turns();
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().on_thread_park(send_turn).build().unwrap();
        runtime.block_on(Arc::new(worker).serve(vec![entrance], stopped)).unwrap();
    });
    Stage { running, address, worker, stop }
}

impl Stage {
    /// Returns every counter of connections, calls and slots in limits that is not zero.
    fn under_way(&self) -> Vec<(String, u64)> {
        let mut counts = vec![("connections".to_owned(), self.running.connections.load(Ordering::Relaxed))];
        for dependency in &self.running.compiled.load().dependencies {
            let name = &dependency.settings.name;
            let calls = crate::running::counters::tally(&dependency.counters).in_flight;
            let places = dependency.shared.with(|guards| guards.endpoint(0).unwrap().limit_seen().in_flight);
            counts.push((format!("calls of {name}"), calls));
            counts.push((format!("places of {name}"), u64::from(places)));
        }
        counts.retain(|(_, count)| *count > 0);
        counts
    }

    async fn until_at_rest(&self) {
        let at_rest = async {
            while !self.under_way().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), at_rest).await;
        assert!(waited.is_ok(), "never given back: {:?}", self.under_way());
    }
}

/// Sends a request, and returns all that comes until the connection ends or the answer's body is complete.
async fn ask(caller: &mut TcpStream, method: &str, name: &str) -> String {
    let request = format!("{method} /{name}/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n");
    caller.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"well") {
        if !matches!(caller.read_buf(&mut bytes).await, Ok(1..)) {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Like [`watch`], but panics are printed too, since another test of this process may panic at the same time.
fn watch_beside() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        note(info);
        before(info);
    }));
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_and_gives_back_what_it_held() {
    watch_beside();
    let upstream = Rogue::builder().answer(Answer::ok("well")).bind().unwrap();
    let stage = start(upstream.address());
    let mut beside = TcpStream::connect(stage.address).await.unwrap();
    let before = seen();
    let mut wanted = 0;
    for place in PLACES {
        for method in ["GET", "POST"] {
            // More panics are caused than there are places for connections or slots in the limit. So a place or slot
            // that is not released would be noticed.
            for _ in 0..2 * CONNECTIONS {
                let mut caller = TcpStream::connect(stage.address).await.unwrap();
                let heard = ask(&mut caller, method, &format!("panics-{place}")).await;
                assert!(!heard.ends_with("well"), "{place}: {heard}");
                wanted += 1;
                drop(caller);
                let heard = ask(&mut beside, method, "fine").await;
                assert!(heard.starts_with("HTTP/1.1 200 "), "a connection beside it: {heard}");
            }
        }
    }
    assert!(seen() - before >= wanted, "{} of {wanted} were counted", seen() - before);
    drop(beside);
    stage.until_at_rest().await;

    let Stage { running, worker, stop, .. } = stage;
    running.drain(Duration::from_secs(5));
    drop(stop);
    worker.join().unwrap();
}

#[tokio::test]
async fn a_panic_ends_its_own_stream() {
    watch_beside();
    let upstream = Rogue::builder().answer(Answer::ok("well")).bind().unwrap();
    let stage = start(upstream.address());
    let stream = TcpStream::connect(stage.address).await.unwrap();
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    for place in PLACES.into_iter().cycle().take(4 * CONNECTIONS) {
        for (name, well) in [(format!("panics-{place}"), false), ("fine".to_owned(), true)] {
            let request = http::Request::get(format!("http://localhost/{name}/x")).body(()).unwrap();
            send = send.ready().await.unwrap();
            let (response, _) = send.send_request(request, true).unwrap();
            let whole = match response.await {
                Err(_) => false,
                Ok(answer) => {
                    let mut body = answer.into_body();
                    loop {
                        match body.data().await {
                            None => break true,
                            Some(Err(_)) => break false,
                            Some(Ok(_)) => {}
                        }
                    }
                }
            };
            assert_eq!(whole, well, "{name}");
        }
    }
    drop(send);
    connection.abort();
    stage.until_at_rest().await;
}
