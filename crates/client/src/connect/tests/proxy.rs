//! Tests connections through a proxy: tunnels, and plain requests that have the whole URL as their target.

use super::*;

/// Starts a proxy for one CONNECT. It answers with `answer`, and on a 2xx passes bytes to the port `to`. Returns the
/// proxy's port, and a task whose result is the request that the proxy got.
async fn connect_proxy(answer: &'static str, to: u16) -> (u16, JoinHandle<String>) {
    let (listener, port) = listener().await;
    let task = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(client.read_u8().await.unwrap());
        }
        client.write_all(answer.as_bytes()).await.unwrap();
        if answer.starts_with("HTTP/1.1 2") {
            let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
        String::from_utf8(asked).unwrap()
    });
    (port, task)
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    let authority = Authority::new();
    let (server_port, _server) = greeter(authority.acceptor("pay.localhost", &["h2"], false)).await;
    let (proxy_port, proxy) = connect_proxy("HTTP/1.1 200 Go\r\n\r\n", server_port).await;
    let mut settings = authority.trusted();
    settings.proxy = Some(format!("http://u:p@127.0.0.1:{proxy_port}").parse().unwrap());
    let connector = connector("https://pay.localhost:9443", settings);
    let mut ours = connector.connect(later()).await.unwrap();
    assert_eq!((ours.version, ours.peer.port()), (NegotiatedVersion::Http2, proxy_port));
    assert!(ours.absolute_form.is_none());
    let mut got = [0; 2];
    ours.io.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hi");
    drop(ours);
    let asked = proxy.await.unwrap();
    assert!(
        asked.starts_with("CONNECT pay.localhost:9443 HTTP/1.1\r\nhost: pay.localhost:9443\r\n"),
        "{asked}"
    );
    assert!(asked.contains("\r\nproxy-authorization: Basic dTpw\r\n"), "{asked}");
    assert!(!format!("{connector:?}").contains("dTpw"));
}

#[tokio::test]
async fn proxy_that_says_no_is_a_refusal_with_its_status() {
    let authority = Authority::new();
    let (proxy_port, _proxy) =
        connect_proxy("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n", 0).await;
    let mut settings = authority.trusted();
    settings.proxy = Some(format!("http://u:hunter2@127.0.0.1:{proxy_port}").parse().unwrap());
    let error = connector("https://pay.example", settings).connect(later()).await.unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Refused);
    assert!(error.to_string().contains("407") && !error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn silent_proxy_is_a_connect_timeout() {
    let (_listener, port) = listener().await;
    let authority = Authority::new();
    let mut settings = authority.trusted();
    settings.proxy = Some(format!("http://127.0.0.1:{port}").parse().unwrap());
    let error = connector("https://pay.example", settings)
        .connect(within(Duration::from_millis(60)))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ConnectErrorKind::Timeout, "{error}");
}

#[tokio::test]
async fn plain_http_leaves_the_absolute_form_to_the_caller() {
    let (listener, port) = listener().await;
    let settings = Settings {
        proxy: Some(format!("http://u:p@127.0.0.1:{port}").parse().unwrap()),
        ..Settings::default()
    };
    let connector = connector("http://pay.example", settings);
    let (ours, theirs) = tokio::join!(connector.connect(later()), listener.accept());
    theirs.unwrap();
    let ours = ours.unwrap();
    assert_eq!(ours.meter.written(), 0);
    assert_eq!(ours.absolute_form.clone().unwrap().proxy_authorization.unwrap(), "Basic dTpw");
    assert!(!format!("{ours:?}").contains("dTpw"));
}

#[tokio::test]
async fn plain_http2_goes_through_a_tunnel() {
    let (listener, server_port) = listener().await;
    let (proxy_port, proxy) = connect_proxy("HTTP/1.1 200 Go\r\n\r\n", server_port).await;
    let settings = Settings {
        http: HttpVersion::Http2,
        proxy: Some(format!("http://127.0.0.1:{proxy_port}").parse().unwrap()),
        ..Settings::default()
    };
    let ours = connector("http://pay.example", settings).connect(later()).await.unwrap();
    assert!(ours.absolute_form.is_none());
    assert_eq!(ours.version, NegotiatedVersion::Http2);
    listener.accept().await.unwrap();
    drop(ours);
    assert!(proxy.await.unwrap().starts_with("CONNECT pay.example:80 HTTP/1.1\r\n"));
}
