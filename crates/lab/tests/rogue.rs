//! Rogues on HTTP/1.1, seen byte by byte.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod raw;

use std::time::{Duration, Instant};

use bytes::Bytes;
use raw::{Caller, Ended, ask};
use seawall_lab::rogue::{Act, Answer, Departed, Fingerprint, Idle, Load, Rogue, Tally, Then, pattern};
use tokio::io::AsyncWriteExt;

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn fixed_answer_is_kept_alive_and_counted() {
    let rogue =
        Rogue::builder().answer(Answer::ok(pattern(0, 1000)).header("x-made-by", "rogue")).bind().unwrap();
    let mut caller = Caller::connect(rogue.address()).await;
    for _ in 0..3 {
        let heard = caller.ask("GET", "/a?b=c", &[("X-Id", "one")], "").await;
        assert_eq!(
            (heard.status, heard.header("x-made-by"), heard.body.len()),
            (Some(200), Some("rogue"), 1000)
        );
    }
    caller.ask("POST", "/", &[], "hello").await;
    let counts = rogue.counts();
    assert_eq!((counts.connections, counts.open, counts.requests, counts.answers), (1, 1, 4, 4));
    assert_eq!((counts.methods["GET"], counts.methods["POST"]), (3, 1));
    assert_eq!(counts.ids["one"].received, 3);
    assert_eq!(counts.doubled(), ["one"]);
    assert_eq!((counts.heard[0].target.as_str(), &counts.heard[3].body), ("/a?b=c", &Bytes::from("hello")));
    assert_eq!(
        (counts.heard[2].number, counts.heard[2].connection, counts.heard[2].on_connection),
        (2, 0, 2)
    );
    drop(caller);
    rogue.until(|counts| counts.open == 0).await;
}

#[tokio::test]
async fn fraction_is_read_and_closed_unanswered_the_same_for_each_seed() {
    let fates = async |seed| {
        let plan = |_: &_, draw: &mut fastrand::Rng| match draw.f64() < 0.2 {
            true => Act::Close,
            false => Answer::ok("fine").into(),
        };
        let rogue = Rogue::builder().seed(seed).each(plan).bind().unwrap();
        let mut fates = Vec::new();
        for id in 0..100 {
            let heard = ask(rogue.address(), "POST", "/", &[("x-id", &id.to_string())], "body").await;
            assert_eq!(heard.bytes.is_empty(), heard.ended == Ended::Closed);
            fates.push(heard.status);
        }
        let lost = fates.iter().filter(|fate| fate.is_none()).count() as u64;
        let counts = rogue.counts();
        assert_eq!((counts.requests, counts.answers), (100, 100 - lost));
        assert!(counts.doubled().is_empty());
        assert_eq!(counts.ids.values().filter(|tally| tally.answered == 0).count() as u64, lost);
        assert!((5..40).contains(&lost), "{lost}");
        fates
    };
    assert_eq!(fates(1).await, fates(1).await);
    assert_ne!(fates(1).await, fates(2).await);
}

#[tokio::test]
async fn acts_come_in_order_and_the_last_one_stays() {
    let rogue = Rogue::builder()
        .acts([Answer::status(503).header("retry-after", "1").into(), Answer::ok("fine").into()])
        .bind()
        .unwrap();
    let mut caller = Caller::connect(rogue.address()).await;
    let first = caller.ask("GET", "/", &[], "").await;
    assert_eq!((first.status, first.header("retry-after")), (Some(503), Some("1")));
    for _ in 0..2 {
        assert_eq!(caller.ask("GET", "/", &[], "").await.status, Some(200));
    }
}

