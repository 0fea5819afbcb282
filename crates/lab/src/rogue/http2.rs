//! One HTTP/2 connection of a rogue.
//!
//! The `h2` crate speaks the protocol, but its GOAWAY always names the last stream that it saw. So a GOAWAY with
//! another stream id is written directly to the socket, without the crate, at a moment when no frame is half written.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::act::{Act, Answer, Then};
use super::den::Den;
use super::load::{Framing, Load, Step};
use super::log::{Departed, Heard};
use super::parse::Body;
use crate::wire::{Rewound, Shared};

const MOST_STREAMS: u32 = 1000;
/// How long a stream waits before it is reset. Without this wait, the reset would discard everything that is not yet
/// written to the socket.
const FLUSHED: Duration = Duration::from_millis(10);
/// The maximum time to wait, after a connection has ended, until the tasks of its streams have noticed the end. Tasks
/// that still run after this time are aborted.
const NOTICED: Duration = Duration::from_secs(1);

/// Bytes that are written directly to the socket, and what happens to the connection afterwards.
struct Order {
    bytes: Bytes,
    then: Then,
}

/// The state that the streams of one connection share.
struct Trunk {
    den: Arc<Den>,
    connection: u64,
    orders: mpsc::Sender<Order>,
    fate: Mutex<Fate>,
}

struct Fate {
    /// The last stream id of the GOAWAY that was sent; the maximum id if none was sent.
    last: u32,
    /// The streams that were processed and not answered yet: the `x-id` of each request, by the id of its stream.
    open: BTreeMap<u32, Option<String>>,
}

pub(super) async fn serve(stream: TcpStream, ahead: BytesMut, den: Arc<Den>, connection: u64) {
    let socket = Arc::new(stream);
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(MOST_STREAMS)
        .initial_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let Ok(mut peer) = builder.handshake(Rewound::new(ahead, Shared(Arc::clone(&socket)))).await else {
        return;
    };
    let (orders, mut ordered) = mpsc::channel(16);
    let fate = Mutex::new(Fate { last: u32::MAX, open: BTreeMap::new() });
    let trunk = Arc::new(Trunk { den, connection, orders, fate });
    let mut streams = JoinSet::new();
    let mut on_connection = 0;
    loop {
        while streams.try_join_next().is_some() {}
        tokio::select! {
            biased;
            Some(order) = ordered.recv() => {
                let written = write(&socket, &order.bytes).await;
                if order.then == Then::Reset {
                    let _ = socket.set_zero_linger();
                }
                if order.then != Then::Keep || written.is_err() {
                    break;
                }
            }
            accepted = peer.accept() => {
                let Some(Ok((request, respond))) = accepted else { break };
                let mut limb = Limb::new(&trunk, request, respond, on_connection);
                on_connection += 1;
                // A request that is already complete is recorded here and not in its own task, so that the record keeps
                // the order in which such requests came.
                let act = limb.whole().then(|| limb.hear());
                streams.spawn(limb.live(act));
            }
        }
    }
    drop((peer, socket));
    let _ = tokio::time::timeout(NOTICED, async { while streams.join_next().await.is_some() {} }).await;
}

