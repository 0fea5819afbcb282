//! All stories except those in `servers`, which test exchanges with many servers. No story depends on another one, so
//! they can run in any order.

use std::fs;

use serde_json::Value;

use super::answer::{curl, expect, json};
use super::world::{LARGE_BYTES, World, node_sdk, python_sdk};
use super::{durable, page, sql};
use crate::process::{Outcome, output};

/// One story. Its name says what must be true.
pub(super) struct Story {
    pub(super) name: &'static str,
    pub(super) tell: fn(&World) -> Outcome<()>,
}

pub(super) const STORIES: &[Story] = &[
    Story { name: "nginx answers pass unchanged over HTTP/1.1 and HTTP/2", tell: nginx_unchanged },
    Story { name: "a large download arrives whole", tell: large_download },
    Story { name: "a large upload arrives whole", tell: large_upload },
    Story { name: "curl uploads without a length", tell: chunked_upload },
    Story { name: "httpbin sees method, query, headers and body as sent", tell: httpbin_echo },
    Story { name: "compressed and streamed answers pass", tell: httpbin_encodings },
    Story { name: "statuses pass with the effect they mean", tell: statuses },
    Story { name: "a failing GET is repeated once, a failing POST never", tell: repeats },
    Story { name: "a hanging dependency is cut at the read timeout", tell: hanging },
    Story { name: "a caller's own time is kept", tell: caller_time },
    Story { name: "Node's chunked answers and closed connections pass", tell: node_framing },
    Story { name: "trailers pass", tell: trailers },
    Story { name: "a POST that was swallowed is sent once and in doubt", tell: swallowed },
    Story { name: "a private CA is trusted where it is named", tell: private_ca },
    Story { name: "a certificate by a stranger is refused", tell: stranger },
    Story { name: "the Python SDK pays and refunds through a prefix", tell: sdk_python },
    Story { name: "the Node SDK pays and refunds through a port of its own", tell: sdk_node },
    Story { name: "an unknown dependency is the caller's mistake", tell: unknown_dependency },
    Story { name: "durable: a lost reply is found out while the SDK repeats", tell: durable::lost_reply },
    Story { name: "durable: an SDK takes doubt for an error, never for a success", tell: durable::doubt },
    Story { name: "durable: a crash of the gateway leaves one payment", tell: durable::crash },
    Story { name: "durable: what is not settled in time is refunded", tell: durable::settling },
    Story { name: "durable: curl asks, repeats and cancels", tell: durable::by_hand },
    Story { name: "durable: the page's commands run as printed", tell: page::in_shell },
    Story {
        name: "sql: the page's programs in Python, Node and Java, also behind pgbouncer",
        tell: sql::programs,
    },
    Story { name: "durable: the page's program in Python runs as printed", tell: page::in_python },
    Story { name: "durable: the page's program for Node runs as printed", tell: page::in_node },
    Story { name: "durable: the page's program in Java runs as printed", tell: page::in_java },
];

const POST: [&str; 2] = ["--request", "POST"];
const ONCE: (&str, &str) = ("seawall-attempts", "1");
const TWICE: (&str, &str) = ("seawall-attempts", "2");
const APPLIED: (&str, &str) = ("seawall-effect", "applied");
const NOT_APPLIED: (&str, &str) = ("seawall-effect", "not-applied");
const UNKNOWN: (&str, &str) = ("seawall-effect", "unknown");

fn nginx_unchanged(world: &World) -> Outcome<()> {
    let url = world.through("fast", "/small");
    let direct = curl(&[&world.nginx_direct("/small")])?;
    for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"] {
        let answer = curl(&[version, &url])?;
        answer.expect(200, &[ONCE, APPLIED, ("seawall-endpoint", "0")])?;
        expect(answer.body == direct.body, || format!("{version}: another body: {answer}"))?;
        for name in ["etag", "last-modified", "content-type", "content-length"] {
            let same = answer.header(name) == direct.header(name);
            expect(same, || format!("{version}: `{name}` differs: {answer}"))?;
        }
    }
    curl(&["--head", &url])?.expect(200, &[ONCE, ("content-length", "15")])?;
    let etag = direct.header("etag").unwrap_or_default();
    curl(&["--header", &format!("if-none-match: {etag}"), &url])?.expect(304, &[ONCE, APPLIED])?;
    Ok(())
}

