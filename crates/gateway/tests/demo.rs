//! The demo as a newcomer tries it: each command that it prints is run as it is printed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

/// A running `seawall serve --demo`. Dropping it kills it.
struct Demo {
    child: Child,
    /// The commands that it has printed.
    commands: Vec<String>,
}

impl Demo {
    /// Starts the demo, and waits until it has printed its commands and its ledger is open.
    fn start(folder: &Path) -> Demo {
        let mut child = Command::new(env!("CARGO_BIN_EXE_seawall"))
            .args(["serve", "--demo"])
            .current_dir(folder)
            .envs([("HOME", folder), ("TMPDIR", folder), ("XDG_RUNTIME_DIR", folder)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = lines(child.stdout.take().unwrap());
        let logged = lines(child.stderr.take().unwrap());
        let mut demo = Demo { child, commands: Vec::new() };
        let text = until(&printed, "Ctrl-C ends the demo");
        until(&logged, "the ledger is open");
        // Nobody reads the rest of the log, so it must not fill the pipe.
        std::thread::spawn(move || logged.into_iter().for_each(drop));
        let joined = text.replace("\\\n", " ");
        demo.commands = joined
            .lines()
            .map(str::trim)
            .filter(|line| line.starts_with("curl "))
            .map(str::to_owned)
            .collect();
        demo
    }

    /// Runs the command with this number, counted from 0, and returns what it prints.
    fn run(&self, number: usize) -> String {
        let out = Command::new("sh").args(["-c", &self.commands[number]]).output().unwrap();
        assert!(out.status.success(), "{}", self.commands[number]);
        String::from_utf8(out.stdout).unwrap()
    }

    fn json(&self, number: usize) -> Value {
        serde_json::from_str(&self.run(number)).unwrap()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the lines that a program prints, as they come.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if tell.send(line).is_err() {
                return;
            }
        }
    });
    told
}

/// Waits for a line with this part, and returns all lines up to it.
fn until(lines: &Receiver<String>, part: &str) -> String {
    let mut text = String::new();
    loop {
        let line = lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no `{part}` in:\n{text}"));
        text.push_str(&line);
        text.push('\n');
        if line.contains(part) {
            return text;
        }
    }
}

/// Checks the status of an answer that `curl -i` printed, and that it has these headers.
fn expect(answer: &str, status: u16, headers: &[&str]) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    for header in headers {
        assert!(answer.contains(&format!("\r\n{header}")), "no `{header}` in:\n{answer}");
    }
}

#[test]
fn each_printed_command_shows_what_the_demo_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Demo::start(folder.path());
    assert_eq!(demo.commands.len(), 9, "{:?}", demo.commands);

    expect(&demo.run(0), 200, &["seawall-attempts: 2", "seawall-effect: applied"]);
    expect(&demo.run(1), 502, &["seawall-attempts: 1", "seawall-effect: unknown"]);
    assert_eq!(demo.json(2)["effects"], 2);

    expect(&demo.run(3), 502, &["seawall-effect: unknown", "location: /-/actions/"]);
    let asked = demo.json(4);
    assert_eq!((&asked["effect"], &asked["state"]), (&"applied".into(), &"done".into()), "{asked}");
    assert_eq!(asked["answer"]["body"]["amount"], 500, "{asked}");
    let again = demo.run(5);
    expect(&again, 200, &["seawall-replayed: true", "seawall-effect: applied"]);
    assert!(again.contains("\"amount\":500"), "{again}");

    expect(&demo.run(6), 200, &["seawall-effect: applied"]);
    let end = Instant::now() + PATIENCE;
    while demo.json(7)["state"] != "cancelled" {
        assert!(Instant::now() < end, "{}", demo.run(7));
        std::thread::sleep(Duration::from_millis(100));
    }
    let books = demo.json(8);
    let of = |key: &str| (books["by_key"][key]["effects"].clone(), books["by_key"][key]["refunds"].clone());
    assert_eq!(of("order-2"), (1.into(), 0.into()), "{books}");
    assert_eq!(of("booking-1"), (1.into(), 1.into()), "{books}");

    let ledgers = || {
        std::fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("seawall-demo-"))
    };
    assert_eq!(ledgers().count(), 1);
    let told = Command::new("kill").args(["-TERM", &demo.child.id().to_string()]).status().unwrap();
    assert!(told.success());
    assert_eq!(demo.child.wait().unwrap().code(), Some(0));
    assert_eq!(ledgers().count(), 0, "the ledger of the demo is removed with its folder");
}
