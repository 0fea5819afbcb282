//! The webhook that is told of stuck actions: signed, repeated until it is taken, by one gateway of many, and never in the way.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::charges::{FINE, Place, all, charge, ended, send};
use support::{Gateway, harbor, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SECRET: &str = "a secret of the webhook's owner";

/// A message as the receiver got it.
#[derive(Clone, Debug)]
struct Message {
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Message {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn keys(&self) -> Vec<String> {
        let json = self.json();
        let actions = json["data"]["actions"].as_array().unwrap();
        actions.iter().map(|action| action["key"].as_str().unwrap().to_owned()).collect()
    }

    /// Checks the signature as a receiver in another language does.
    fn check(&self) {
        const RUN: &str = "import base64, hashlib, hmac, sys\n\
            secret, id, at = sys.argv[1:]\n\
            signed = f'{id}.{at}.'.encode() + sys.stdin.buffer.read()\n\
            print('v1,' + base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode())";
        let (id, at) = (&self.headers["webhook-id"], &self.headers["webhook-timestamp"]);
        let mut python = Command::new("python3");
        python.args(["-c", RUN, SECRET, id, at]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut python = python.spawn().unwrap();
        python.stdin.take().unwrap().write_all(&self.body).unwrap();
        let out = String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap();
        assert_eq!(out.trim(), self.headers["webhook-signature"]);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!(now.abs_diff(at.parse().unwrap()) < 60, "{at}");
    }
}

/// A receiver that answers with these statuses, and with 204 afterwards. It does not answer for the status 0.
#[derive(Clone, Default)]
struct Receiver {
    heard: Arc<Mutex<Vec<Message>>>,
    statuses: Arc<Mutex<Vec<u16>>>,
}

impl Receiver {
    fn answering(statuses: &[u16]) -> Receiver {
        let statuses = statuses.iter().rev().copied().collect();
        Receiver { statuses: Arc::new(Mutex::new(statuses)), ..Receiver::default() }
    }

    async fn listen(&self, address: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind(address).await.unwrap();
        let (bound, receiver) = (listener.local_addr().unwrap(), self.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(receiver.clone().hear(stream));
            }
        });
        bound
    }

    async fn hear(self, mut stream: TcpStream) {
        let mut read = Vec::new();
        let message = loop {
            let mut part = [0; 4096];
            let Ok(number @ 1..) = stream.read(&mut part).await else { return };
            read.extend_from_slice(&part[..number]);
            if let Some(message) = whole(&read) {
                break message;
            }
        };
        self.heard.lock().unwrap().push(message);
        let status = self.statuses.lock().unwrap().pop().unwrap_or(204);
        if status == 0 {
            return std::future::pending().await;
        }
        let answer = format!("HTTP/1.1 {status} Told\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
    }

    fn heard(&self) -> Vec<Message> {
        self.heard.lock().unwrap().clone()
    }

    async fn until(&self, what: &str, enough: impl Fn(&[Message]) -> bool) -> Vec<Message> {
        soon(what, async {
            loop {
                let heard = self.heard();
                if enough(&heard) {
                    return heard;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }
}

/// Returns the message, if all of it has come.
fn whole(read: &[u8]) -> Option<Message> {
    let end = read.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&read[..end]).unwrap();
    let mut lines = head.lines();
    let target = lines.next()?.to_owned();
    let fields = lines.filter_map(|line| line.split_once(':'));
    let headers: BTreeMap<_, _> =
        fields.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    let length: usize = headers.get("content-length")?.parse().unwrap();
    let body = read.get(end + 4..end + 4 + length)?.to_vec();
    Some(Message { target, headers, body })
}

/// The file with the secret.
fn secret(folder: &Path) -> String {
    let file = folder.join("hook.secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    file.display().to_string()
}

/// Starts a gateway that leaves what is unknown to a person, and tells this receiver.
async fn telling(place: &Place, provider: SocketAddr, receiver: SocketAddr, secret: &str) -> Gateway {
    let on_stuck =
        format!("on_stuck = {{ url = \"http://{receiver}/hooks/seawall\", secret_file = \"{secret}\" }}\n");
    let charge = charge(provider, "on_unknown = \"hold\"");
    let gateway = Gateway::start(&(place.section() + &on_stuck + &charge)).await;
    gateway.until_said("the ledger is open").await;
    gateway
}

/// Makes an action of this key that is stuck.
async fn stick(gateway: &Gateway, key: &str) -> Value {
    send(gateway, key, "close-after-effect").await;
    let action = ended(gateway, key).await;
    assert_eq!(action["state"], "stuck", "{action}");
    action
}

#[tokio::test]
async fn a_webhook_that_is_down_and_answers_500_is_told_until_it_takes_it_also_after_a_restart() {
    all(Place::both().map(|place| async move {
        let (provider, _) = harbor();
        let folder = tempfile::tempdir().unwrap();
        let secret = secret(folder.path());
        // Nobody listens there yet.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut gateway = telling(&place, provider, address, &secret).await;
        let action = stick(&gateway, "one").await;
        let line = gateway.until_said("stuck actions could not be told").await;
        assert!(line.contains("connect-refused"), "{line}");

        let receiver = Receiver::answering(&[500, 500]);
        receiver.listen(address).await;
        receiver.until("the first message", |heard| !heard.is_empty()).await;
        gateway.until_said("the webhook answered 500").await;
        gateway.signal("KILL");
        gateway.until_exit().await;
        let gateway = telling(&place, provider, address, &secret).await;
        let heard = receiver.until("the message that is taken", |heard| heard.len() >= 3).await;
        gateway.until_said("stuck actions were told").await;
        // The next news has the next action only.
        stick(&gateway, "two").await;
        receiver.until("the next news", |heard| heard.len() >= 4).await;
        assert_eq!(receiver.heard()[3].keys(), ["two"]);

        heard.iter().for_each(Message::check);
        let ids: Vec<&String> = heard.iter().map(|message| &message.headers["webhook-id"]).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert!(heard[0].target.starts_with("POST /hooks/seawall HTTP/1.1"), "{}", heard[0].target);
        let told = heard[2].json();
        assert_eq!((&told["type"], &told["data"]["stuck"]), (&"seawall.actions.stuck".into(), &1.into()));
        let one = &told["data"]["actions"][0];
        let facts = ["id", "dependency", "operation", "key", "effect", "why"].map(|name| &one[name]);
        let wanted = ["id", "dependency", "operation", "key", "effect", "why"].map(|name| &action[name]);
        assert_eq!(facts, wanted, "{told}");
        assert_eq!(one["cause"], "left-to-a-person");
        let text = String::from_utf8_lossy(&heard[2].body).into_owned();
        assert!(!text.contains("1200"), "no request: {text}");
    }))
    .await;
}

#[tokio::test]
async fn of_two_gateways_one_tells_once() {
    all(Place::both().map(|place| async move {
        let (provider, _) = harbor();
        let folder = tempfile::tempdir().unwrap();
        let secret = secret(folder.path());
        let receiver = Receiver::default();
        let address = receiver.listen("127.0.0.1:0".parse().unwrap()).await;
        let one = telling(&place, provider, address, &secret).await;
        let two = telling(&place, provider, address, &secret).await;
        let keys = ["a", "b", "c", "d"];
        for (key, gateway) in keys.iter().zip([&one, &two, &one, &two]) {
            stick(gateway, key).await;
            let told =
                |heard: &[Message]| heard.iter().any(|message| message.keys().iter().any(|it| it == key));
            receiver.until(key, told).await;
        }
        let mut told: Vec<String> = receiver.heard().iter().flat_map(Message::keys).collect();
        told.sort();
        assert_eq!(told, keys);
    }))
    .await;
}

#[tokio::test]
async fn a_webhook_that_hangs_slows_no_durable_call() {
    all(Place::both().map(|place| async move {
        let (provider, _) = harbor();
        let folder = tempfile::tempdir().unwrap();
        let secret = secret(folder.path());
        let receiver = Receiver::answering(&[0]);
        let address = receiver.listen("127.0.0.1:0".parse().unwrap()).await;
        let gateway = telling(&place, provider, address, &secret).await;
        stick(&gateway, "one").await;
        receiver.until("the message", |heard| !heard.is_empty()).await;
        let begun = Instant::now();
        for number in 0..20 {
            let heard = send(&gateway, &format!("fine-{number}"), FINE).await;
            assert_eq!(heard.status, Some(200), "{heard:?}");
        }
        // The webhook has ten seconds for its answer, and it still has not given it.
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        assert_eq!(gateway.said("stuck actions could not be told").len(), 0);
    }))
    .await;
}
