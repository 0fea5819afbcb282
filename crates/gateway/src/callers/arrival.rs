//! Handles connections before their first request: finds their version of HTTP, refuses those for which there is no
//! room, and keeps new ones away while the gateway stops.

use std::time::Duration;

use seawall_policy::Reason;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::patience::{IDLE, SETTLE};

/// Returns whether the connection begins with HTTP/2's preface (RFC 9113, section 3.4). If the caller closes the
/// connection without sending a byte, the result is `Some(false)`. The result is `None` if the connection fails, or if
/// the bytes that are needed for a result do not come in time:
///
/// - The first byte may take as long as a connection may be idle (`IDLE`, two minutes). Once the gateway begins to
///   stop, it may take at most `SETTLE` (300 ms) more.
/// - The rest of a preface may take as long as a request's head (`header_time`).
pub(crate) async fn speaks_http2(
    tcp: &TcpStream,
    header_time: Duration,
    mut stop: watch::Receiver<bool>,
) -> Option<bool> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut seen = [0; PREFACE.len()];
    let leaving = async {
        // An error means that the sender of the stop signal was dropped, because the gateway has stopped.
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
        // Only a part of the preface has come. Since the part stays unread, the socket counts as readable all the time,
        // and tokio would not tell this task when more bytes come. So the task looks again after a pause.
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
        n = tcp.peek(&mut seen).await.ok()?;
    }
}

/// Answers a caller with a 503, because there is no room for its connection. Without this answer the caller would wait
/// and never learn why.
pub(crate) fn turn_away(tcp: &TcpStream, reason: Reason) {
    let full = format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 1\r\n\
         seawall-reason: {reason}\r\nseawall-origin: seawall\r\nseawall-effect: not-applied\r\n\
         seawall-attempts: 0\r\nseawall-endpoint: 0\r\n\r\n"
    );
    let _ = tcp.try_write(full.as_bytes());
}

/// Makes the kernel drop every request for a new connection from now on. A caller whose request is dropped sends it
/// again, and then reaches another instance or is refused. Without this, the kernel would complete connections that the
/// gateway never accepts, and would reset them when the listener is closed.
pub(crate) fn refuse_new(listener: &TcpListener) {
    let drop_all = [libc_filter()];
    if let Err(error) = SockRef::from(listener).attach_filter(&drop_all) {
        tracing::debug!(%error, "new connections cannot be held off while draining");
    }
}

/// Makes a socket filter of one instruction, `return 0` (BPF_RET | BPF_K): it keeps no byte of any packet, so the
/// kernel drops every packet.
fn libc_filter() -> socket2::SockFilter {
    const RETURN: u16 = 0x06;
    socket2::SockFilter::new(RETURN, 0, 0, 0)
}
