//! A changed file is taken as a whole or not at all, without a restart and without a lost request.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::os::unix::fs::symlink;
use std::path::Path;

use seawall_lab::rogue::{Answer, Rogue};
use support::{Gateway, dependency, soon};

const TAKEN: &str = "the configuration was reloaded";
const REFUSED: &str = "the new configuration was refused";

/// A whole file. The kernel chooses the ports, so a file with other dependencies needs no restart.
fn settings(dependencies: &str) -> String {
    format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 2\ndrain = \"5s\"\n{dependencies}"
    )
}

fn answering(body: &'static str) -> Rogue {
    Rogue::builder().answer(Answer::ok(body)).bind().unwrap()
}

fn both(one: &Rogue, two: &Rogue) -> (String, String) {
    (settings(&dependency("up", one.address(), "")), settings(&dependency("up", two.address(), "")))
}

/// Which upstream answers. Uses new connections, so that all workers are asked.
async fn who(gateway: &Gateway) -> String {
    let mut said = Vec::new();
    for _ in 0..8 {
        said.push(gateway.ask("GET", "/up/x", &[], "").await.text());
    }
    said.dedup();
    said.join(" ")
}

#[tokio::test]
async fn signal_reloads_and_every_worker_follows_before_it_is_said() {
    let (one, two) = (answering("one"), answering("two"));
    let (first, second) = both(&one, &two);
    let gateway = Gateway::start_with(&first).await;
    let mut kept = gateway.connect().await;
    for (round, (file, name)) in [(&second, "two"), (&first, "one"), (&second, "two")].into_iter().enumerate()
    {
        std::fs::write(gateway.file(), file).unwrap();
        gateway.signal("HUP");
        gateway.until_said_times(TAKEN, round + 1).await;
        assert_eq!(who(&gateway).await, name);
        assert_eq!(kept.ask("GET", "/up/x", &[], "").await.text(), name, "on an old connection");
    }
}

#[tokio::test]
async fn changed_file_is_noticed() {
    let (one, two) = (answering("one"), answering("two"));
    let (first, second) = both(&one, &two);
    let gateway = Gateway::start_with(&first).await;
    std::fs::write(gateway.file(), &second).unwrap();
    gateway.until_said(TAKEN).await;
    assert_eq!(who(&gateway).await, "two");
    // Editors save a file in this way: a new file takes the place of the old one.
    let other = gateway.folder().join("new.toml");
    std::fs::write(&other, &first).unwrap();
    std::fs::rename(&other, gateway.file()).unwrap();
    gateway.until_said_times(TAKEN, 2).await;
    assert_eq!(who(&gateway).await, "one");
}

/// Kubernetes mounts a ConfigMap in this way: the file is a link through `..data`, and `..data` is replaced.
#[tokio::test]
async fn swapped_link_is_noticed() {
    let (one, two) = (answering("one"), answering("two"));
    let (first, second) = both(&one, &two);
    let folder = tempfile::tempdir().unwrap();
    let version = |name: &str, text: &str| {
        std::fs::create_dir(folder.path().join(name)).unwrap();
        std::fs::write(folder.path().join(name).join("seawall.toml"), text).unwrap();
    };
    version("..one", &first);
    version("..two", &second);
    let data = folder.path().join("..data");
    symlink("..one", &data).unwrap();
    symlink("..data/seawall.toml", folder.path().join("seawall.toml")).unwrap();
    let place = folder.path().to_owned();
    let gateway = Gateway::launch(folder);
    gateway.until_said("admin listening").await;
    assert_eq!(who(&gateway).await, "one");
    swap(&place, "..two");
    gateway.until_said(TAKEN).await;
    assert_eq!(who(&gateway).await, "two");
}

