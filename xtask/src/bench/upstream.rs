//! The server behind the proxies. It sends fixed answers over kept connections, and does as little work as possible.
//!
//! It runs as a separate process, so that its CPU time and memory are not counted as those of a proxy.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::process::Outcome;

/// The maximum length of a request's head, in bytes. If a head is longer, the connection is closed.
const HEAD_BYTES: usize = 16 * 1024;

/// The length of the bodies of the long answers, in bytes. No socket buffer holds that much, so a long answer stalls if
/// its receiver does not read it.
pub(crate) const LONG_BYTES: usize = 20 << 20;

/// The number of bytes of a long answer's body that are written at a time. In a chunked answer, this is also the size
/// of a chunk.
const PIECE_BYTES: usize = 16 << 10;

/// The two short answers, each with its head and its body.
struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
}

/// Serves on this loopback port until the process is ended. The body of an answer has 10 KiB for `/10k`, [`LONG_BYTES`]
/// for `/long` and `/chunked`, and 100 bytes for every other path. For a request to `/stall`, only the head is read and
/// no answer is sent.
pub(crate) fn serve(port: u16) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("no runtime: {e}"))?;
    let answers: &'static Answers =
        Box::leak(Box::new(Answers { small: answer(100), large: answer(10 * 1024) }));
    runtime.block_on(async {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|e| format!("port {port}: {e}"))?;
        loop {
            let (stream, _) = listener.accept().await.map_err(|e| format!("accept: {e}"))?;
            tokio::spawn(async move {
                // An error means that the proxy has closed the connection. The proxy opens a new connection when it
                // needs one, so the error is ignored.
                let _ = converse(stream, answers).await;
            });
        }
    })
}

fn answer(bytes: usize) -> Vec<u8> {
    let mut whole = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {bytes}\r\n\r\n"
    )
    .into_bytes();
    whole.resize(whole.len() + bytes, b'x');
    whole
}

async fn converse(mut stream: TcpStream, answers: &Answers) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; HEAD_BYTES];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Ok(());
        }
        filled += read;
        let mut done = 0;
        while let Some(end) = head_end(&buffer[done..filled]) {
            let head = &buffer[done..done + end];
            if asks_for(head, "/long") {
                write_long(&mut stream, false).await?;
            } else if asks_for(head, "/chunked") {
                write_long(&mut stream, true).await?;
            } else if asks_for(head, "/stall") {
                // No answer is sent, and the connection stays open until the process ends.
                std::future::pending::<()>().await;
            } else {
                let large = asks_for(head, "/10k");
                stream.write_all(if large { &answers.large } else { &answers.small }).await?;
            }
            done += end;
        }
        buffer.copy_within(done..filled, 0);
        filled -= done;
    }
}

/// Returns whether the head of a request names this path.
fn asks_for(head: &[u8], path: &str) -> bool {
    head.split(|byte| *byte == b' ').nth(1) == Some(path.as_bytes())
}

async fn write_long(stream: &mut TcpStream, chunked: bool) -> std::io::Result<()> {
    let piece = vec![b'x'; PIECE_BYTES];
    let framing = if chunked {
        "transfer-encoding: chunked".to_owned()
    } else {
        format!("content-length: {LONG_BYTES}")
    };
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n{framing}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    for _ in 0..LONG_BYTES / PIECE_BYTES {
        if chunked {
            stream.write_all(format!("{PIECE_BYTES:x}\r\n").as_bytes()).await?;
        }
        stream.write_all(&piece).await?;
        if chunked {
            stream.write_all(b"\r\n").await?;
        }
    }
    if chunked { stream.write_all(b"0\r\n\r\n").await } else { Ok(()) }
}

/// Returns the length of the first message head in `bytes`, its empty line included; `None` if the head is not
/// complete.
pub(crate) fn head_end(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_ends_behind_its_empty_line() {
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n\r\nGET"), Some(18));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\n"), None);
    }

    #[test]
    fn path_is_asked_for_as_a_whole() {
        assert!(asks_for(b"POST /stall HTTP/1.1\r\n\r\n", "/stall"));
        assert!(!asks_for(b"GET /10k HTTP/1.1\r\n\r\n", "/100"));
        assert!(!asks_for(b"GET", "/100"));
    }

    #[test]
    fn answer_has_the_length_it_announces() {
        let whole = answer(100);
        let head = head_end(&whole).unwrap();
        assert_eq!(whole.len() - head, 100);
    }
}
