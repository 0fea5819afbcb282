//! A caller that speaks HTTP/2 with prior knowledge, so without an upgrade.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;

use super::soon;

/// One connection, on which each call is a stream of its own.
pub struct Multiplexed {
    send: SendRequest<Bytes>,
    address: SocketAddr,
}

/// What came back on one stream.
#[derive(Debug)]
pub struct Stream {
    pub head: Response<()>,
    pub body: Vec<u8>,
    pub trailers: Option<HeaderMap>,
    /// How the stream was reset, if it was.
    pub reset: Option<Reason>,
}

impl Stream {
    pub fn header(&self, name: &str) -> &str {
        self.head.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The status, `seawall-effect`, `seawall-attempts` and `seawall-reason`. A header that is absent gives an empty text.
    pub fn verdict(&self) -> (u16, &str, &str, &str) {
        let header = |name| self.header(name);
        (
            self.head.status().as_u16(),
            header("seawall-effect"),
            header("seawall-attempts"),
            header("seawall-reason"),
        )
    }
}

impl Multiplexed {
    pub async fn connect(address: SocketAddr) -> Multiplexed {
        Multiplexed::with_window(address, 65_535).await
    }

    /// A caller that allows the gateway to send this number of bytes of each answer before it takes any.
    pub async fn with_window(address: SocketAddr, bytes: u32) -> Multiplexed {
        let tcp = TcpStream::connect(address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let builder = h2::client::Builder::new().initial_window_size(bytes).to_owned();
        let (send, connection) = builder.handshake(tcp).await.unwrap();
        tokio::spawn(connection);
        Multiplexed { send, address }
    }

    /// Sends only a head. The test has to send the body.
    pub async fn open(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        no_body: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{target}", self.address))
            .body(())
            .unwrap();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let send = self.send.clone();
        let mut send = soon("room for a stream", send.ready()).await.unwrap();
        send.send_request(request, no_body).unwrap()
    }

    pub async fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Stream {
        let (response, mut stream) = self.open(method, target, headers, body.is_empty()).await;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true).unwrap();
        }
        hear(response).await
    }
}

/// Reads an answer to its end, or to its reset.
pub async fn hear(response: ResponseFuture) -> Stream {
    let (head, mut incoming) = soon("a head", response).await.unwrap().into_parts();
    let mut stream =
        Stream { head: Response::from_parts(head, ()), body: Vec::new(), trailers: None, reset: None };
    while let Some(piece) = soon("a piece of the body", incoming.data()).await {
        match piece {
            Ok(piece) => {
                stream.body.extend_from_slice(&piece);
                let _ = incoming.flow_control().release_capacity(piece.len());
            }
            Err(error) => {
                stream.reset = error.reason();
                return stream;
            }
        }
    }
    match soon("trailers or the end", incoming.trailers()).await {
        Ok(trailers) => stream.trailers = trailers,
        Err(error) => stream.reset = error.reason(),
    }
    stream
}
