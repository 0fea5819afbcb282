//! A gateway that has no file descriptor left. This is the gateway's own problem, and does not count against its dependencies.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit};
use seawall_lab::rogue::{Act, Answer, Rogue};
use support::{Caller, Gateway, Multiplexed, dependency, soon};

const ONE_WORKER: &str = "[gateway]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nworkers = 1\n";

/// The part of a log line that names the reason of an answer.
const REASON: &str = "\"reason\":\"out-of-descriptors\"";

/// A breaker with a window so long that no call leaves it during a test, even on a busy machine.
const WINDOW: &str = "breaker = { window = \"60s\" }";

/// A rogue that hangs on paths under `/hang`, and answers well on all others.
fn rogue() -> Rogue {
    let each = |heard: &seawall_lab::rogue::Heard| match heard.target.as_str() {
        "/hang" => Act::Hang,
        _ => Answer::ok("well").into(),
    };
    Rogue::builder().keep_heard(0).each(move |heard, _| each(heard)).bind().unwrap()
}

async fn endpoint(gateway: &Gateway) -> serde_json::Value {
    let mut admin = Caller::connect(gateway.admin()).await;
    admin.ask("GET", "/api/dependencies/up", &[], "").await.json()["endpoints"][0].clone()
}

/// Checks that the admin side answers, and that `seawall status` works.
async fn admin_answers(gateway: &Gateway) {
    let began = Instant::now();
    let heard = Caller::connect(gateway.admin()).await.ask("GET", "/livez", &[], "").await;
    assert_eq!(heard.status, Some(200));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let home = gateway.folder().to_owned();
    let mut status = Command::new(env!("CARGO_BIN_EXE_seawall"));
    status.args(["status", "--admin", &format!("http://{}", gateway.admin())]);
    status.envs([("HOME", &home), ("TMPDIR", &home), ("XDG_RUNTIME_DIR", &home)]);
    let shown = tokio::task::spawn_blocking(move || status.output().unwrap()).await.unwrap();
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.status.success() && text.contains("up"),
        "{text}{}",
        String::from_utf8_lossy(&shown.stderr)
    );
}

