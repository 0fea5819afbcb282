//! The dependency: it accepts requests, records each delivery, and answers as the scenario says.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::frames::{Frames, Step, frame};
use super::lines::Lines;
use super::reader::{End, Reading, read_answer};
use super::request::read_request;
use super::scenario::{Answer, Pause, Protocol, Scenario, Shown};

/// One request that reached the dependency, or a part of one.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) number: usize,
    /// Whether the whole request arrived.
    pub(crate) whole: bool,
    /// What arrived of its body.
    pub(crate) body: Vec<u8>,
    /// Whether the dependency said that the request may be sent again.
    pub(crate) refused: bool,
    /// How the model reads the answer to it; `None` if no answer was begun.
    pub(crate) answer: Option<Reading>,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.whole { "a whole request" } else { "a part of a request" };
        write!(f, "{whole} to {} with {}, answered by {:?}", self.number, Shown(&self.body), self.answer)
    }
}

/// What the dependency saw.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) deliveries: Vec<Delivery>,
    /// What happened although it must never happen in any scenario.
    pub(crate) wrong: Vec<String>,
    /// The exchange that is under way.
    pub(crate) current: usize,
    /// Answers that are being written.
    pub(crate) playing: usize,
}

impl Log {
    /// The exchange to which a delivery belongs, and the number of the answer that it gets.
    fn place(&self, place: usize) -> (usize, usize) {
        let number = self.deliveries[place].number;
        let before = self.deliveries[..place].iter().filter(|other| other.number == number).count();
        (number, before.min(1))
    }
}

#[derive(Clone)]
pub(crate) struct Dependency {
    scenario: Arc<Scenario>,
    pub(crate) log: Arc<Mutex<Log>>,
}

impl Dependency {
    pub(crate) fn new(scenario: Arc<Scenario>) -> Dependency {
        Dependency { scenario, log: Arc::default() }
    }

    pub(crate) fn read<R>(&self, read: impl FnOnce(&mut Log) -> R) -> R {
        read(&mut self.log.lock().expect("nobody panics with it"))
    }

    /// Accepts connections until the runtime ends.
    pub(crate) async fn listen(self, listener: TcpListener, protocol: Protocol) {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            // Connections are reset, so the kernel keeps nothing of them when a scenario is over.
            let _ = stream.set_zero_linger();
            let dependency = self.clone();
            tokio::spawn(async move {
                match protocol {
                    Protocol::Http1 => dependency.serve_lines(stream).await,
                    Protocol::Http2 => drop(dependency.serve_frames(stream).await),
                }
            });
        }
    }

    /// Records a delivery, and returns its index in the list.
    fn delivered(&self, number: usize, whole: bool, body: Vec<u8>) -> usize {
        self.read(|log| {
            log.deliveries.push(Delivery { number, whole, body, refused: false, answer: None });
            log.deliveries.len() - 1
        })
    }

    /// The answer to a delivery. Also records how the model reads it.
    fn answer(&self, place: usize) -> Option<Answer> {
        self.read(|log| {
            let (number, before) = log.place(place);
            let exchange = self.scenario.exchanges.get(number)?;
            let answer = exchange.answers[before].clone();
            let head = exchange.ask.kind.method() == "HEAD";
            log.deliveries[place].answer = Some(answer.reading(head));
            log.deliveries[place].refused = matches!(&answer, Answer::Frames(frames) if frames.refuse());
            log.playing += 1;
            Some(answer)
        })
    }

    async fn serve_lines(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        // The reason why nothing more may come.
        let mut over = None;
        // The index of the delivery that is under way, and whether it was answered.
        let mut place: Option<(usize, bool)> = None;
        loop {
            let read = read_request(&bytes);
            if let Err(why) = read {
                let text = bytes.escape_ascii().to_string();
                return self.wrong(format!("a request that is malformed, {why}: \"{text}\""));
            }
            if let Ok(Some(request)) = read {
                let (at, answered) = match place {
                    Some(place) => place,
                    None => {
                        if let Some(why) = over {
                            self.wrong(format!("a request on a connection that is not at rest: {why}"));
                        }
                        let number = request.number();
                        (self.delivered(number.unwrap_or(usize::MAX), false, Vec::new()), false)
                    }
                };
                place = Some((at, answered));
                self.read(|log| {
                    let delivery = &mut log.deliveries[at];
                    (delivery.whole, delivery.body) = (request.whole, request.body);
                });
                if !answered && (request.whole || self.answers_early(at)) {
                    place = Some((at, true));
                    let Some(Answer::Lines(lines)) = self.answer(at) else { return };
                    let played = lines.play(&mut stream).await;
                    self.read(|log| log.playing -= 1);
                    if played.is_err() || lines.end == End::Reset {
                        return;
                    }
                    let reading = self.read(|log| log.deliveries[at].answer.clone());
                    over = over.or_else(|| lines.leaves(reading.as_ref()));
                }
                if request.whole {
                    if bytes.len() > request.used {
                        self.wrong("bytes behind a request".to_owned());
                    }
                    bytes.clear();
                    place = None;
                }
            }
            if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                return;
            }
        }
    }

    fn wrong(&self, what: String) {
        self.read(|log| log.wrong.push(what));
    }

    fn answers_early(&self, place: usize) -> bool {
        let (number, before) = self.read(|log| log.place(place));
        let exchange = self.scenario.exchanges.get(number);
        matches!(exchange.map(|exchange| &exchange.answers[before]), Some(Answer::Lines(lines)) if lines.early)
    }

    async fn serve_frames(self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        while bytes.len() < 24 {
            read_more(&mut stream, &mut bytes).await?;
        }
        bytes.drain(..24);
        stream.write_all(&frame(4, 0, 0, &[])).await?;
        let mut place = None;
        loop {
            let Some((kind, flags, id, payload)) = take_frame(&mut bytes) else {
                read_more(&mut stream, &mut bytes).await?;
                continue;
            };
            match kind {
                4 if flags & 1 == 0 => stream.write_all(&frame(4, 1, 0, &[])).await?,
                6 if flags & 1 == 0 => stream.write_all(&frame(6, 1, 0, &payload)).await?,
                1 if place.is_none() => {
                    let number = self.read(|log| log.current);
                    place = Some(self.delivered(number, false, Vec::new()));
                }
                0 => {
                    let at = place.unwrap_or_default();
                    self.read(|log| log.deliveries[at].body.extend_from_slice(&payload));
                }
                3 => place = None,
                _ => {}
            }
            let ends = matches!(kind, 0 | 1) && flags & 1 != 0;
            if let Some(at) = place.filter(|_| ends) {
                self.read(|log| log.deliveries[at].whole = true);
                place = None;
                let Some(Answer::Frames(frames)) = self.answer(at) else { return Ok(()) };
                let goes_on = frames.play(&mut stream, id).await;
                self.read(|log| log.playing -= 1);
                if !goes_on? {
                    return Ok(());
                }
            }
        }
    }
}

