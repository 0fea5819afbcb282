//! One HTTP/1.1 connection of a rogue.

use std::io;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use super::act::{Act, Answer, Idle, Then};
use super::den::Den;
use super::load::{Framing, Load, Step};
use super::log::{Departed, Heard};
use super::parse::{Body, Head, Reader};

/// The maximum number of bytes that are read ahead while an answer is being sent. The caller may have sent them for its
/// next requests. At this number the rogue stops reading.
const MOST_AHEAD: usize = 1 << 20;
/// The number of bytes at which output that was collected in memory is written to the socket.
const FULL: usize = 64 << 10;

pub(super) async fn serve(mut stream: TcpStream, mut ahead: BytesMut, den: &Den, connection: u64) {
    for on_connection in 0.. {
        // A connection with a pipelined request that was already read is not idle.
        if on_connection > 0 && ahead.is_empty() && !rest(&mut stream, den.idle()).await {
            return;
        }
        let mut reader = Reader { stream: &mut stream, ahead: &mut ahead };
        let (mut heard, last, unread) = match request(&mut reader, den, (connection, on_connection)).await {
            Ok(Some(request)) => request,
            Ok(None) => return,
            Err(_) => {
                den.log.write(|counts| counts.broken += 1);
                return;
            }
        };
        let read_at = Instant::now();
        let act = den.hear(&mut heard);
        let mut turn = Turn { stream: &mut stream, ahead: &mut ahead, den, heard: &heard, unread };
        let then = match turn.act(act).await {
            Ok(then) => then,
            Err(how) => {
                den.log.depart(&heard, read_at, how);
                return;
            }
        };
        match then {
            Then::Keep if !last && !unread => {}
            Then::Keep | Then::Close => return,
            Then::Reset => {
                let _ = stream.set_zero_linger();
                return;
            }
        }
    }
}

/// Does what `idle` says with an idle connection. Returns whether the connection can be used further. If it cannot, the
/// code that called this function must drop it.
pub(super) async fn rest(stream: &mut TcpStream, idle: Idle) -> bool {
    if let Some(after) = idle.after().filter(|after| !after.is_zero()) {
        // As in real servers, a request that has arrived takes precedence over the timer. Otherwise a request would be
        // lost if it arrived while the system let other processes run.
        tokio::select! {
            biased;
            _ = stream.readable() => return true,
            () = tokio::time::sleep(after) => {}
        }
    }
    let then = match idle {
        Idle::Keep => Then::Keep,
        Idle::Close(_) => Then::Close,
        Idle::Reset(_) => Then::Reset,
        Idle::Say(_, bytes, then) => match stream.write_all(&bytes).await {
            Ok(()) => then,
            Err(_) => Then::Close,
        },
    };
    if then == Then::Reset {
        let _ = stream.set_zero_linger();
    }
    then == Then::Keep
}

/// Reads the next request. Returns `None` if the connection ended before the first byte of a request. The first `bool`
/// says whether the request is the last of its connection, and the second whether its body was left unread. Fails if
/// the request is malformed or breaks off.
async fn request(
    reader: &mut Reader<'_>,
    den: &Den,
    (connection, on_connection): (u64, u64),
) -> io::Result<Option<(Heard, bool, bool)>> {
    let Some(head) = reader.head().await? else { return Ok(None) };
    let has_body = head.framing != super::parse::BodyFraming::Length(0);
    let mut body = Body::new(den.settings.keep_body, &den.log);
    let mut trailers = Vec::new();
    if has_body && !den.settings.at_head {
        if head
            .headers
            .iter()
            .any(|(name, value)| name == "expect" && value.eq_ignore_ascii_case("100-continue"))
        {
            reader.say_continue().await?;
        }
        trailers = reader.body(head.framing, &mut body).await?;
    }
    let Head { method, target, headers, last, .. } = head;
    let heard = Heard {
        number: 0,
        connection,
        on_connection,
        stream: None,
        method,
        target,
        headers,
        body: body.kept.freeze(),
        body_len: body.len,
        body_print: body.print,
        trailers,
    };
    Ok(Some((heard, last, has_body && den.settings.at_head)))
}

/// One request in progress. Its methods do the act that was chosen for the request.
struct Turn<'a> {
    stream: &'a mut TcpStream,
    ahead: &'a mut BytesMut,
    den: &'a Den,
    heard: &'a Heard,
    unread: bool,
}

