//! The program as its users use it: started with a file, called over sockets, and stopped by signals.
//!
//! A test waits for a line in the program's log, or until an upstream has seen something. It never waits for a fixed time.
#![allow(dead_code, unused_imports, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
#![allow(missing_docs, unreachable_pub, reason = "shared by tests only")]

pub mod charges;
mod gateway;
pub mod gauge;
pub mod http2;
mod load;
mod raw;
pub mod relay;
#[path = "../../../ledger/tests/support/scratch.rs"]
pub mod scratch;
pub mod tls;

pub use gateway::Gateway;
pub use gauge::Gauge;
pub use http2::Multiplexed;
pub use load::{Call, Load, Pace, percentile};
pub use raw::{Caller, Ended, Heard, dechunked};

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use seawall_lab::harbor::{Books, Harbor};

/// The longest time that a test waits for anything on loopback.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for an event that must come. If it does not come in time, panics with a text that contains `what`.
#[track_caller]
pub fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let place = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, future).await {
            Ok(output) => output,
            Err(_) => panic!("waited in vain for {what}, at {place}"),
        }
    }
}

/// The lines of a dependency with this name, this address and these further lines.
pub fn dependency(name: &str, address: SocketAddr, lines: &str) -> String {
    format!("[dependency.{name}]\nurl = \"http://{address}\"\n{lines}\n")
}

/// Starts a harbor on the runtime of the test.
pub fn harbor() -> (SocketAddr, Books) {
    let harbor = Harbor::bind("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let (address, books) = (harbor.address(), harbor.books());
    tokio::spawn(harbor.run());
    (address, books)
}
