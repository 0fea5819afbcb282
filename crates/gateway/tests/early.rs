//! Answers that come before their request has ended, and callers that do not wait for their answers.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::net::SocketAddr;

use seawall_lab::rogue::{Act, Answer, Load, Rogue};
use socket2::SockRef;
use support::{Caller, Ended, Gateway, dependency, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const UPLOAD: usize = 8 << 20;

/// A server that sends `first` when it has read a head, then reads `rest` bytes of the body, and sends `last`. Returns the
/// number of bytes of the body that it read.
async fn server(first: &'static str, rest: usize, last: &'static str) -> (SocketAddr, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serves = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = head(&mut stream).await;
        stream.write_all(first.as_bytes()).await.unwrap();
        let mut piece = vec![0; 64 << 10];
        while read < rest {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(n) => read += n,
            }
        }
        if read >= rest {
            stream.write_all(last.as_bytes()).await.unwrap();
        }
        read
    });
    (address, serves)
}

/// Reads a head, and returns the number of bytes that came after it.
async fn head(stream: &mut TcpStream) -> usize {
    let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let n = stream.read(&mut piece).await.unwrap();
        assert!(n > 0, "a whole head");
        seen.extend_from_slice(&piece[..n]);
        if let Some(end) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            return seen.len() - end - 4;
        }
    }
}

async fn before(address: SocketAddr) -> Gateway {
    Gateway::start(&dependency("up", address, "")).await
}

fn upload_head() -> String {
    format!("POST /up/x HTTP/1.1\r\nhost: localhost\r\ncontent-length: {UPLOAD}\r\n\r\n")
}

/// Reads until `part` has come, and returns all that was read.
async fn until(stream: &mut TcpStream, part: &str) -> String {
    let (mut seen, mut piece) = (String::new(), [0; 4096]);
    while !seen.contains(part) {
        let n = stream.read(&mut piece).await.unwrap();
        assert!(n > 0, "the end came before {part:?}, behind {seen:?}");
        seen.push_str(&String::from_utf8_lossy(&piece[..n]));
    }
    seen
}

#[tokio::test]
async fn an_upload_goes_on_while_its_early_answer_flows() {
    let first = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n";
    let (address, serves) = server(first, UPLOAD, "4\r\nlate\r\n0\r\n\r\n").await;
    let gateway = before(address).await;
    let mut caller = gateway.connect().await;
    caller.write(upload_head()).await;
    caller.write(vec![b'x'; 1000]).await;
    // The rest of the request is sent only when the answer has begun. So a gateway that waits for the whole request would wait
    // for ever.
    soon("the early part", until(&mut caller.stream, "early")).await;
    caller.write(vec![b'x'; UPLOAD - 1000]).await;
    soon("the late part", until(&mut caller.stream, "late\r\n0\r\n\r\n")).await;
    assert_eq!(serves.await.unwrap(), UPLOAD);
}

#[tokio::test]
async fn an_upload_goes_on_while_its_caller_reads_nothing() {
    const ANSWER: usize = 6 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // The server immediately sends more than all buffers on the way can hold, and reads the request at the same time.
    let serves = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = head(&mut stream).await;
        let (mut reader, mut writer) = stream.split();
        let answers = async {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {ANSWER}\r\n\r\n");
            writer.write_all(head.as_bytes()).await.unwrap();
            writer.write_all(&vec![b'y'; ANSWER]).await.unwrap();
        };
        let reads = async {
            let mut piece = vec![0; 64 << 10];
            while read < UPLOAD {
                match reader.read(&mut piece).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => read += n,
                }
            }
        };
        tokio::join!(answers, reads);
        read
    });
    let gateway = before(address).await;
    let mut caller = gateway.connect().await;
    caller.write(upload_head()).await;
    soon("the whole upload", caller.write(vec![b'x'; UPLOAD])).await;
    let heard = caller.hear().await;
    assert_eq!((heard.status, heard.raw_body.len(), heard.ended), (Some(200), ANSWER, Ended::Open));
    // The upload ends together with the answer, even in the middle of its body.
    assert!(serves.await.unwrap() > 0);
}

