//! Tests of rogues on HTTP/2, with the `h2` client.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request};
use seawall_lab::rogue::{Act, Answer, Counts, Departed, Load, Rogue, Then, pattern};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

async fn connect(rogue: &Rogue) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(rogue.address()).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender.ready().await.unwrap()
}

fn post(sender: &mut SendRequest<Bytes>, id: &str, body: &'static [u8]) -> ResponseFuture {
    let request = Request::post("http://rogue/do").header("x-id", id).body(()).unwrap();
    let (answer, mut send) = sender.send_request(request, body.is_empty()).unwrap();
    if !body.is_empty() {
        send.reserve_capacity(body.len());
        send.send_data(Bytes::from_static(body), true).unwrap();
    }
    answer
}

async fn read(mut body: RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        bytes.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    Ok((bytes, body.trailers().await?))
}

fn processed(counts: &Counts) -> Vec<&str> {
    counts.ids.iter().filter(|(_, tally)| tally.processed > 0).map(|(id, _)| id.as_str()).collect()
}

#[tokio::test]
async fn answers_bodies_and_trailers_arrive() {
    let load = Load::pattern(300_000).trailer("x-sum", "42");
    let rogue =
        Rogue::builder().answer(Answer::status(200).header("x-made-by", "rogue").load(load)).bind().unwrap();
    let mut sender = connect(&rogue).await;
    let answer = post(&mut sender, "a", b"hello").await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["x-made-by"].to_str().unwrap()), (200, "rogue"));
    let (bytes, trailers) = read(answer.into_body()).await.unwrap();
    assert!(bytes == pattern(0, 300_000));
    assert_eq!(trailers.unwrap()["x-sum"], "42");
    let counts = rogue.counts();
    let heard = &counts.heard[0];
    assert_eq!((heard.stream, heard.target.as_str(), &heard.body), (Some(1), "/do", &Bytes::from("hello")));
    assert_eq!((counts.answers, counts.ids["a"].answered), (1, 1));
}

#[tokio::test]
async fn first_streams_are_refused_and_not_counted_as_processed() {
    let rogue = Rogue::builder().acts([Act::Refuse, Act::Refuse, Answer::ok("fine").into()]).bind().unwrap();
    let mut sender = connect(&rogue).await;
    for id in ["a", "b"] {
        let error = post(&mut sender, id, b"x").await.unwrap_err();
        assert_eq!((error.reason(), error.is_remote()), (Some(Reason::REFUSED_STREAM), true));
    }
    assert_eq!(post(&mut sender, "c", b"x").await.unwrap().status(), 200);
    assert_eq!(processed(&rogue.counts()), ["c"]);
    assert_eq!(rogue.counts().ids["a"].received, 1);
}

#[tokio::test]
async fn goaway_leaves_out_the_streams_above_and_drops_those_below() {
    let rogue =
        Rogue::builder()
            .each(|heard, _| {
                if heard.on_connection == 3 { Act::GoAway { last: 3, then: Then::Close } } else { Act::Hang }
            })
            .bind()
            .unwrap();
    let mut sender = connect(&rogue).await;
    let answers: Vec<_> = ["s1", "s3", "s5", "s7"].map(|id| post(&mut sender, id, b"")).into_iter().collect();
    for (answer, above) in answers.into_iter().zip([false, false, true, true]) {
        let error = answer.await.unwrap_err();
        // Streams above the last id see the GOAWAY as their error. The other streams see only that the connection is
        // gone.
        assert_eq!(error.is_go_away(), above, "{error:?}");
    }
    assert_eq!(processed(&rogue.counts()), ["s1", "s3"]);
    rogue.until(|counts| counts.open == 0).await;
}

#[tokio::test]
async fn goaway_that_keeps_the_connection_lets_the_streams_below_finish() {
    let rogue = Rogue::builder()
        .each(|heard, _| match heard.on_connection {
            0 => Act::After(Duration::from_millis(30), Box::new(Answer::ok("finished").into())),
            1 => Act::Hang,
            _ => Act::GoAway { last: 1, then: Then::Keep },
        })
        .bind()
        .unwrap();
    let mut sender = connect(&rogue).await;
    let [first, second, third] = ["s1", "s3", "s5"].map(|id| post(&mut sender, id, b""));
    for answer in [second, third] {
        assert!(answer.await.unwrap_err().is_go_away());
    }
    assert_eq!(read(first.await.unwrap().into_body()).await.unwrap().0, b"finished");
    assert_eq!(processed(&rogue.counts()), ["s1"]);
}

