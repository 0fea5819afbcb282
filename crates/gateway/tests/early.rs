//! Answers that come before the request has ended, and answers that their callers do not wait for.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::net::SocketAddr;

use socket2::SockRef;
use support::{Caller, Ended, Gateway, dependency, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const UPLOAD: usize = 8 << 20;

/// A server that says `first` when it has read a head, then reads `rest` bytes of the body, and says `last`.
/// It returns the number of bytes of the body that it read.
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

/// Reads a head, and returns the number of bytes that came behind it.
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

/// Reads until `part` has come.
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
    // The rest of the request is sent when the answer has begun, so a gateway that waits for it waits for ever.
    soon("the early part", until(&mut caller.stream, "early")).await;
    caller.write(vec![b'x'; UPLOAD - 1000]).await;
    soon("the late part", until(&mut caller.stream, "late\r\n0\r\n\r\n")).await;
    assert_eq!(serves.await.unwrap(), UPLOAD);
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
        // All of it, without a look at what comes back.
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
