//! Answers over TLS. Some of their bytes may have left the socket although nobody has read them yet.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use support::Gateway;
use support::tls::{Asks, Authority};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The number of bytes that the gateway reads by one system call. The answer below ends there, and one more byte follows in the
/// same TLS record. That byte is decrypted together with the answer. It is then neither in the socket nor among the bytes
/// that were read.
const READ_BYTES: usize = 15 << 10;

fn answer() -> Vec<u8> {
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    let length = READ_BYTES - head(10_000).len();
    let mut bytes = head(length).into_bytes();
    bytes.resize(READ_BYTES, b'x');
    bytes
}

#[tokio::test]
async fn a_byte_that_was_decrypted_and_not_read_is_no_part_of_the_next_answer() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("localhost", Asks::Nobody);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(tcp).await?;
                let mut piece = [0; 4096];
                while stream.read(&mut piece).await? > 0 {
                    stream.write_all(&[answer(), b"H".to_vec()].concat()).await?;
                    stream.flush().await?;
                }
                Ok::<(), std::io::Error>(())
            });
        }
    });
    let lines = format!(
        "[dependency.up]\nurl = \"https://localhost:{port}\"\ntls = {{ ca_file = {:?} }}\n",
        authority.ca_file()
    );
    let gateway = Gateway::start(&lines).await;
    for _ in 0..3 {
        let heard = gateway.ask("GET", "/up/x", &[], "").await;
        assert_eq!(heard.verdict(), (200, "applied", "1", ""), "{}", heard.head);
        assert!(heard.body().iter().all(|byte| *byte == b'x'), "no byte comes from another answer");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 3, "no connection is used again");
}
