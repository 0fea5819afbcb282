//! Callers that stop sending or reading. Whatever they do not send or take, their calls end in time, and their slots become
//! free.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::ResponseFuture;
use seawall_lab::rogue::{Answer, Load, Rogue};
use support::http2::hear;
use support::{Caller, Ended, Gateway, Heard, Multiplexed, dependency, soon};
use tokio::task::JoinSet;

/// The maximum time by which a test's calls may exceed their `total`.
const BEYOND: Duration = Duration::from_secs(2);
/// The maximum pause in a head or a body, after which the gateway ends it.
const HEADER_TIME: Duration = Duration::from_millis(400);

/// A gateway with these lines for its only dependency.
async fn before(rogue: &Rogue, lines: &str) -> Gateway {
    let section = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 1\ndrain = \"8s\"\n\
         limits = {{ header_time = \"{}ms\" }}\n",
        HEADER_TIME.as_millis()
    );
    Gateway::start_with(&format!("{section}{}", dependency("up", rogue.address(), lines))).await
}

/// Takes the beginning of an answer, grants no further bytes, and waits for the end of its stream.
async fn take_nothing(response: ResponseFuture) -> Option<h2::Reason> {
    let mut body = soon("a head", response).await.unwrap().into_body();
    while let Some(piece) = soon("the end of a stream", body.data()).await {
        if let Err(error) = piece {
            return error.reason();
        }
    }
    None
}

