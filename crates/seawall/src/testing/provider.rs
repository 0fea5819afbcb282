//! The types [`Provider`] and [`Fault`]: a payment provider on loopback, and what goes wrong with its requests when the
//! test says so.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

use seawall_lab::harbor::{Books, Faults, Harbor, KeyCount, Script};
use tokio::task::JoinHandle;

/// A payment provider on a port of loopback, which keeps its own books. It stops when this value is dropped.
///
/// It is the harbor of the lab, which `docs/harbor.md` describes: charges at `POST /v1/charges`, a look-up by key at
/// `GET /v1/charges?key=K`, refunds at `POST /v1/refunds`. It honours `Idempotency-Key`. A test compares its books with
/// what the program believes.
#[derive(Debug)]
pub struct Provider {
    url: String,
    books: Books,
    faults: Faults,
    running: JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Provider {
    /// Starts a provider on a free port, in the current runtime.
    ///
    /// # Panics
    /// If there is no free port.
    pub async fn start() -> Provider {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let harbor = Harbor::bind(address, None).expect("loopback has a free port");
        let (url, books) = (format!("http://{}", harbor.address()), harbor.books());
        let faults = harbor.faults();
        let running = tokio::spawn(async move { harbor.run().await.expect("a bound port can be served") });
        Provider { url, books, faults, running }
    }

    /// Returns the address for [`DependencyBuilder::endpoint`](crate::DependencyBuilder::endpoint).
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes the next request of this kind go wrong. `request` is a method and a path, as in `POST /v1/charges` or `GET
    /// /v1/charges/{id}`. If this is called several times for the same kind, each call makes one request go wrong, in
    /// the order of the calls.
    ///
    /// # Panics
    /// If `request` is not a method and a path.
    pub fn next(&self, request: &str, fault: Fault) {
        self.add(request, fault, "times = 1");
    }

    /// Makes all requests of this kind go wrong, until [`Provider::heal`] is called.
    ///
    /// # Panics
    /// If `request` is not a method and a path.
    pub fn always(&self, request: &str, fault: Fault) {
        self.add(request, fault, "");
    }

    fn add(&self, request: &str, fault: Fault, times: &str) {
        let rule = format!("[[fault]]\nmatch = {request:?}\nfault = \"{fault}\"\n{times}");
        let rule: Script = rule.parse().unwrap_or_else(|wrong| panic!("{wrong}"));
        self.faults.add(rule);
    }

    /// Forgets all faults that have not struck yet.
    pub fn heal(&self) {
        self.faults.set(None);
    }

    /// Returns the number of effects that requests with this key had, by the provider's own books. It is 1 for a charge
    /// that was made once, even if the charge was refunded later. `key` is the key under which the action was sent.
    #[must_use]
    pub fn effects(&self, key: &str) -> u64 {
        self.count(key).effects
    }

    /// Returns the number of refunds of the charge that was made with this key.
    #[must_use]
    pub fn refunds(&self, key: &str) -> u64 {
        self.count(key).refunds
    }

    /// Returns the number of requests that came with this key.
    #[must_use]
    pub fn requests(&self, key: &str) -> u64 {
        self.count(key).requests
    }

    fn count(&self, key: &str) -> KeyCount {
        self.books.snapshot().by_key.get(key).copied().unwrap_or_default()
    }
}

/// What goes wrong with a request. The program that makes the request cannot see whether it took effect. So for each
/// fault it is said here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The effect takes place, and the connection is closed without an answer.
    AnswerLost,
    /// No effect, and the connection is closed without an answer.
    RequestLost,
    /// The effect takes place, and no answer ever comes.
    SilentAfterEffect,
    /// No effect, and no answer ever comes.
    Silent,
    /// The effect takes place, and the answer has this status.
    StatusAfterEffect(u16),
    /// No effect, and the answer has this status.
    Status(u16),
}

/// Writes the fault as a word of the harbor's scripts.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::AnswerLost => f.write_str("close-after-effect"),
            Fault::RequestLost => f.write_str("close"),
            Fault::SilentAfterEffect => f.write_str("hang-after-effect"),
            Fault::Silent => f.write_str("hang"),
            Fault::StatusAfterEffect(status) => write!(f, "status-after-effect={status}"),
            Fault::Status(status) => write!(f, "status={status}"),
        }
    }
}
