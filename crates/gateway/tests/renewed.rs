//! Certificates, keys, tokens and secrets that change while their path stays the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::{Arc, Mutex};

use seawall_lab::rogue::{Answer, Rogue};
use support::tls::{Asks, Authority, Pair};
use support::{Caller, Gateway, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TAKEN: &str = "the configuration was reloaded";
const REFUSED: &str = "the new configuration was refused";

/// The certificate of each connection's caller, as a server saw it. The newest is last.
type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server that requires a certificate of this authority, and keeps its connections open.
async fn wants_a_certificate(authority: &Authority) -> (u16, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = authority.acceptor("localhost", Asks::Everybody);
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, log) = (acceptor.clone(), Arc::clone(&log));
            tokio::spawn(async move {
                let mut stream = acceptor.accept(tcp).await?;
                let shown = stream.get_ref().1.peer_certificates().unwrap()[0].as_ref().to_vec();
                log.lock().unwrap().push(shown);
                let mut piece = [0; 4096];
                while stream.read(&mut piece).await? > 0 {
                    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine").await?;
                }
                Ok::<(), std::io::Error>(())
            });
        }
    });
    (port, seen)
}

/// Files as a cluster mounts them: as links through `..data`, which is replaced.
struct Mounted {
    folder: tempfile::TempDir,
    version: usize,
}

impl Mounted {
    fn new(files: &[(&str, impl AsRef<str>)]) -> Mounted {
        let mut mounted = Mounted { folder: tempfile::tempdir().unwrap(), version: 0 };
        mounted.swap(files);
        for (name, _) in files {
            symlink(format!("..data/{name}"), mounted.folder.path().join(name)).unwrap();
        }
        mounted
    }

    fn swap(&mut self, files: &[(&str, impl AsRef<str>)]) {
        self.version += 1;
        let folder = self.folder.path();
        let version = format!("..{}", self.version);
        std::fs::create_dir(folder.join(&version)).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(&version).join(name), text.as_ref()).unwrap();
        }
        symlink(&version, folder.join("..data_tmp")).unwrap();
        std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn file(port: u16, authority: &Authority, mounted: &Path) -> String {
    let mounted = mounted.display();
    format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 2\n\
         [dependency.up]\nurl = \"https://localhost:{port}\"\n\
         tls = {{ ca_file = {:?}, client_cert = \"{mounted}/client.pem\", client_key = \"{mounted}/client.key\" }}\n",
        authority.ca_file()
    )
}

async fn ask(gateway: &Gateway) {
    for _ in 0..4 {
        assert_eq!(gateway.ask("GET", "/up/x", &[], "").await.verdict(), (200, "applied", "1", ""));
    }
}

fn newest(seen: &Seen) -> Vec<u8> {
    seen.lock().unwrap().last().unwrap().clone()
}

fn connections(seen: &Seen) -> usize {
    seen.lock().unwrap().len()
}

fn as_files(pair: &Pair) -> [(&str, &str); 2] {
    [("client.pem", &pair.cert_pem), ("client.key", &pair.key_pem)]
}

#[tokio::test]
async fn signal_takes_a_new_certificate_and_refuses_half_a_pair() {
    let authority = Authority::new();
    let (port, seen) = wants_a_certificate(&authority).await;
    let (old, new) = (authority.pair("old"), authority.pair("new"));
    let mut mounted = Mounted::new(&as_files(&old));
    let gateway = Gateway::start_with(&file(port, &authority, mounted.path())).await;
    ask(&gateway).await;
    assert_eq!(newest(&seen), old.der);

    mounted.swap(&[("client.pem", &*new.cert_pem), ("client.key", &*old.key_pem)]);
    gateway.signal("HUP");
    let line = gateway.until_said(REFUSED).await;
    assert!(line.contains("does not fit"), "{line}");
    ask(&gateway).await;
    assert_eq!(newest(&seen), old.der, "the old pair is kept");

    let before = connections(&seen);
    mounted.swap(&as_files(&new));
    gateway.signal("HUP");
    gateway.until_said(TAKEN).await;
    assert_eq!(gateway.said("the content of its tls files").len(), 1);
    ask(&gateway).await;
    assert!(
        connections(&seen) > before,
        "connections that were made with another certificate are not used again"
    );
    assert_eq!(newest(&seen), new.der);

    // Nothing has changed, so the connections stay.
    let before = connections(&seen);
    gateway.signal("HUP");
    gateway.until_said_times(TAKEN, 2).await;
    ask(&gateway).await;
    assert!(connections(&seen) <= before + 1, "there is at most one more, made by the worker that had none");
}

