//! `Via`: which proxies a request has passed, and how loops are found.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use seawall_lab::rogue::{Answer, Rogue};
use support::{Gateway, Multiplexed, dependency};

fn heard_via(rogue: &Rogue) -> Vec<String> {
    rogue.read(|counts| {
        let lines = counts.heard.last().unwrap().headers.iter().filter(|(name, _)| name == "via");
        lines.map(|(_, value)| value.clone()).collect()
    })
}

#[tokio::test]
async fn requests_say_where_they_passed() {
    let rogue = Rogue::builder().answer(Answer::ok("fine")).bind().unwrap();
    let both = ["a", "b"].map(|name| dependency(name, rogue.address(), "")).concat();
    let gateway = Gateway::start(&both).await;
    let headers = [("via", "1.0 fred"), ("via", "1.1 p.example.net (a, note)")];
    let heard = gateway.ask("GET", "/a/x", &headers, "").await;
    assert_eq!((heard.status, heard.header("via")), (Some(200), None), "answers carry none");
    let lines = heard_via(&rogue);
    assert_eq!(lines[..2], ["1.0 fred", "1.1 p.example.net (a, note)"], "the entries stay in their order");
    assert!(lines[2].starts_with("1.1 seawall-") && lines[2].ends_with("-a"), "{lines:?}");
    assert_eq!(lines.len(), 3);

    // A request that passes the same process on its way to another dependency is not a loop.
    let passed = [("via", lines[2].as_str())];
    assert_eq!(gateway.ask("GET", "/b/x", &passed, "").await.status, Some(200));
    let before = rogue.read(|counts| counts.requests);
    let heard = gateway.ask("GET", "/a/x", &passed, "").await;
    assert_eq!(heard.verdict(), (400, "not-applied", "0", "bad-request"));
    assert!(heard.text().contains("a loop"), "{}", heard.text());
    let hidden = [("via", lines[2].as_str()), ("connection", "via")];
    assert_eq!(gateway.ask("GET", "/a/x", &hidden, "").await.verdict().0, 400);
    let mut caller = Multiplexed::connect(gateway.address()).await;
    let joined = format!("2 other,{}", lines[2]);
    assert_eq!(caller.ask("GET", "/a/x", &[("via", &joined)], "").await.verdict().0, 400);
    assert_eq!(rogue.read(|counts| counts.requests), before);

    caller.ask("GET", "/a/x", &[], "").await;
    assert!(heard_via(&rogue)[0].starts_with("2 seawall-"), "{:?}", heard_via(&rogue));
    let other = Gateway::start(&both).await;
    assert_eq!(other.ask("GET", "/a/x", &passed, "").await.status, Some(200), "another process");
}

#[tokio::test]
async fn a_gateway_that_calls_itself_is_asked_once() {
    // The gateway takes free ports, so its file cannot show the loop. A second gateway leads back to the first.
    let first = Gateway::start("[dependency.never]\nurl = \"http://127.0.0.1:9\"\n").await;
    let back = Gateway::start(&dependency("back", first.address(), "")).await;
    let text = format!(
        "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 2\n\
         [dependency.round]\nurl = \"http://{}/back/round\"\n",
        back.address()
    );
    // The first gateway's file changes. Now it leads to the second gateway, and the second leads back to the first.
    std::fs::write(first.file(), text).unwrap();
    first.signal("HUP");
    first.until_said("was reloaded").await;
    let heard = support::soon("an end of the round", async {
        loop {
            let heard = first.ask("GET", "/round/x", &[], "").await;
            if heard.status != Some(404) {
                return heard;
            }
        }
    })
    .await;
    assert_eq!(heard.status, Some(400), "{heard:?}");
    assert!(heard.text().contains("a loop"), "{}", heard.text());
}

#[tokio::test]
async fn a_dependency_that_is_this_gateway_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[gateway]\nlisten = \"127.0.0.1:18499\"\nadmin = \"127.0.0.1:18498\"\n\
                [dependency.round]\nurl = \"http://localhost:18499/round\"\n";
    std::fs::write(folder.path().join("seawall.toml"), text).unwrap();
    for command in ["check", "serve"] {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args([command, "-c", "seawall.toml"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(!done.status.success(), "{command}");
        assert!(
            said.contains("this endpoint is this gateway itself") && said.contains(":5:"),
            "{command}: {said}"
        );
    }
}
