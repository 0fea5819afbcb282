//! Files with tokens and keys are read only if nobody except their owner can have written them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod support;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const TOKEN: &str = "precious-words-of-somebody";

fn seawall(folder: &Path, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(arguments)
        .env("XDG_RUNTIME_DIR", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("{arguments:?} waits for something");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

fn private(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Accepts one connection in place of an admin side, and returns what was sent on it.
fn listener() -> (u16, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut piece = [0; 4096];
        let length = stream.read(&mut piece).unwrap();
        stream.write_all(b"HTTP/1.0 500 no\r\n\r\n").unwrap();
        String::from_utf8_lossy(&piece[..length]).into_owned()
    });
    (port, heard)
}

#[test]
fn planted_token_file_is_not_followed_and_not_waited_for() {
    type Plant = fn(&Path, &Path);
    let plants: [(&str, Plant); 5] = [
        ("a link", |victim, place| symlink(victim, place).unwrap()),
        ("a second name", |victim, place| fs::hard_link(victim, place).unwrap()),
        ("a pipe", |_, place| {
            assert!(Command::new("mkfifo").args(["-m", "600"]).arg(place).status().unwrap().success());
        }),
        ("a file that others may read", |_, place| private(place, TOKEN, 0o644)),
        ("a folder", |_, place| fs::create_dir(place).unwrap()),
    ];
    for (what, plant) in plants {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        private(&victim, TOKEN, 0o600);
        let (port, heard) = listener();
        let place = folder.path().join(format!("seawall-{port}.token"));
        plant(&victim, &place);
        let admin = format!("http://127.0.0.1:{port}");
        let status = seawall(folder.path(), &["status", "--admin", &admin]);
        assert_eq!(status.status.code(), Some(1), "{what}");
        let heard = heard.join().unwrap();
        assert!(heard.starts_with("GET /api/dependencies ") && !heard.contains(TOKEN), "{what}: {heard}");
        // A command that needs a token and has none says why, before it sends anything.
        let order = ["breaker", "pay", "open", "--reason", "x", "--admin", &admin];
        let order = seawall(folder.path(), &order);
        let said = String::from_utf8_lossy(&order.stderr).into_owned();
        assert!(
            said.contains(&format!("seawall-{port}.token")) && said.contains("--token-file"),
            "{what}: {said}"
        );
    }
}

#[test]
fn named_token_file_may_be_a_link_and_not_be_writable_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let (file, link) = (folder.path().join("token"), folder.path().join("link"));
    private(&file, TOKEN, 0o644);
    symlink(&file, &link).unwrap();
    let (port, heard) = listener();
    let admin = format!("http://127.0.0.1:{port}");
    let ask =
        || seawall(folder.path(), &["status", "--admin", &admin, "--token-file", link.to_str().unwrap()]);
    ask();
    assert!(heard.join().unwrap().contains(TOKEN), "a token is sent from a file that a person named");
    for mode in [0o664, 0o646] {
        private(&file, TOKEN, mode);
        let refused = ask();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains("may write it") && said.contains("chmod go-w"), "{said}");
    }
    private(&file, "hunter2\n", 0o600);
    let said = String::from_utf8_lossy(&ask().stderr).into_owned();
    assert!(
        said.contains("7 characters") && said.contains("at least 16") && !said.contains("hunter2"),
        "{said}"
    );
}

#[test]
fn configured_files_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("named");
    let config = folder.path().join("seawall.toml");
    let path = file.display();
    let cases = [
        (format!("[gateway]\nclients = {{ tokens_file = \"{path}\" }}\n"), ""),
        (format!("[gateway]\nadmin_token_file = \"{path}\"\n"), ""),
        (String::new(), "headers = { authorization = \"${file:named}\" }\n"),
        (String::new(), "tls = { ca_file = \"named\" }\n"),
    ];
    for (gateway, lines) in &cases {
        fs::write(&config, format!("{gateway}[dependency.a]\nurl = \"https://a.example\"\n{lines}")).unwrap();
        private(&file, TOKEN, 0o662);
        for command in ["check", "serve"] {
            let refused = seawall(folder.path(), &[command, "-c", config.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(2), "{command} {gateway}{lines}: {said}");
            assert!(said.contains("chmod go-w"), "{command} {gateway}{lines}: {said}");
        }
    }
    for (gateway, lines) in &cases[..2] {
        fs::write(&config, format!("{gateway}[dependency.a]\nurl = \"https://a.example\"\n{lines}")).unwrap();
        private(&file, "# mine\nana hunter2\n", 0o600);
        for command in ["check", "serve"] {
            let refused = seawall(folder.path(), &[command, "-c", config.to_str().unwrap()]);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(2), "{command}: {said}");
            assert!(
                said.contains("line 2") && said.contains("at least 16") && !said.contains("hunter2"),
                "{said}"
            );
        }
    }
}
