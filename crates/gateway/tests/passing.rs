//! What is passed on unchanged, and what the gateway adds.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::time::{Duration, Instant};

use seawall_lab::rogue::{Act, Answer, Heard, Load, Rogue};
use support::{Gateway, Multiplexed, dependency, soon};

async fn before(rogue: &Rogue, lines: &str) -> Gateway {
    Gateway::start(&dependency("up", rogue.address(), lines)).await
}

fn first(rogue: &Rogue) -> Heard {
    rogue.read(|counts| counts.heard[0].clone())
}

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn chunked_upload_and_its_trailers_pass() {
    let load = Load::bytes("an answer").trailer("x-sum", "42");
    let answer = Answer::ok("").load(load).header("trailer", "x-sum");
    let rogue = Rogue::builder().answer(answer).bind().unwrap();
    let gateway = before(&rogue, "").await;
    let mut caller = gateway.connect().await;
    caller
        .write(
            "PUT /up/x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ntrailer: x-mine\r\n\
             te: trailers\r\n\r\n4\r\nsome\r\n6\r\n bytes\r\n0\r\nx-mine: 7\r\n\r\n",
        )
        .await;
    let heard = caller.hear().await;
    assert_eq!(heard.verdict(), (200, "applied", "1", ""));
    assert_eq!((heard.text().as_str(), heard.trailers()), ("an answer", fields(&[("x-sum", "42")])));
    let request = first(&rogue);
    assert_eq!(request.body, "some bytes".as_bytes());
    assert_eq!(request.trailers, fields(&[("x-mine", "7")]));
    assert_eq!(request.header("transfer-encoding"), Some("chunked"));
    // The same holds for callers of either version of HTTP.
    let mut caller = Multiplexed::connect(gateway.address()).await;
    let (answer, mut send) = caller
        .open("PUT", "/up/x", &[("trailer", "x-mine"), ("te", "trailers"), ("content-length", "10")], false)
        .await;
    send.send_data("some bytes".into(), false).unwrap();
    let mine = http::HeaderMap::from_iter([(http::HeaderName::from_static("x-mine"), "7".parse().unwrap())]);
    send.send_trailers(mine).unwrap();
    let heard = support::http2::hear(answer).await;
    assert_eq!((heard.head.status().as_u16(), heard.body.as_slice()), (200, "an answer".as_bytes()));
    assert_eq!(heard.trailers.unwrap()["x-sum"], "42");
    let request = rogue.read(|counts| counts.heard[1].clone());
    assert_eq!((request.trailers, &request.body[..]), (fields(&[("x-mine", "7")]), "some bytes".as_bytes()));
}

#[tokio::test]
async fn trailers_are_repeated_with_their_body() {
    let acts = [Answer::status(503).into(), Answer::ok("done").into()];
    let rogue = Rogue::builder().acts(acts).bind().unwrap();
    let gateway = before(&rogue, "").await;
    let mut connection = gateway.connect().await;
    connection
        .write(
            "PUT /up/x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\ntrailer: x-mine\r\n\r\n\
             4\r\nsome\r\n0\r\nx-mine: 7\r\n\r\n",
        )
        .await;
    assert_eq!(connection.hear().await.verdict(), (200, "applied", "2", ""));
    for request in rogue.counts().heard {
        assert_eq!((request.trailers, &request.body[..]), (fields(&[("x-mine", "7")]), "some".as_bytes()));
    }
}

#[tokio::test]
async fn answers_without_a_body_pass_and_leave_the_connection_usable() {
    let rogue = Rogue::builder()
        .each(|heard, _| {
            let status = heard.target.trim_start_matches('/').parse().unwrap_or(200);
            let answer = Answer::status(status).header("etag", "\"a\"");
            if status == 200 { answer.load(Load::pattern(1234)) } else { answer }.into()
        })
        .bind()
        .unwrap();
    let gateway = before(&rogue, "").await;
    let mut caller = gateway.connect().await;
    for _ in 0..2 {
        let head = caller.ask("HEAD", "/up/200", &[], "").await;
        assert_eq!(
            (head.verdict(), head.header("content-length")),
            ((200, "applied", "1", ""), Some("1234"))
        );
        let no_content = caller.ask("DELETE", "/up/204", &[], "").await;
        assert_eq!(
            (no_content.verdict(), no_content.header("content-length")),
            ((204, "applied", "1", ""), None)
        );
        let unchanged = caller.ask("GET", "/up/304", &[("if-none-match", "\"a\"")], "").await;
        assert_eq!(
            (unchanged.verdict(), unchanged.header("etag")),
            ((304, "applied", "1", ""), Some("\"a\""))
        );
        let body = caller.ask("GET", "/up/200", &[], "").await;
        assert_eq!((body.verdict(), body.body().len()), ((200, "applied", "1", ""), 1234));
        let empty = caller.ask("POST", "/up/201", &[], "").await;
        assert_eq!((empty.verdict(), empty.header("content-length")), ((201, "applied", "1", ""), Some("0")));
    }
    assert_eq!(rogue.read(|counts| counts.requests), 10);
}

