//! Requests that are malformed, too large, or read differently by different programs. Each gets a 4xx, and none reaches the
//! upstream.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::{Duration, Instant};

use seawall_lab::rogue::{Answer, Rogue};
use support::{Caller, Ended, Gateway, dependency};

const LIMITS: &str = "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 1\n\
    limits = { body = \"1000B\", header_bytes = \"8KiB\", headers = 40, header_time = \"300ms\", connections = 20 }\n";

async fn guarded() -> (Rogue, Gateway) {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start_with(&format!("{LIMITS}{}", dependency("up", rogue.address(), ""))).await;
    (rogue, gateway)
}

/// Checks that nothing reached the upstream, and that the gateway still works.
async fn untouched(rogue: &Rogue, gateway: &Gateway, case: &str) {
    rogue.read(|counts| {
        assert_eq!(
            (counts.requests, counts.connections),
            (0, 0),
            "{case} reached the upstream: {:?}",
            counts.heard
        );
    });
    assert_eq!(gateway.ask("GET", "/none/x", &[], "").await.status, Some(404), "after {case}");
}

/// Sends the bytes piece by piece, each in a packet of its own, and reads one answer.
async fn tell(gateway: &Gateway, pieces: &[&[u8]]) -> (Caller, support::Heard) {
    let mut caller = gateway.connect().await;
    for piece in pieces {
        // The request may have been refused already.
        if tokio::io::AsyncWriteExt::write_all(&mut caller.stream, piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let heard = caller.hear().await;
    (caller, heard)
}

/// The head of a POST with these lines, and a body.
fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /up/x HTTP/1.1\r\nhost: localhost\r\n{lines}\r\n{body}").into_bytes()
}

/// A second request. It is seen only by a reader that ends the first request too early.
const HIDDEN: &str = "GET /up/hidden HTTP/1.1\r\nhost: localhost\r\n\r\n";

#[tokio::test]
async fn requests_with_two_ends_are_refused_and_end_the_connection() {
    let (rogue, gateway) = guarded().await;
    let chunks = format!("0\r\n\r\n{HIDDEN}");
    let cases = [
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", chunks.as_str()),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", &chunks),
        ("content-length: 5\r\nx: 1\r\ntransfer-encoding: chunked\r\n", &chunks),
        ("content-length: 5\r\ncontent-length: 5\r\n", "abcde"),
        ("content-length: 5\r\ncontent-length: 6\r\n", "abcdef"),
        ("content-length: 5, 5\r\n", "abcde"),
        ("content-length: +5\r\n", "abcde"),
        ("content-length: -5\r\n", "abcde"),
        ("content-length: 0x5\r\n", "abcde"),
        ("content-length: 5 5\r\n", "abcde"),
        ("content-length:\r\n", "abcde"),
        ("content-length: 99999999999999999999\r\n", "abcde"),
        ("transfer-encoding: xchunked\r\n", &chunks),
        ("transfer-encoding: gzip, chunked\r\n", &chunks),
        ("transfer-encoding: chunked, gzip\r\n", &chunks),
        ("transfer-encoding: identity\r\n", &chunks),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", &chunks),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n", &chunks),
        ("transfer-encoding: \"chunked\"\r\n", &chunks),
        ("transfer-encoding:\x0bchunked\r\n", &chunks),
        ("transfer-encoding : chunked\r\n", &chunks),
        ("content-length : 5\r\n", "abcde"),
        ("x: 1\ntransfer-encoding: chunked\r\n", &chunks),
        ("x: 1\rtransfer-encoding: chunked\r\n", &chunks),
        ("x: 1\r\n transfer-encoding: chunked\r\n", &chunks),
        ("x: a\0b\r\ncontent-length: 0\r\n", ""),
        ("x y: 1\r\ncontent-length: 0\r\n", ""),
        (": 1\r\ncontent-length: 0\r\n", ""),
        ("no-colon\r\ncontent-length: 0\r\n", ""),
        ("connection: content-length\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n", &chunks),
    ];
    for (lines, body) in cases {
        let request = post(lines, body);
        let middle = request.len() - body.len() - 9;
        let bytes: Vec<&[u8]> = request.chunks(1).collect();
        for pieces in [vec![&request[..]], vec![&request[..middle], &request[middle..]], bytes] {
            let (mut caller, heard) = tell(&gateway, &pieces).await;
            assert_eq!(heard.status, Some(400), "{lines:?} {}", heard.head);
            assert_eq!(heard.header("connection"), Some("close"), "{lines:?}");
            let more = caller.hear().await;
            assert_eq!((more.status, more.ended == Ended::Open), (None, false), "{lines:?}: a second answer");
            untouched(&rogue, &gateway, lines).await;
        }
    }
}

