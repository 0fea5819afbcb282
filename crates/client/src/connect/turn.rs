//! The writes of one turn, sent together.
//!
//! The obvious way sends each message when it is made. A proxy makes them one by one, some microseconds apart, and each
//! finds its receiver asleep: waking a process on another core costs the sender more than the message itself (measured:
//! an eighth of a request's CPU went there). Sent together at the end of a turn of the event loop, the first wakes the
//! receiver, and the rest find it awake.
//!
//! A thread takes part when it says so ([`join_turns`]) and its runtime calls [`send_turn`] before it parks; all others
//! send at once. What waits here has not been sent, and [`super::Meter::written`] does not count it: a connection of ours that
//! is given up in between takes it along unsent.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::socket::{Meter, Socket};

/// Longer messages are sent at once: copying them would cost more than it saves.
const MESSAGE_BYTES: usize = 16 << 10;
/// A turn is sent when so many messages were made in it, so that its first does not wait for many others: an event loop
/// that always has something ready never parks.
const MESSAGES: usize = 32;
/// And when its first has waited for so long at the next. Messages that are quick to make, as those of a fast proxy are, come
/// 10 µs apart, so that a score of them still go together; slow ones do not add up.
const WAIT: Duration = Duration::from_micros(200);

#[derive(Default)]
struct Turn {
    queued: Vec<Arc<Outbox>>,
    messages: usize,
    /// When the first message was made.
    began: Option<Instant>,
}

impl Turn {
    fn is_full(&self) -> bool {
        self.messages >= MESSAGES || self.began.is_some_and(|began| began.elapsed() >= WAIT)
    }
}

thread_local! {
    static TURN: RefCell<Option<Turn>> = const { RefCell::new(None) };
}

/// From here on, connections driven by this thread send their messages at the end of its turns.
pub fn join_turns() {
    TURN.with_borrow_mut(|turn| {
        turn.get_or_insert_with(Turn::default);
    });
}

/// Sends what this turn has made. The runtime calls it before its thread parks; nothing is left behind by an early return of
/// the event loop, since what was queued stays queued until it was.
pub fn send_turn() {
    let Some(Turn { mut queued, .. }) = TURN.with_borrow_mut(|turn| turn.as_mut().map(std::mem::take)) else {
        return;
    };
    for outbox in queued.drain(..) {
        outbox.send_queued();
    }
    // The room is kept for the next turn.
    TURN.with_borrow_mut(|turn| {
        if let Some(turn) = turn.as_mut().filter(|turn| turn.queued.is_empty()) {
            turn.queued = queued;
        }
    });
}

/// Sends what this turn has made if its first message has waited for long. For work that makes no message of its own and may
/// be many times as much as a message is, as taking in a crowd of connections.
pub fn send_overdue() {
    if TURN.with_borrow(|turn| turn.as_ref().is_some_and(Turn::is_full)) {
        send_turn();
    }
}

/// What one connection has to send.
#[derive(Debug)]
pub(super) struct Outbox {
    socket: Arc<Socket>,
    meter: Arc<Meter>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// In the turn of some thread.
    queued: bool,
    /// Who made the last message; called when not all of it could be sent.
    task: Option<Waker>,
}

/// What became of a message.
pub(super) enum Posted {
    /// It goes out with the turn.
    Taken,
    /// It is to be sent at once; nothing waits before it.
    Direct,
    /// What waits must go first.
    Full,
}

impl Outbox {
    pub(super) fn new(socket: Arc<Socket>, meter: Arc<Meter>) -> Outbox {
        Outbox { socket, meter, state: Mutex::default() }
    }

    /// Takes a message for the end of the turn, if this thread has turns and the message fits.
    pub(super) fn post(self: &Arc<Self>, message: &[u8], task: &Waker) -> Posted {
        let mut state = self.state.lock();
        let room = MESSAGE_BYTES.saturating_sub(state.bytes.len());
        let waits = !state.bytes.is_empty();
        let joined = message.len() <= room && (state.queued || !waits) && self.join_turn(&mut state.queued);
        if joined {
            state.bytes.extend_from_slice(message);
            if !state.task.as_ref().is_some_and(|known| known.will_wake(task)) {
                state.task = Some(task.clone());
            }
        }
        drop(state);
        match joined {
            true if TURN.with_borrow(|turn| turn.as_ref().is_some_and(Turn::is_full)) => {
                send_turn();
                Posted::Taken
            }
            true => Posted::Taken,
            // Who sends at once must not do so again and again before those that wait.
            false => {
                send_turn();
                if waits { Posted::Full } else { Posted::Direct }
            }
        }
    }

    /// Counts a message into the thread's turn; `false` where the thread has none.
    fn join_turn(self: &Arc<Self>, queued: &mut bool) -> bool {
        TURN.with_borrow_mut(|turn| {
            let Some(turn) = turn else { return false };
            turn.messages += 1;
            turn.began.get_or_insert_with(Instant::now);
            if !std::mem::replace(queued, true) {
                turn.queued.push(Arc::clone(self));
            }
            true
        })
    }

    /// Nothing waits, or it goes out with the turn.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state.lock();
        state.queued || state.bytes.is_empty()
    }

    /// Sends what waits, as far as the socket takes it; `WouldBlock` where some is left.
    pub(super) fn send(&self) -> io::Result<()> {
        self.state.lock().send(&self.socket, &self.meter)
    }

    /// What waits is not to be sent any more.
    pub(super) fn discard(&self) {
        self.state.lock().bytes.clear();
    }

    fn send_queued(&self) {
        let mut state = self.state.lock();
        state.queued = false;
        if state.send(&self.socket, &self.meter).is_err()
            && let Some(task) = state.task.take()
        {
            // Not all of it, or none: its task flushes the rest, or learns from the socket what is wrong.
            drop(state);
            task.wake();
        }
    }
}

impl State {
    fn send(&mut self, socket: &Socket, meter: &Meter) -> io::Result<()> {
        while !self.bytes.is_empty() {
            let tcp: &TcpStream = socket.tcp().ok_or(io::ErrorKind::NotConnected)?;
            let sent = tcp.try_write(&self.bytes)?;
            meter.add_written(sent);
            if sent == self.bytes.len() {
                self.bytes.clear();
            } else {
                self.bytes.drain(..sent);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
