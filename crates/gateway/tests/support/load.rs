//! Many calls at the same time, and what each caller got.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::raw::{Caller, Ended};

/// One call, and what its caller was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The value of `x-id` that the call carried.
    pub id: String,
    /// The status; 0 where no answer came.
    pub status: u16,
    pub effect: String,
    pub attempts: u32,
    pub reason: String,
    /// When the call was made.
    pub at: Instant,
    /// How long the caller waited.
    pub took: Duration,
}

/// The time within which this percentage of the calls was answered.
pub fn percentile<'a>(calls: impl IntoIterator<Item = &'a Call>, percent: usize) -> Duration {
    let mut took: Vec<Duration> = calls.into_iter().map(|call| call.took).collect();
    took.sort_unstable();
    took[(took.len() * percent / 100).min(took.len() - 1)]
}

/// A load: a number of calls, divided over a number of connections. Each connection makes one call after the other.
pub struct Load {
    pub method: &'static str,
    pub target: &'static str,
    pub calls: u64,
    pub connections: u64,
    /// When a caller makes its next call.
    pub pace: Pace,
}

/// The time between the calls of one caller.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Immediately after the answer.
    AtOnce,
    /// This long after the last call began.
    Every(Duration),
    /// This long after the answer.
    Rests(Duration),
}

impl Load {
    /// Makes the calls, and returns the result of each, in no particular order.
    pub async fn run(self, gateway: SocketAddr) -> Vec<Call> {
        let load = Arc::new(self);
        let next = Arc::new(AtomicU64::new(0));
        let mut callers = JoinSet::new();
        for _ in 0..load.connections {
            callers.spawn(caller(Arc::clone(&load), Arc::clone(&next), gateway));
        }
        let calls: Vec<Call> = callers.join_all().await.into_iter().flatten().collect();
        assert_eq!(calls.len() as u64, load.calls, "every call was answered for");
        calls
    }
}

async fn caller(load: Arc<Load>, next: Arc<AtomicU64>, gateway: SocketAddr) -> Vec<Call> {
    let mut connection = Caller::connect(gateway).await;
    let mut beat = tokio::time::interval(match load.pace {
        Pace::Every(period) => period,
        Pace::AtOnce | Pace::Rests(_) => Duration::from_secs(1),
    });
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut calls = Vec::new();
    loop {
        match load.pace {
            Pace::Rests(rest) if !calls.is_empty() => tokio::time::sleep(rest).await,
            Pace::Every(_) => drop(beat.tick().await),
            Pace::AtOnce | Pace::Rests(_) => {}
        }
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= load.calls {
            return calls;
        }
        let id = format!("{}-{number}", load.method);
        let body = if load.method == "POST" { "amount=5" } else { "" };
        let at = Instant::now();
        let heard = connection.ask(load.method, load.target, &[("x-id", &id)], body).await;
        let told = |name| heard.header(name).unwrap_or_default().to_owned();
        calls.push(Call {
            id,
            status: heard.status.unwrap_or_default(),
            effect: told("seawall-effect"),
            attempts: told("seawall-attempts").parse().unwrap_or(0),
            reason: told("seawall-reason"),
            at,
            took: at.elapsed(),
        });
        if heard.ended != Ended::Open {
            connection = Caller::connect(gateway).await;
        }
    }
}