#[tokio::test]
async fn close_and_reset_look_different() {
    let rogue = Rogue::builder().acts([Act::Close, Act::Reset, Act::Refuse]).bind().unwrap();
    assert_eq!(ask(rogue.address(), "POST", "/", &[], "x").await.ended, Ended::Closed);
    assert_eq!(ask(rogue.address(), "POST", "/", &[], "x").await.ended, Ended::Reset);
    assert_eq!(ask(rogue.address(), "POST", "/", &[("x-id", "r")], "x").await.ended, Ended::Closed);
    assert_eq!((rogue.counts().ids["r"].received, rogue.counts().ids["r"].processed), (1, 0));
}

#[tokio::test]
async fn idle_connection_is_closed_after_its_time() {
    for (idle, ended) in [(Idle::Close(200 * MS), Ended::Closed), (Idle::Reset(200 * MS), Ended::Reset)] {
        let rogue = Rogue::builder().answer(Answer::ok("fine")).idle(move |_| idle.clone()).bind().unwrap();
        let mut caller = Caller::connect(rogue.address()).await;
        // A request that arrives in time is served, and the idle time starts again.
        let mut last = Instant::now();
        for _ in 0..3 {
            last = Instant::now();
            assert_eq!(caller.ask("GET", "/", &[], "").await.status, Some(200));
        }
        assert_eq!(caller.hear().await.ended, ended);
        assert!(last.elapsed() >= 200 * MS, "{:?}", last.elapsed());
    }
}

#[tokio::test]
async fn some_idle_connections_are_closed_at_once() {
    let idle = |draw: &mut fastrand::Rng| match draw.f64() < 0.3 {
        true => Idle::Close(Duration::from_micros(draw.u64(..3000))),
        false => Idle::Keep,
    };
    let rogue = Rogue::builder().seed(5).answer(Answer::ok("fine")).idle(idle).bind().unwrap();
    let mut callers = Vec::new();
    for _ in 0..40 {
        let mut caller = Caller::connect(rogue.address()).await;
        caller.ask("GET", "/", &[], "").await;
        callers.push(caller);
    }
    rogue.until(|counts| counts.open < 36).await;
    assert!(rogue.read(|counts| counts.open > 10));
}

#[tokio::test]
async fn unsolicited_408_comes_on_the_idle_connection() {
    for then in [Then::Keep, Then::Close] {
        let mut rests = 0;
        let idle = move |_: &mut _| {
            rests += 1;
            if rests == 1 { Idle::stale_408(MS, then) } else { Idle::Keep }
        };
        let rogue = Rogue::builder().answer(Answer::ok("fine")).idle(idle).bind().unwrap();
        let mut caller = Caller::connect(rogue.address()).await;
        assert_eq!(caller.ask("GET", "/", &[], "").await.status, Some(200));
        assert_eq!(caller.hear().await.status, Some(408));
        match then {
            Then::Keep => assert_eq!(caller.ask("GET", "/", &[], "").await.status, Some(200)),
            Then::Close | Then::Reset => assert_eq!(caller.hear().await.ended, Ended::Closed),
        }
    }
}

#[tokio::test]
async fn welcome_speaks_first_or_not_at_all() {
    let banner = Idle::Say(Duration::ZERO, "SSH-2.0-rogue\r\n".into(), Then::Close);
    let rogue = Rogue::builder().welcome(move |_| banner.clone()).bind().unwrap();
    let heard = Caller::connect(rogue.address()).await.hear().await;
    assert_eq!((heard.bytes.as_slice(), heard.ended), (b"SSH-2.0-rogue\r\n".as_slice(), Ended::Closed));
    let rogue = Rogue::builder().welcome(|_| Idle::Close(Duration::ZERO)).bind().unwrap();
    assert_eq!(Caller::connect(rogue.address()).await.hear().await.ended, Ended::Closed);
}

