//! Durable charges at a harbor: how they are declared, in which ledger they are recorded, and how they are called.

use std::net::SocketAddr;
use std::time::Duration;

use seawall_lab::harbor::{Books, KeyCount};
use serde_json::Value;
use tempfile::TempDir;

use super::scratch::Server;
use super::{Gateway, Heard, dependency, soon};

pub const BODY: &str = r#"{"amount":1200,"currency":"EUR"}"#;

/// A database for a ledger, which several gateways can share.
pub struct Place {
    /// The URL of the database, as `[ledger] url` has it.
    pub url: String,
    _folder: Option<TempDir>,
}

impl Place {
    /// A file in a folder of its own.
    pub fn sqlite() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
        Place { url, _folder: Some(folder) }
    }

    /// A database on the server that the tests share.
    pub fn postgres() -> Place {
        Place::at(Server::shared().database())
    }

    /// The database of this URL.
    pub fn at(url: String) -> Place {
        Place { url, _folder: None }
    }

    /// One place of each kind.
    pub fn both() -> [Place; 2] {
        [Place::sqlite(), Place::postgres()]
    }

    /// Runs a statement on the table of the actions, which is called `ACTION` in it.
    pub fn sql(&self, text: &str) {
        let Some(file) = self.url.strip_prefix("sqlite:") else {
            let name = self.url.split('?').next().unwrap().rsplit('/').next().unwrap();
            Server::shared().sql(name, &text.replace("ACTION", "seawall.action"));
            return;
        };
        const RUN: &str =
            "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1], 10) as c: c.executescript(sys.argv[2])";
        let mut python = std::process::Command::new("python3");
        let out = python.args(["-c", RUN, file, &text.replace("ACTION", "seawall_action")]).output().unwrap();
        assert!(out.status.success(), "{text}: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// The section `[ledger]`. A lease is 4 s long.
    pub fn section(&self) -> String {
        format!("[ledger]\nurl = \"{}\"\nlease = \"4s\"\n", self.url)
    }
}

/// A durable charge at this provider, and how its effect is found out and undone. `lines` are further lines of the
/// operation. Its whole time is 3 s. The header with the harbor's fault is recorded, so that the harbor gets it.
pub fn charge(address: SocketAddr, lines: &str) -> String {
    charge_within(address, "{ read = \"2s\", total = \"3s\" }", lines)
}

/// A durable charge with these timeouts.
pub fn charge_within(address: SocketAddr, timeout: &str, lines: &str) -> String {
    declared(address, "", timeout, &format!("{KEEPS_FAULTS}\n{lines}"))
}

/// The line of an operation with which the header with the harbor's fault is recorded.
pub const KEEPS_FAULTS: &str = "keep_headers = [\"harbor-fault\"]";

/// A durable charge with these timeouts. `of_dependency` and `of_operation` are further lines of the dependency and of the
/// operation.
pub fn declared(address: SocketAddr, of_dependency: &str, timeout: &str, of_operation: &str) -> String {
    let operation = format!(
        r#"{of_dependency}
[[dependency.pay.operation]]
name = "charge"
match = "POST /v1/charges"
idempotency = "keyed"
durable = true
credentials = "none"
timeout = {timeout}
network = "100ms"
pause = "100ms"
quiet = "400ms"
answers.not_applied = [ {{ status = 200, json = {{ "/code" = "DECLINED" }} }} ]
confirm = {{ request = "GET /v1/charges?key={{key}}", after = "50ms", applied = {{ status = 200, json = {{ "/status" = "succeeded" }} }}, cancelled = {{ status = 200, json = {{ "/status" = "refunded" }} }}, absent = {{ status = 404, json = {{ "/error/code" = 404 }} }} }}
cancel = {{ request = "POST /v1/refunds", json = {{ charge = "{{confirm:/id}}" }}, kind = "state" }}
{of_operation}
"#
    );
    dependency("pay", address, &operation)
}

/// Starts a gateway whose ledger is at this place, and waits until the ledger is open.
pub async fn opened(place: &Place, charge: &str) -> Gateway {
    let gateway = Gateway::start(&(place.section() + charge)).await;
    gateway.until_said("the ledger is open").await;
    gateway
}

/// Sends a charge under this key. The harbor treats the first request of the key with this fault.
pub async fn send(gateway: &Gateway, key: &str, fault: &str) -> Heard {
    gateway.ask("POST", "/pay/v1/charges", &headers(key, fault), BODY).await
}

pub fn headers<'a>(key: &'a str, fault: &'a str) -> [(&'a str, &'a str); 3] {
    [("idempotency-key", key), ("content-type", "application/json"), ("harbor-fault", fault)]
}

/// A fault that is none: the harbor answers immediately.
pub const FINE: &str = "delay=0ms";

/// Asks for the action of this key, and waits until its effect is known.
pub async fn known(gateway: &Gateway, key: &str) -> Value {
    let target = format!("/-/actions?dependency=pay&key={key}&wait=15s");
    soon("a known effect", async {
        loop {
            let heard = gateway.ask("GET", &target, &[], "").await;
            if heard.status == Some(200) && heard.json()["effect"] != "unknown" {
                return heard.json();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

/// Waits until the action of this key has ended, and returns it.
pub async fn ended(gateway: &Gateway, key: &str) -> Value {
    let target = format!("/-/actions?dependency=pay&key={key}&wait=15s");
    soon("the end of an action", async {
        loop {
            let heard = gateway.ask("GET", &target, &[], "").await;
            let shown = if heard.status == Some(200) { heard.json() } else { Value::Null };
            if ["done", "failed", "cancelled", "stuck"].contains(&shown["state"].as_str().unwrap_or_default())
            {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

/// What the provider's books say of a key: the number of requests and of effects.
pub fn booked(books: &Books, key: &str) -> (u64, u64) {
    let KeyCount { requests, effects, .. } = books.snapshot().by_key.get(key).copied().unwrap_or_default();
    (requests, effects)
}

/// Waits until the provider works on this number of requests.
pub async fn until_in_flight(books: &Books, number: u64) {
    soon("requests in flight", async {
        while books.snapshot().in_flight < number {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// Waits for all of these futures at the same time.
pub async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut pending: Vec<_> = futures.into_iter().map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|cx| {
        for (one, output) in pending.iter_mut().filter(|(_, output)| output.is_none()) {
            if let std::task::Poll::Ready(it) = one.as_mut().poll(cx) {
                *output = Some(it);
            }
        }
        let is_ready = pending.iter().all(|(_, output)| output.is_some());
        if is_ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    pending.into_iter().filter_map(|(_, output)| output).collect()
}