#[tokio::test]
async fn body_that_comes_after_the_goaway_is_not_processed() {
    let rogue = Rogue::builder().acts([Act::GoAway { last: 0, then: Then::Keep }]).bind().unwrap();
    let mut sender = connect(&rogue).await;
    let request = Request::post("http://rogue/").header("x-id", "late").body(()).unwrap();
    let (late, mut send) = sender.send_request(request, false).unwrap();
    assert!(post(&mut sender, "now", b"").await.unwrap_err().is_go_away());
    let _ = send.send_data(Bytes::from_static(b"too late"), true);
    assert!(late.await.unwrap_err().is_go_away());
    assert!(processed(&rogue.counts()).is_empty());
}

#[tokio::test]
async fn reset_and_cut_end_the_stream_and_close_ends_the_connection() {
    let cut = Answer::status(200).load(Load::pattern(100).cut_after(40));
    let rogue = Rogue::builder().acts([Act::Reset, cut.into(), Act::Close]).bind().unwrap();
    let mut sender = connect(&rogue).await;
    assert_eq!(post(&mut sender, "a", b"").await.unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
    let mut body = post(&mut sender, "b", b"").await.unwrap().into_body();
    assert_eq!(body.data().await.unwrap().unwrap().len(), 40);
    assert_eq!(body.data().await.unwrap().unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
    let error = post(&mut sender, "c", b"").await.unwrap_err();
    assert!(error.is_io(), "{error:?}");
    rogue.until(|counts| counts.open == 0).await;
}

#[tokio::test]
async fn departure_is_noticed_stream_by_stream() {
    let rogue = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let mut sender = connect(&rogue).await;
    let (first, second) = (post(&mut sender, "a", b""), post(&mut sender, "b", b""));
    rogue.until(|counts| counts.requests == 2).await;
    let left = Instant::now();
    drop(first);
    rogue.until(|counts| counts.departures.len() == 1).await;
    let departure = rogue.counts().departures[0].clone();
    assert_eq!((departure.id.as_deref(), departure.how), (Some("a"), Departed::Reset));
    assert!(departure.at >= left);
    drop((second, sender));
    rogue.until(|counts| counts.departures.len() == 2 && counts.open == 0).await;
}

/// A frame written by hand, since a well-behaved client cannot send it.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Reads frames until one has this kind and these flags.
async fn read_up_to(stream: &mut TcpStream, kind: u8, flags: u8) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if (head[3], head[4]) == (kind, flags) {
            return payload;
        }
    }
}

#[tokio::test]
async fn request_that_completes_after_the_goaway_is_not_heard() {
    const END_STREAM: u8 = 1;
    const END_HEADERS: u8 = 4;
    let rogue = Rogue::builder().acts([Act::GoAway { last: 0, then: Then::Keep }]).bind().unwrap();
    let mut stream = TcpStream::connect(rogue.address()).await.unwrap();
    // HPACK for POST, http, / from the static table, and an authority as a literal.
    let request = b"\x83\x86\x84\x41\x05rogue";
    let opening = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, END_HEADERS, 1, request),
        frame(1, END_HEADERS | END_STREAM, 3, request),
    ];
    stream.write_all(&opening.concat()).await.unwrap();
    let goaway = read_up_to(&mut stream, 7, 0).await;
    assert_eq!(goaway, [0; 8], "last stream 0, no error");
    // The body of stream 1, and a ping. The answer to the ping says that the body was read.
    let late = [frame(0, END_STREAM, 1, b"late"), frame(6, 0, 0, b"question")];
    stream.write_all(&late.concat()).await.unwrap();
    assert_eq!(read_up_to(&mut stream, 6, 1).await, b"question");
    rogue.until(|counts| counts.body_bytes == 4).await;
    drop(stream);
    rogue.until(|counts| counts.open == 0).await;
    assert_eq!(rogue.counts().requests, 1);
}