#[tokio::test]
async fn a_callers_pause_in_an_answered_upload_is_not_the_servers() {
    let first = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nearly\r\n";
    let (address, serves) = server(first, UPLOAD, "4\r\nlate\r\n0\r\n\r\n").await;
    let hangs = Rogue::builder().each(|_, _| Act::Hang).bind().unwrap();
    let short = "timeout = { connect = \"100ms\", read = \"100ms\", total = \"15s\" }\n";
    let longer =
        "timeout = { connect = \"100ms\", read = \"400ms\", total = \"600ms\" }\nretry = { attempts = 1 }\n";
    let both = dependency("up", address, short) + &dependency("hangs", hangs.address(), longer);
    let gateway = Gateway::start(&both).await;
    let mut caller = gateway.connect().await;
    caller.write(upload_head()).await;
    soon("the early part", until(&mut caller.stream, "early")).await;
    // This call takes four times the read timeout of `up`. So the pause that the caller makes in its upload is longer than
    // that timeout.
    assert_eq!(gateway.ask("GET", "/hangs/x", &[], "").await.status, Some(504));
    caller.write(vec![b'x'; UPLOAD]).await;
    soon("the late part", until(&mut caller.stream, "late\r\n0\r\n\r\n")).await;
    assert_eq!(serves.await.unwrap(), UPLOAD);
}

#[tokio::test]
async fn an_answer_that_its_caller_takes_is_not_logged_as_lost() {
    let rogue = Rogue::builder().answer(Answer::status(200).load(Load::pattern(30_000))).bind().unwrap();
    let gateway = Gateway::start(&dependency("up", rogue.address(), "http = \"2\"")).await;
    for _ in 0..20 {
        let heard = gateway.ask("GET", "/up/x", &[], "").await;
        assert_eq!((heard.status, heard.raw_body.len()), (Some(200), 30_000));
    }
    assert_eq!(gateway.ask("GET", "/none/x", &[], "").await.status, Some(404));
    assert_eq!(gateway.said("not written whole"), Vec::<String>::new());
}

#[tokio::test]
async fn an_upload_ends_with_its_whole_answer() {
    let first = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";
    let (address, serves) = server(first, UPLOAD, "").await;
    let gateway = before(address).await;
    let mut caller = gateway.connect().await;
    caller.write(upload_head()).await;
    caller.write(vec![b'x'; 1000]).await;
    let heard = caller.hear().await;
    assert_eq!((heard.status, heard.text().as_str()), (Some(200), "fine"));
    assert_eq!(heard.header("seawall-effect"), Some("applied"));
    assert_eq!(caller.hear().await.ended, Ended::Closed, "in order, since the rest is not read");
    assert!(soon("the server's end", serves).await.unwrap() < UPLOAD);
}

#[tokio::test]
async fn a_refusal_of_an_upload_reaches_callers_that_send_before_they_read() {
    for _ in 0..20 {
        let first = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 8\r\n\r\ntoo long";
        let (address, serves) = server(first, UPLOAD, "").await;
        let gateway = before(address).await;
        let mut caller = gateway.connect().await;
        caller.write(upload_head()).await;
        // The caller sends the whole request without reading what comes back.
        caller.write(vec![b'x'; UPLOAD]).await;
        let heard = caller.hear().await;
        assert_eq!((heard.status, heard.text().as_str()), (Some(413), "too long"), "{heard:?}");
        assert_eq!(heard.header("seawall-effect"), Some("not-applied"));
        assert_eq!(caller.hear().await.ended, Ended::Closed);
        soon("the server's end", serves).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_its_caller_does_not_take_is_logged() {
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\nbegins";
    let (address, _serves) = server(long, usize::MAX, "").await;
    let gateway = before(address).await;
    let mut caller: Caller = gateway.connect().await;
    caller.send("POST", "/up/x", &[], "a").await;
    soon("the head", until(&mut caller.stream, "begins")).await;
    SockRef::from(&caller.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(caller);
    let line = gateway.until_said("not written whole").await;
    assert!(line.contains("applied") && line.contains("up"), "{line}");
}
