//! The server behind the proxies. It sends fixed answers over kept connections, and does as little work as possible.
//!
//! It runs as a separate process, so that neither its CPU nor its memory is counted as a proxy's.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::process::Outcome;

/// The longest request head that is read; a longer one ends the connection.
const HEAD_BYTES: usize = 16 * 1024;

/// The length of the bodies of the long answers. It is more than any socket buffer holds.
pub(crate) const LONG_BYTES: usize = 20 << 20;

/// The size of the pieces in which these bodies are written. It is also the size of a chunk.
const PIECE_BYTES: usize = 16 << 10;

/// The two answers, whole.
struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
}

/// Serves until the process is ended. `/10k` has 10 KiB, `/long` and `/chunked` have [`LONG_BYTES`], and every other
/// path has 100 bytes. For a request to `/stall`, only the head is read and no answer is sent.
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
                // If a connection breaks, the proxy has ended it, and opens a new one when it needs one.
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
                // The connection stays open until the process ends.
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

/// Whether a request's head names this path.
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

/// The length of the first message head in `bytes`, with its empty line, if it is complete.
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
