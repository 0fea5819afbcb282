//! What happens to a connection before its first request, and to those that come too many or too late.

use std::time::Duration;

use seawall_policy::Reason;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::patience::{IDLE, SETTLE};

/// Whether the connection begins with HTTP/2's preface (RFC 9113, section 3.4); none where it says too little.
///
/// The first byte may take as long as between two calls, or until the drain has let idle connections go; the rest of
/// a preface no longer than a head may.
pub(crate) async fn speaks_http2(
    tcp: &TcpStream,
    header_time: Duration,
    mut stop: watch::Receiver<bool>,
) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut seen = [0; PREFACE.len()];
    let leaving = async {
        // A sender that is gone means the same as its word.
        let _ = stop.wait_for(|stop| *stop).await;
        tokio::time::sleep(SETTLE).await;
    };
    let mut n = tokio::select! {
        biased;
        n = tcp.peek(&mut seen) => n.ok()?,
        () = leaving => return None,
        () = tokio::time::sleep(IDLE) => return None,
    };
    let (end, mut pause) = (tokio::time::Instant::now() + header_time, Duration::from_millis(1));
    loop {
        if n == 0 || seen[..n] != PREFACE[..n] {
            return Some(false);
        }
        if n == PREFACE.len() {
            return Some(true);
        }
        if tokio::time::Instant::now() >= end {
            return None;
        }
        // Part of it. The socket stays readable, so nobody tells when there is more.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
        n = tcp.peek(&mut seen).await.ok()?;
    }
}

/// More connections than allowed: said, not shown by silence.
pub(crate) fn turn_away(tcp: &TcpStream, reason: Reason) {
    let full = format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 1\r\n\
         seawall-reason: {reason}\r\nseawall-origin: seawall\r\nseawall-effect: not-applied\r\n\
         seawall-attempts: 0\r\nseawall-endpoint: 0\r\n\r\n"
    );
    let _ = tcp.try_write(full.as_bytes());
}

/// The kernel drops what asks for a new connection from now on, so that nothing is accepted behind our back and then
/// reset by the close of the listener; who asked asks again, and meets another instance or a refusal.
pub(crate) fn refuse_new(listener: &TcpListener) {
    let drop_all = [libc_filter()];
    if let Err(error) = SockRef::from(listener).attach_filter(&drop_all) {
        tracing::debug!(%error, "new connections cannot be held off while draining");
    }
}

/// `return 0`: a filter that keeps no byte of any packet (BPF_RET | BPF_K).
fn libc_filter() -> socket2::SockFilter {
    const RETURN: u16 = 0x06;
    socket2::SockFilter::new(RETURN, 0, 0, 0)
}
