//! The commands, run as users run them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use support::{Caller, Gateway, dependency, harbor};

fn seawall(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seawall"));
    command.args(arguments).stdin(Stdio::null()).env_remove("XDG_RUNTIME_DIR");
    command
}

struct Ran {
    code: Option<i32>,
    out: String,
    errors: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), out: text(output.stdout), errors: text(output.stderr) }
    }
}

fn run(arguments: &[&str]) -> Ran {
    seawall(arguments).output().unwrap().into()
}

/// Runs a command in a folder in which it finds the gateway's token.
fn run_beside(folder: &Path, arguments: &[&str]) -> Ran {
    seawall(arguments).env("XDG_RUNTIME_DIR", folder).output().unwrap().into()
}

fn check(text: &str) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("seawall.toml"), text).unwrap();
    // Without -c, the file in this folder is used.
    seawall(&["check"]).current_dir(folder.path()).output().unwrap().into()
}

#[test]
fn a_reason_is_explained() {
    for word in ["breaker-open", "budget", "truncated", "READ_TIMEOUT"] {
        let ran = run(&["explain", word]);
        assert_eq!(ran.code, Some(0), "{}", ran.errors);
        let title = word.to_lowercase().replace('_', "-");
        assert!(ran.out.starts_with(&format!("# {title}\n")), "{}", ran.out);
    }
    let all = run(&["explain"]);
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let pages = ["reasons", "words"].map(|folder| docs.join(folder).read_dir().unwrap().count());
    assert_eq!((all.code, all.out.lines().count()), (Some(0), pages[0] + pages[1]));
}

#[test]
fn an_effect_a_status_and_callers_that_left_are_explained() {
    for (words, says) in [
        (&["unknown"][..], "# unknown\n"),
        (&["applied"], "# applied\n"),
        (&["not-applied"], "# not-applied\n"),
        (&["not_applied"], "# not-applied\n"),
        (&["callers left"], "# callers-left\n"),
        (&["callers", "left"], "# callers-left\n"),
        (&["503"], "breaker-open"),
        (&["504"], "read-timeout"),
        (&["418"], "No answer of Seawall's own has status 418"),
    ] {
        let ran = run(&[&["explain"], words].concat());
        assert_eq!(ran.code, Some(0), "{words:?}: {}", ran.errors);
        assert!(ran.out.contains(says), "{words:?}: {}", ran.out);
    }
}

#[test]
fn an_unknown_reason_is_wrong_usage_and_finds_the_nearest() {
    let ran = run(&["explain", "braeker-open"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.errors.contains("did you mean `breaker-open`?") && ran.errors.contains("connect-timeout"));
}

#[test]
fn a_good_file_prints_what_is_in_force() {
    let ran = check("[dependency.pay]\nurl = \"http://127.0.0.1:9\"\n");
    assert_eq!((ran.code, ran.errors.as_str()), (Some(0), ""));
    assert!(ran.out.contains("pay") && ran.out.contains("no mistakes"), "{}", ran.out);
}

#[test]
fn what_is_not_in_force_yet_is_said() {
    let file = "[dependency.pay]\nurl = \"http://127.0.0.1:9\"\n\
                reconcile = { list = \"GET /l?from={from}&to={to}\", items = \"/d\", key = \"/k\", \
                state = { pointer = \"/s\", applied = [\"done\"] } }\n";
    let ran = check(file);
    assert_eq!(ran.code, Some(0), "{}", ran.errors);
    assert!(ran.out.contains("line 3: ") && ran.out.contains("not in force yet"), "{}", ran.out);
}

#[test]
fn every_mistake_is_reported_at_its_line_and_without_colour() {
    let ran = check("[dependency.pay]\nurl = 5\ntimeuot = { read = \"1s\" }\n");
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(
        ran.errors.contains("seawall.toml:2:") && ran.errors.contains("seawall.toml:3:"),
        "{}",
        ran.errors
    );
    assert!(ran.errors.contains("did you mean `timeout`?") && ran.errors.contains("2 mistakes"));
    assert!(!ran.errors.contains('\u{1b}'));
}

#[test]
fn a_file_that_only_a_start_would_refuse_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), "no certificate").unwrap();
    let file = folder.path().join("x.toml");
    let text = "[dependency.pay]\nurl = \"https://127.0.0.1:9\"\ntls = { ca_file = \"ca.pem\" }\n";
    std::fs::write(&file, text).unwrap();
    let ran: Ran = seawall(&["check", "-c"]).arg(&file).output().unwrap().into();
    assert_eq!(ran.code, Some(2), "{}", ran.out);
    assert!(ran.errors.contains("dependency.pay") && ran.errors.contains("ca.pem"), "{}", ran.errors);
}

