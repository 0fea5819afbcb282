//! Which host a request is meant for: the test cases vary its `Host` field and the authority of its target.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use seawall_lab::rogue::{Answer, Rogue};
use support::{Caller, Gateway, Heard, dependency};

/// Sends a head as it is, and reads the answer.
async fn send(address: std::net::SocketAddr, head: &str) -> Heard {
    let mut caller = Caller::connect(address).await;
    caller.write(head).await;
    caller.hear().await
}

#[tokio::test]
async fn a_host_that_is_missing_double_or_malformed_is_a_bad_request() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    for hosts in [
        "",
        "host: localhost\r\nhost: localhost\r\n",
        "host: localhost\r\nHost: evil.example\r\n",
        "host:\r\n",
        "host: user@localhost\r\n",
        "host: localhost:http\r\n",
        "host: localhost:80x\r\n",
        "host: localhost:99999\r\n",
        "host: [::1\r\n",
        "host: [::1]x\r\n",
        "host: ::1\r\n",
        "host: local%68ost\r\n",
        "host: localhost/x\r\n",
        "host: localhost, localhost\r\n",
    ] {
        let heard = send(gateway.address(), &format!("GET /up/x HTTP/1.1\r\n{hosts}\r\n")).await;
        assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"), "{hosts:?}");
        let admin = send(gateway.admin(), &format!("GET /livez HTTP/1.1\r\n{hosts}\r\n")).await;
        assert_eq!(admin.status, Some(400), "admin: {hosts:?}");
    }
    for host in ["evil.example", "evil.example:80", "10.1.1.1", "localhost.evil.example"] {
        let heard = send(gateway.address(), &format!("GET /up/x HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(heard.verdict(), (403, "not-applied", "0", "caller-refused"), "{host}");
    }
    for host in ["localhost", "LOCALHOST.", "[::1]:1", "127.0.0.1:8400", "localhost:"] {
        let heard = send(gateway.address(), &format!("GET /up/x HTTP/1.1\r\nhost: {host}\r\n\r\n")).await;
        assert_eq!(heard.status, Some(200), "{host}");
    }
}

#[tokio::test]
async fn a_request_in_an_old_version_is_told_that_it_needs_a_host() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let heard = send(gateway.address(), "GET /up/x HTTP/1.0\r\n\r\n").await;
    assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"));
    assert!(heard.text().contains("HTTP/1.0") && heard.text().contains("Host"), "{}", heard.text());
    let heard = send(gateway.address(), "GET /up/x HTTP/1.0\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(heard.status, Some(200));
}

#[tokio::test]
async fn the_authority_of_the_target_counts_where_there_is_one() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    for (target, host, status) in [
        ("http://localhost/up/x", "localhost", 200),
        ("http://localhost:9/up/x", "evil.example", 200),
        ("http://evil.example/up/x", "localhost", 403),
        ("http://user@localhost/up/x", "localhost", 400),
        ("http://localhost:x/up/x", "localhost", 400),
        ("http://localhost/up/x", "a@b", 400),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let heard = send(gateway.address(), &head).await;
        assert_eq!(heard.status, Some(status), "{target} with {host}: {heard:?}");
    }
    let heard = send(gateway.address(), "GET http://localhost/up/x HTTP/1.1\r\n\r\n").await;
    assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"));
    let seen = rogue.read(|counts| counts.heard.last().unwrap().clone());
    assert_eq!(
        (seen.target.as_str(), seen.header("host")),
        ("/x", Some(rogue.address().to_string().as_str()))
    );
}

#[tokio::test]
async fn a_host_beside_another_authority_is_refused_over_http2() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "")).await;
    let mut caller = support::Multiplexed::connect(gateway.address()).await;
    let heard = caller.ask("GET", "/up/x", &[("host", "localhost")], "").await;
    assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"));
    let same = gateway.address().to_string();
    assert_eq!(caller.ask("GET", "/up/x", &[("host", &same)], "").await.verdict().0, 200);
    assert_eq!(rogue.read(|counts| counts.requests), 1);
}
