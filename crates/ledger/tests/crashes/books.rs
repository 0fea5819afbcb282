//! A provider with books. It runs in the process of the test, so the books are still there when other processes were
//! killed.
//!
//! It reads a line and answers with a line: `perform KEY BYTES`, `confirm KEY BYTES`, `cancel KEY BYTES`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seawall_ledger::store::Boxed;
use seawall_ledger::{Delivery, Found, Performed, Remote, Report, Undone};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the provider knows of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// The number of effects that are not undone.
    pub(crate) live: i64,
    /// The number of requests to perform that arrived.
    pub(crate) performs: u32,
    /// The number of requests to perform that arrived although nobody had asked what had become of the earlier one.
    pub(crate) blind: u32,
    /// The number of requests to perform whose bytes differed from those of the first one.
    pub(crate) changed: u32,
    asked_since: bool,
    bytes: Option<String>,
}

/// The books.
#[derive(Clone, Default)]
pub(crate) struct Books {
    entries: Arc<Mutex<HashMap<String, Entry>>>,
    /// The most milliseconds between the effect and its answer. A process that is killed in between never receives the
    /// answer.
    slow_millis: u64,
    /// Whether the provider honours keys, so that a second delivery changes nothing.
    keyed: bool,
    /// While this is true, no answer to a perform is sent.
    holds: Arc<AtomicBool>,
}

impl Books {
    /// A provider that is slow to answer.
    pub(crate) fn slow(slow_millis: u64) -> Books {
        Books { slow_millis, ..Books::default() }
    }

    /// A provider that takes requests, and answers them only when the test says so.
    pub(crate) fn holding(keyed: bool) -> Books {
        Books { keyed, holds: Arc::new(AtomicBool::new(true)), ..Books::default() }
    }

    pub(crate) fn let_go(&self) {
        self.holds.store(false, Ordering::SeqCst);
    }

    /// Starts the provider, and returns its address.
    pub(crate) async fn open(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let books = self.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let books = books.clone();
                tokio::spawn(async move { books.serve(stream).await });
            }
        });
        address
    }

    async fn serve(&self, stream: TcpStream) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let answer = self.answer(&line);
            if line.starts_with("perform") && self.slow_millis > 0 {
                tokio::time::sleep(Duration::from_millis(fastrand::u64(..self.slow_millis))).await;
            }
            while line.starts_with("perform") && self.holds.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            if write.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, line: &str) -> &'static str {
        let (verb, rest) = line.split_once(' ').unwrap();
        let (key, bytes) = rest.split_once(' ').unwrap();
        let mut books = self.entries.lock().unwrap();
        let entry = books.entry(key.to_owned()).or_default();
        match verb {
            "perform" => {
                entry.blind += u32::from(entry.performs > 0 && !entry.asked_since);
                entry.performs += 1;
                entry.asked_since = false;
                entry.live = if self.keyed { 1 } else { entry.live + 1 };
                let first = entry.bytes.get_or_insert_with(|| bytes.to_owned());
                entry.changed += u32::from(first != bytes);
                "yes"
            }
            "confirm" => {
                entry.asked_since = true;
                if entry.live > 0 { "applied" } else { "absent" }
            }
            "cancel" if entry.live > 0 => {
                entry.live -= 1;
                "yes"
            }
            "cancel" => "none",
            _ => panic!("{line}"),
        }
    }

    pub(crate) fn of(&self, key: &str) -> Entry {
        self.entries.lock().unwrap().get(key).cloned().unwrap_or_default()
    }

    pub(crate) fn all(&self) -> HashMap<String, Entry> {
        self.entries.lock().unwrap().clone()
    }
}

/// The way to the provider. Each request has a connection of its own, so a request without an answer is in doubt.
pub(crate) struct Wire(pub(crate) String);

impl Wire {
    /// Sends one request. `None` means that nothing was sent, and `Some(None)` that no answer came.
    async fn ask(&self, delivery: Delivery<'_>, verb: &str) -> Option<Option<String>> {
        let mut stream = TcpStream::connect(&self.0).await.ok()?;
        if !delivery.may_send() {
            return None;
        }
        let sent = stream
            .write_all(
                format!(
                    "{verb} {} {}\n",
                    delivery.action.key,
                    String::from_utf8_lossy(&delivery.action.request)
                )
                .as_bytes(),
            )
            .await;
        if sent.is_err() {
            return Some(None);
        }
        let mut lines = BufReader::new(stream).lines();
        Some(lines.next_line().await.ok().flatten())
    }
}

impl Remote for Wire {
    fn perform<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Performed, Report)> {
        Box::pin(async move {
            let how = match self.ask(delivery, "perform").await {
                None => Performed::NotSent,
                Some(Some(_)) => Performed::Yes(None),
                Some(None) => Performed::Unknown,
            };
            (how, Report::default())
        })
    }

    fn confirm<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Found, Report)> {
        Box::pin(async move {
            let found = match self.ask(delivery, "confirm").await.flatten().as_deref() {
                Some("applied") => Found::Applied(None),
                Some("absent") => Found::Absent,
                _ => Found::Other,
            };
            (found, Report::default())
        })
    }

    fn cancel<'a>(&'a self, delivery: Delivery<'a>) -> Boxed<'a, (Undone, Report)> {
        Box::pin(async move {
            let undone = match self.ask(delivery, "cancel").await {
                None => Undone::NotSent,
                Some(Some(answer)) if answer == "yes" => Undone::Yes,
                Some(Some(_)) => Undone::NoSuch,
                Some(None) => Undone::Unknown,
            };
            (undone, Report::default())
        })
    }
}