#[tokio::test]
async fn departure_during_a_hang_is_noticed_at_once() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    for (n, how) in [(0, Departed::Closed), (1, Departed::Reset)] {
        let mut caller = Caller::connect(rogue.address()).await;
        caller.send("GET", "/", &[("x-id", "h")], "").await;
        rogue.until(|counts| counts.requests == n + 1).await;
        if how == Departed::Reset {
            caller.stream.set_zero_linger().unwrap();
        }
        let left = Instant::now();
        drop(caller);
        rogue.until(|counts| counts.departures.len() as u64 == n + 1).await;
        let departure = rogue.counts().departures[n as usize].clone();
        assert_eq!((departure.how, departure.number, departure.id.as_deref()), (how, n, Some("h")));
        assert!(departure.at >= left);
    }
}

#[tokio::test]
async fn late_answer_comes_unless_the_caller_left() {
    let late = Act::After(30 * MS, Box::new(Answer::ok("late").into()));
    let rogue = Rogue::builder().acts([late]).bind().unwrap();
    let began = Instant::now();
    assert_eq!(ask(rogue.address(), "GET", "/", &[], "").await.body, b"late");
    assert!(began.elapsed() >= 30 * MS);
    let mut caller = Caller::connect(rogue.address()).await;
    caller.send("GET", "/", &[], "").await;
    rogue.until(|counts| counts.requests == 2).await;
    drop(caller);
    rogue.until(|counts| counts.departures.len() == 1).await;
    assert_eq!(rogue.counts().answers, 1);
}

#[tokio::test]
async fn bodies_drip_break_off_and_never_end() {
    let drip = Answer::status(200).load(Load::bytes("abcdef").drip(2, 10 * MS));
    let cut = Answer::status(200).load(Load::pattern(100).cut_after(40));
    let chunked_cut = Answer::status(200).load(Load::pattern(100).chunked().cut_after(40));
    let until_close = Answer::status(200).load(Load::bytes("old").until_close());
    let endless = Answer::status(200).load(Load::endless());
    let acts = [drip, cut, chunked_cut, until_close, endless].map(Act::from);
    let rogue = Rogue::builder().acts(acts).bind().unwrap();
    let at = rogue.address();

    let began = Instant::now();
    assert_eq!(ask(at, "GET", "/", &[], "").await.body, b"abcdef");
    assert!(began.elapsed() >= 20 * MS);
    let heard = ask(at, "GET", "/", &[], "").await;
    assert_eq!(
        (heard.header("content-length"), heard.body.len(), heard.ended),
        (Some("100"), 40, Ended::Closed)
    );
    let heard = ask(at, "GET", "/", &[], "").await;
    assert_eq!((heard.ended, heard.body.len()), (Ended::Closed, "28\r\n".len() + 40 + 2), "no last chunk");
    let heard = ask(at, "GET", "/", &[], "").await;
    assert_eq!((heard.body.as_slice(), heard.ended), (b"old".as_slice(), Ended::Closed));
    assert_eq!(rogue.counts().answers, 2);

    let mut caller = Caller::connect(at).await;
    caller.send("GET", "/", &[], "").await;
    let mut read = 0;
    let mut piece = vec![0; 64 << 10];
    while read < 4 << 20 {
        read += tokio::io::AsyncReadExt::read(&mut caller.stream, &mut piece).await.unwrap();
    }
    drop(caller);
    rogue.until(|counts| counts.departures.len() == 1).await;
}

#[tokio::test]
async fn trailers_are_sent_and_received() {
    let answer = Answer::status(200).load(Load::bytes("body").trailer("x-sum", "42"));
    let rogue = Rogue::builder().answer(answer).bind().unwrap();
    let mut caller = Caller::connect(rogue.address()).await;
    let request = "POST / HTTP/1.1\r\nhost: r\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX-T: 7\r\n\r\n";
    caller.stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") || !read.windows(5).any(|five| five == b"x-sum") {
        tokio::io::AsyncReadExt::read_buf(&mut caller.stream, &mut read).await.unwrap();
    }
    assert!(
        read.ends_with(b"\r\n\r\n4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n"),
        "{}",
        String::from_utf8_lossy(&read)
    );
    let heard = rogue.counts().heard.remove(0);
    assert_eq!((&heard.body, heard.body_len), (&Bytes::from("abcde"), 5));
    assert_eq!(heard.trailers, [("x-t".to_owned(), "7".to_owned())]);
}