#[tokio::test]
async fn expect_is_answered_here_and_goes_no_further() {
    let rogue = Rogue::builder().answer(Answer::ok("done")).bind().unwrap();
    let gateway = before(&rogue, "").await;
    for length in [4, 100_000] {
        let mut caller = gateway.connect().await;
        let head = format!(
            "POST /up/x HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        );
        caller.write(head).await;
        // The body is sent only after the gateway has asked for it.
        let mut interim = Vec::new();
        while !interim.ends_with(b"\r\n\r\n") {
            interim.extend(caller.piece().await.unwrap());
        }
        assert_eq!(interim, b"HTTP/1.1 100 Continue\r\n\r\n");
        caller.write("x".repeat(length)).await;
        assert_eq!(caller.hear().await.verdict(), (200, "applied", "1", ""));
    }
    for request in rogue.counts().heard {
        assert_eq!(request.header("expect"), None);
    }
    assert_eq!(rogue.read(|counts| counts.body_bytes), 100_004);
}

#[tokio::test]
async fn the_remaining_time_goes_out_where_a_header_is_named_for_it() {
    let acts = [
        Act::After(Duration::from_millis(120), Box::new(Answer::status(503).into())),
        Answer::ok("done").into(),
    ];
    let rogue = Rogue::builder().acts(acts).bind().unwrap();
    let lines = "deadline_header = \"x-deadline-ms\"\ntimeout = { read = \"2s\", total = \"3s\" }";
    let gateway = before(&rogue, lines).await;
    let heard = gateway.ask("GET", "/up/x", &[("x-deadline-ms", "99999999")], "").await;
    assert_eq!(heard.verdict(), (200, "applied", "2", ""));
    assert_eq!(gateway.ask("GET", "/up/x", &[("seawall-timeout", "1500ms")], "").await.status, Some(200));
    let told: Vec<u64> = rogue.read(|counts| {
        let told = counts.heard.iter().map(|heard| heard.header("x-deadline-ms").unwrap().parse().unwrap());
        told.collect()
    });
    assert!(told[0] <= 3000 && told[0] > 2000, "{told:?}");
    assert!(told[1] <= told[0] - 120, "the time that was spent is no longer offered: {told:?}");
    assert!(told[2] <= 1500 && told[2] > 500, "{told:?}");
}

#[tokio::test]
async fn the_callers_own_time_cuts_the_call() {
    let table = [
        ("POST", "seawall-timeout", "300ms", "unknown"),
        ("GET", "seawall-timeout", "0.3s", "not-applied"),
        ("POST", "grpc-timeout", "300m", "unknown"),
    ];
    for (method, header, value, effect) in table {
        let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
        // If the breaker were on, the attempt would continue after its caller was answered, to learn whether the endpoint
        // hangs.
        let gateway = before(&rogue, "breaker = { enabled = false }").await;
        let began = Instant::now();
        let heard = gateway.ask(method, "/up/x", &[(header, value)], "").await;
        let took = began.elapsed();
        assert_eq!(heard.verdict(), (504, effect, "1", "total-timeout"), "{header}");
        // The answer comes as soon as the time is over. The rest of the allowed time is for a busy machine.
        assert!(
            took >= Duration::from_millis(300) && took < Duration::from_millis(1300),
            "{header} {took:?}"
        );
        let request = first(&rogue);
        assert_eq!((request.header("seawall-timeout"), request.header("grpc-timeout")), (None, None));
        soon("the end of its connection", rogue.until(|counts| counts.departures.len() == 1)).await;
    }
}

#[tokio::test]
async fn with_no_time_left_nothing_is_sent() {
    let rogue = Rogue::builder().bind().unwrap();
    let gateway = before(&rogue, "").await;
    let heard = gateway.ask("POST", "/up/x", &[("seawall-timeout", "0s")], "a").await;
    assert_eq!(heard.verdict(), (504, "not-applied", "0", "no-time-left"));
    assert_eq!(heard.header("seawall-origin"), Some("caller"));
    for (header, value) in [("seawall-timeout", "soon"), ("grpc-timeout", "1s"), ("seawall-retry", "maybe")] {
        let heard = gateway.ask("POST", "/up/x", &[(header, value)], "a").await;
        assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"), "{header}");
    }
    assert_eq!(rogue.read(|counts| counts.connections), 0);
}

#[tokio::test]
async fn whoever_repeats_already_gets_one_attempt() {
    let rogue = Rogue::builder().acts([Answer::status(503).into()]).bind().unwrap();
    let gateway = before(&rogue, "").await;
    let heard = gateway.ask("GET", "/up/x", &[("seawall-retry", "off")], "").await;
    assert_eq!(heard.verdict(), (503, "not-applied", "1", ""));
    assert_eq!(heard.header("seawall-retry-stopped"), Some("caller"));
    assert_eq!(first(&rogue).header("seawall-retry"), None);
    let heard = gateway.ask("GET", "/up/x", &[], "").await;
    assert_eq!(heard.verdict(), (503, "not-applied", "2", ""));
    assert_eq!(heard.header("seawall-retry-stopped"), Some("attempts"));
}

#[tokio::test]
async fn headers_and_base_path_of_an_endpoint_are_put_in() {
    let rogue = Rogue::builder().bind().unwrap();
    let file = format!(
        "[dependency.up]\nurl = \"http://{}/base/v2\"\n\
         headers = {{ authorization = \"Bearer s3cret\", x-team = \"pay\" }}\n",
        rogue.address()
    );
    let gateway = Gateway::start(&file).await;
    let headers = [("authorization", "Bearer the-callers"), ("Authorization", "twice"), ("x-kept", "1")];
    assert_eq!(gateway.ask("GET", "/up/things?q=%2F&x", &headers, "").await.status, Some(200));
    assert_eq!(gateway.ask("GET", "/up?q=1", &headers, "").await.status, Some(200));
    let counts = rogue.counts();
    assert_eq!(counts.heard[0].target, "/base/v2/things?q=%2F&x");
    assert_eq!(counts.heard[1].target, "/base/v2/?q=1");
    for request in &counts.heard {
        let sent: Vec<_> = request.headers.iter().filter(|(name, _)| name == "authorization").collect();
        assert_eq!(sent, [&("authorization".to_owned(), "Bearer s3cret".to_owned())]);
        assert_eq!((request.header("x-team"), request.header("x-kept")), (Some("pay"), Some("1")));
        assert_eq!(request.header("host"), Some(rogue.address().to_string().as_str()));
    }
    assert!(gateway.said("s3cret").is_empty());
}

#[tokio::test]
async fn an_answer_of_the_dependency_passes_unchanged() {
    let answer = Answer::status(418)
        .header("x-one", "a")
        .header("set-cookie", "a=1")
        .header("set-cookie", "b=2")
        .header("seawall-effect", "applied")
        .header("server", "teapot")
        .load(Load::bytes("short and stout"));
    let rogue = Rogue::builder().answer(answer).bind().unwrap();
    let heard = before(&rogue, "").await.ask("POST", "/up/brew", &[], "leaves").await;
    assert_eq!(heard.verdict(), (418, "not-applied", "1", ""));
    assert_eq!((heard.text().as_str(), heard.header("x-one")), ("short and stout", Some("a")));
    assert_eq!((heard.header("server"), heard.header("seawall-endpoint")), (Some("teapot"), Some("0")));
    let cookies: Vec<&str> = heard.head.lines().filter(|line| line.starts_with("set-cookie")).collect();
    assert_eq!(cookies, ["set-cookie: a=1", "set-cookie: b=2"]);
}

#[tokio::test]
async fn announced_trailers_do_not_need_to_come() {
    let rogue = Rogue::builder().answer(Answer::ok("done")).bind().unwrap();
    let gateway = before(&rogue, "").await;
    for body in ["a", &"x".repeat(100_000)] {
        let headers = [("trailer", "x-mine"), ("te", "trailers")];
        let heard = gateway.ask("PUT", "/up/x", &headers, body).await;
        assert_eq!(heard.verdict(), (200, "applied", "1", ""));
        let last = rogue.read(|counts| counts.heard.last().unwrap().clone());
        assert_eq!((last.body_len, last.trailers), (body.len() as u64, Vec::new()));
    }
}
