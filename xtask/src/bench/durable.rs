//! Durable calls through a gateway, as the benchmark of the ledger measures them.
//!
//! This process starts the gateway in its own process group, so that the CPU time of both is measured together, and
//! then sends POST requests through it. Each request has a key and a body of its own. The gateway records it, passes it
//! on to the benchmark's upstream, and records the outcome before it answers.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::load::{Load, measure};
use crate::process::{Outcome, free_port, target};

/// The options of one measurement. All but `plain` have the names that they have in the ledger's example `load`, so
/// `bench ledger` can start either program with the same arguments.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Durable {
    /// The database of the gateway's ledger.
    #[arg(long)]
    url: String,
    /// The address of the upstream.
    #[arg(long)]
    upstream: String,
    /// The number of callers, each with a connection of its own.
    #[arg(long)]
    concurrency: usize,
    /// The number of seconds before counting starts.
    #[arg(long)]
    warm_up: f64,
    /// The number of seconds in which calls are counted.
    #[arg(long)]
    seconds: f64,
    /// Send the same requests to an operation that is not durable.
    #[arg(long)]
    plain: bool,
}

/// The running gateway. It is killed when this value is dropped.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the load through a gateway. Prints `begin` when counting starts, and the results as one line of JSON at the
/// end.
pub(crate) fn run(durable: &Durable) -> Outcome<()> {
    let (listen, admin) = (free_port()?, free_port()?);
    let folder = target().join("bench");
    let file = folder.join("durable.toml");
    let text = format!(
        r#"[gateway]
listen = "127.0.0.1:{listen}"
admin = "127.0.0.1:{admin}"

[ledger]
url = "{}"

[dependency.up]
url = "http://{}"

[[dependency.up.operation]]
name = "charge"
match = "POST /100"
idempotency = "keyed"
durable = {}
credentials = "none"
on_unknown = "hold"
"#,
        durable.url, durable.upstream, !durable.plain
    );
    fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    let program = target().join("release/seawall");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(&program).args(["serve", "-c"]).arg(&file);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
    let _gateway = Gateway(child);
    until_it_answers(listen)?;
    let load = Load {
        port: listen,
        path: "/up/100".to_owned(),
        connections: durable.concurrency,
        warm_up: durable.warm_up,
        seconds: durable.seconds,
        rate: None,
        keyed: true,
    };
    let seen = measure(&load)?;
    let us = |ns: u64| ns / 1000;
    println!(
        "{}",
        serde_json::json!({
            "actions": seen.requests,
            "seconds": seen.seconds,
            "p50_us": us(seen.p50_ns),
            "p99_us": us(seen.p99_ns),
            "errors": seen.errors,
            "first_error": seen.first_error,
        })
    );
    Ok(())
}

/// Waits until a call is answered with 200, which is the case once the ledger is open.
fn until_it_answers(port: u16) -> Outcome<()> {
    let end = Instant::now() + Duration::from_secs(20);
    for n in 0.. {
        let answer = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).and_then(|mut stream| {
            let head = format!(
                "POST /up/100 HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nidempotency-key: first-{n}\r\n\
                 content-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map(|_| answer)
        });
        match answer {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => return Ok(()),
            Ok(answer) if Instant::now() > end => return Err(format!("the gateway answered {answer}")),
            Err(e) if Instant::now() > end => return Err(format!("the gateway did not answer: {e}")),
            Ok(_) | Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    Ok(())
}
