//! Sends the messages of several connections together: at the end of each *turn* of the event loop. In one turn, the
//! event loop runs all tasks that are ready. Then its thread sleeps until something happens.
//!
//! If the messages are sent together at the end of a turn, the first wakes the receiver, and the others find it awake.
//! The obvious way would send each message when it is made. But a proxy makes its messages one by one, some
//! microseconds apart, so each would find its receiver asleep. Waking a process on another core costs the sender more
//! than the message itself (measured: an eighth of a request's CPU).
//!
//! A thread takes part if it calls [`join_turns`] and its runtime calls [`send_turn`] before the thread sleeps. All
//! other threads send immediately. A message that waits here has not been sent, and [`super::Meter::written`] does not
//! count it. If a connection that we made is given up while messages wait, they are never sent.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::socket::{Meter, Socket};

/// The maximum length, in bytes, of a message that is kept until the end of the turn. A longer message is sent
/// immediately, because copying it would cost more than is saved.
const MESSAGE_BYTES: usize = 16 << 10;
/// The maximum number of messages that wait for the end of a turn. When it is reached, all of them are sent. Without
/// this bound, an event loop that always has something to do would never come to the end of its turn, and would never
/// send.
const MESSAGES: usize = 32;
/// The maximum time for which a message waits for the end of a turn. When it has passed, the next message that is made
/// causes all waiting messages to be sent. A fast proxy makes a message every 10 µs, so about twenty of them still go
/// together.
const WAIT: Duration = Duration::from_micros(200);

#[derive(Default)]
struct Turn {
    queued: Vec<Arc<Outbox>>,
    messages: usize,
    /// The time at which the first of the waiting messages was made; `None` if no message waits.
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

/// From now on, messages of this thread's connections are queued. They are sent together at the end of each turn of the
/// event loop.
pub fn join_turns() {
    TURN.with_borrow_mut(|turn| {
        turn.get_or_insert_with(Turn::default);
    });
}

/// Sends all waiting messages of this thread. The runtime must call this function before the thread sleeps. If it is
/// called later, nothing is lost: the messages stay queued until they are sent.
pub fn send_turn() {
    let Some(Turn { mut queued, .. }) = TURN.with_borrow_mut(|turn| turn.as_mut().map(std::mem::take)) else {
        return;
    };
    for outbox in queued.drain(..) {
        outbox.send_queued();
    }
    // The vector's allocation is kept for the next turn.
    TURN.with_borrow_mut(|turn| {
        if let Some(turn) = turn.as_mut().filter(|turn| turn.queued.is_empty()) {
            turn.queued = queued;
        }
    });
}

/// Sends all waiting messages of this thread if there are `MESSAGES` of them or if the first has waited for `WAIT`. A
/// long piece of work that makes no messages itself, such as accepting many connections, calls this function now and
/// then, so that messages do not wait for its end.
pub fn send_overdue() {
    if TURN.with_borrow(|turn| turn.as_ref().is_some_and(Turn::is_full)) {
        send_turn();
    }
}

/// The bytes that one connection still has to send.
#[derive(Debug)]
pub(super) struct Outbox {
    socket: Arc<Socket>,
    meter: Arc<Meter>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// Whether a thread will send these bytes at the end of its turn of the event loop.
    queued: bool,
    /// The task that made the last message. It is woken if not all bytes could be sent. `None` if no message was made
    /// yet, or if this task was woken already.
    task: Option<Waker>,
}

/// What happened to a message.
pub(super) enum Posted {
    /// The message is queued, and is sent at the end of the turn of the event loop.
    Taken,
    /// The message was not taken. No earlier message of this connection waits, so the caller must send this one
    /// immediately.
    Direct,
    /// The message was not taken, because earlier bytes of this connection wait. They must be sent first.
    Full,
}

impl Outbox {
    pub(super) fn new(socket: Arc<Socket>, meter: Arc<Meter>) -> Outbox {
        Outbox { socket, meter, state: Mutex::default() }
    }

    /// Queues a message for the end of the turn, if this thread has called [`join_turns`] and the message is not too
    /// long. Returns what happened to the message.
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
            // This message is not queued, and will be sent as soon as possible. The messages that wait are sent before
            // it. Otherwise messages that are never queued (long ones) could overtake the waiting ones again and again.
            false => {
                send_turn();
                if waits { Posted::Full } else { Posted::Direct }
            }
        }
    }

    /// Queues one message of this connection for the end of the thread's turn. Returns `false`, and does nothing, if
    /// the thread has not called [`join_turns`].
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

    /// Returns whether nothing more needs to be done to send the bytes: no bytes wait, or the waiting bytes are sent at
    /// the end of the turn.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state.lock();
        state.queued || state.bytes.is_empty()
    }

    /// Sends as many of the waiting bytes as the socket takes. Fails with `WouldBlock` if some are left.
    pub(super) fn send(&self) -> io::Result<()> {
        self.state.lock().send(&self.socket, &self.meter)
    }

    /// Drops the bytes that wait, so that they are never sent.
    pub(super) fn discard(&self) {
        self.state.lock().bytes.clear();
    }

    fn send_queued(&self) {
        let mut state = self.state.lock();
        state.queued = false;
        if state.send(&self.socket, &self.meter).is_err()
            && let Some(task) = state.task.take()
        {
            // Not all bytes were sent. The task that made the last message is woken: it sends the rest, or learns from
            // the socket what is wrong.
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
