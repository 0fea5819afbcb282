//! Which headers are passed on, in both directions.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use seawall_lab::rogue::{Act, Answer, Rogue, Then};
use support::{Ended, Gateway, Multiplexed, dependency};

#[tokio::test]
async fn headers_of_one_hop_do_not_pass_to_the_upstream() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let headers = [
        ("connection", "keep-alive, X-One, x-two"),
        ("Connection", "x-three"),
        ("x-one", "1"),
        ("X-Two", "2"),
        ("x-three", "3"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("te", "gzip;q=1, trailers"),
        ("upgrade", "websocket"),
        ("http2-settings", "AAMAAABkAAQCAAAAAAIAAAAA"),
        ("x-kept", "yes"),
        ("authorization", "Bearer caller"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("seawall-timeout", "5s"),
        ("seawall-retry", "off"),
        ("seawall-token", "secret"),
        ("seawall-effect", "applied"),
        ("Seawall-Anything", "x"),
        ("grpc-timeout", "5S"),
    ];
    let heard = gateway.ask("POST", "/up/x?q=1", &headers, "amount=5").await;
    assert_eq!(heard.status, Some(200), "{heard:?}");
    let seen = rogue.read(|counts| counts.heard[0].clone());
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str(), seen.body.as_ref()),
        ("POST", "/x?q=1", &b"amount=5"[..])
    );
    let mut names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let kept =
        ["authorization", "connection", "content-length", "cookie", "cookie", "host", "te", "via", "x-kept"];
    assert_eq!(names, kept);
    assert_eq!((seen.header("te"), seen.header("connection")), (Some("trailers"), Some("te")));
    assert_eq!(seen.header("host"), Some(rogue.address().to_string().as_str()));
}

#[tokio::test]
async fn connection_cannot_name_what_the_request_is_about() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway =
        Gateway::start(&dependency("up", rogue.address(), "headers = { authorization = \"Bearer ours\" }"))
            .await;
    let headers = [("connection", "host, content-length, authorization, close")];
    let heard = gateway.ask("POST", "/up/x", &headers, "amount=5").await;
    assert_eq!((heard.status, heard.ended), (Some(200), Ended::Open));
    let seen = rogue.read(|counts| counts.heard[0].clone());
    assert_eq!(seen.body.as_ref(), b"amount=5");
    assert_eq!(seen.header("authorization"), Some("Bearer ours"));
    assert_eq!(seen.header("connection"), None);
}

#[tokio::test]
async fn headers_of_one_hop_do_not_pass_to_the_caller() {
    let answer = Answer::ok("fine")
        .header("connection", "X-Hop")
        .header("x-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("proxy-authenticate", "Basic")
        .header("upgrade", "h2c")
        .header("x-kept", "yes")
        .header("set-cookie", "a=1")
        .header("seawall-effect", "unknown")
        .header("seawall-reason", "breaker-open")
        .header("seawall-origin", "seawall")
        .header("seawall-retry-stopped", "budget")
        .header("seawall-action", "1")
        .header("proxy-status", "inner; error=dns_error");
    let rogue = Rogue::builder().answer(answer).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let heard = gateway.ask("GET", "/up/x", &[], "").await;
    assert_eq!(heard.verdict(), (200, "applied", "1", ""));
    for gone in [
        "x-hop",
        "keep-alive",
        "proxy-authenticate",
        "upgrade",
        "connection",
        "seawall-origin",
        "seawall-retry-stopped",
        "seawall-action",
    ] {
        assert_eq!(heard.header(gone), None, "{gone}");
    }
    assert_eq!((heard.header("x-kept"), heard.header("set-cookie")), (Some("yes"), Some("a=1")));
    // The entries of proxies between the gateway and the dependency are passed on (RFC 9209).
    assert_eq!(heard.header("proxy-status"), Some("inner; error=dns_error"));
    let heard = Multiplexed::connect(gateway.address()).await.ask("GET", "/up/x", &[], "").await;
    assert_eq!((heard.verdict().0, heard.header("connection"), heard.header("x-hop")), (200, "", ""));
}

#[tokio::test]
async fn upgrade_that_nobody_asked_for_is_no_answer() {
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    let rogue = Rogue::builder().acts([Act::Raw(switching.into(), Then::Keep)]).bind().unwrap();
    let lines = "timeout = { connect = \"1s\", read = \"1s\", total = \"3s\" }\nretry = { attempts = 1 }\n";
    let gateway = Gateway::start(&dependency("up", rogue.address(), lines)).await;
    let mut caller = gateway.connect().await;
    let headers = [("connection", "upgrade"), ("upgrade", "x")];
    let heard = caller.ask("POST", "/up/x", &headers, "").await;
    assert_eq!(heard.interim, [] as [u16; 0]);
    assert_eq!(heard.verdict(), (502, "unknown", "1", "bad-answer"));
}

#[tokio::test]
async fn cookies_that_come_in_crumbs_go_out_in_one_line() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let crumbs = [("cookie", "a=1"), ("x-one", "1"), ("cookie", "b=2"), ("cookie", "c=3")];
    let heard = Multiplexed::connect(gateway.address()).await.ask("GET", "/up/x", &crumbs, "").await;
    assert_eq!(heard.verdict().0, 200);
    let lines = |name: &str| {
        rogue.read(|counts| {
            let lines = counts.heard.last().unwrap().headers.iter().filter(|(found, _)| found == name);
            lines.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        })
    };
    assert_eq!(lines("cookie"), ["a=1; b=2; c=3"]);
    gateway.ask("GET", "/up/x", &crumbs, "").await;
    assert_eq!(lines("cookie"), ["a=1", "b=2", "c=3"], "lines of HTTP/1.1 are the caller's own");
}

#[tokio::test]
async fn lines_of_one_name_keep_their_order() {
    let mut answer = Answer::ok("fine").header("connection", "x-hop").header("x-hop", "1");
    for number in 0..30 {
        answer = answer.header(&format!("x-{}", number % 7), &number.to_string());
    }
    let rogue = Rogue::builder().answer(answer).bind().unwrap();
    let http2 = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&format!(
        "{}{}",
        dependency("up", rogue.address(), ""),
        dependency("two", http2.address(), "http = \"2\"")
    ))
    .await;
    let numbered: Vec<(String, String)> =
        (0..30).map(|number| (format!("x-{}", number % 7), number.to_string())).collect();
    let mut headers = vec![("connection", "x-gone, keep-alive"), ("x-gone", "1"), ("te", "trailers")];
    headers.extend(numbered.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let in_order = |fields: &[(String, String)]| {
        for name in (0..7).map(|number| format!("x-{number}")) {
            let of = |fields: &[(String, String)]| {
                let mine = fields.iter().filter(|(found, _)| *found == name);
                mine.map(|(_, value)| value.clone()).collect::<Vec<_>>()
            };
            assert_eq!(of(fields), of(&numbered), "{name}");
        }
    };
    let heard = gateway.ask("GET", "/up/x", &headers, "").await;
    in_order(&rogue.read(|counts| counts.heard.last().unwrap().headers.clone()));
    let lines = heard.head.lines().filter_map(|line| line.split_once(": "));
    in_order(&lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>());
    gateway.ask("GET", "/two/x", &headers, "").await;
    in_order(&http2.read(|counts| counts.heard.last().unwrap().headers.clone()));
    let plain = &headers[2..];
    Multiplexed::connect(gateway.address()).await.ask("GET", "/up/x", plain, "").await;
    in_order(&rogue.read(|counts| counts.heard.last().unwrap().headers.clone()));
}