async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    match stream.read_buf(bytes).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// The type, flags, stream and payload of the first frame, if it has arrived completely.
fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, u8, u32, Vec<u8>)> {
    let head: [u8; 9] = bytes.get(..9)?.try_into().ok()?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let payload = bytes.get(9..9 + length)?.to_vec();
    bytes.drain(..9 + length);
    Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
}

impl Pause {
    pub(crate) async fn last(self) {
        match self {
            Pause::None => {}
            Pause::Turns(turns) => {
                for _ in 0..turns {
                    tokio::task::yield_now().await;
                }
            }
            // The virtual clock advances only when no party has anything to do.
            Pause::Rest => tokio::time::sleep(Duration::from_millis(1)).await,
            Pause::Long => tokio::time::sleep(super::stage::READ_TIMEOUT * 2).await,
        }
    }
}

impl Answer {
    fn reading(&self, no_body: bool) -> Reading {
        match self {
            Answer::Lines(lines) => {
                let mut reading = read_answer(&lines.all(), no_body, Some(lines.end));
                if let Reading::Whole(whole) = &mut reading {
                    whole.sure &= !lines.cuts.is_long();
                }
                reading
            }
            Answer::Frames(frames) => frames.reading(no_body),
        }
    }
}

impl Lines {
    async fn play(&self, stream: &mut TcpStream) -> std::io::Result<()> {
        for (pause, piece) in self.cuts.pieces(&self.bytes) {
            pause.last().await;
            stream.write_all(piece).await?;
        }
        if let Some((pause, stray)) = &self.stray {
            pause.last().await;
            stream.write_all(stray).await?;
        }
        self.before_end.last().await;
        if self.end == End::Fin {
            stream.shutdown().await?;
        }
        Ok(())
    }

    /// Why no other request may be sent on this connection after this answer; `None` if one may.
    fn leaves(&self, reading: Option<&Reading>) -> Option<&'static str> {
        match reading {
            Some(Reading::Whole(whole)) if whole.used < self.all().len() => Some("a stale byte"),
            Some(Reading::Whole(_)) if self.end != End::Keep => Some("it had ended"),
            Some(Reading::Whole(whole)) if !whole.keeps => Some("its answer was the last"),
            Some(Reading::Whole(_)) => None,
            _ => Some("its answer was broken"),
        }
    }
}

impl Frames {
    /// Whether the connection goes on.
    async fn play(&self, stream: &mut TcpStream, id: u32) -> std::io::Result<bool> {
        let mut made = Vec::new();
        for step in &self.steps {
            if let Some(frame) = step.write(id) {
                made.extend(frame);
                continue;
            }
            stream.write_all(&std::mem::take(&mut made)).await?;
            match step {
                Step::Pause(pause) => pause.last().await,
                Step::Close(End::Fin) => {
                    stream.shutdown().await?;
                    Pause::Rest.last().await;
                    return Ok(false);
                }
                Step::Close(End::Reset) => return Ok(false),
                _ => {}
            }
        }
        stream.write_all(&made).await?;
        Ok(true)
    }
}
