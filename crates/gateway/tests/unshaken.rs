//! Whatever callers and dependencies send, nothing panics, and everything that a call holds is released.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use seawall_lab::rogue::{Act, Answer, Rogue, Then};
use support::{Caller, Gateway, Multiplexed, dependency, soon};

/// The number of panics that the gateway has counted.
async fn panics(gateway: &Gateway) -> u64 {
    let heard = Caller::connect(gateway.admin()).await.ask("GET", "/api/dependencies", &[], "").await;
    heard.json()["panics"].as_u64().unwrap()
}

#[tokio::test]
async fn more_fields_than_a_map_of_headers_holds_are_refused() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let text = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 1\n\
         limits = {{ header_bytes = \"8MiB\", headers = 10000 }}\n{}",
        dependency("up", rogue.address(), "")
    );
    let gateway = Gateway::start_with(&text).await;
    let names: Vec<String> = (0..24_576).map(|number| format!("x{number}")).collect();
    // The number of fields is the most that fit, or a few less. So there is no room for the fields that the gateway adds.
    for count in [24_576, 24_575, 24_570, 10_001] {
        let headers: Vec<(&str, &str)> = names[..count].iter().map(|name| (name.as_str(), "1")).collect();
        let mut caller = Multiplexed::connect(gateway.address()).await;
        let heard = caller.ask("GET", "/up/x", &headers, "").await;
        assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"), "{count}");
        assert_eq!(caller.ask("GET", "/up/x", &[], "").await.verdict().0, 200, "the connection goes on");
    }
    assert_eq!((panics(&gateway).await, rogue.read(|counts| counts.requests)), (0, 4));
}

#[tokio::test]
async fn wild_requests_are_answered_without_a_panic() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let lines = "keys = true\nconcurrency = { key = \"path:{tenant}\" }\n[[dependency.up.operation]]\nname = \"a\"\n\
                 match = \"GET /{tenant}/{*rest}\"\n";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    let long = "x".repeat(20_000);
    let targets = [
        "/",
        "*",
        "/up",
        "/up?",
        "/up/%",
        "/up/%%/%2",
        "/up/%00/%ff",
        "/up/{tenant}/{*rest}",
        "/up/\u{e9}/\u{1F980}",
        "/up/;/;;/",
        "/up/..",
        "/up/%2e%2e%2f",
        "/up//////",
        "/up/a/%2f%5c\\",
        "http://localhost",
        "http://localhost?x",
        "http://localhost:/up/x",
        "http://[::1]/up",
        "http://[::1/up",
        "http://[/up",
        "//",
        "///",
        "/-/",
        "/up/a/b%zz",
        "localhost:80",
        "/up/a/\"{}|^`",
        "?x",
        "/up/a#",
        "",
    ];
    for method in ["GET", "POST", "OPTIONS", "CONNECT", "TRACE", "X-Y", "get"] {
        for target in targets {
            let mut caller = gateway.connect().await;
            caller.send(method, target, &[], "").await;
            let heard = caller.hear().await;
            assert!(heard.status.is_some(), "{method} {target:?}: {heard:?}");
        }
    }
    for (name, value) in [
        ("seawall-timeout", "18446744073709551615s"),
        ("seawall-timeout", "99999999999999999999999999h"),
        ("seawall-timeout", "\u{e9}s"),
        ("seawall-timeout", "."),
        ("seawall-timeout", "0.00000000000000000000000000000001s"),
        ("grpc-timeout", "99999999H"),
        ("grpc-timeout", "\u{e9}"),
        ("idempotency-key", "\u{ff}"),
        ("via", ",,(((, \u{ff}"),
        ("cookie", ""),
        ("connection", ",;\u{ff}, te, host, via"),
        ("te", "\u{ff}"),
        ("origin", "://"),
        ("host", "["),
        ("x-long", &long),
    ] {
        let mut caller = gateway.connect().await;
        caller.send("POST", "/up/a/b", &[(name, value)], "").await;
        assert!(caller.hear().await.status.is_some(), "{name}: {value:.40}");
    }
    assert_eq!(panics(&gateway).await, 0);
}

#[tokio::test]
async fn wild_answers_are_passed_or_refused_without_a_panic() {
    const ANSWERS: [&str; 14] = [
        "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nkeep-alive: timeout=18446744073709551615\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nkeep-alive: timeout=,=,\"\r\n\r\n",
        "HTTP/1.1 503 No\r\ncontent-length: 0\r\nretry-after: 18446744073709551615\r\n\r\n",
        "HTTP/1.1 503 No\r\ncontent-length: 0\r\nretry-after: 99999999999999999999999\r\n\r\n",
        "HTTP/1.1 429 No\r\ncontent-length: 0\r\nretry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n\r\n",
        "HTTP/1.1 429 No\r\ncontent-length: 0\r\nretry-after: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
        "HTTP/1.1 000 \r\n\r\n",
        "HTTP/1.1 999 \r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n: \r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551615\r\n\r\n",
        "HTTP/1.1 200 \u{ff}\r\nx: \u{ff}\r\nconnection: x, ,\u{ff}\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 101 S\r\n\r\n",
    ];
    let acts = ANSWERS.map(|answer| Act::Raw(answer.into(), Then::Close));
    let rogue = Rogue::builder().acts(acts).bind().unwrap();
    let lines = "timeout = { connect = \"1s\", read = \"1s\", total = \"3s\" }\nretry = { enabled = false }\n\
                 breaker = { enabled = false }\n[[dependency.up.operation]]\nname = \"a\"\nmatch = \"POST /judged\"\n\
                 answers.applied = [ { status = 200, json = { \"/code\" = \"OK\" } } ]\n";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    for path in ["/up/x", "/up/judged"] {
        for answer in ANSWERS {
            let heard = gateway.ask("POST", path, &[], "a").await;
            assert!(heard.status.is_some(), "{path}: {answer}: {heard:?}");
        }
    }
    assert_eq!(panics(&gateway).await, 0);
    let at_rest = async {
        loop {
            let heard = Caller::connect(gateway.admin()).await.ask("GET", "/api/dependencies", &[], "").await;
            let json = heard.json();
            let (calls, places) = (
                &json["dependencies"][0]["calls"]["in-flight"],
                &json["dependencies"][0]["endpoints"][0]["limit"],
            );
            if json["connections"] == 0 && *calls == 0 && places["in_flight"] == 0 {
                return;
            }
        }
    };
    soon("all that was taken to be given back", at_rest).await;
}