impl Turn<'_> {
    /// Does the act and returns what happens to the connection. If the caller left before the act was done, the error
    /// says how it left.
    async fn act(&mut self, mut act: Act) -> Result<Then, Departed> {
        while let Act::After(wait, next) = act {
            self.pause(wait).await?;
            act = *next;
        }
        match act {
            // The loop at the beginning of this function has removed all waits.
            Act::After(..) => Ok(Then::Keep),
            Act::Answer(answer) => self.answer(&answer).await,
            Act::Close | Act::GoAway { .. } => Ok(Then::Close),
            Act::Refuse => {
                self.den.log.unprocess(self.heard.id());
                Ok(Then::Close)
            }
            Act::Reset => Ok(Then::Reset),
            Act::Hang => Err(self.departure().await),
            Act::Raw(bytes, then) => {
                self.stream.write_all(&bytes).await.map_err(departed)?;
                Ok(then)
            }
        }
    }

    async fn pause(&mut self, wait: Duration) -> Result<(), Departed> {
        tokio::select! {
            biased;
            how = self.departure() => Err(how),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// Waits until the caller leaves, and returns how it left. Bytes that the caller sends during the wait are kept for
    /// the next request.
    async fn departure(&mut self) -> Departed {
        while !self.unread && self.ahead.len() < MOST_AHEAD {
            match self.stream.read_buf(self.ahead).await {
                Ok(0) => return Departed::Closed,
                Ok(_) => {}
                Err(error) => return departed(error),
            }
        }
        // From here on, unread bytes may wait in the socket. While they do, a normal close by the caller cannot be
        // seen, but a reset can. So this waits for a reset.
        let _ = self.stream.ready(Interest::ERROR).await;
        Departed::Reset
    }

    async fn answer(&mut self, answer: &Answer) -> Result<Then, Departed> {
        let mut out = BytesMut::with_capacity(1024);
        let bodiless = self.heard.method == "HEAD" || matches!(answer.status, 100..200 | 204 | 304);
        head(answer, &mut out);
        let whole = bodiless || self.body(&answer.load, &mut out).await?;
        self.flush(&mut out).await?;
        if !whole {
            return Ok(Then::Close);
        }
        self.den.log.answered(self.heard);
        Ok(if answer.load.framing() == Framing::UntilClose && !bodiless { Then::Close } else { answer.then })
    }

    /// Writes the body to the socket, except for its last piece. That stays in `out`, and the code that called this
    /// function writes it. Returns `true` if the body is complete, and `false` if it breaks off because a step of
    /// `load` says so. If the caller left before the end, the error says how it left.
    async fn body(&mut self, load: &Load, out: &mut BytesMut) -> Result<bool, Departed> {
        let chunked = load.framing() == Framing::Chunked;
        let mut steps = load.steps();
        loop {
            match steps.next() {
                Step::Data(piece) if chunked => {
                    out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    out.extend_from_slice(&piece);
                    out.extend_from_slice(b"\r\n");
                }
                Step::Data(piece) => out.extend_from_slice(&piece),
                Step::Pause(pause) => {
                    self.flush(out).await?;
                    self.pause(pause).await?;
                }
                Step::Cut => return Ok(false),
                Step::End => {
                    if chunked {
                        out.extend_from_slice(b"0\r\n");
                        load.trailers.iter().for_each(|field| line(field, out));
                        out.extend_from_slice(b"\r\n");
                    }
                    return Ok(true);
                }
            }
            if out.len() >= FULL {
                self.flush(out).await?;
            }
        }
    }

    async fn flush(&mut self, out: &mut BytesMut) -> Result<(), Departed> {
        self.stream.write_all(out).await.map_err(departed)?;
        out.clear();
        Ok(())
    }
}

/// Returns how the caller left if a write or a read has failed. This is always a reset, since a normal close is not an
/// error but an end of file.
fn departed(_: io::Error) -> Departed {
    Departed::Reset
}

fn head(answer: &Answer, out: &mut BytesMut) {
    let reason = StatusCode::from_u16(answer.status).ok().and_then(|status| status.canonical_reason());
    out.extend_from_slice(
        format!("HTTP/1.1 {} {}\r\n", answer.status, reason.unwrap_or_default()).as_bytes(),
    );
    answer.headers.iter().for_each(|field| line(field, out));
    match answer.load.framing() {
        _ if matches!(answer.status, 100..200 | 204) => {}
        Framing::Length => {
            out.extend_from_slice(format!("content-length: {}\r\n", answer.load.len()).as_bytes())
        }
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::UntilClose => out.extend_from_slice(b"connection: close\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

fn line((name, value): &(String, String), out: &mut BytesMut) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}