fn large_download(world: &World) -> Outcome<()> {
    let file = world.folder.join("files").join("large");
    let wanted = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = curl(&[version, &world.through("fast", "/large")])?;
        answer.expect(200, &[ONCE])?;
        expect(answer.body == wanted, || format!("{version}: {} other bytes", answer.body.len()))?;
    }
    let part = curl(&["--range", "1000-1999", &world.through("fast", "/large")])?;
    part.expect(206, &[("content-length", "1000")])?;
    expect(part.body == wanted[1000..2000], || "another part of the file".to_owned())
}

fn large_upload(world: &World) -> Outcome<()> {
    let file = world.folder.join("files").join("large");
    let data = format!("@{}", file.display());
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let answer = curl(&[version, "--data-binary", &data, &world.through("node", "/echo")])?;
        answer.expect(200, &[ONCE, APPLIED])?;
        expect(answer.body.len() == LARGE_BYTES, || {
            format!("{version}: {} bytes came back", answer.body.len())
        })?;
        let sent = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        expect(answer.body == sent, || format!("{version}: other bytes came back"))?;
    }
    Ok(())
}

fn chunked_upload(world: &World) -> Outcome<()> {
    let chunked = ["--header", "transfer-encoding: chunked", "--data-binary", "one and two"];
    let url = world.through("node", "/echo");
    let answer = curl(&[&chunked[..], &["--http1.1", &url]].concat())?;
    answer.expect(200, &[ONCE, APPLIED])?;
    expect(answer.text() == "one and two", || format!("another body: {answer}"))
}

fn httpbin_echo(world: &World) -> Outcome<()> {
    let url = world.through("bin", "/anything/a%20b?x=1&y=%26");
    let own = ["--header", "x-own: yes", "--header", "seawall-timeout: 5s"];
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let answer = curl(&[&own[..], &["--request", method, "--data", "k=v", &url]].concat())?;
        answer.expect(200, &[ONCE, APPLIED])?;
        let seen = json(&answer)?;
        expect(seen["method"] == method, || format!("another method: {answer}"))?;
        expect(seen["args"]["x"] == "1" && seen["args"]["y"] == "&", || format!("another query: {answer}"))?;
        expect(seen["form"]["k"] == "v", || format!("another body: {answer}"))?;
        expect(seen["headers"]["X-Own"] == "yes", || format!("a header is gone: {answer}"))?;
        let ours = seen["headers"]["Seawall-Timeout"].is_null();
        expect(ours, || format!("seawall's own header was passed on: {answer}"))?;
    }
    Ok(())
}

fn httpbin_encodings(world: &World) -> Outcome<()> {
    for (path, field) in [("/gzip", "gzipped"), ("/deflate", "deflated"), ("/brotli", "brotli")] {
        let answer = curl(&["--compressed", &world.through("bin", path)])?;
        answer.expect(200, &[ONCE])?;
        expect(json(&answer)?[field] == true, || format!("{path}: {answer}"))?;
    }
    let streamed = curl(&[&world.through("bin", "/stream/5")])?;
    streamed.expect(200, &[ONCE])?;
    expect(streamed.text().lines().count() == 5, || format!("not five lines: {streamed}"))
}

fn statuses(world: &World) -> Outcome<()> {
    let post = |status: u16| {
        let url = world.through("bin", &format!("/status/{status}"));
        curl(&[&POST[..], &[&url]].concat())
    };
    for (status, effect) in [
        (200, APPLIED),
        (201, APPLIED),
        (303, APPLIED),
        (307, NOT_APPLIED),
        (400, NOT_APPLIED),
        (404, NOT_APPLIED),
        (409, UNKNOWN),
        (418, NOT_APPLIED),
        (429, UNKNOWN),
    ] {
        post(status)?.expect(status, &[ONCE, effect])?;
    }
    Ok(())
}

fn repeats(world: &World) -> Outcome<()> {
    let url = world.through("failing", "/status/503");
    curl(&[&url])?.expect(503, &[TWICE, NOT_APPLIED, ("seawall-retry-stopped", "attempts")])?;
    let post = curl(&[&POST[..], &[&url]].concat())?;
    post.expect(503, &[ONCE, UNKNOWN, ("seawall-retry-stopped", "not-repeatable")])?;
    Ok(())
}