#[tokio::test]
async fn doubtful_head_behind_a_good_request_is_refused_too() {
    let (rogue, gateway) = guarded().await;
    let doubtful = "POST /up/doubtful HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\
        \r\n0\r\n\r\n";
    let firsts = [
        "GET /up/1 HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(),
        "POST /up/1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc".to_owned(),
        "POST /up/1 HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
            .to_owned(),
    ];
    for (number, first) in (1..).zip(&firsts) {
        let both = format!("{first}{doubtful}{HIDDEN}");
        let (mut caller, heard) = tell(&gateway, &[both.as_bytes()]).await;
        assert_eq!(heard.status, Some(200), "{first:?}");
        let heard = caller.hear().await;
        assert_eq!(heard.status, Some(400), "{first:?}");
        assert_eq!(caller.hear().await.status, None, "{first:?}");
        assert_eq!(rogue.read(|counts| counts.requests), number, "{first:?}");
    }
    let seen = rogue.read(|counts| counts.heard.iter().all(|heard| heard.target == "/1"));
    assert!(seen, "only the first of each pair came through");
}

#[tokio::test]
async fn chunks_that_are_none_are_refused_before_anything_is_sent() {
    let (rogue, gateway) = guarded().await;
    let long = format!("5;{}\r\nabcde\r\n0\r\n\r\n", "x".repeat(40_000));
    for body in [
        "-1\r\nabcde\r\n0\r\n\r\n",
        "+5\r\nabcde\r\n0\r\n\r\n",
        "0x5\r\nabcde\r\n0\r\n\r\n",
        "5\nabcde\r\n0\r\n\r\n",
        "\r\nabcde\r\n0\r\n\r\n",
        "g\r\nabcde\r\n0\r\n\r\n",
        "5 5\r\nabcde\r\n0\r\n\r\n",
        "FFFFFFFFFFFFFFFFF\r\nabcde\r\n0\r\n\r\n",
        "5;a\nb\r\nabcde\r\n0\r\n\r\n",
        "0\r\nx\r\n\r\n",
        &long,
    ] {
        let case = &body[..body.len().min(20)];
        let request = post("transfer-encoding: chunked\r\n", body);
        let head = request.len() - body.len();
        for pieces in [vec![&request[..]], vec![&request[..head], &request[head..]]] {
            let (_, heard) = tell(&gateway, &pieces).await;
            assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"), "{case:?}");
            untouched(&rogue, &gateway, case).await;
        }
    }
}

#[tokio::test]
async fn bad_chunk_behind_good_ones_never_makes_a_whole_request() {
    let (rogue, gateway) = guarded().await;
    // The breaker does not open either, since the upstream did not fail.
    for body in [
        "5\r\nabcdeX\r\n0\r\n\r\n",
        "5\r\nabcde\r\n-1\r\n",
        "5\r\nabcde\r\n0x0\r\n\r\n",
        "5\r\nabcde0\r\n\r\n",
    ] {
        let (_, heard) = tell(&gateway, &[&post("transfer-encoding: chunked\r\n", body)]).await;
        assert_eq!(
            (heard.status, heard.header("seawall-reason")),
            (Some(400), Some("bad-request")),
            "{body:?} {heard:?}"
        );
        assert_eq!(rogue.read(|counts| counts.requests), 0, "{body:?}");
    }
}

