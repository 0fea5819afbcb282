//! A matrix of servers and exchanges: each server is called directly and through the gateway, and both answers must be
//! equal.
//!
//! A test server of our own would only test our own reading of the specification. These servers show how other authors
//! read it. They differ in:
//!
//! - framing;
//! - upper and lower case of header names;
//! - when they close a connection;
//! - what they do when they can answer a request before it is complete.
//!
//! [`strict`] reads the servers' bytes without the gateway and finds every deviation from the specification;
//! `docs/servers.md` lists these deviations.

mod bulk;
mod case;
mod early;
mod exchanges;
mod kinds;
mod strict;

use std::path::Path;
use std::time::Instant;

use self::case::{Case, Seen};
use self::kinds::{KINDS, Kind};
use crate::process::{Outcome, target};

/// One kind of exchange. It is made with each server that offers what the exchange needs.
struct Exchange {
    name: &'static str,
    make: fn(&Case) -> Outcome<Seen>,
}

const EXCHANGES: [Exchange; 17] = [
    Exchange { name: "strict", make: strict::look },
    Exchange { name: "length", make: exchanges::length },
    Exchange { name: "chunked", make: exchanges::chunked },
    Exchange { name: "gzip", make: exchanges::gzip },
    Exchange { name: "HEAD", make: exchanges::head },
    Exchange { name: "204", make: exchanges::no_content },
    Exchange { name: "304", make: exchanges::not_modified },
    Exchange { name: "kept", make: exchanges::kept },
    Exchange { name: "long answer head", make: exchanges::long_answer_head },
    Exchange { name: "long request head", make: exchanges::long_request_head },
    Exchange { name: "Expect", make: bulk::expect_continue },
    Exchange { name: "chunked upload", make: bulk::chunked_upload },
    Exchange { name: "100 MB down", make: bulk::down },
    Exchange { name: "100 MB up", make: bulk::up },
    Exchange { name: "early 413", make: early::to_curl },
    Exchange { name: "early 413 over HTTP/2", make: early::over_http2 },
    Exchange { name: "early 413 to a blind caller", make: early::to_a_blind_caller },
];

fn name_of(kind: &Kind, exchange: &Exchange) -> String {
    format!("servers: {}: {}", kind.name, exchange.name)
}

/// Each pair of a server and an exchange has a name, which consists of the names of the two. Returns those of these
/// names that contain `part`.
pub(super) fn names(part: &str) -> Vec<String> {
    let all = KINDS.iter().flat_map(|kind| EXCHANGES.iter().map(|exchange| name_of(kind, exchange)));
    all.filter(|name| name.contains(part)).collect()
}

/// Starts the servers, and makes the exchanges whose name contains `part`. Prints a table of the results, and returns
/// how many exchanges passed and how many failed.
pub(super) fn run(part: &str, program: &Path) -> Outcome<(usize, usize)> {
    let chosen = |kind: &Kind| EXCHANGES.iter().any(|exchange| name_of(kind, exchange).contains(part));
    let kinds: Vec<&Kind> = KINDS.iter().filter(|kind| chosen(kind)).collect();
    if kinds.is_empty() {
        return Ok((0, 0));
    }
    let folder = target().join("stories").join("servers");
    kinds::prepare(&folder)?;
    let running = kinds::start_all(&kinds, &folder)?;
    let ports: Vec<(&Kind, u16)> = running.iter().map(|(kind, port, _)| (*kind, *port)).collect();
    let (gateway, _gateway) = kinds::gateway(program, &folder, &ports)?;

    let (mut passed, mut failed) = (0, 0);
    let mut rows = Vec::new();
    for (kind, port) in ports {
        let case = Case { kind, port, gateway, folder: &folder };
        let cells = EXCHANGES.map(|exchange| {
            let name = name_of(kind, &exchange);
            if !name.contains(part) {
                return "";
            }
            let cell = told(&case, &exchange, &name);
            passed += usize::from(cell == "yes");
            failed += usize::from(cell == "**no**");
            cell
        });
        rows.push(format!("| {} | {} |", kind.version(), cells.join(" | ")));
    }
    if failed > 0 {
        println!("what the gateway and the servers said is in {}/*.log", folder.display());
    }
    let heads = EXCHANGES.map(|exchange| exchange.name).join(" | ");
    println!("| server | {heads} |\n|{}\n{}", " --- |".repeat(EXCHANGES.len() + 1), rows.join("\n"));
    Ok((passed, failed))
}

/// Makes one exchange and prints how it ended. Returns `yes` or `**no**` for the table, or a dash if the server does
/// not offer what the exchange needs.
fn told(case: &Case, exchange: &Exchange, name: &str) -> &'static str {
    let start = Instant::now();
    let ended = (exchange.make)(case);
    let seconds = start.elapsed().as_secs_f64();
    match ended {
        Ok(Seen::NotOffered) => return "–",
        Ok(Seen::Passed) => println!("ok      {seconds:>6.2} s  {name}"),
        Ok(Seen::Noted(note)) => println!("ok      {seconds:>6.2} s  {name}: {note}"),
        Err(e) => {
            println!("FAILED  {seconds:>6.2} s  {name}\n        {}", e.replace('\n', "\n        "));
            return "**no**";
        }
    }
    "yes"
}
