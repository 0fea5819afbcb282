//! A dependency that follows its script, whatever the request is.
//!
//! A lane belongs to one dependency of the gateway, and only one call is made on it at a time. So every request that comes
//! belongs to that call, and no path is needed to find its script.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;

use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::case::{Answer, Split};
use super::support::soon;
use super::{one, two};

/// What the dependency does, and what it has seen.
#[derive(Default)]
pub struct Lane {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    script: Option<(Answer, Split)>,
    /// The number of whole requests since the script was set.
    requests: usize,
    /// The number of scripts that were played to their end, or until the connection ended.
    played: usize,
    /// Whether the caller has seen a head.
    head_seen: bool,
    /// Whether the caller has seen the answer to its end.
    heard: bool,
}

impl Lane {
    /// Opens a lane whose dependency listens on a port of its own, and speaks HTTP/2 if `two` says so.
    pub async fn open(two: bool) -> (Arc<Lane>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lane = Arc::new(Lane::default());
        let served = Arc::clone(&lane);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                let lane = Arc::clone(&served);
                tokio::spawn(async move {
                    match two {
                        true => two::serve(stream, &lane).await,
                        false => one::serve(stream, &lane).await,
                    }
                });
            }
        });
        (lane, address)
    }

    /// From now on every request gets this answer.
    pub fn set(&self, answer: Answer, split: Split) {
        *self.state.lock().unwrap() = State { script: Some((answer, split)), ..State::default() };
    }

    /// Counts a whole request, and returns what to do with it.
    pub fn take(&self) -> Option<(Answer, Split)> {
        let mut state = self.state.lock().unwrap();
        state.requests += 1;
        state.script.clone()
    }

    pub fn requests(&self) -> usize {
        self.state.lock().unwrap().requests
    }

    pub fn head_seen(&self) {
        self.state.lock().unwrap().head_seen = true;
    }

    pub fn heard(&self) {
        self.state.lock().unwrap().heard = true;
        self.changed.notify_waiters();
    }

    pub fn played(&self) {
        self.state.lock().unwrap().played += 1;
        self.changed.notify_waiters();
    }

    /// Gives the gateway up to `turns` turns of the runtime to take the bytes that were written so far. Returns early if the
    /// caller has seen the head.
    pub async fn chance(&self, turns: usize) {
        for _ in 0..turns {
            if self.state.lock().unwrap().head_seen {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    pub async fn until_heard(&self) {
        self.until(|state| state.heard).await;
    }

    /// Waits until every request that came has been answered as its script says.
    pub async fn until_played(&self) {
        soon("the end of the script", self.until(|state| state.played >= state.requests)).await;
    }

    async fn until(&self, reached: impl Fn(&State) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if reached(&self.state.lock().unwrap()) {
                return;
            }
            changed.await;
        }
    }
}
