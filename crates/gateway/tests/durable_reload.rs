//! What becomes of open actions when the configuration changes or the gateway ends, and what is said of a ledger that cannot
//! be opened.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use seawall_lab::harbor::Books;
use serde_json::json;
use support::{Caller, Gateway, Heard, dependency, harbor, soon};

const BODY: &str = r#"{"amount":1200,"currency":"EUR"}"#;
const TAKEN: &str = "the configuration was reloaded";

/// A whole file with a durable charge at this provider. The provider is asked at `confirm`, and `ledger` are lines of the
/// section `[ledger]`. The provider answers 404 for a wrong path, too, but with another message than for a charge that is
/// not there. So a question with a wrong path brings nothing, and is asked again.
fn charge(address: SocketAddr, confirm: &str, ledger: &str) -> String {
    let operation = format!(
        r#"
[[dependency.pay.operation]]
name = "charge"
match = "POST /v1/charges"
idempotency = "keyed"
durable = true
credentials = "none"
keep_headers = ["harbor-fault"]
timeout = {{ read = "15s", total = "20s" }}
network = "100ms"
pause = "100ms"
quiet = "400ms"
confirm = {{ request = "GET {confirm}?key={{key}}", after = "50ms", applied = {{ status = 200, json = {{ "/status" = "succeeded" }} }}, absent = {{ status = 404, json = {{ "/error/message" = "no such charge" }} }} }}
"#
    );
    file(&format!("[ledger]\n{ledger}\n{}", dependency("pay", address, &operation)))
}

fn file(rest: &str) -> String {
    format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 2\ndrain = \"500ms\"\n{rest}"
    )
}

/// Sends a charge whose reply is lost.
async fn lose(gateway: &Gateway, key: &str) -> String {
    let headers = [
        ("idempotency-key", key),
        ("content-type", "application/json"),
        ("harbor-fault", "close-after-effect"),
    ];
    let heard = gateway.ask("POST", "/pay/v1/charges", &headers, BODY).await;
    assert_eq!(heard.verdict(), (502, "unknown", "1", "connection-lost"), "{heard:?}");
    heard.header("location").unwrap().to_owned()
}

async fn reload(gateway: &Gateway, text: &str, times: usize) {
    std::fs::write(gateway.file(), text).unwrap();
    gateway.signal("HUP");
    gateway.until_said_times(TAKEN, times).await;
}