#[tokio::test]
async fn requests_that_are_no_business_of_ours_are_refused() {
    let (rogue, gateway) = guarded().await;
    let host = "host: localhost\r\n\r\n";
    for (request, statuses) in [
        (format!("CONNECT localhost:80 HTTP/1.1\r\n{host}"), &[400][..]),
        (format!("CONNECT /up/x HTTP/1.1\r\n{host}"), &[400]),
        (format!("GET http://evil.example/up/x HTTP/1.1\r\n{host}"), &[403]),
        (format!("GET https://evil.example/up/x HTTP/1.1\r\n{host}"), &[403]),
        ("GET /up/x HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n".to_owned(), &[400, 403]),
        ("GET /up/x HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n".to_owned(), &[400, 403]),
        ("GET /up/x HTTP/1.1\r\n\r\n".to_owned(), &[400, 403]),
        ("GET /up/x HTTP/1.1\r\nhost:\r\n\r\n".to_owned(), &[400, 403]),
        ("GET /up/x HTTP/1.1\r\nhost: localhost@evil.example\r\n\r\n".to_owned(), &[400, 403]),
        ("GET /up/x HTTP/1.1\r\nhost: evil.example\r\n\r\n".to_owned(), &[403]),
        ("GET /up/x HTTP/1.1\r\nhost: 127.0.0.1.evil.example:8400\r\n\r\n".to_owned(), &[403]),
        (format!("OPTIONS * HTTP/1.1\r\n{host}"), &[400, 404]),
        (format!("GET //evil.example/up/x HTTP/1.1\r\n{host}"), &[400, 404]),
        (format!("GET /%75p/../-/x HTTP/1.1\r\n{host}"), &[400, 404]),
        (format!("GET up/x HTTP/1.1\r\n{host}"), &[400]),
        (format!("GET /up/x y HTTP/1.1\r\n{host}"), &[400]),
        (format!("GET /up/x\ty HTTP/1.1\r\n{host}"), &[400]),
        (format!("GET /up/x\rHTTP/1.1\r\n{host}"), &[400]),
        (format!("GET  /up/x HTTP/1.1\r\n{host}"), &[400]),
        (format!("GET /up/\0x HTTP/1.1\r\n{host}"), &[400]),
        (format!("GET /up/x HTTP/1.1 \r\n{host}"), &[400]),
        (format!("GET /up/x HTTP/2.0\r\n{host}"), &[400]),
        (format!("GET /up/x HTTP/9.9\r\n{host}"), &[400]),
        (format!("GET /up/x http/1.1\r\n{host}"), &[400]),
        (format!("G\x01T /up/x HTTP/1.1\r\n{host}"), &[400]),
        ("GET /up/x HTTP/1.1\nhost: localhost\n\n".to_owned(), &[400]),
        ("GET /up/x\r\n\r\n".to_owned(), &[400]),
        (
            "POST /up/x HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
            &[400],
        ),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(), &[400]),
    ] {
        let (_, heard) = tell(&gateway, &[request.as_bytes()]).await;
        assert!(heard.status.is_some_and(|status| statuses.contains(&status)), "{request:?}: {}", heard.head);
        untouched(&rogue, &gateway, &request).await;
    }
}