#[tokio::test]
async fn upload_is_counted_fingerprinted_and_kept_in_part() {
    let rogue = Rogue::builder().keep_body(10).bind().unwrap();
    let body = String::from_utf8(vec![b'u'; 3 << 20]).unwrap();
    let heard = ask(rogue.address(), "PUT", "/", &[], &body).await;
    assert_eq!(heard.status, Some(200));
    let upload = rogue.counts().heard.remove(0);
    assert_eq!((upload.body_len, upload.body.len()), (3 << 20, 10));
    assert_eq!(upload.body_print, Fingerprint::of(body.as_bytes()));
    assert_eq!(rogue.counts().body_bytes, 3 << 20);
}

#[tokio::test]
async fn download_is_the_pattern() {
    let rogue = Rogue::builder().answer(Answer::status(200).load(Load::pattern(5_000_000))).bind().unwrap();
    let heard = ask(rogue.address(), "GET", "/", &[], "").await;
    assert!(heard.body == pattern(0, 5_000_000));
}

#[tokio::test]
async fn body_that_breaks_off_is_no_request() {
    let rogue = Rogue::builder().bind().unwrap();
    let mut caller = Caller::connect(rogue.address()).await;
    caller.stream.write_all(b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    rogue.until(|counts| counts.body_bytes == 4).await;
    drop(caller);
    rogue.until(|counts| counts.broken == 1).await;
    assert_eq!(rogue.counts().requests, 0);
}

#[tokio::test]
async fn act_at_head_leaves_the_body_unread() {
    let rogue = Rogue::builder().at_head().answer(Answer::status(401)).bind().unwrap();
    let mut caller = Caller::connect(rogue.address()).await;
    caller.stream.write_all(b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\n").await.unwrap();
    assert_eq!(caller.hear().await.status, Some(401));
    assert_eq!(caller.hear().await.ended, Ended::Closed);
    assert_eq!(rogue.counts().body_bytes, 0);
}

#[tokio::test]
async fn raw_bytes_go_out_as_they_are() {
    let rogue = Rogue::builder().acts([Act::Raw("HTCPCP/1.0 418\r\n".into(), Then::Close)]).bind().unwrap();
    let heard = ask(rogue.address(), "GET", "/", &[], "").await;
    assert_eq!((heard.bytes.as_slice(), heard.ended), (b"HTCPCP/1.0 418\r\n".as_slice(), Ended::Closed));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let rogue = Rogue::builder().each(|heard, _| Answer::ok(heard.target.clone()).into()).bind().unwrap();
    let mut caller = Caller::connect(rogue.address()).await;
    caller.stream.write_all(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(caller.hear().await.body, b"/1");
    assert_eq!(caller.hear().await.body, b"/2");
}

#[tokio::test]
async fn dropping_a_rogue_ends_its_connections() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let at = rogue.address();
    let mut caller = Caller::connect(at).await;
    caller.send("GET", "/", &[], "").await;
    rogue.until(|counts| counts.requests == 1).await;
    drop(rogue);
    assert_ne!(caller.hear().await.ended, Ended::Open);
    assert!(tokio::net::TcpStream::connect(at).await.is_err());
}

#[tokio::test]
async fn tally_tells_received_from_answered() {
    let rogue = Rogue::builder().acts([Act::Close, Answer::ok("fine").into()]).bind().unwrap();
    for _ in 0..2 {
        ask(rogue.address(), "POST", "/", &[("x-id", "a")], "").await;
    }
    let Tally { received, processed, answered, .. } = rogue.counts().ids["a"];
    assert_eq!((received, processed, answered), (2, 2, 1));
}