async fn write(socket: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        socket.writable().await?;
        match socket.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns a GOAWAY frame. Its head says length 8, type 7, no flags and stream 0; its content is the last stream id and
/// the error code NO_ERROR.
fn go_away(last: u32) -> Bytes {
    let mut frame = vec![0, 0, 8, 7, 0, 0, 0, 0, 0];
    frame.extend_from_slice(&(last & 0x7fff_ffff).to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.into()
}

/// One stream of a connection: its request, and the handle of the `h2` crate with which it is answered.
struct Limb {
    trunk: Arc<Trunk>,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    stream: u32,
    heard: Heard,
}

impl Limb {
    fn new(
        trunk: &Arc<Trunk>,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        on_connection: u64,
    ) -> Limb {
        let (head, body) = request.into_parts();
        let stream = respond.stream_id().as_u32();
        let heard = Heard {
            number: 0,
            connection: trunk.connection,
            on_connection,
            stream: Some(stream),
            method: head.method.to_string(),
            target: head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
            headers: fields(&head.headers),
            body: Bytes::new(),
            body_len: 0,
            body_print: super::Fingerprint::default(),
            trailers: Vec::new(),
        };
        Limb { trunk: Arc::clone(trunk), body, respond, stream, heard }
    }

    /// Returns whether the act may be decided now: the whole body has been read, or the rogue is set to act as soon as
    /// the head is read.
    fn whole(&self) -> bool {
        self.body.is_end_stream() || self.trunk.den.settings.at_head
    }

    /// Records the request and returns its act. Returns `None`, and records nothing, if a GOAWAY said that this stream
    /// is not processed.
    fn hear(&mut self) -> Option<Act> {
        if self.stream > self.trunk.fate.lock().last {
            return None;
        }
        let act = self.trunk.den.hear(&mut self.heard);
        self.trunk.fate.lock().open.insert(self.stream, self.heard.id().map(str::to_owned));
        Some(act)
    }

    async fn live(mut self, act: Option<Option<Act>>) {
        let act = match act {
            Some(act) => act,
            None => {
                if self.read().await.is_err() {
                    self.trunk.den.log.write(|counts| counts.broken += 1);
                    return;
                }
                self.hear()
            }
        };
        let Some(act) = act else { return };
        let read_at = Instant::now();
        let acted = self.act(act).await;
        self.trunk.fate.lock().open.remove(&self.stream);
        if let Err(how) = acted {
            self.trunk.den.log.depart(&self.heard, read_at, how);
        }
    }

    async fn read(&mut self) -> Result<(), h2::Error> {
        let mut body = Body::new(self.trunk.den.settings.keep_body, &self.trunk.den.log);
        while let Some(piece) = self.body.data().await {
            let piece = piece?;
            body.add(&piece);
            self.body.flow_control().release_capacity(piece.len())?;
        }
        if let Some(trailers) = self.body.trailers().await? {
            self.heard.trailers = fields(&trailers);
        }
        (self.heard.body_len, self.heard.body_print) = (body.len, body.print);
        self.heard.body = body.kept.freeze();
        Ok(())
    }

    async fn act(&mut self, mut act: Act) -> Result<(), Departed> {
        while let Act::After(wait, next) = act {
            tokio::select! {
                biased;
                how = departure(&mut self.respond) => return Err(how),
                () = tokio::time::sleep(wait) => {}
            }
            act = *next;
        }
        match act {
            // The loop at the beginning of this function has removed all waits.
            Act::After(..) => {}
            Act::Answer(answer) => return self.answer(&answer).await,
            Act::Hang => return Err(departure(&mut self.respond).await),
            Act::Reset => self.respond.send_reset(Reason::INTERNAL_ERROR),
            Act::Refuse => {
                self.trunk.den.log.unprocess(self.heard.id());
                self.respond.send_reset(Reason::REFUSED_STREAM);
            }
            Act::Close => self.order(Bytes::new(), Then::Close).await,
            Act::Raw(bytes, then) => self.order(bytes, then).await,
            Act::GoAway { last, then } => {
                self.leave_out(last);
                self.order(go_away(last), then).await;
                if self.stream <= last {
                    return Err(departure(&mut self.respond).await);
                }
                // The GOAWAY has said to the caller that this stream is not processed. So nothing more is sent on the
                // stream; it ends with the connection.
                departure(&mut self.respond).await;
            }
        }
        Ok(())
    }

    /// Corrects the record after a GOAWAY with the last stream id `last`: requests on streams with a higher id no
    /// longer count as processed.
    fn leave_out(&self, last: u32) {
        let left_out = {
            let mut fate = self.trunk.fate.lock();
            fate.last = last;
            fate.open.split_off(&last.saturating_add(1))
        };
        for id in left_out.values() {
            self.trunk.den.log.unprocess(id.as_deref());
        }
    }

    async fn order(&self, bytes: Bytes, then: Then) {
        // If the connection takes no more orders, it has ended, and this stream has ended with it. So the error is
        // ignored.
        let _ = self.trunk.orders.send(Order { bytes, then }).await;
    }

    async fn answer(&mut self, answer: &Answer) -> Result<(), Departed> {
        let mut response = Response::new(());
        *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap_or_default();
        *response.headers_mut() = header_map(&answer.headers);
        let load = &answer.load;
        if load.framing() == Framing::Length && !matches!(answer.status, 204 | 304) {
            response.headers_mut().insert("content-length", HeaderValue::from(load.len()));
        }
        let bodiless = self.heard.method == "HEAD" || matches!(answer.status, 204 | 304);
        let at_once = bodiless || (load.steps().next() == Step::End && load.trailers.is_empty());
        let mut send = self.respond.send_response(response, at_once).map_err(|_| Departed::Reset)?;
        if at_once || body(&mut send, load).await? {
            self.trunk.den.log.answered(&self.heard);
        }
        Ok(())
    }
}

/// Sends the body. Returns `true` if the whole body was sent, and `false` if it breaks off because a step of `load`
/// says so. If the caller left before the end, the error says how it left.
async fn body(send: &mut SendStream<Bytes>, load: &Load) -> Result<bool, Departed> {
    let mut steps = load.steps();
    loop {
        match steps.next() {
            Step::Data(piece) => push(send, piece).await?,
            Step::Pause(pause) => pause_on(send, pause).await?,
            Step::Cut => {
                pause_on(send, FLUSHED).await?;
                send.send_reset(Reason::INTERNAL_ERROR);
                return Ok(false);
            }
            Step::End => {
                let ended = match load.trailers.as_slice() {
                    [] => send.send_data(Bytes::new(), true),
                    trailers => send.send_trailers(header_map(trailers)),
                };
                return ended.map(|()| true).map_err(|_| Departed::Reset);
            }
        }
    }
}

async fn push(send: &mut SendStream<Bytes>, mut piece: Bytes) -> Result<(), Departed> {
    while !piece.is_empty() {
        send.reserve_capacity(piece.len());
        let room = match poll_fn(|cx| send.poll_capacity(cx)).await {
            Some(Ok(room)) => room.min(piece.len()),
            Some(Err(_)) | None => return Err(Departed::Reset),
        };
        send.send_data(piece.split_to(room), false).map_err(|_| Departed::Reset)?;
    }
    Ok(())
}

async fn pause_on(send: &mut SendStream<Bytes>, pause: Duration) -> Result<(), Departed> {
    tokio::select! {
        biased;
        reset = poll_fn(|cx| send.poll_reset(cx)) => Err(left(&reset)),
        () = tokio::time::sleep(pause) => Ok(()),
    }
}

async fn departure(respond: &mut SendResponse<Bytes>) -> Departed {
    left(&poll_fn(|cx| respond.poll_reset(cx)).await)
}

fn left(reset: &Result<Reason, h2::Error>) -> Departed {
    match reset {
        Ok(_) => Departed::Reset,
        Err(_) => Departed::Closed,
    }
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

/// Returns the fields as a header map. Fields whose name or value HTTP/2 cannot carry are left out.
fn header_map(fields: &[(String, String)]) -> HeaderMap {
    let parsed =
        fields.iter().map(|(name, value)| (name.parse::<HeaderName>(), value.parse::<HeaderValue>()));
    parsed.filter_map(|(name, value)| Some((name.ok()?, value.ok()?))).collect()
}