fn swap(folder: &Path, to: &str) {
    symlink(to, folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test]
async fn broken_file_keeps_the_old_settings_and_says_why() {
    let one = answering("one");
    let first = settings(&dependency("up", one.address(), ""));
    let gateway = Gateway::start_with(&first).await;
    std::fs::write(gateway.folder().join("ca.pem"), "no certificate").unwrap();
    let broken = [
        // The files: one that is not TOML; one with an unknown key; one whose certificate is missing, which only compiling finds;
        // one with a mistake in its last line.
        "[gateway\n".to_owned(),
        first.replace("workers", "wrokers"),
        format!("{first}[dependency.up.tls]\nca_file = \"ca.pem\"\n").replace("http:", "https:"),
        format!("{}[dependency.more]\nurl = \"ftp://a\"\n", settings("")),
    ];
    for (round, file) in broken.iter().enumerate() {
        std::fs::write(gateway.file(), file).unwrap();
        gateway.signal("HUP");
        let line = gateway.until_said_times(REFUSED, round + 1).await;
        assert!(line.contains("\"level\":\"ERROR\""), "{line}");
        assert_eq!(who(&gateway).await, "one", "{file}");
    }
    assert!(
        gateway.said(REFUSED)[1].contains("workers"),
        "it names the nearest key: {}",
        gateway.said(REFUSED)[1]
    );
    // A wrong file that is found without a signal is refused in the same way, and only once.
    std::fs::write(gateway.file(), "[dependency.up]\nurl = 7\n").unwrap();
    gateway.until_said_times(REFUSED, broken.len() + 1).await;
    assert_eq!(who(&gateway).await, "one");
    // If the file is gone, nothing is forgotten.
    std::fs::remove_file(gateway.file()).unwrap();
    gateway.signal("HUP");
    gateway.until_said_times(REFUSED, broken.len() + 2).await;
    assert_eq!(who(&gateway).await, "one");
    std::fs::write(gateway.file(), &first).unwrap();
    gateway.until_said(TAKEN).await;
    assert_eq!(gateway.said(REFUSED).len(), broken.len() + 2);
}

#[tokio::test]
async fn what_needs_a_restart_is_said() {
    let one = answering("one");
    let up = dependency("up", one.address(), "");
    let gateway = Gateway::start_with(&settings(&up)).await;
    let own = dependency("up", one.address(), "listen = \"127.0.0.1:1\"");
    let changed = settings(&own)
        .replace("workers = 2", "workers = 3")
        .replace("admin = \"127.0.0.1:0\"", "admin = \"127.0.0.1:2\"\nhosts = [\"here.internal\"]");
    std::fs::write(gateway.file(), changed).unwrap();
    gateway.signal("HUP");
    gateway.until_said(TAKEN).await;
    let said = gateway.said("takes effect at the next start only").join("\n");
    for what in ["gateway.workers", "gateway.admin", "gateway.hosts", "dependency.*.listen"] {
        assert!(said.contains(what), "{what} in:\n{said}");
    }
    assert!(!said.contains("gateway.listen\""), "a setting that did not change is not named:\n{said}");
    assert_eq!(who(&gateway).await, "one");
}

#[tokio::test]
async fn dependency_that_goes_and_comes_is_routed_so() {
    let (one, two) = (answering("one"), answering("two"));
    let first = settings(&dependency("up", one.address(), ""));
    let second = settings(&dependency("other", two.address(), ""));
    let gateway = Gateway::start_with(&first).await;
    std::fs::write(gateway.file(), &second).unwrap();
    gateway.signal("HUP");
    gateway.until_said(TAKEN).await;
    assert_eq!(
        gateway.ask("GET", "/up/x", &[], "").await.verdict(),
        (404, "not-applied", "0", "unknown-dependency")
    );
    assert_eq!(gateway.ask("GET", "/other/x", &[], "").await.text(), "two");
}

#[tokio::test]
async fn call_under_way_ends_under_the_settings_it_began_with() {
    let slow = Rogue::builder()
        .each(|_, _| {
            let late = std::time::Duration::from_millis(400);
            seawall_lab::rogue::Act::After(late, Box::new(Answer::ok("slow").into()))
        })
        .bind()
        .unwrap();
    let two = answering("two");
    let (first, second) = both(&slow, &two);
    let gateway = Gateway::start_with(&first).await;
    let mut caller = gateway.connect().await;
    caller.send("POST", "/up/x", &[], "amount=5").await;
    soon("the request", slow.until(|counts| counts.requests == 1)).await;
    std::fs::write(gateway.file(), &second).unwrap();
    gateway.signal("HUP");
    gateway.until_said(TAKEN).await;
    assert_eq!(who(&gateway).await, "two");
    assert_eq!(caller.hear().await.text(), "slow");
}
