//! Connections without requests: floods of control frames, and connections that are only kept open.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use seawall_gateway::{config, serve};
use seawall_lab::rogue::{Answer, Rogue};
use support::{Caller, Gateway, Multiplexed, dependency, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
const PRIORITY: [u8; 14] = [0, 0, 5, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0, 16];
const WINDOW_UPDATE: [u8; 13] = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// A frame of a type that the gateway does not know: 0xd (`cache-digest`).
const UNKNOWN: [u8; 9] = [0, 0, 0, 0xd, 0, 0, 0, 0, 0];

/// The error code of the GOAWAY frame in these bytes.
fn goaway(mut bytes: &[u8]) -> Option<u8> {
    while let [a, b, c, kind, ..] = *bytes {
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let payload = bytes.get(9..9 + length)?;
        if kind == 7 {
            return payload.get(7).copied();
        }
        bytes = &bytes[9 + length..];
    }
    None
}

/// Sends a frame again and again until the connection ends. Returns the number of frames that were sent, and the code of the
/// GOAWAY frame.
async fn flood(address: SocketAddr, frame: &[u8]) -> (usize, Option<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&[PREFACE, &SETTINGS].concat()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let heard = tokio::spawn(async move {
        let mut bytes = Vec::new();
        while read.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {}
        goaway(&bytes)
    });
    let (many, mut sent) = (frame.repeat(100), 0);
    while sent < 5_000_000 && write.write_all(&many).await.is_ok() {
        sent += 100;
    }
    (sent, soon("the end of a flood", heard).await.unwrap())
}

#[tokio::test]
async fn a_flood_of_control_frames_ends_its_connection_and_says_why() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    for (name, frame) in [
        ("PING", &PING[..]),
        ("SETTINGS", &SETTINGS),
        ("PRIORITY", &PRIORITY),
        ("WINDOW_UPDATE", &WINDOW_UPDATE),
        ("unknown", &UNKNOWN),
    ] {
        let (sent, code) = flood(gateway.address(), frame).await;
        println!("{name}: ended after at most {sent} frames");
        assert!(sent < 5_000_000, "{name} was never ended");
        // The code is ENHANCE_YOUR_CALM.
        assert_eq!(code, Some(0x0b), "{name}");
    }
    gateway.until_said("control frames").await;
    let mut other = Multiplexed::connect(gateway.address()).await;
    assert_eq!(other.ask("GET", "/up/x", &[], "").await.body, b"fine");
}

#[tokio::test]
async fn pings_beside_requests_are_no_flood() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let tcp = TcpStream::connect(gateway.address()).await.unwrap();
    let (send, mut connection) = h2::client::handshake(tcp).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    tokio::spawn(connection);
    for _ in 0..500 {
        let request = http::Request::get(format!("http://{}/up/x", gateway.address())).body(()).unwrap();
        let mut send = soon("room for a stream", send.clone().ready()).await.unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        assert_eq!(soon("an answer", response).await.unwrap().status(), 200);
        for _ in 0..10 {
            soon("a pong", pings.ping(h2::Ping::opaque())).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_head_over_http2_that_never_ends_is_given_up() {
    let up = dependency("up", "127.0.0.1:9".parse().unwrap(), "");
    let section = "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nlimits = { header_time = \"300ms\" }\n";
    let gateway = Gateway::start_with(&format!("{section}{up}")).await;
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    // A HEADERS frame with END_STREAM and without END_HEADERS. It contains the method and nothing else.
    let begun = [0, 0, 1, 1, 1, 0, 0, 0, 1, 0x82];
    let began = Instant::now();
    stream.write_all(&[PREFACE, &SETTINGS, &begun].concat()).await.unwrap();
    let mut bytes = Vec::new();
    // A reset counts as an end, too.
    let _ = soon("the end of the connection", stream.read_to_end(&mut bytes)).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn monitoring_does_not_wait_behind_idle_admin_connections() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let mut idle = Vec::new();
    for number in 0..600 {
        let mut caller = Caller::connect(gateway.admin()).await;
        match number % 3 {
            0 => {}
            1 => caller.write("GET /livez HTTP/1.1\r\nhost: loc").await,
            _ => caller.write("GET /api/dependencies HTTP/1.1\r\nhost: localhost\r\n\r\n").await,
        }
        idle.push(caller);
    }
    let began = Instant::now();
    for path in ["/livez", "/readyz", "/livez"] {
        let heard = Caller::connect(gateway.admin()).await.ask("GET", path, &[], "").await;
        assert_eq!(heard.status, Some(200));
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// Runs a gateway on a clock that moves only while no task has anything to do, so that a test of several minutes takes no
/// time.
fn in_no_time<F: Future<Output = ()>>(up: SocketAddr, lines: &str, play: impl FnOnce(SocketAddr) -> F) {
    let builder = &mut tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    let settings = config::parse("test", &dependency("up", up, lines), &|_| None).unwrap().settings;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.block_on(async {
        let (_stop, stopped) = watch::channel(false);
        tokio::spawn(async move { serve::work_here(settings, listener, stopped).await });
        play(address).await;
    });
}

#[test]
fn a_connection_that_answers_pings_and_asks_nothing_is_closed_after_two_minutes() {
    in_no_time("127.0.0.1:9".parse().unwrap(), "", |address| async move {
        let began = tokio::time::Instant::now();
        let tcp = TcpStream::connect(address).await.unwrap();
        let (_send, connection) = h2::client::handshake(tcp).await.unwrap();
        let end = tokio::time::timeout(Duration::from_secs(3600), connection).await;
        end.expect("it is closed").expect("in good order");
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(119) && took < Duration::from_secs(150), "{took:?}");
    });
}

/// Reads requests. `/held` gets an answer without an end, and every other target a short one.
async fn upstream(listener: std::net::TcpListener) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
            if !head.starts_with(b"GET /held") {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine").await;
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n").await;
            while stream.write_all(&[b'x'; 65_536]).await.is_ok() {}
        });
    }
}

/// A caller without a deadline takes nothing of its answer. Checks that its slot becomes free in the end.
fn nothing_taken(multiplexed: bool) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let up = listener.local_addr().unwrap();
    let lines = "timeout = { total = \"off\" }\nconcurrency = { max = 1, adaptive = false }";
    in_no_time(up, lines, |address| async move {
        tokio::spawn(upstream(listener));
        let began = tokio::time::Instant::now();
        let (mut line, mut trunk) =
            (Caller::connect(address).await, Multiplexed::with_window(address, 0).await);
        let _response = if multiplexed {
            Some(trunk.open("GET", "/up/held", &[], true).await)
        } else {
            line.send("GET", "/up/held", &[], "").await;
            line.hear_head().await;
            None
        };
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let heard = Caller::connect(address).await.ask("GET", "/up/x", &[], "").await;
            match heard.verdict() {
                (200, ..) => break,
                verdict => assert_eq!(verdict.3, "concurrency-limit"),
            }
            assert!(began.elapsed() < Duration::from_secs(600), "it holds its place for ever");
        }
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(59) && took < Duration::from_secs(65), "{took:?}");
    });
}

#[test]
fn a_caller_without_a_deadline_that_takes_nothing_is_left_after_a_minute() {
    nothing_taken(false);
}

#[test]
fn a_stream_without_a_deadline_that_takes_nothing_is_left_after_a_minute() {
    nothing_taken(true);
}