async fn until_state(gateway: &Gateway, at: &str, state: &str) -> Heard {
    let end = std::time::Instant::now() + support::PATIENCE;
    loop {
        let found = gateway.ask("GET", at, &[], "").await;
        if found.json()["state"] == json!(state) {
            return found;
        }
        assert!(std::time::Instant::now() < end, "waited in vain for {state}: {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn effects(books: &Books, key: &str) -> u64 {
    books.snapshot().by_key.get(key).map_or(0, |of| of.effects)
}

#[tokio::test]
async fn a_mended_template_mends_the_open_actions() {
    let (address, books) = harbor();
    let gateway = Gateway::start_with(&charge(address, "/v1/wrong", "")).await;
    gateway.until_said("the ledger is open").await;
    let at = lose(&gateway, "order-1").await;
    until_state(&gateway, &at, "unknown").await;
    reload(&gateway, &charge(address, "/v1/charges", ""), 1).await;
    gateway
        .until_said("open actions of pay/charge: 1; the operation was changed: they keep their sent keys")
        .await;
    let done = until_state(&gateway, &at, "done").await;
    assert_eq!(done.json()["effect"], "applied", "{done:?}");
    assert_eq!((effects(&books, "order-1"), books.snapshot().by_key["order-1"].requests), (1, 1));
}

#[tokio::test]
async fn an_action_of_a_removed_operation_waits_until_it_comes_back() {
    let (address, books) = harbor();
    let gateway = Gateway::start_with(&charge(address, "/v1/wrong", "")).await;
    gateway.until_said("the ledger is open").await;
    let at = lose(&gateway, "order-1").await;
    let without = file(&dependency("pay", address, ""));
    reload(&gateway, &without, 1).await;
    gateway
        .until_said(
            "open actions of pay/charge: 1; they wait until it is declared again, and are stuck after 24h",
        )
        .await;
    let waiting = until_state(&gateway, &at, "undeclared").await;
    assert_eq!(waiting.json()["effect"], "unknown", "{waiting:?}");
    let checked = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["check", "--ledger"])
        .current_dir(gateway.folder())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{checked:?}");
    assert!(text.contains("open actions of pay/charge: 1; they wait until it is declared again"), "{text}");

    reload(&gateway, &charge(address, "/v1/charges", ""), 2).await;
    let done = until_state(&gateway, &at, "done").await;
    assert_eq!(done.json()["effect"], "applied", "{done:?}");
    assert_eq!((effects(&books, "order-1"), books.snapshot().by_key["order-1"].requests), (1, 1));
}

#[tokio::test]
async fn a_gateway_that_ends_gives_its_actions_to_another_one() {
    let (address, books) = harbor();
    let mut one = Gateway::start_with(&charge(address, "/v1/charges", "")).await;
    one.until_said("the ledger is open").await;
    let url = format!("url = \"sqlite:{}\"", one.folder().join("seawall.db").display());
    let two = Gateway::start_with(&charge(address, "/v1/charges", &url)).await;
    two.until_said("the ledger is open").await;
    let mut caller = one.connect().await;
    let headers = [
        ("idempotency-key", "order-1"),
        ("content-type", "application/json"),
        ("harbor-fault", "hang-after-effect"),
    ];
    let asking = tokio::spawn(async move { caller.ask("POST", "/pay/v1/charges", &headers, BODY).await });
    soon("the effect", async {
        while effects(&books, "order-1") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    one.signal("TERM");
    one.until_exit().await;
    drop(asking);
    // The lease is two minutes, and the attempt could have taken 20 s.
    let found =
        soon("the outcome", two.ask("GET", "/-/actions?dependency=pay&key=order-1&wait=15s", &[], ""));
    let found = found.await;
    assert_eq!(found.json()["effect"], "applied", "{found:?}");
    assert_eq!(books.snapshot().by_key["order-1"].requests, 1, "nothing was sent again");
}

async fn readiness(gateway: &Gateway) -> String {
    let mut caller = Caller::connect(gateway.admin()).await;
    let heard = caller.ask("GET", "/readyz?verbose", &[], "").await;
    assert_eq!(heard.status, Some(200), "{heard:?}");
    heard.text()
}

#[tokio::test]
async fn a_ledger_that_cannot_be_opened_is_refused_in_words_and_opened_when_it_is_mended() {
    let (address, _books) = harbor();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ledger.db");
    std::fs::write(&file, "these are notes, and no database at all\n".repeat(100)).unwrap();
    let url = format!("url = \"sqlite:{}\"", file.display());
    let gateway = Gateway::start_with(&charge(address, "/v1/charges", &url)).await;
    gateway.until_said("the ledger cannot be opened").await;
    let said = readiness(&gateway).await;
    assert!(said.starts_with("ready\nledger: away since 20"), "{said}");
    assert!(said.contains("file is not a database"), "{said}");
    let headers = [("idempotency-key", "order-1"), ("content-type", "application/json")];
    let refused = gateway.ask("POST", "/pay/v1/charges", &headers, BODY).await;
    assert_eq!(refused.verdict(), (503, "not-applied", "0", "ledger-unavailable"), "{refused:?}");
    assert!(refused.text().contains("file is not a database"), "{refused:?}");

    std::fs::remove_file(&file).unwrap();
    gateway.until_said("the ledger is open").await;
    assert_eq!(readiness(&gateway).await, "ready\nledger: open\n");
    let fine = gateway.ask("POST", "/pay/v1/charges", &headers, BODY).await;
    assert_eq!(fine.verdict(), (200, "applied", "1", ""), "{fine:?}");
    // Another URL needs a restart.
    reload(&gateway, &charge(address, "/v1/charges", "url = \"sqlite:other.db\""), 1).await;
    gateway.until_said("ledger.url").await;
}

#[tokio::test]
async fn a_gateway_without_durable_operations_uses_no_ledger() {
    let (address, _books) = harbor();
    let gateway = Gateway::start(&dependency("pay", address, "")).await;
    assert_eq!(readiness(&gateway).await, "ready\nledger: not used: no operation is durable\n");
    assert!(!gateway.folder().join("seawall.db").exists());
}