#[test]
fn wrong_usage_ends_with_two() {
    for wrong in [
        &[][..],
        &["sevre"],
        &["check", "-c", "/nonexistent/seawall.toml"],
        &["serve", "-c", "/nonexistent/seawall.toml"],
        &["serve", "--demo", "-c", "x.toml"],
        &["breaker", "pay", "open"],
        &["breaker", "pay", "ajar", "--reason", "x"],
        &["breaker", "pay", "open", "--reason", "x", "--endpoint", "-1"],
        &["status", "--admin", "https://127.0.0.1:1"],
        &["status", "--token-file", "/nonexistent/token"],
        &["lab", "harbor", "--listen", "nowhere"],
        &["lab", "harbor", "--listen", "127.0.0.1:0", "--script", "/nonexistent/script.toml"],
        &["completions", "tcsh"],
    ] {
        let ran = run(wrong);
        assert_eq!(ran.code, Some(2), "{wrong:?}: {}", ran.errors);
        assert!(!ran.errors.is_empty() && ran.out.is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_gateway_that_is_not_there_is_a_failure() {
    let nobody = seawall_lab::dead_end::Refused::open().unwrap();
    let admin = format!("http://{}", nobody.address());
    let ran = run(&["status", "--admin", &admin]);
    assert_eq!(ran.code, Some(1), "{}", ran.errors);
    assert!(ran.errors.contains("no gateway answers") && ran.errors.contains("--admin"), "{}", ran.errors);
}

#[test]
fn completions_manual_schema_and_version_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completions", shell]);
        assert_eq!(ran.code, Some(0));
        assert!(ran.out.contains("seawall") && ran.out.contains("explain"), "{shell}");
    }
    let man = run(&["man"]).out;
    assert!(man.contains(".TH seawall 1") && man.contains(".SH COMMANDS"), "{man}");
    for command in [
        "serve",
        "check",
        "schema",
        "explain",
        "status",
        "breaker",
        "actions list",
        "lab harbor",
        "completions",
        "man",
    ] {
        assert!(man.contains(&format!(".SS seawall {command}")), "{command}");
    }
    assert!(man.contains("\\-c, \\-\\-config <FILE>") && man.contains("[default: ./seawall.toml]"), "{man}");
    let schema: serde_json::Value = serde_json::from_str(&run(&["schema"]).out).unwrap();
    assert!(schema["properties"]["gateway"].is_object(), "{schema}");
    let version = run(&["--version"]);
    assert_eq!((version.code, version.out), (Some(0), format!("seawall {}\n", env!("CARGO_PKG_VERSION"))));
    let help = run(&["--help"]).out;
    for later in ["top", "reconcile", "advise"] {
        assert!(!help.contains(&format!("  {later}  ")), "{later} is not there yet");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for arguments in [&["schema"][..], &["man"], &["explain"], &["explain", "budget"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ran: Ran = seawall(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap().into();
        assert_eq!((ran.code, ran.errors.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[tokio::test]
async fn an_operator_opens_a_breaker_and_gives_it_back() {
    let (address, _books) = harbor();
    let gateway = Gateway::start(&dependency("pay", address, "")).await;
    let (folder, admin) = (gateway.folder(), format!("http://{}", gateway.admin()));
    let status = || run_beside(folder, &["status", "--admin", &admin]);
    let order = |words: &[&str]| run_beside(folder, &[&["breaker", "--admin", &admin], words].concat());

    assert_eq!(status().out.split_whitespace().take(2).collect::<Vec<_>>(), ["pay", "closed"]);
    let opened = order(&["pay", "open", "--reason", "they deploy"]);
    assert_eq!(opened.code, Some(0), "{}", opened.errors);
    assert!(opened.out.contains("endpoint 0 is forced-open: every call is refused, until"), "{}", opened.out);
    assert_eq!(
        gateway.ask("GET", "/pay/health", &[], "").await.verdict(),
        (503, "not-applied", "0", "breaker-open")
    );
    let shown = status();
    assert!(shown.out.starts_with("pay  forced-open  for "), "{}", shown.out);
    assert!(shown.out.contains("admin: they deploy; stays so until set to auto"), "{}", shown.out);
    assert!(!shown.out.contains('\u{1b}'));
    gateway.until_said("they deploy").await;

    let given_back = order(&["pay", "auto", "--endpoint", "0", "--reason", "they are done"]);
    assert_eq!(given_back.code, Some(0));
    assert!(given_back.out.contains("endpoint 0 is half-open: evidence decides again"), "{}", given_back.out);
    let closed = order(&["pay", "closed", "--reason", "we know better"]);
    assert!(
        closed.out.contains("endpoint 0 is forced-closed: every call passes, however many fail, until"),
        "{}",
        closed.out
    );
    let given_back = order(&["pay", "auto", "--reason", "no more"]);
    assert!(
        given_back.out.contains("endpoint 0 is closed: evidence decides: calls pass"),
        "{}",
        given_back.out
    );
    assert_eq!(gateway.ask("GET", "/pay/health", &[], "").await.status, Some(200));
    let json = run_beside(folder, &["status", "--json", "--admin", &admin]);
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["dependencies"][0]["name"], "pay");

    for (words, code, says) in [
        (&["pya", "open", "--reason", "x"][..], 2, "there is pay"),
        (&["pay", "open", "--reason", "x", "--endpoint", "7"], 2, "numbered from 0 to 0"),
        (&["pay", "open", "--reason", ""], 2, "`reason` is empty"),
    ] {
        let ran = order(words);
        assert_eq!(ran.code, Some(code), "{words:?}: {}", ran.errors);
        assert!(ran.errors.contains(says), "{}", ran.errors);
    }
}

#[tokio::test]
async fn an_order_needs_the_gateways_own_token() {
    let (address, _books) = harbor();
    let gateway = Gateway::start(&dependency("pay", address, "")).await;
    let admin = format!("http://{}", gateway.admin());
    let elsewhere = tempfile::tempdir().unwrap();
    let order = ["breaker", "pay", "open", "--reason", "x", "--admin", &admin];
    let none = run_beside(elsewhere.path(), &order);
    assert_eq!(none.code, Some(1));
    assert!(none.errors.contains("--token-file"), "{}", none.errors);

    let file = elsewhere.path().join("wrong");
    std::fs::write(&file, "the-wrong-token-here\n").unwrap();
    let wrong = run(&[&order[..], &["--token-file", file.to_str().unwrap()]].concat());
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.errors.contains("not known here"), "{}", wrong.errors);
    assert_eq!(gateway.ask("GET", "/pay/health", &[], "").await.status, Some(200));

    let right = gateway.folder().join(format!("seawall-{}.token", gateway.admin().port()));
    let done = run(&[&order[..], &["--token-file", right.to_str().unwrap()]].concat());
    assert_eq!(done.code, Some(0), "{}", done.errors);
}

#[tokio::test]
async fn the_made_token_goes_when_the_gateway_ends() {
    let (address, _books) = harbor();
    let mut gateway = Gateway::start(&dependency("pay", address, "")).await;
    let file = gateway.folder().join(format!("seawall-{}.token", gateway.admin().port()));
    assert!(file.exists());
    // Once the admin side answers, the program handles signals, too.
    let ready = Caller::connect(gateway.admin()).await.ask("GET", "/readyz", &[], "").await;
    assert_eq!(ready.status, Some(200));
    gateway.signal("TERM");
    assert!(gateway.until_exit().await.success());
    assert!(!file.exists());
}

#[test]
fn the_harbor_says_where_it_is_and_ends_when_told() {
    let mut child = seawall(&["lab", "harbor", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split("http://").nth(1).unwrap().split(';').next().unwrap().to_owned();
    assert!(std::net::TcpStream::connect(&address).is_ok(), "{line}");
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