/// Waits until a call is answered 200.
async fn until_served(gateway: &Gateway) {
    soon("a place in the limit", async {
        while gateway.ask("GET", "/up/x", &[], "").await.status != Some(200) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn without_window(window: u32, load: fn() -> Load) {
    // The streams use all slots. Nevertheless a caller that comes later gets a short answer in the end.
    let rogue = Rogue::builder()
        .each(move |heard, _| match heard.target.as_str() {
            "/held" => Answer::status(200).load(load()).into(),
            _ => Answer::ok("fine").into(),
        })
        .bind()
        .unwrap();
    let lines = "timeout = { connect = \"400ms\", read = \"900ms\", total = \"1s\" }\nconcurrency = { max = 20, adaptive = false }";
    let gateway = before(&rogue, lines).await;
    let (mut caller, mut streams) =
        (Multiplexed::with_window(gateway.address(), window).await, JoinSet::new());
    let began = Instant::now();
    for _ in 0..20 {
        let (response, _) = caller.open("GET", "/up/held", &[], true).await;
        streams.spawn(take_nothing(response));
    }
    soon("all streams at the dependency", async {
        while rogue.read(|counts| counts.requests) < 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(gateway.ask("GET", "/up/x", &[], "").await.verdict().3, "concurrency-limit");
    until_served(&gateway).await;
    let free = began.elapsed();
    let ends = soon("the end of all streams", streams.join_all()).await;
    let took = began.elapsed();
    println!("window {window}: places free after {free:?}, all streams reset after {took:?}");
    assert!(ends.iter().all(Option::is_some), "{ends:?}");
    assert!(free.max(took) < Duration::from_secs(1) + BEYOND, "{free:?} {took:?}");
    // The connection itself has done nothing wrong, and can still be used.
    let mut other = Multiplexed::connect(gateway.address()).await;
    assert_eq!(other.ask("GET", "/up/x", &[], "").await.body, b"fine");
}

#[tokio::test]
async fn streams_without_a_window_end_in_time_and_give_their_places_back() {
    without_window(0, || Load::pattern(1 << 20)).await;
}

#[tokio::test]
async fn streams_with_a_small_window_end_in_time_and_give_their_places_back() {
    without_window(100, || Load::pattern(1 << 20).chunked()).await;
}

/// The whole answer is at the gateway, but its caller does not take it.
#[tokio::test]
async fn short_answers_without_a_window_end_in_time() {
    let rogue = Rogue::builder()
        .each(|heard, _| match heard.target.as_str() {
            "/chunked" => Answer::status(200).load(Load::bytes("x".repeat(3000)).chunked()).into(),
            "/trailers" => {
                let load = Load::bytes("x".repeat(3000)).chunked().trailer("x-sum", "1");
                Answer::status(200).load(load).into()
            }
            _ => Answer::ok("x".repeat(3000)).into(),
        })
        .bind()
        .unwrap();
    let gateway =
        before(&rogue, "timeout = { connect = \"400ms\", read = \"400ms\", total = \"500ms\" }").await;
    let (mut streams, began) = (JoinSet::new(), Instant::now());
    for window in [0, 1, 100, 2999] {
        let mut caller = Multiplexed::with_window(gateway.address(), window).await;
        for target in ["/up/length", "/up/chunked", "/up/trailers", "/nowhere"] {
            let (response, _) = caller.open("GET", target, &[], true).await;
            streams.spawn(async move { (target, window, take_nothing(response).await) });
        }
    }
    for (target, window, end) in streams.join_all().await {
        // Our own refusal fits into the largest of these windows.
        assert_eq!(end.is_some(), target != "/nowhere" || window < 1000, "{target} {window}");
    }
    assert!(began.elapsed() < Duration::from_millis(500) + BEYOND, "{:?}", began.elapsed());
    let mut caller = Multiplexed::with_window(gateway.address(), 3000).await;
    for target in ["/up/length", "/up/chunked", "/up/trailers"] {
        let heard = caller.ask("GET", target, &[], "").await;
        assert_eq!((heard.body.len(), heard.reset), (3000, None), "{target}");
        assert_eq!(heard.trailers.is_some(), target == "/up/trailers");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_read_over_http1_gives_its_place_back() {
    let rogue = Rogue::builder()
        .each(|heard, _| match heard.target.as_str() {
            "/held" => Answer::status(200).load(Load::pattern(64 << 20)).into(),
            _ => Answer::ok("fine").into(),
        })
        .bind()
        .unwrap();
    let lines = "timeout = { connect = \"400ms\", read = \"900ms\", total = \"1s\" }\nconcurrency = { max = 1, adaptive = false }";
    let gateway = before(&rogue, lines).await;
    let (mut caller, began) = (gateway.connect().await, Instant::now());
    caller.send("GET", "/up/held", &[], "").await;
    assert_eq!(caller.hear_head().await.status, Some(200));
    assert_eq!(gateway.ask("GET", "/up/x", &[], "").await.verdict().3, "concurrency-limit");
    until_served(&gateway).await;
    assert!(began.elapsed() < Duration::from_secs(1) + BEYOND + Duration::from_millis(500));
}

/// Makes an upload whose first chunk comes 500 ms after its head, and reads nothing of its endless answer. Returns how
/// much later than the chunk the gateway ended the call.
async fn ended_after_chunk(over_http2: bool) -> Duration {
    let late = Duration::from_millis(500);
    let rogue = Rogue::builder().answer(Answer::status(200).load(Load::endless())).bind().unwrap();
    let lines = "timeout = { connect = \"400ms\", read = \"800ms\", total = \"900ms\" }";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    let over = rogue.until(|counts| counts.departures.len() == 1);
    let sent = if over_http2 {
        let mut caller = Multiplexed::with_window(gateway.address(), 100).await;
        let (_response, mut body) = caller.open("POST", "/up/x", &[], false).await;
        tokio::time::sleep(late).await;
        let sent = Instant::now();
        body.send_data("amount=5".into(), true).unwrap();
        soon("the end of the call", over).await;
        sent
    } else {
        let mut caller = gateway.connect().await;
        caller.write("POST /up/x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n").await;
        tokio::time::sleep(late).await;
        let sent = Instant::now();
        caller.write("8\r\namount=5\r\n0\r\n\r\n").await;
        soon("the end of the call", over).await;
        sent
    };
    rogue.read(|counts| counts.departures[0].at) - sent
}

#[tokio::test]
async fn the_time_before_the_first_chunk_does_not_count() {
    let (http1, http2) = tokio::join!(ended_after_chunk(false), ended_after_chunk(true));
    println!("ended after {http1:?} over HTTP/1.1 and {http2:?} over HTTP/2");
    // The call begins with the first chunk. Two seconds after its `total` of 900 ms it is ended, since its caller does
    // not read.
    assert!(http1 >= Duration::from_millis(2_900), "{http1:?}");
    // Over HTTP/2 the call begins with the head, 500 ms before the chunk. A late stream is ended after one second.
    assert!(http2 >= Duration::from_millis(1_400), "{http2:?}");
}

/// Sends `sent` bytes of a body with this length, and then nothing. Returns what comes back, and after how much time.
async fn half(gateway: &Gateway, method: &str, ours: &str, length: usize, sent: usize) -> (Heard, Duration) {
    let (mut caller, began) = (gateway.connect().await, Instant::now());
    let lines = format!("host: localhost\r\n{ours}content-length: {length}\r\n");
    let head = format!("{method} /up/x HTTP/1.1\r\n{lines}\r\n");
    caller.write(head).await;
    caller.write("x".repeat(sent)).await;
    let heard = caller.hear().await;
    let took = began.elapsed();
    assert_eq!(heard.header("connection"), Some("close"));
    assert!(caller.piece().await.unwrap().is_empty(), "it is closed behind the answer");
    (heard, took)
}

#[tokio::test]
async fn a_short_body_that_stands_still_is_answered_408_and_logged() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = before(&rogue, "timeout = { total = \"off\" }\nbreaker = { consecutive = 1 }").await;
    for (method, sent) in [("POST", 0), ("POST", 5), ("PUT", 9), ("GET", 5)] {
        let (heard, took) = half(&gateway, method, "", 10, sent).await;
        assert_eq!(heard.verdict(), (408, "not-applied", "0", "caller-stalled"), "{method}");
        assert_eq!(heard.header("seawall-origin"), Some("caller"));
        assert!(took >= HEADER_TIME && took < HEADER_TIME * 4, "{took:?}");
    }
    // The body is announced in chunks, but not even the first chunk comes.
    let mut caller = gateway.connect().await;
    caller.write("POST /up/x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n5\r\n").await;
    assert_eq!(caller.hear().await.verdict(), (408, "not-applied", "0", "caller-stalled"));
    assert!(gateway.until_said("caller-stalled").await.contains("up"));
    assert_eq!(rogue.read(|counts| counts.requests), 0);
    assert_eq!(gateway.ask("POST", "/up/x", &[], "whole").await.status, Some(200));
}

#[tokio::test]
async fn a_short_body_that_drips_is_bounded_by_its_rate() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = before(&rogue, "timeout = { total = \"off\" }").await;
    let (mut caller, began) = (gateway.connect().await, Instant::now());
    caller.write("POST /up/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n").await;
    let (mut read, mut write) = caller.stream.into_split();
    let drip = tokio::spawn(async move {
        for _ in 0..1000 {
            if tokio::io::AsyncWriteExt::write_all(&mut write, b"x").await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut answer = [0; 12];
    soon("an answer", tokio::io::AsyncReadExt::read_exact(&mut read, &mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drip.abort();
}

#[tokio::test]
async fn a_short_body_ends_with_the_total_too() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway =
        before(&rogue, "timeout = { connect = \"90ms\", read = \"90ms\", total = \"100ms\" }").await;
    let (heard, took) = half(&gateway, "POST", "", 10, 5).await;
    assert_eq!(heard.verdict(), (408, "not-applied", "0", "caller-stalled"));
    assert!(took < HEADER_TIME, "{took:?}");
}

#[tokio::test]
async fn a_long_body_that_stands_still_is_in_doubt_and_no_evidence() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let lines = "timeout = { read = \"400ms\", total = \"off\" }\nbreaker = { consecutive = 1 }";
    let gateway = before(&rogue, lines).await;
    for ours in ["", "seawall-timeout: 200ms\r\n"] {
        for (method, effect) in [("POST", "unknown"), ("PUT", "unknown"), ("GET", "not-applied")] {
            let (heard, _) = half(&gateway, method, ours, 1 << 20, 100_000).await;
            assert_eq!(heard.verdict(), (408, effect, "1", "caller-stalled"), "{method} {ours}");
        }
    }
    gateway.until_said("caller-stalled").await;
    assert_eq!(gateway.ask("POST", "/up/x", &[], "whole").await.status, Some(200), "no breaker opened");
}

#[tokio::test]
async fn bodies_over_http2_that_never_come_are_answered_408_and_hold_up_no_drain() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let mut gateway = before(&rogue, "timeout = { read = \"400ms\", total = \"off\" }").await;
    let mut caller = Multiplexed::connect(gateway.address()).await;
    for (headers, effect) in [(&[("content-length", "9")][..], "not-applied"), (&[], "unknown")] {
        let (response, mut body) = caller.open("POST", "/up/x", headers, false).await;
        body.send_data(Bytes::from_static(b"abc"), false).unwrap();
        let heard = hear(response).await;
        assert_eq!((heard.verdict().0, heard.verdict().1), (408, effect));
        assert_eq!(heard.header("seawall-reason"), "caller-stalled");
    }
    assert_eq!(caller.ask("POST", "/up/x", &[], "whole").await.body, b"fine", "the connection goes on");
    let mut streams = Vec::new();
    for _ in 0..20 {
        let (response, mut body) = caller.open("POST", "/up/x", &[("content-length", "9")], false).await;
        body.send_data(Bytes::from_static(b"abc"), false).unwrap();
        streams.push((response, body));
    }
    let asked = Instant::now();
    gateway.signal("TERM");
    for (response, _body) in streams {
        assert_eq!(hear(response).await.verdict().0, 408);
    }
    assert_eq!(gateway.until_exit().await.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_caller_that_resets_while_its_upload_stands_still_is_seen() {
    // The server never reads, so the caller's bytes stay on their way.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let up = listener.local_addr().unwrap();
    let held = tokio::spawn(async move {
        let mut all = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            all.push(stream);
        }
    });
    let lines = "timeout = { read = \"50s\", total = \"60s\" }\nconcurrency = { max = 1, adaptive = false }";
    let gateway = Gateway::start(&dependency("up", up, lines)).await;
    let mut caller = gateway.connect().await;
    let length = 64 << 20;
    caller.write(format!("POST /up/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n")).await;
    let piece = vec![b'x'; 1 << 20];
    let stuck = async {
        loop {
            let writes = caller.stream.writable();
            if tokio::time::timeout(Duration::from_millis(300), writes).await.is_err() {
                break;
            }
            let _ = caller.stream.try_write(&piece);
        }
    };
    soon("an upload that stands still", stuck).await;
    assert_eq!(gateway.ask("GET", "/up/x", &[], "").await.verdict().3, "concurrency-limit");
    caller.reset();
    let began = Instant::now();
    soon("the place of the caller that left", async {
        loop {
            let mut next = Caller::connect(gateway.address()).await;
            next.send("GET", "/up/x", &[("seawall-timeout", "50ms")], "").await;
            let heard = next.hear().await;
            assert_ne!(heard.ended, Ended::Reset);
            if heard.verdict().3 != "concurrency-limit" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    held.abort();
}