/// The key is written a moment after the certificate, and no signal is sent.
#[tokio::test]
async fn pair_that_is_written_one_after_the_other_is_waited_for() {
    let authority = Authority::new();
    let (port, seen) = wants_a_certificate(&authority).await;
    let (old, new) = (authority.pair("old"), authority.pair("new"));
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    as_files(&old).iter().for_each(|(name, text)| write(name, text));
    let gateway = Gateway::start_with(&file(port, &authority, folder.path())).await;
    write("client.pem", &new.cert_pem);
    let line = gateway.until_said("do not fit together yet").await;
    assert!(line.contains("\"level\":\"INFO\"") && line.contains("does not fit"), "{line}");
    assert!(gateway.said(REFUSED).is_empty() && gateway.said(TAKEN).is_empty());
    ask(&gateway).await;
    assert_eq!(newest(&seen), old.der);
    write("client.key", &new.key_pem);
    gateway.until_said(TAKEN).await;
    assert!(gateway.said(REFUSED).is_empty());
    ask(&gateway).await;
    assert_eq!(newest(&seen), new.der);
}

fn secrets(version: &str) -> [(&'static str, String); 3] {
    [
        ("secret", format!("bearer-{version}")),
        ("clients", format!("a-client-of-{version}-times\n")),
        ("admins", format!("an-admin-of-{version}-times\n")),
    ]
}

#[tokio::test]
async fn swapped_secrets_and_tokens_are_noticed_without_a_signal() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).keep_heard(100).bind().unwrap();
    let mut mounted = Mounted::new(&secrets("former"));
    let at = mounted.path().display().to_string();
    let text = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 2\n\
         clients = {{ tokens_file = \"{at}/clients\" }}\nadmin_token_file = \"{at}/admins\"\n\
         [dependency.up]\nurl = \"http://{}\"\nheaders = {{ authorization = \"${{file:{at}/secret}}\" }}\n",
        rogue.address()
    );
    let gateway = Gateway::start_with(&text).await;
    let call = async |version: &str| {
        let token = format!("a-client-of-{version}-times");
        gateway.ask("GET", "/up/x", &[("seawall-token", &token)], "").await.status
    };
    let order = async |version: &str| {
        let token = format!("Bearer an-admin-of-{version}-times");
        let body = r#"{"state":"auto","reason":"a test"}"#;
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let mut caller = Caller::connect(gateway.admin()).await;
        caller.ask("POST", "/api/dependencies/up/breaker", &headers, body).await.status
    };
    let credential = || {
        let last = |counts: &seawall_lab::rogue::Counts| {
            counts.heard.last().unwrap().header("authorization").unwrap().to_owned()
        };
        rogue.read(last)
    };
    assert_eq!((call("former").await, call("modern").await), (Some(200), Some(403)));
    assert_eq!((order("former").await, order("modern").await), (Some(200), Some(401)));
    assert_eq!(credential(), "bearer-former");

    mounted.swap(&secrets("modern"));
    soon("the new secrets", gateway.until_said(TAKEN)).await;
    assert_eq!((call("former").await, call("modern").await), (Some(403), Some(200)));
    assert_eq!((order("former").await, order("modern").await), (Some(401), Some(200)));
    assert_eq!(credential(), "bearer-modern");
    let said = gateway.said("the reload changed this").join("\n");
    for what in ["dependency `up`: headers", "tokens_file: its content", "admin_token_file: its content"] {
        assert!(said.contains(what), "{what} in:\n{said}");
    }
    let told =
        Caller::connect(gateway.admin()).await.ask("GET", "/api/dependencies/up", &[], "").await.json();
    assert_eq!(told["calls"]["applied"], 2, "a new credential forgets nothing: {told}");
    for secret in ["bearer-", "a-client-of", "an-admin-of"] {
        assert!(gateway.said(secret).is_empty(), "{secret}");
    }
}
