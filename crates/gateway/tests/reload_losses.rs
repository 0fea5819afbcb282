//! A file that was emptied or is only half written: what it loses, and what is kept of that.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use seawall_lab::rogue::{Answer, Rogue};
use support::{Caller, Gateway, dependency};

const TAKEN: &str = "the configuration was reloaded";
const REFUSED: &str = "the new configuration was refused";
const REMOVED: &str = "the reload removed this dependency";
const RESTS: &str = "the changed file lacks what is in force";

const SECTION: &str = "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 2\n";

fn answering(body: &'static str) -> Rogue {
    Rogue::builder().answer(Answer::ok(body)).bind().unwrap()
}

/// Two files: one with the dependencies `a` and `b`, and one with `a` alone.
fn both(a: &Rogue, b: &Rogue) -> (String, String) {
    let one = format!("{SECTION}{}", dependency("a", a.address(), ""));
    (format!("{one}{}", dependency("b", b.address(), "")), one)
}

async fn said_of(gateway: &Gateway, target: &str) -> serde_json::Value {
    Caller::connect(gateway.admin()).await.ask("GET", target, &[], "").await.json()
}

/// Holds a breaker open with `seawall breaker`.
fn hold_open(gateway: &Gateway, dependency: &str) {
    let done = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["breaker", dependency, "open", "--reason", "a test", "--admin"])
        .arg(format!("http://{}", gateway.admin()))
        .env("XDG_RUNTIME_DIR", gateway.folder())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test]
async fn file_without_a_dependency_is_refused_by_all() {
    let a = answering("a");
    let file = format!("{SECTION}{}", dependency("a", a.address(), ""));
    let gateway = Gateway::start_with(&file).await;
    hold_open(&gateway, "a");
    for (round, empty) in ["", "\n\n", SECTION, "# [dependency.a]\n"].into_iter().enumerate() {
        std::fs::write(gateway.file(), empty).unwrap();
        gateway.signal("HUP");
        let line = gateway.until_said_times(REFUSED, round + 1).await;
        assert!(line.contains("no dependency is declared"), "{line}");
        let heard = gateway.ask("GET", "/a/x", &[], "").await;
        assert_eq!(heard.verdict(), (503, "not-applied", "0", "breaker-open"), "it is still known");

        let checked = Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args(["check", "-c"])
            .arg(gateway.file())
            .output()
            .unwrap();
        assert_eq!(checked.status.code(), Some(2), "{checked:?}");
        assert!(String::from_utf8_lossy(&checked.stderr).contains("no dependency is declared"));
        assert!(checked.stdout.is_empty(), "it does not say `no mistakes`");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("seawall.toml"), "").unwrap();
    let mut empty = Gateway::launch(folder);
    assert_eq!(empty.until_exit().await.code(), Some(2));
}

#[tokio::test]
async fn file_that_loses_a_dependency_rests_before_it_is_taken() {
    let (a, b) = (answering("a"), answering("b"));
    let (whole, half) = both(&a, &b);
    let gateway = Gateway::start_with(&whole).await;
    let written = Instant::now();
    std::fs::write(gateway.file(), &half).unwrap();
    let line = gateway.until_said(RESTS).await;
    assert!(line.contains("\"level\":\"WARN\"") && line.contains("dependency `b`"), "{line}");
    assert_eq!(gateway.ask("GET", "/b/x", &[], "").await.text(), "b");
    let line = gateway.until_said(REMOVED).await;
    let rested = written.elapsed();
    assert!(rested >= Duration::from_secs(10), "{rested:?}");
    assert!(line.contains("\"level\":\"WARN\"") && line.contains("\"b\""), "{line}");
    gateway.until_said(TAKEN).await;
    assert_eq!(gateway.ask("GET", "/b/x", &[], "").await.status, Some(404));
}

#[tokio::test]
async fn file_that_lacks_its_end_rests_too() {
    let a = answering("a");
    let whole =
        format!("{SECTION}{}", dependency("a", a.address(), "timeout = { read = \"7s\" }\nkeys = true"));
    let gateway = Gateway::start_with(&whole).await;
    std::fs::write(gateway.file(), whole.split("keys").next().unwrap()).unwrap();
    assert!(gateway.until_said(RESTS).await.contains("its end"));
    assert!(gateway.said(TAKEN).is_empty());
}

