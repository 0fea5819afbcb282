//! The caller: it asks as the scenario says, and records what it receives.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ask::{Ask, Kind, Leaves, Upload};
use super::reader::{End, Reading, read_answer};
use super::scenario::{Pause, Protocol, Shown};

/// How the received answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Whole,
    /// There was a head, and the caller can see that the body is broken.
    Broken(String),
    /// There was no head.
    Nothing(String),
}

#[derive(Clone)]
pub(crate) struct Heard {
    pub(crate) status: Option<u16>,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) ended: Ended,
    /// What is wrong with the answer, independently of the request.
    pub(crate) wrong: Option<String>,
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Heard { status, fields, body, trailers, ended, wrong } = self;
        write!(f, "{status:?} {fields:?} with {}, trailers {trailers:?}, ", Shown(body))?;
        write!(f, "{ended:?}, wrong: {wrong:?}")
    }
}

impl Heard {
    fn nothing(why: impl Into<String>) -> Heard {
        Heard {
            status: None,
            fields: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
            ended: Ended::Nothing(why.into()),
            wrong: None,
        }
    }

    /// The values of a field.
    pub(crate) fn field(&self, name: &str) -> Vec<&str> {
        let found = self.fields.iter().filter(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str()).collect()
    }
}

/// Longer than any call may take. The virtual clock does not advance while any party has something to do, so this wait
/// takes no real time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A caller with its connection, if it has one.
pub(crate) struct Caller {
    gateway: SocketAddr,
    line: Option<TcpStream>,
    trunk: Option<h2::client::SendRequest<Bytes>>,
}

impl Caller {
    pub(crate) fn new(gateway: SocketAddr) -> Caller {
        Caller { gateway, line: None, trunk: None }
    }

    pub(crate) async fn ask(&mut self, caller: Protocol, dependency: Protocol, ask: &Ask) -> Heard {
        let asked = async {
            match caller {
                Protocol::Http1 => self.ask_line(dependency, ask).await,
                Protocol::Http2 => self.ask_trunk(dependency, ask).await,
            }
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(heard) => heard,
            Err(_) => {
                (self.line, self.trunk) = (None, None);
                Heard::nothing("silence")
            }
        }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect(self.gateway).await?;
        stream.set_nodelay(true)?;
        stream.set_zero_linger()?;
        Ok(stream)
    }