async fn until_well(gateway: &Gateway) {
    soon("calls to pass again", async {
        while gateway.ask("GET", "/up/x", &[], "").await.status != Some(200) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// The number of lines of this class in the log. Checks that, since `began`, there was at most one in each second.
fn lines_since(gateway: &Gateway, began: Instant) -> usize {
    let said = gateway.said(REASON).len();
    let most = began.elapsed().as_secs() as usize + 1;
    assert!(said <= most, "{said} lines in {:?}: {:?}", began.elapsed(), gateway.said(REASON));
    said
}

#[tokio::test]
async fn calls_without_a_descriptor_say_so_and_the_dependency_does_not_pay() {
    let rogue = rogue();
    // The read timeout is very long. Compared with it, the callers that leave at the end have waited for a short time only.
    let up = dependency(
        "up",
        rogue.address(),
        &format!("timeout = {{ read = \"1000s\", total = \"2000s\" }}\n{WINDOW}"),
    );
    let gateway = Gateway::start_under("-n 64", &format!("{ONE_WORKER}{up}")).await;
    let mut caller = Multiplexed::connect(gateway.address()).await;
    assert_eq!(caller.ask("GET", "/up/x", &[], "").await.verdict(), (200, "applied", "1", ""));
    // There is only one caller, but each of its calls has a connection of its own to the dependency.
    let began = Instant::now();
    let mut hanging = Vec::new();
    for _ in 0..64 {
        hanging.push(tokio::spawn(caller.open("GET", "/up/hang", &[], true).await.0));
    }
    soon("descriptors to be used up", async {
        while gateway.said(REASON).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for method in ["GET", "POST"].repeat(150) {
        let heard = caller.ask(method, "/up/x", &[], "").await;
        assert_eq!(heard.verdict(), (503, "not-applied", "1", "out-of-descriptors"));
        assert_eq!((heard.header("seawall-origin"), heard.header("seawall-retry-stopped")), ("seawall", ""));
    }
    assert!(lines_since(&gateway, began) > 0);
    admin_answers(&gateway).await;
    let seen = endpoint(&gateway).await;
    assert_eq!(seen["breaker"]["state"], "closed");
    assert_eq!((&seen["window"]["ok"], &seen["window"]["bad"]), (&1.into(), &0.into()), "{seen}");
    // All callers leave, and their descriptors are given back.
    drop(caller);
    hanging.iter().for_each(tokio::task::JoinHandle::abort);
    until_well(&gateway).await;
    assert_eq!(endpoint(&gateway).await["breaker"]["state"], "closed");
}

#[tokio::test]
async fn callers_for_whom_there_is_no_descriptor_are_told_and_those_let_in_are_served() {
    let rogue = rogue();
    let up = dependency("up", rogue.address(), "");
    let gateway = Gateway::start_under("-n 64", &format!("{ONE_WORKER}{up}")).await;
    let warned = gateway.said("open files");
    assert!(
        warned[0].contains("is 64 (hard limit 64)") && warned[0].contains("10000 for callers"),
        "{warned:?}"
    );
    let began = Instant::now();
    let (mut served, mut told) = (Vec::new(), 0);
    // These callers stay connected.
    for _ in 0..300 {
        let mut caller = gateway.connect().await;
        let heard = caller.ask("GET", "/up/x", &[], "").await;
        match heard.verdict() {
            (200, "applied", "1", "") => served.push(caller),
            verdict => {
                assert_eq!(verdict, (503, "not-applied", "0", "out-of-descriptors"));
                told += 1;
            }
        }
    }
    assert!(served.len() > 8 && served.len() < 32 && told > 200, "{} served, {told} told", served.len());
    assert!(lines_since(&gateway, began) > 0);
    admin_answers(&gateway).await;
    // Each of the callers finds a descriptor for its call, although all of them call at the same time.
    let all = served.drain(..).map(|mut caller| {
        tokio::spawn(async move {
            let heard = caller.ask("POST", "/up/x", &[], "amount=5").await;
            assert_eq!(heard.verdict(), (200, "applied", "1", ""));
        })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    until_well(&gateway).await;
    assert_eq!(endpoint(&gateway).await["breaker"]["state"], "closed");
}

#[tokio::test]
async fn the_soft_limit_is_raised_to_the_hard_one() {
    let up = dependency("up", rogue().address(), "concurrency = { max = 100 }");
    let few = "[gateway.limits]\nconnections = 200\n";
    let gateway = Gateway::start_under("-Sn 64 && ulimit -Hn 700", &format!("{ONE_WORKER}{few}{up}")).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(line.split_whitespace().skip(3).take(2).collect::<Vec<_>>(), ["700", "700"]);
    assert_eq!(gateway.said("open files"), Vec::<String>::new(), "it is enough for 200 and 164");
}

#[tokio::test]
async fn connections_that_are_idle_make_room_for_those_that_are_wanted() {
    let slow = Act::After(Duration::from_millis(300), Box::new(Answer::ok("well").into()));
    let (idle, wanted) = (Rogue::builder().acts([slow]).bind().unwrap(), rogue());
    let up = dependency("idle", idle.address(), "") + &dependency("up", wanted.address(), "");
    let gateway = Gateway::start_under("-n 64", &format!("{ONE_WORKER}{up}")).await;
    let mut caller = Multiplexed::connect(gateway.address()).await;
    let mut calls = Vec::new();
    for _ in 0..64 {
        calls.push(tokio::spawn(support::http2::hear(caller.open("GET", "/idle/x", &[], true).await.0)));
    }
    let mut reasons = Vec::new();
    for call in calls {
        reasons.push(call.await.unwrap().header("seawall-reason").to_owned());
    }
    assert!(reasons.iter().any(|reason| reason == "out-of-descriptors"), "all are in use: {reasons:?}");
    let hanging: Vec<_> = {
        let mut hanging = Vec::new();
        for _ in 0..20 {
            hanging.push(caller.open("GET", "/up/hang", &[], true).await);
        }
        hanging
    };
    soon("all to reach it", async {
        while wanted.read(|counts| counts.requests) < 20 {
            assert_eq!(gateway.said("\"dependency\":\"up\",\"reason\""), Vec::<String>::new());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    drop(hanging);
}

#[tokio::test]
async fn a_crowd_at_both_sides_keeps_nobody_from_the_admin_side() {
    let rogue = rogue();
    let up = dependency("up", rogue.address(), "");
    let gateway = Gateway::start_under("-n 64", &format!("{ONE_WORKER}{up}")).await;
    let mut crowd = Vec::new();
    for address in [gateway.admin(), gateway.address()].repeat(64) {
        crowd.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    soon("callers to be turned away", async {
        while gateway.said(REASON).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    admin_answers(&gateway).await;
    assert_eq!(gateway.said("could not be accepted"), Vec::<String>::new());
}

/// Changes the gateway's soft limit while it runs.
fn limit_to(gateway: &Gateway, current: u64) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(gateway.pid()).unwrap());
    let new = Rlimit { current: Some(current), maximum: Some(64) };
    rustix::process::prlimit(pid, Resource::Nofile, new).unwrap();
}

#[tokio::test]
async fn where_nothing_at_all_is_left_it_neither_spins_nor_fills_the_log() {
    const FAILED: &str = "could not be accepted";
    let rogue = rogue();
    let up = dependency("up", rogue.address(), WINDOW);
    let gateway = Gateway::start_under("-n 64", &format!("{ONE_WORKER}{up}")).await;
    let mut caller = Multiplexed::connect(gateway.address()).await;
    assert_eq!(caller.ask("GET", "/up/missing", &[], "").await.verdict().0, 200);
    let idle = endpoint(&gateway).await;
    assert_eq!((&idle["window"]["ok"], &idle["window"]["bad"]), (&1.into(), &0.into()));
    limit_to(&gateway, 8);
    let began = Instant::now();
    let mut crowd = Vec::new();
    for address in [gateway.admin(), gateway.address()].repeat(8) {
        crowd.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    let sides = ["\"side\":\"data\"", "\"side\":\"admin\""];
    for side in sides {
        gateway.until_said(side).await;
    }
    let (before, watched) = (gateway.processor_ticks(), Instant::now());
    while watched.elapsed() < Duration::from_millis(1_200) {
        // The call uses an idle connection. If there is none left, the gateway has closed it to get a descriptor, and did not
        // succeed.
        let heard = caller.ask("POST", "/up/x", &[], "").await;
        if heard.head.status() != 200 {
            assert_eq!(heard.verdict(), (503, "not-applied", "1", "out-of-descriptors"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (ticks, took) = (gateway.processor_ticks() - before, watched.elapsed());
    println!("{ticks} ticks of the processor in {took:?}");
    // Each tick is a hundredth of a second. A loop without pauses would use all ticks of this time.
    assert!(u128::from(ticks) * 10 < took.as_millis() / 2, "{ticks} ticks in {took:?}");
    lines_since(&gateway, began);
    for side in sides {
        let lines = gateway.said(FAILED).into_iter().filter(|line| line.contains(side)).count() as u64;
        assert!(lines <= began.elapsed().as_secs() + 1, "{lines} of {side}");
    }
    limit_to(&gateway, 64);
    drop(crowd);
    until_well(&gateway).await;
    admin_answers(&gateway).await;
    let seen = endpoint(&gateway).await;
    assert_eq!((&seen["breaker"]["state"], &seen["window"]["bad"]), (&"closed".into(), &0.into()), "{seen}");
}
