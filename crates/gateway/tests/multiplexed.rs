//! HTTP/2 to the dependency: if a stream was not processed, nothing took effect. If a stream was lost, nobody knows.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use seawall_lab::rogue::{Act, Answer, Load, Rogue, Then};
use support::{Gateway, Multiplexed, dependency, soon};

/// A gateway with one worker, so that all calls share one connection.
async fn before(rogue: &Rogue, more: &str) -> Gateway {
    let section = "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 1\n";
    let up = dependency("up", rogue.address(), &format!("http = \"2\"\n{more}"));
    Gateway::start_with(&format!("{section}{up}")).await
}

#[tokio::test]
async fn plain_post_on_a_refused_stream_is_sent_again() {
    let rogue = Rogue::builder().acts([Act::Refuse, Answer::ok("done").into()]).bind().unwrap();
    let heard = before(&rogue, "").await.ask("POST", "/up/charge", &[("x-id", "a")], "amount=5").await;
    assert_eq!(heard.verdict(), (200, "applied", "2", ""));
    let counts = rogue.counts();
    assert_eq!((counts.ids["a"].received, counts.ids["a"].processed), (2, 1));
    assert_eq!(counts.heard[0].body, counts.heard[1].body);
    assert!(counts.heard.iter().all(|heard| heard.stream.is_some()), "on HTTP/2");
}

#[tokio::test]
async fn plain_post_that_is_refused_twice_did_not_apply() {
    let rogue = Rogue::builder().acts([Act::Refuse]).bind().unwrap();
    let heard = before(&rogue, "").await.ask("POST", "/up/charge", &[], "amount=5").await;
    assert_eq!(heard.verdict(), (502, "not-applied", "2", "connection-lost"));
}

#[tokio::test]
async fn plain_post_on_a_reset_stream_is_in_doubt() {
    let rogue = Rogue::builder().acts([Act::Reset]).bind().unwrap();
    let heard = before(&rogue, "").await.ask("POST", "/up/charge", &[], "amount=5").await;
    assert_eq!(heard.verdict(), (502, "unknown", "1", "connection-lost"));
    assert_eq!(rogue.read(|counts| counts.requests), 1);
}

#[tokio::test]
async fn streams_above_goaways_last_are_repeated_and_those_below_are_in_doubt() {
    for then in [Then::Close, Then::Reset] {
        // Stream 1 is answered, and streams 3, 5 and 7 wait. When stream 9 comes, the connection ends, and only the streams up
        // to 5 may have been processed.
        let rogue = Rogue::builder()
            .each(move |heard, _| match (heard.connection, heard.on_connection) {
                (0, 0) => Answer::ok("first").into(),
                (0, 4) => Act::GoAway { last: 5, then },
                (0, _) => Act::Hang,
                _ => Answer::ok("on the next connection").into(),
            })
            .bind()
            .unwrap();
        // A call that was not processed is repeated without using a token: the budget holds none.
        let gateway = before(&rogue, "budget = { initial = 0, per_success = 0.0 }").await;
        assert_eq!(gateway.ask("GET", "/up/first", &[], "").await.status, Some(200));
        let mut callers = Vec::new();
        for stream in [3, 5, 7, 9] {
            let id = stream.to_string();
            let mut caller = gateway.connect().await;
            caller.send("POST", "/up/charge", &[("x-id", &id)], "amount=5").await;
            callers.push(caller);
            let heard = callers.len() as u64 + 1;
            soon("the request", rogue.until(|counts| counts.requests >= heard)).await;
        }
        for (caller, stream) in callers.iter_mut().zip([3, 5, 7, 9]) {
            let heard = caller.hear().await;
            let verdict = if stream <= 5 {
                (502, "unknown", "1", "connection-lost")
            } else {
                (200, "applied", "2", "")
            };
            assert_eq!(heard.verdict(), verdict, "stream {stream}, {then:?}");
            let tally = rogue.read(|counts| counts.ids[&stream.to_string()]);
            assert_eq!(tally.processed, 1, "stream {stream}, {then:?}");
        }
    }
}

#[tokio::test]
async fn streams_that_goaway_leaves_alone_are_answered() {
    let rogue = Rogue::builder()
        .each(|heard, _| match (heard.connection, heard.on_connection) {
            (0, 0) => Answer::ok("first").into(),
            (0, 1) => Act::After(std::time::Duration::from_millis(200), Box::new(Answer::ok("late").into())),
            (0, _) => Act::GoAway { last: 3, then: Then::Keep },
            _ => Answer::ok("on the next connection").into(),
        })
        .bind()
        .unwrap();
    let gateway = before(&rogue, "").await;
    assert_eq!(gateway.ask("GET", "/up/first", &[], "").await.status, Some(200));
    let (mut below, mut above) = (gateway.connect().await, gateway.connect().await);
    below.send("POST", "/up/charge", &[], "amount=5").await;
    soon("the request", rogue.until(|counts| counts.requests >= 2)).await;
    above.send("POST", "/up/charge", &[], "amount=5").await;
    let above = above.hear().await;
    assert_eq!(
        (above.verdict(), above.text().as_str()),
        ((200, "applied", "2", ""), "on the next connection")
    );
    let below = below.hear().await;
    assert_eq!((below.verdict(), below.text().as_str()), ((200, "applied", "1", ""), "late"));
}

#[tokio::test]
async fn a_burst_shares_one_connection() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let gateway = before(&rogue, "").await;
    let mut caller = Multiplexed::connect(gateway.address()).await;
    let mut answers = Vec::new();
    for _ in 0..50 {
        answers.push(caller.open("GET", "/up/x", &[], true).await.0);
    }
    for answer in answers {
        assert_eq!(support::http2::hear(answer).await.verdict(), (200, "applied", "1", ""));
    }
    assert_eq!(rogue.read(|counts| (counts.requests, counts.connections)), (50, 1));
}

#[tokio::test]
async fn bodies_and_trailers_pass_from_one_multiplexed_side_to_the_other() {
    let load = Load::pattern(300_000).trailer("x-sum", "42");
    let rogue = Rogue::builder().answer(Answer::ok("").load(load)).bind().unwrap();
    let gateway = before(&rogue, "").await;
    let mut caller = Multiplexed::connect(gateway.address()).await;
    let (answer, mut send) = caller.open("PUT", "/up/x", &[("te", "trailers")], false).await;
    send.send_data("some bytes".into(), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-mine", "7".parse().unwrap());
    send.send_trailers(trailers).unwrap();
    let heard = support::http2::hear(answer).await;
    assert_eq!(heard.verdict(), (200, "applied", "1", ""));
    assert!(heard.body == seawall_lab::rogue::pattern(0, 300_000));
    assert_eq!(heard.trailers.unwrap()["x-sum"], "42");
    let request = rogue.counts().heard.remove(0);
    assert_eq!(request.body, "some bytes".as_bytes());
    assert_eq!(request.trailers, [("x-mine".to_owned(), "7".to_owned())]);
    assert_eq!(request.header("te"), Some("trailers"));
}
