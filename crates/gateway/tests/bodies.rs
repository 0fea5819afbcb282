//! Bodies in both directions: large bodies are streamed, and short ones can be sent again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::Duration;

use seawall_lab::dead_end::Refused;
use seawall_lab::rogue::{Answer, Fingerprint, Load, Rogue, pattern};
use support::{Gateway, dependency, soon};

const LARGE: u64 = 100_000_000;
/// The most memory that a large body may cost the gateway.
const MOST_GROWTH: u64 = 64 << 20;

fn print_of_pattern(length: u64) -> Fingerprint {
    let mut print = Fingerprint::default();
    let mut at = 0;
    while at < length {
        let piece = pattern(at, (length - at).min(1 << 20) as usize);
        print.add(&piece);
        at += piece.len() as u64;
    }
    print
}

/// Starts a gateway and makes one short call, so that afterwards only the memory for the large body is measured.
async fn warm(rogue: &Rogue, lines: &str) -> (Gateway, u64) {
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    assert_eq!(gateway.ask("GET", "/up/short", &[], "").await.status, Some(200));
    let before = gateway.memory_now();
    (gateway, before)
}

fn grown(what: &str, gateway: &Gateway, before: u64) {
    let grown = gateway.peak_memory().saturating_sub(before);
    println!("{what}: {:.1} MB at first, {:.1} MB more at most", before as f64 / 1e6, grown as f64 / 1e6);
    assert!(grown < MOST_GROWTH, "{what}: {grown} bytes more");
}

async fn downloads(lines: &str, chunked: bool) {
    let load = Load::pattern(LARGE);
    let load = if chunked { load.chunked() } else { load };
    let rogue =
        Rogue::builder().acts([Answer::ok("fine").into(), Answer::ok("").load(load).into()]).bind().unwrap();
    let (gateway, before) = warm(&rogue, lines).await;
    let mut caller = gateway.connect().await;
    caller.send("GET", "/up/large", &[], "").await;
    let head = caller.hear_head().await;
    assert_eq!(head.header("content-length"), (!chunked).then_some("100000000"));
    // The caller reads nothing for a while, and the dependency could send everything in this time.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let mut print = Fingerprint::default();
    if chunked {
        // The chunks are not decoded. The answer must be whole, and have at least `LARGE` bytes.
        let mut seen = 0;
        let mut last = Vec::new();
        while seen < LARGE || !last.ends_with(b"0\r\n\r\n") {
            last = caller.piece().await.unwrap();
            assert!(!last.is_empty(), "it ended after {seen} bytes");
            seen += last.len() as u64;
        }
    } else {
        let mut left = LARGE;
        while left > 0 {
            let piece = caller.piece().await.unwrap();
            assert!(!piece.is_empty(), "it ended with {left} bytes to come");
            print.add(&piece);
            left -= piece.len() as u64;
        }
        assert_eq!(print, print_of_pattern(LARGE));
    }
    grown("download", &gateway, before);
}

#[tokio::test]
async fn large_download_streams_in_bounded_memory() {
    downloads("", false).await;
}

#[tokio::test]
async fn large_download_over_http2_streams_in_bounded_memory() {
    downloads("http = \"2\"", true).await;
}

#[tokio::test]
async fn large_upload_streams_in_bounded_memory() {
    for lines in ["", "http = \"2\""] {
        let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
        let (gateway, before) = warm(&rogue, lines).await;
        let mut caller = gateway.connect().await;
        caller
            .write(format!("PUT /up/large HTTP/1.1\r\nhost: localhost\r\ncontent-length: {LARGE}\r\n\r\n"))
            .await;
        let mut at = 0;
        while at < LARGE {
            let piece = pattern(at, (LARGE - at).min(1 << 18) as usize);
            soon("room to write", tokio::io::AsyncWriteExt::write_all(&mut caller.stream, &piece))
                .await
                .unwrap();
            at += piece.len() as u64;
        }
        assert_eq!(caller.hear().await.verdict(), (200, "applied", "1", ""));
        let upload = rogue.read(|counts| counts.heard[1].clone());
        assert_eq!((upload.body_len, upload.body_print), (LARGE, print_of_pattern(LARGE)));
        grown("upload", &gateway, before);
    }
}

/// Sends a keyed POST with this body, in one piece or in chunks, to a dependency that answers 503 and then 200.
async fn keyed(body: &str, chunked: bool) -> (support::Heard, seawall_lab::rogue::Counts) {
    let acts = [Answer::status(503).into(), Answer::ok("done").into()];
    let rogue = Rogue::builder().keep_body(1 << 20).acts(acts).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "keys = true")).await;
    let mut caller = gateway.connect().await;
    if chunked {
        let mut request = "POST /up/charge HTTP/1.1\r\nhost: localhost\r\nidempotency-key: k\r\n\
            transfer-encoding: chunked\r\n\r\n"
            .to_owned();
        for piece in body.as_bytes().chunks(10_000) {
            request.push_str(&format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap()));
        }
        request.push_str("0\r\n\r\n");
        caller.write(request).await;
    } else {
        caller.send("POST", "/up/charge", &[("idempotency-key", "k")], body).await;
    }
    let heard = caller.hear().await;
    (heard, rogue.counts())
}

fn text(length: usize) -> String {
    (0..length).map(|at| char::from(b'a' + (at % 23) as u8)).collect()
}

#[tokio::test]
async fn body_of_64_kib_is_repeated_byte_for_byte() {
    let body = text(64 << 10);
    for chunked in [false, true] {
        let (heard, counts) = keyed(&body, chunked).await;
        assert_eq!(heard.verdict(), (200, "applied", "2", ""), "chunked: {chunked}");
        assert_eq!(counts.requests, 2);
        for request in &counts.heard {
            assert!(request.body == body.as_bytes(), "chunked: {chunked}, {} bytes came", request.body_len);
            let length = request.header("content-length");
            assert_eq!(length, (!chunked).then_some("65536"));
        }
    }
}

#[tokio::test]
async fn larger_body_is_not_repeated_and_the_answer_says_so() {
    let body = text((64 << 10) + 1);
    for chunked in [false, true] {
        let (heard, counts) = keyed(&body, chunked).await;
        assert_eq!(heard.verdict(), (503, "unknown", "1", ""), "chunked: {chunked}");
        assert_eq!(heard.header("seawall-retry-stopped"), Some("body"));
        assert_eq!(counts.requests, 1);
        assert!(counts.heard[0].body == body.as_bytes());
    }
}

#[tokio::test]
async fn larger_body_is_repeated_while_nothing_of_it_was_sent() {
    let refused = Refused::open().unwrap();
    let gateway = Gateway::start(&dependency("up", refused.address(), "")).await;
    let heard = gateway.ask("POST", "/up/charge", &[], &text(100_000)).await;
    assert_eq!(heard.verdict(), (502, "not-applied", "2", "connect-refused"));
}

#[tokio::test]
async fn the_bound_is_a_setting() {
    let acts = [Answer::status(503).into(), Answer::ok("done").into()];
    let rogue = Rogue::builder().keep_body(1 << 20).acts(acts).bind().unwrap();
    let lines = "keys = true\nretry = { buffer = \"200KiB\" }";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    let body = text(200 << 10);
    let heard = gateway.ask("POST", "/up/charge", &[("idempotency-key", "k")], &body).await;
    assert_eq!(heard.verdict(), (200, "applied", "2", ""));
    assert!(rogue.counts().heard.iter().all(|request| request.body == body.as_bytes()));
}