#[tokio::test]
async fn whole_file_behind_a_half_one_is_taken_without_a_loss() {
    let (a, b) = (answering("a"), answering("b"));
    let (whole, half) = both(&a, &b);
    let gateway = Gateway::start_with(&whole).await;
    std::fs::write(gateway.file(), &half).unwrap();
    gateway.until_said(RESTS).await;
    std::fs::write(gateway.file(), format!("{whole}timeout = {{ read = \"7s\" }}\n")).unwrap();
    gateway.until_said(TAKEN).await;
    assert_eq!(gateway.said(REMOVED).len(), 0);
    assert_eq!(gateway.ask("GET", "/b/x", &[], "").await.text(), "b");
}

#[tokio::test]
async fn what_a_signal_removes_is_gone_immediately_and_comes_back_as_it_was() {
    let (a, b) = (answering("a"), answering("b"));
    let (whole, half) = both(&a, &b);
    let gateway = Gateway::start_with(&whole).await;
    for _ in 0..3 {
        assert_eq!(gateway.ask("GET", "/b/x", &[], "").await.text(), "b");
    }
    hold_open(&gateway, "b");
    let asked = Instant::now();
    std::fs::write(gateway.file(), &half).unwrap();
    gateway.signal("HUP");
    let line = gateway.until_said(REMOVED).await;
    assert!(line.contains("\"level\":\"WARN\"") && line.contains("\"b\""), "{line}");
    gateway.until_said(TAKEN).await;
    assert!(asked.elapsed() < Duration::from_secs(8), "an operator does not have to wait");
    assert_eq!(gateway.ask("GET", "/b/x", &[], "").await.status, Some(404));

    // The settings differ from those before, but what was learned is kept nevertheless.
    std::fs::write(gateway.file(), format!("{whole}timeout = {{ read = \"7s\" }}\n")).unwrap();
    gateway.signal("HUP");
    gateway.until_said_times(TAKEN, 2).await;
    let line = gateway.until_said("with the state that it had").await;
    assert!(line.contains("dependency `b`: added again"), "{line}");
    let heard = gateway.ask("GET", "/b/x", &[], "").await;
    assert_eq!(heard.verdict(), (503, "not-applied", "0", "breaker-open"), "it is held open still");
    let told = said_of(&gateway, "/api/dependencies/b").await;
    assert_eq!(told["calls"]["applied"], 3, "{told}");
}

#[tokio::test]
async fn reload_says_what_changed_and_shows_no_value() {
    let (a, b) = (answering("a"), answering("b"));
    let (whole, _) = both(&a, &b);
    let gateway = Gateway::start_with(&whole).await;
    hold_open(&gateway, "b");
    let changed =
        format!("{whole}headers = {{ authorization = \"Bearer S3CRET\" }}\nbreaker = {{ min_calls = 30 }}\n")
            .replace("workers = 2\n", "workers = 2\ndrain = \"3s\"\n");
    std::fs::write(gateway.file(), &changed).unwrap();
    gateway.signal("HUP");
    gateway.until_said(TAKEN).await;
    let said = gateway.said("the reload changed this").join("\n");
    assert!(said.contains("dependency `b`: headers, breaker") && said.contains("gateway: drain"), "{said}");
    let told = said_of(&gateway, "/api/dependencies").await;
    assert_eq!(
        told["last_reload"]["changed"],
        serde_json::json!(["gateway: drain", "dependency `b`: headers, breaker"])
    );
    let heard = gateway.ask("GET", "/b/x", &[], "").await;
    assert_eq!(
        heard.verdict(),
        (503, "not-applied", "0", "breaker-open"),
        "another credential forgets nothing"
    );
    assert!(gateway.said("S3CRET").is_empty() && !told.to_string().contains("S3CRET"));
}

#[tokio::test]
async fn secret_under_a_misspelt_key_is_shown_by_nobody() {
    let a = answering("a");
    let file = format!("{SECTION}{}", dependency("a", a.address(), ""));
    let gateway = Gateway::start_with(&file).await;
    let slip = format!("{file}headerz = {{ authorization = \"Bearer S3CRET\" }}\n");
    std::fs::write(gateway.file(), &slip).unwrap();
    gateway.signal("HUP");
    let line = gateway.until_said(REFUSED).await;
    assert!(line.contains("headerz") && line.contains("did you mean `headers`?"), "{line}");
    let told = said_of(&gateway, "/api/dependencies").await;
    assert!(told["last_reload"]["refused"].as_str().unwrap().contains("headerz"), "{told}");
    let checked = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(["check", "-c"])
        .arg(gateway.file())
        .output()
        .unwrap();
    assert_eq!(checked.status.code(), Some(2));
    let checked = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(checked.contains("headerz"), "{checked}");
    for shown in [gateway.said("").join("\n"), told.to_string(), checked] {
        assert!(!shown.contains("S3CRET"), "{shown}");
    }
}