fn hanging(world: &World) -> Outcome<()> {
    let url = world.through("slow", "/delay/8");
    let reason = ("seawall-reason", "read-timeout");
    curl(&[&url])?.expect(504, &[TWICE, NOT_APPLIED, reason, ("seawall-origin", "dependency")])?;
    let post = curl(&[&POST[..], &[&url]].concat())?;
    post.expect(504, &[ONCE, UNKNOWN, reason, ("content-type", "application/problem+json")])?;
    expect(post.header("proxy-status").is_some(), || format!("no Proxy-Status: {post}"))
}

fn caller_time(world: &World) -> Outcome<()> {
    let url = world.through("bin", "/delay/8");
    let answer = curl(&["--header", "seawall-timeout: 300ms", &url])?;
    answer.expect(504, &[NOT_APPLIED, ("seawall-reason", "total-timeout")])?;
    Ok(())
}

fn node_framing(world: &World) -> Outcome<()> {
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for n in 0..5 {
            let text = "x".repeat(1500 * n + 1);
            let answer = curl(&[version, "--data-binary", &text, &world.through("node", "/echo")])?;
            answer.expect(200, &[ONCE, ("x-framing", "length")])?;
            expect(answer.text() == text, || format!("{version}: another body: {answer}"))?;
            let closed = curl(&[version, &world.through("node", "/close")])?;
            closed.expect(200, &[ONCE])?;
            expect(closed.text() == "closed", || format!("{version}: another body: {closed}"))?;
        }
    }
    Ok(())
}

fn trailers(world: &World) -> Outcome<()> {
    let url = world.through("node", "/trailers");
    let answer = curl(&["--raw", "--http1.1", "--header", "te: trailers", &url])?;
    answer.expect(200, &[ONCE, ("trailer", "x-sum")])?;
    // A chunked body ends in these bytes: the last chunk, the trailers, and the empty line.
    expect(answer.text().ends_with("0\r\nx-sum: 42\r\n\r\n"), || format!("no trailer in {answer}"))
}

fn swallowed(world: &World) -> Outcome<()> {
    let url = world.through("node", "/swallow");
    let answer = curl(&["--data", "charge=1", &url])?;
    answer.expect(502, &[ONCE, UNKNOWN, ("seawall-reason", "connection-lost")])?;
    let seen = json(&curl(&[&world.through("node", "/")])?)?;
    expect(seen["/swallow"] == 1, || format!("the upstream saw {seen}"))
}

fn private_ca(world: &World) -> Outcome<()> {
    for dependency in ["private", "private_old"] {
        let answer = curl(&[&world.through(dependency, "/small")])?;
        answer.expect(200, &[ONCE, APPLIED])?;
        expect(answer.text() == "a small answer\n", || format!("{dependency}: another body: {answer}"))?;
    }
    Ok(())
}

fn stranger(world: &World) -> Outcome<()> {
    let url = world.through("stranger", "/small");
    let answer = curl(&[&POST[..], &[&url]].concat())?;
    answer.expect(502, &[NOT_APPLIED, ("seawall-reason", "tls-failure")])?;
    Ok(())
}

fn sdk_python(world: &World) -> Outcome<()> {
    let said = output(&mut python_sdk(&world.through("stripe", "")))?;
    booked(world, &said)
}

fn sdk_node(world: &World) -> Outcome<()> {
    let said = output(&mut node_sdk(world.stripe_listen())?)?;
    booked(world, &said)
}

/// Checks that the provider has the customer and the refund whose ids the SDK printed. For this, localstripe, which
/// plays the provider, is called directly and not through the gateway.
fn booked(world: &World, said: &str) -> Outcome<()> {
    let line = said.lines().find(|line| line.starts_with('{')).unwrap_or_default();
    let ids: Value = serde_json::from_str(line).map_err(|e| format!("{e} in:\n{said}"))?;
    for (kind, field) in [("customers", "customer"), ("refunds", "refund")] {
        let id = ids[field].as_str().unwrap_or_default();
        let answer = curl(&["--user", "sk_test_story:", &world.stripe_direct(&format!("/v1/{kind}/{id}"))])?;
        answer.expect(200, &[])?;
        expect(json(&answer)?["id"] == id, || format!("another {field}: {answer}"))?;
    }
    Ok(())
}

fn unknown_dependency(world: &World) -> Outcome<()> {
    let answer = curl(&[&world.through("nobody", "/x")])?;
    answer.expect(
        404,
        &[NOT_APPLIED, ("seawall-reason", "unknown-dependency"), ("seawall-origin", "caller")],
    )?;
    Ok(())
}