    async fn ask_line(&mut self, dependency: Protocol, ask: &Ask) -> Heard {
        let kept = self.line.take().filter(|line| {
            // A connection that has ended between two exchanges is not used again.
            matches!(line.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        });
        let mut stream = match kept {
            Some(stream) => stream,
            None => match self.connect().await {
                Ok(stream) => stream,
                Err(error) => return Heard::nothing(format!("no connection: {error}")),
            },
        };
        let line = ask.line(dependency).into_bytes();
        for (number, (pause, piece)) in ask.cuts.pieces(&ask.bytes).into_iter().enumerate() {
            pause.last().await;
            let piece = if number == 0 { [&line, piece].concat() } else { piece.to_vec() };
            // A write can fail because the request was refused already.
            if stream.write_all(&piece).await.is_err() {
                break;
            }
        }
        if let Some(leaves) = ask.leaves {
            if !ask.cuts.0.is_empty() {
                Pause::Rest.last().await;
            }
            if leaves == Leaves::Reset {
                return Heard::nothing("it left");
            }
            if leaves == Leaves::Fin {
                let _ = stream.shutdown().await;
            }
        }
        let (heard, keeps) = hear(&mut stream, ask.kind == Kind::Head).await;
        if keeps && ask.leaves.is_none() {
            self.line = Some(stream);
        }
        heard
    }

    async fn ask_trunk(&mut self, dependency: Protocol, ask: &Ask) -> Heard {
        match self.ask_stream(dependency, ask).await {
            Ok(heard) => heard,
            Err(error) => {
                if !error.is_reset() {
                    self.trunk = None;
                }
                Heard::nothing(format!("{error}"))
            }
        }
    }

    async fn ask_stream(&mut self, dependency: Protocol, ask: &Ask) -> Result<Heard, h2::Error> {
        let trunk = match self.trunk.take() {
            Some(trunk) => trunk,
            None => {
                let stream = self.connect().await.expect("the gateway listens");
                let (trunk, connection) = h2::client::handshake(stream).await?;
                tokio::spawn(connection);
                trunk
            }
        };
        let mut trunk = trunk.ready().await?;
        let target = ask.target(dependency);
        let target: http::uri::PathAndQuery = target.parse().expect("it is well formed");
        let uri = http::Uri::builder().scheme("http").authority("localhost").path_and_query(target);
        let uri = uri.build().expect("its parts are well formed");
        let mut request = http::Request::builder().method(ask.kind.method()).uri(uri);
        match ask.kind {
            Kind::Keyed => request = request.header("idempotency-key", "k"),
            // There is no `Connection` on HTTP/2.
            Kind::Nominated => request = request.header("idempotency-key", ""),
            Kind::Get | Kind::Head | Kind::Post | Kind::Judged | Kind::Put => {}
        }
        if ask.upload == Upload::Length {
            request = request.header("content-length", ask.body.len());
        }
        let request = request.body(()).expect("all of it is well formed");
        let (response, mut upload) = trunk.send_request(request, ask.upload == Upload::None)?;
        self.trunk = Some(trunk);
        if ask.upload != Upload::None {
            let (first, second) = ask.body.split_at(ask.body.len() / 2);
            upload.send_data(Bytes::copy_from_slice(first), false)?;
            match ask.leaves {
                None => upload.send_data(Bytes::copy_from_slice(second), true)?,
                Some(Leaves::Code(code)) => {
                    Pause::Rest.last().await;
                    upload.send_reset(code.into());
                }
                Some(Leaves::Stalls) => {}
                Some(Leaves::Fin | Leaves::Reset) => self.trunk = None,
            }
        }
        Ok(hear_stream(response.await?, ask).await)
    }
}

/// Reads one answer. Also returns whether the connection may be used again.
async fn hear(stream: &mut TcpStream, no_body: bool) -> (Heard, bool) {
    let (mut bytes, mut end) = (Vec::new(), None);
    loop {
        match read_answer(&bytes, no_body, end) {
            Reading::Open => {}
            Reading::Refused => return (Heard::nothing("nothing"), false),
            Reading::Whole(whole) => {
                let wrong = if whole.used < bytes.len() {
                    let behind = bytes[whole.used..].escape_ascii();
                    Some(format!("more than one answer: behind it came \"{behind}\""))
                // A status above 599 was made by the dependency, and is passed on unchanged.
                } else if !whole.sure && whole.status < 600 {
                    Some(format!("an answer that is not plain: \"{}\"", bytes.escape_ascii()))
                } else if bytes.starts_with(b"HTTP/1.0") {
                    Some("an answer in the dependency's version".to_owned())
                } else {
                    None
                };
                let heard = Heard {
                    status: Some(whole.status),
                    fields: whole.fields,
                    body: whole.body,
                    trailers: whole.trailers,
                    ended: Ended::Whole,
                    wrong,
                };
                return (heard, whole.keeps && end.is_none());
            }
            Reading::Broken(broken) => {
                let ended = match broken.status {
                    Some(_) => Ended::Broken(format!("{} ({end:?})", broken.why)),
                    None if bytes.is_empty() => Ended::Nothing(format!("{end:?} without a byte")),
                    None => Ended::Nothing(format!("{}: \"{}\"", broken.why, bytes.escape_ascii())),
                };
                let heard = Heard {
                    status: broken.status,
                    fields: broken.fields,
                    body: broken.body,
                    trailers: Vec::new(),
                    ended,
                    wrong: None,
                };
                return (heard, false);
            }
        }
        end = match stream.read_buf(&mut bytes).await {
            Ok(0) => Some(End::Fin),
            Ok(_) => None,
            Err(_) => Some(End::Reset),
        };
    }
}

async fn hear_stream(response: http::Response<h2::RecvStream>, ask: &Ask) -> Heard {
    let (head, mut incoming) = response.into_parts();
    let text = |map: &http::HeaderMap| -> Vec<(String, String)> {
        let value = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        map.iter().map(|(name, found)| (name.to_string(), value(found))).collect()
    };
    let mut heard = Heard {
        status: Some(head.status.as_u16()),
        fields: text(&head.headers),
        body: Vec::new(),
        trailers: Vec::new(),
        ended: Ended::Whole,
        wrong: None,
    };
    while let Some(piece) = incoming.data().await {
        match piece {
            Ok(piece) => {
                heard.body.extend_from_slice(&piece);
                let _ = incoming.flow_control().release_capacity(piece.len());
            }
            Err(error) => {
                heard.ended = Ended::Broken(error.to_string());
                return heard;
            }
        }
    }
    match incoming.trailers().await {
        Ok(Some(trailers)) => heard.trailers = text(&trailers),
        Ok(None) => {}
        Err(error) => heard.ended = Ended::Broken(error.to_string()),
    }
    if ask.kind == Kind::Head && !heard.body.is_empty() {
        heard.wrong = Some("a body behind a HEAD".to_owned());
    }
    heard
}
