//! People who look after the ledger, with the commands that they type: many stuck actions are listed, retried at a rate and
//! resolved, and who did it and why is kept.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::charges::{Place, all, booked, charge, ended, opened, send};
use support::{Caller, Gateway, harbor, soon};

/// What a command printed, and its exit code.
struct Ran {
    code: Option<i32>,
    out: String,
    errors: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {} {}", self.out, self.errors))
    }
}

/// Runs `seawall actions` with these arguments, beside this gateway and with its token.
async fn actions(gateway: &Gateway, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.arg("actions").args(arguments).args(["--admin", &format!("http://{}", gateway.admin())]);
    command.env("XDG_RUNTIME_DIR", gateway.folder()).env("LOGNAME", "ana").stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), errors: text(output.stderr) }
}

async fn stuck(gateway: &Gateway) -> u64 {
    let heard = Caller::connect(gateway.admin()).await.ask("GET", "/api/actions/counts", &[], "").await;
    heard.json()["number"].as_u64().unwrap()
}

async fn until_stuck(gateway: &Gateway, number: u64) {
    soon("stuck actions", async {
        while stuck(gateway).await != number {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// Copies the action `one` this number of times, with other ids and keys.
fn copy(place: &Place, times: u32) {
    let (all, id) = if place.url.starts_with("sqlite:") {
        let numbers = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {times}) SELECT i FROM n"
        );
        (numbers, "printf('%08x-0000-7000-8000-%012x', rowid, rowid)")
    } else {
        (format!("SELECT generate_series(1, {times})"), "gen_random_uuid()")
    };
    let key = if place.url.starts_with("sqlite:") { "id" } else { "id::text" };
    place.sql(&format!(
        "CREATE TEMP TABLE copies AS SELECT a.* FROM ACTION a, ({all}) AS n WHERE a.key = 'one'; \
         UPDATE copies SET id = {id}; UPDATE copies SET key = 'copy-' || {key}; \
         INSERT INTO ACTION SELECT * FROM copies"
    ));
}

#[tokio::test]
async fn a_thousand_stuck_actions_are_listed_retried_and_resolved_in_one_command_each() {
    all(Place::both().map(|place| async move {
        let (address, _) = harbor();
        let gateway = opened(&place, &charge(address, "on_unknown = \"hold\"")).await;
        send(&gateway, "one", "close-after-effect").await;
        assert_eq!(ended(&gateway, "one").await["state"], "stuck");
        copy(&place, 999);
        assert_eq!(stuck(&gateway).await, 1000);

        let listed = actions(&gateway, &["list", "--limit", "2000", "--json"]).await;
        let listed = listed.json()["actions"].as_array().unwrap().clone();
        assert_eq!(listed.len(), 1000);
        assert!(listed.iter().all(|it| it["state"] == "stuck" && it["cause"] == "left-to-a-person"));
        let other = actions(&gateway, &["list", "--cause", "no-way", "--json"]).await;
        assert_eq!(other.json()["actions"].as_array().unwrap().len(), 0);
        let some = actions(&gateway, &["list"]).await;
        assert_eq!((some.code, some.out.lines().count()), (Some(0), 101), "{}", some.errors);
        assert!(some.errors.contains("more than 100"), "{}", some.errors);

        let why = ["--dependency", "pay", "--reason", "the provider is back"];
        let dry = actions(&gateway, &[&["retry", "--dry-run"], &why[..]].concat()).await;
        assert!(dry.errors.contains("would retry 1000 actions"), "{}", dry.errors);
        let refused = actions(&gateway, &[&["retry"], &why[..]].concat()).await;
        assert_eq!(refused.code, Some(2));
        assert!(refused.errors.contains("no terminal to ask"), "{}", refused.errors);
        assert_eq!(gateway.said("a person changed an action").len(), 0, "nothing was changed yet");

        let begun = Instant::now();
        let retried = actions(&gateway, &[&["retry", "--yes", "--rate", "500/s"], &why[..]].concat()).await;
        assert_eq!(retried.code, Some(0), "{} {}", retried.out, retried.errors);
        assert!(retried.out.starts_with("retry: 1000 of 1000 done; now 1000 unknown"), "{}", retried.out);
        // The first group needs no wait, so 19 of 20 groups wait for a tenth of a second each.
        assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
        // Its operation leaves what is unknown to a person, so each is stuck again.
        until_stuck(&gateway, 1000).await;

        let resolve = [
            "resolve",
            "--all",
            "--yes",
            "--effect",
            "not-applied",
            "--reason",
            "looked it up",
            "--who",
            "bob",
        ];
        let resolved = actions(&gateway, &resolve).await;
        assert_eq!(resolved.code, Some(0), "{} {}", resolved.out, resolved.errors);
        assert!(resolved.out.starts_with("resolve: 1000 of 1000 done; now 1000 failed"), "{}", resolved.out);
        assert_eq!(stuck(&gateway).await, 0);

        let lines = gateway.said("a person changed an action");
        assert_eq!(lines.len(), 2000);
        for part in [
            r#""what":"retry""#,
            r#""who":"ana""#,
            r#""why":"the provider is back""#,
            r#""was":"stuck""#,
            r#""became":"unknown""#,
        ] {
            assert!(lines[0].contains(part), "{part}: {}", lines[0]);
        }
        let shown = actions(&gateway, &["show", listed[500]["id"].as_str().unwrap(), "--json"]).await.json();
        let marks: Vec<_> = shown["marks"].as_array().unwrap().iter().map(brief).collect();
        assert_eq!(
            marks,
            [
                "ana retry stuck>unknown: the provider is back (admin token `admin`, from 127.0.0.1)",
                "bob resolve stuck>failed: looked it up (admin token `admin`, from 127.0.0.1)"
            ]
        );
        let again = actions(&gateway, &resolve).await;
        assert_eq!((again.code, again.errors.as_str()), (Some(0), "no such action: nothing was changed\n"));
    }))
    .await;
}

fn brief(mark: &Value) -> String {
    let text = |name: &str| mark[name].as_str().unwrap_or_default();
    let (who, what, was, became) = (text("who"), text("what"), text("was"), text("became"));
    format!("{who} {what} {was}>{became}: {} ({})", text("why"), text("via"))
}

#[tokio::test]
async fn retried_actions_reach_the_provider_once_each_and_at_the_rate() {
    all(Place::both().map(|place| async move {
        let (address, books) = harbor();
        let holding = opened(&place, &charge(address, "on_unknown = \"hold\"")).await;
        send(&holding, "one", "close-after-effect").await;
        ended(&holding, "one").await;
        drop(holding);
        copy(&place, 19);
        // The operation is corrected: the provider is asked.
        let gateway =
            opened(&place, &charge(address, "on_unknown = \"confirm\"\nkey_lifetime = \"24h\"")).await;
        let begun = Instant::now();
        let retry =
            ["retry", "--all", "--yes", "--rate", "20/s", "--reason", "it can be asked now", "--json"];
        let retried = actions(&gateway, &retry).await;
        assert_eq!(
            (retried.code, retried.json()["done"].as_u64()),
            (Some(0), Some(20)),
            "{}",
            retried.errors
        );
        let results = retried.json()["results"].as_array().unwrap().clone();
        soon("the end of all actions", async {
            for result in &results {
                let target = format!("/api/actions/{}", result["id"].as_str().unwrap());
                loop {
                    let heard = Caller::connect(gateway.admin()).await.ask("GET", &target, &[], "").await;
                    let shown = heard.json();
                    assert!(!["stuck", "failed"].contains(&shown["state"].as_str().unwrap()), "{shown}");
                    if shown["state"] == "done" {
                        assert_eq!(booked(&books, shown["key"].as_str().unwrap()).1, 1);
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        })
        .await;
        assert!(begun.elapsed() >= Duration::from_millis(950), "{:?}", begun.elapsed());
    }))
    .await;
}

#[tokio::test]
async fn an_action_that_changed_after_the_list_is_left_alone_and_told() {
    all(Place::both().map(|place| async move {
        let (address, _) = harbor();
        let gateway = opened(&place, &charge(address, "on_unknown = \"hold\"")).await;
        for key in ["one", "two"] {
            send(&gateway, key, "close-after-effect").await;
            ended(&gateway, key).await;
        }
        let listed = actions(&gateway, &["list", "--json"]).await.json()["actions"].clone();
        let [one, two] = [0, 1].map(|at| listed[at].clone());
        let id = one["id"].as_str().unwrap();
        let resolved = actions(&gateway, &["resolve", id, "--effect", "applied", "--reason", "seen"]).await;
        assert_eq!(resolved.code, Some(0), "{}", resolved.errors);
        assert_eq!(resolved.out, "resolve: 1 of 1 done; now 1 done\n");

        let token = std::fs::read_to_string(token_file(&gateway)).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let each = |it: &Value| serde_json::json!({ "id": it["id"], "version": it["version"] });
        let body = serde_json::json!({ "reason": "late", "actions": [each(&one), each(&two)] }).to_string();
        let mut caller = Caller::connect(gateway.admin()).await;
        let heard = caller.ask("POST", "/api/actions/retry", &headers, &body).await.json();
        let results: Vec<_> = [0, 1].map(|at| heard["results"][at]["result"].clone()).to_vec();
        assert_eq!(results, ["changed", "done"], "{heard}");
        // The same once more changes nothing.
        let heard = caller.ask("POST", "/api/actions/retry", &headers, &body).await.json();
        assert_eq!(heard["results"][1]["result"], "changed", "{heard}");

        let no_token = caller.ask("POST", "/api/actions/retry", &headers[1..], &body).await;
        assert_eq!(no_token.status, Some(401));
        let by_hand = actions(&gateway, &["retry", id, "--reason", "again"]).await;
        assert_eq!(by_hand.code, Some(1));
        assert!(by_hand.out.contains("refused: it is not stuck"), "{}", by_hand.out);
        let settled = actions(&gateway, &["cancel", id, "--reason", "no"]).await;
        assert!(settled.out.contains("the application has settled it"), "{}", settled.out);
        let cancelled = actions(&gateway, &["cancel", id, "--reason", "no", "--settled"]).await;
        assert_eq!(cancelled.code, Some(0), "{} {}", cancelled.out, cancelled.errors);
        assert_eq!(ended(&gateway, "one").await["state"], "cancelled");
        let nothing = actions(&gateway, &["retry", "--reason", "x"]).await;
        assert_eq!(nothing.code, Some(2));
        let shown = actions(&gateway, &["show", two["id"].as_str().unwrap()]).await;
        assert!(shown.out.contains("what you can do"), "{}", shown.out);
    }))
    .await;
}

/// The file with the token that the gateway made at start.
fn token_file(gateway: &Gateway) -> std::path::PathBuf {
    gateway.folder().join(format!("seawall-{}.token", gateway.admin().port()))
}