#[tokio::test]
async fn oversized_requests_are_refused() {
    let (rogue, gateway) = guarded().await;
    let long = "x".repeat(9000);
    let many: String = (0..60).map(|n| format!("x-{n}: 1\r\n")).collect();
    let (chunk, one) = (format!("7d0\r\n{}\r\n0\r\n\r\n", "x".repeat(2000)), "x".repeat(1001));
    for (case, request, status) in [
        ("a long field", post(&format!("x: {long}\r\n"), ""), 431),
        ("many fields", post(&many, ""), 431),
        ("a long path", format!("GET /up/{long} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes(), 431),
        ("a body that says its length", post("content-length: 1001\r\n", &one), 413),
        (
            "a body that says its length and waits",
            post("content-length: 1001\r\nexpect: 100-continue\r\n", ""),
            413,
        ),
        ("a large chunk", post("transfer-encoding: chunked\r\n", &chunk), 413),
    ] {
        let (_, heard) = tell(&gateway, &[&request]).await;
        // hyper has one status for a path that is too long, and another for a head that is too long.
        let status = if case == "a long path" && heard.status == Some(414) { 414 } else { status };
        assert_eq!(heard.status, Some(status), "{case}");
        untouched(&rogue, &gateway, case).await;
    }
    // A body that grows beyond the bound while it is sent on is broken off, so the upstream never gets all of it.
    let chunks = format!("1f4\r\n{0}\r\n1f4\r\n{0}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(500));
    let (_, heard) = tell(&gateway, &[&post("transfer-encoding: chunked\r\n", &chunks)]).await;
    assert_eq!((heard.status, heard.header("seawall-reason")), (Some(413), Some("body-too-large")));
    assert_eq!(rogue.read(|counts| counts.requests), 0);
    // A body of exactly the bound passes.
    let whole = post("content-length: 1000\r\n", &one[1..]);
    assert_eq!(tell(&gateway, &[&whole]).await.1.status, Some(200));
}

#[tokio::test]
async fn a_head_that_cannot_be_read_is_answered_with_the_reason_and_logged() {
    let (rogue, gateway) = guarded().await;
    let long = "x".repeat(9000);
    let good = "GET /up/x HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let late = format!("{good}{}", good.replace("/up/x", "/up/\u{7f}x"));
    for (case, request) in [
        ("a target that is none", "GET /up/\u{7f}x HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        ("a method that is none", "GE@T{} /up/x HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        ("another protocol", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned()),
        ("a long path", format!("GET /up/{long} HTTP/1.1\r\nhost: localhost\r\n\r\n")),
        ("a long field", String::from_utf8(post(&format!("x: {long}\r\n"), "")).unwrap()),
    ] {
        let (_, heard) = tell(&gateway, &[request.as_bytes()]).await;
        assert!(
            heard.status.is_some_and(|status| matches!(status, 400 | 414 | 431)),
            "{case}: {}",
            heard.head
        );
        assert_eq!(heard.header("seawall-reason"), Some("bad-request"), "{case}: {}", heard.head);
        assert_eq!(heard.header("seawall-effect"), Some("not-applied"), "{case}");
        assert_eq!(heard.json()["status"], heard.status.unwrap(), "{case}");
        untouched(&rogue, &gateway, case).await;
    }
    gateway.until_said("bad-request").await;
    // The same holds after a good request on the same connection.
    let mut caller = gateway.connect().await;
    caller.write(&late).await;
    assert_eq!(caller.hear().await.status, Some(200));
    let heard = caller.hear().await;
    assert_eq!(heard.header("seawall-reason"), Some("bad-request"), "{}", heard.head);
}

#[tokio::test]
async fn web_pages_and_rebound_names_are_refused() {
    let (rogue, gateway) = guarded().await;
    for headers in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("origin", "http://localhost:3000")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", "http://localhost")],
    ] {
        for method in ["POST", "GET", "OPTIONS"] {
            let heard = gateway.ask(method, "/up/x", headers, "").await;
            assert_eq!(heard.verdict(), (403, "not-applied", "0", "caller-refused"), "{method} {headers:?}");
            assert_eq!(heard.header("seawall-origin"), Some("caller"));
            assert_eq!(heard.header("access-control-allow-origin"), None);
        }
    }
    untouched(&rogue, &gateway, "a page").await;
    let own = gateway.ask(
        "POST",
        "/up/x",
        &[("origin", "http://localhost"), ("sec-fetch-site", "same-origin")],
        "",
    );
    assert_eq!(own.await.status, Some(200));
}

#[tokio::test]
async fn encoded_line_ends_stay_encoded() {
    let (rogue, gateway) = guarded().await;
    let target = "/up/a%0d%0aX-Evil:%201%0d%0a%0d%0aGET%20/b?c=%0d%0ad%00";
    assert_eq!(gateway.ask("GET", target, &[], "").await.status, Some(200));
    rogue.read(|counts| {
        assert_eq!(counts.requests, 1);
        assert_eq!(counts.heard[0].target, &target[3..]);
        assert_eq!(counts.heard[0].header("x-evil"), None);
    });
}

#[tokio::test]
async fn slow_head_is_cut() {
    let (rogue, gateway) = guarded().await;
    // The last cases begin like HTTP/2.
    for beginning in ["GET /up/x HTTP/1.1\r\nhost: loc", "G", "P", "PRI * HT", "PRI * HTTP/2.0\r\n\r\n"] {
        let mut caller = gateway.connect().await;
        let began = Instant::now();
        caller.write(beginning).await;
        let heard = caller.hear().await;
        let took = began.elapsed();
        assert_ne!(heard.ended, Ended::Open, "{beginning:?}");
        // The limit is 300 ms, and connections are looked at every 250 ms. The rest of the time is for a busy machine.
        assert!(
            took >= Duration::from_millis(290) && took < Duration::from_secs(3),
            "{beginning:?}: {took:?}"
        );
    }
    // The same holds after a request that was answered.
    let mut caller = gateway.connect().await;
    caller.write("GET /none/x HTTP/1.1\r\nhost: localhost\r\n\r\nGET /up").await;
    assert_eq!(caller.hear().await.status, Some(404));
    assert_ne!(caller.hear().await.ended, Ended::Open);
    untouched(&rogue, &gateway, "a slow head").await;
}

#[tokio::test]
async fn garbage_behind_the_http2_preface_ends_the_connection() {
    let (rogue, gateway) = guarded().await;
    for garbage in [&b"GET /up/x HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], &[0xff; 64], &[0; 64]] {
        let mut caller = gateway.connect().await;
        caller.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        caller.write(garbage).await;
        while caller.piece().await.is_ok_and(|piece| !piece.is_empty()) {}
        untouched(&rogue, &gateway, "garbage").await;
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let rogue = Rogue::builder()
        .each(|heard, _| match heard.target.as_str() {
            "/1" => {
                seawall_lab::rogue::Act::After(Duration::from_millis(100), Box::new(Answer::ok("1").into()))
            }
            other => Answer::ok(other[1..].to_owned()).into(),
        })
        .bind()
        .unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let mut caller = gateway.connect().await;
    let one = "GET /up/1 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let two = "POST /up/2 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\nabc";
    let three =
        "POST /up/3 HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let four = "GET /up/4 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    caller.write([one, two, three, four].concat()).await;
    for expected in ["1", "2", "3", "4"] {
        assert_eq!(caller.hear().await.text(), expected);
    }
    rogue.read(|counts| {
        let bodies: Vec<_> = counts.heard.iter().map(|heard| heard.body.as_ref()).collect();
        assert_eq!(bodies, [&b""[..], b"abc", b"abc", b""]);
    });
}

#[tokio::test]
async fn connections_above_the_limit_are_turned_away() {
    let (rogue, gateway) = guarded().await;
    let mut callers = Vec::new();
    for _ in 0..20 {
        let mut caller = gateway.connect().await;
        assert_eq!(caller.ask("GET", "/none/x", &[], "").await.status, Some(404));
        callers.push(caller);
    }
    for _ in 0..5 {
        let mut one_more = gateway.connect().await;
        let heard = one_more.hear().await;
        assert_eq!(heard.verdict(), (503, "not-applied", "0", "concurrency-limit"));
        assert_eq!(one_more.hear().await.ended, Ended::Closed);
    }
    for caller in &mut callers {
        assert_eq!(caller.ask("GET", "/none/x", &[], "").await.status, Some(404), "those inside are served");
    }
    callers.pop();
    support::soon("a free place", async {
        loop {
            let mut caller = gateway.connect().await;
            caller.write("GET /none/x HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            if caller.hear().await.status == Some(404) {
                return;
            }
        }
    })
    .await;
    assert_eq!(rogue.read(|counts| counts.requests), 0);
}
