//! A dependency to which no connection can be made: what callers get, how soon, and that nothing was sent.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use seawall_lab::dead_end::{BlackHole, Refused};
use seawall_lab::rogue::{Answer, Idle, Rogue, Then};
use support::tls::{Asks, Authority};
use support::{Gateway, dependency};

const ONCE: &str = "retry = { attempts = 1 }\nbreaker = { enabled = false }\n";

#[tokio::test]
async fn refused_port_is_told_at_once() {
    let port = Refused::open().unwrap();
    let gateway = Gateway::start(&dependency("up", port.address(), ONCE)).await;
    let mut caller = gateway.connect().await;
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        let heard = caller.ask("POST", "/up/x", &[], "amount=5").await;
        fastest = fastest.min(began.elapsed());
        assert_eq!(heard.verdict(), (502, "not-applied", "1", "connect-refused"));
        assert_eq!(heard.header("seawall-origin"), Some("dependency"));
    }
    println!("refused within {fastest:?}");
    // Only the fastest of five calls is checked, so that a busy machine does not decide the result.
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
}

#[tokio::test]
async fn black_hole_ends_at_the_connect_timeout() {
    let hole = BlackHole::open().unwrap();
    let timeout = "timeout = { connect = \"300ms\", read = \"5s\", total = \"10s\" }\n";
    let gateway = Gateway::start(&dependency("up", hole.address(), &format!("{timeout}{ONCE}"))).await;
    for method in ["GET", "POST"] {
        let began = Instant::now();
        let heard = gateway.ask(method, "/up/x", &[], "").await;
        let took = began.elapsed();
        assert_eq!(heard.verdict(), (504, "not-applied", "1", "connect-timeout"));
        println!("swallowed for {took:?}");
        // The timeout is never early, and at most a second late. The second is for a busy machine.
        assert!(took >= Duration::from_millis(300) && took < Duration::from_millis(1300), "{took:?}");
    }
}

#[tokio::test]
async fn name_that_does_not_resolve_is_told() {
    let up = format!(
        "[dependency.up]\nurl = \"http://nothing.invalid\"\n{ONCE}timeout = {{ connect = \"2s\", read = \"5s\", \
         total = \"10s\" }}\n"
    );
    let heard = Gateway::start(&up).await.ask("POST", "/up/x", &[], "").await;
    assert_eq!(heard.verdict(), (502, "not-applied", "1", "dns-failure"));
    assert!(heard.text().contains("nothing.invalid"), "{}", heard.text());
}

/// A dependency at `https://localhost`, with these lines under `tls`.
fn secured(port: u16, tls: &str) -> String {
    format!("[dependency.up]\nurl = \"https://localhost:{port}\"\n{ONCE}[dependency.up.tls]\n{tls}\n")
}

fn file(key: &str, path: &Path) -> String {
    format!("{key} = \"{}\"\n", path.display())
}

#[tokio::test]
async fn certificate_is_checked() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let (ours, theirs) = (Authority::new(), Authority::new());
    let good = ours.before(rogue.address(), "localhost", Asks::Nobody).await;
    let named_otherwise = ours.before(rogue.address(), "elsewhere.example", Asks::Nobody).await;
    let by_others = theirs.before(rogue.address(), "localhost", Asks::Nobody).await;
    let ca_file = file("ca_file", &ours.ca_file());
    for (case, port, tls) in [
        ("an unknown authority", good, ""),
        ("another name", named_otherwise, ca_file.as_str()),
        ("another authority", by_others, &ca_file),
    ] {
        let heard = Gateway::start(&secured(port, tls)).await.ask("POST", "/up/x", &[], "amount=5").await;
        assert_eq!(heard.verdict(), (502, "not-applied", "1", "tls-failure"), "{case}");
        assert_eq!(rogue.read(|counts| counts.requests), 0, "{case}");
    }
    let gateway = Gateway::start(&secured(good, &ca_file)).await;
    for _ in 0..2 {
        let heard = gateway.ask("POST", "/up/x", &[], "amount=5").await;
        assert_eq!(heard.verdict(), (200, "applied", "1", ""));
    }
}

#[tokio::test]
async fn server_that_is_not_tls_is_told() {
    let plain = "HTTP/1.1 400 Bad Request\r\n\r\n";
    let rogue =
        Rogue::builder().welcome(|_| Idle::Say(Duration::ZERO, plain.into(), Then::Keep)).bind().unwrap();
    let heard =
        Gateway::start(&secured(rogue.address().port(), "")).await.ask("POST", "/up/x", &[], "").await;
    assert_eq!(heard.verdict(), (502, "not-applied", "1", "tls-failure"));
}

#[tokio::test]
async fn client_certificate_is_shown_where_it_is_asked_for() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let authority = Authority::new();
    let port = authority.before(rogue.address(), "localhost", Asks::Everybody).await;
    let ca_file = file("ca_file", &authority.ca_file());
    let (certificate, key) = authority.client_files();
    let with = format!("{ca_file}{}{}", file("client_cert", &certificate), file("client_key", &key));

    let heard = Gateway::start(&secured(port, &with)).await.ask("GET", "/up/x", &[], "").await;
    assert_eq!(heard.verdict(), (200, "applied", "1", ""));
    assert_eq!(rogue.read(|counts| counts.requests), 1);
}

/// With TLS 1.3 the server refuses a client only after the client has finished its handshake and sent the request.
#[tokio::test]
async fn client_certificate_that_is_wanted_and_missing_is_a_tls_failure() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let authority = Authority::new();
    let (ca_file, others) = (file("ca_file", &authority.ca_file()), Authority::new());
    let (certificate, key) = others.client_files();
    let strange = format!("{ca_file}{}{}", file("client_cert", &certificate), file("client_key", &key));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for protocols in [&[][..], &[&b"h2"[..]]] {
            let acceptor = authority.acceptor_of("localhost", Asks::Everybody, &[version], protocols);
            let port = authority.accept(rogue.address(), acceptor).await;
            for tls in [&ca_file, &strange] {
                let gateway = Gateway::start(&secured(port, tls)).await;
                for (method, body) in [("GET", ""), ("POST", "amount=5")] {
                    let heard = gateway.ask(method, "/up/x", &[], body).await;
                    let case = format!("{method} {version:?} {protocols:?} {tls}");
                    assert_eq!(heard.verdict(), (502, "not-applied", "1", "tls-failure"), "{case}");
                }
            }
        }
    }
    assert_eq!(rogue.read(|counts| counts.requests), 0);
}
