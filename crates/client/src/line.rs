//! One HTTP/1.1 connection, driven by the task that uses it.
//!
//! The usual way spawns a task for each connection and talks to it through channels: two wake-ups and two queue
//! operations for each request. Here the exchange polls the connection itself; an idle connection is polled by nobody
//! and looked at before it is used again.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use seawall_policy::Time;

use crate::Clock;
use crate::body::Outgoing;
use crate::connect::{AbsoluteForm, Connection, Meter, Peek, Probe, Stream};
use crate::ear::Ear;
use crate::watch::{Lapse, Timer, Watch};

/// The most that a server's head may be: hyper's read buffer.
const HEAD_BYTES: usize = 256 * 1024;

/// How often a connection that calls for more is driven before others get their turn.
pub(crate) const LOOKS: usize = 3;

pub(crate) struct Line {
    sender: http1::SendRequest<Outgoing>,
    conn: http1::Connection<Stream, Outgoing>,
    open: bool,
    ear: Ear,
    pub(crate) meter: Arc<Meter>,
    probe: Probe,
    tls: bool,
    pub(crate) timer: Timer,
    pub(crate) absolute_form: Option<AbsoluteForm>,
    pub(crate) born: Time,
    pub(crate) idle_since: Time,
    /// How long it had been idle when it was last seen open.
    pub(crate) seen_open: Duration,
    /// It has carried an exchange before.
    pub(crate) used: bool,
}

/// How an exchange failed before its head.
pub(crate) enum Failure {
    /// hyper gave up; the request may come back with the error, which proves that it was not sent.
    Hyper { error: hyper::Error, returned: Option<Box<Request<Outgoing>>> },
    /// A deadline passed.
    Lapsed(Lapse),
}

impl Line {
    pub(crate) async fn open(
        connection: Connection,
        tls: bool,
        clock: Clock,
        now: Time,
    ) -> Result<Box<Line>, hyper::Error> {
        let (sender, conn) = http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(connection.io).await?;
        Ok(Box::new(Line {
            sender,
            conn,
            open: true,
            ear: Ear::new(),
            meter: connection.meter,
            probe: connection.probe,
            tls,
            timer: Timer::new(clock, Time::NEVER),
            absolute_form: connection.absolute_form,
            born: now,
            idle_since: now,
            seen_open: Duration::ZERO,
            used: false,
        }))
    }

    /// Bytes in either direction: grows while there is progress.
    pub(crate) fn progress(&self) -> u64 {
        self.meter.progress()
    }

    /// Lets hyper read and write. What it then calls for is only remembered, until somebody listens.
    pub(crate) fn drive(&mut self) {
        self.ear.close();
        if self.open && Pin::new(&mut self.conn).poll(&mut Context::from_waker(self.ear.waker())).is_ready() {
            self.open = false;
        }
    }

    /// From here on the connection wakes `task`. `false`: it has called already; drive it, and listen again.
    pub(crate) fn listen(&self, task: &Waker) -> bool {
        self.ear.listen(task)
    }

    /// Nobody listens any more.
    pub(crate) fn park(&self) {
        self.ear.close();
    }

    /// Whether another request may go out on it, as far as HTTP is concerned.
    pub(crate) fn is_ready(&self) -> bool {
        self.open && self.sender.is_ready()
    }

    /// Whether an idle connection is still what it was: open, and nothing has come unasked. What waits to be read on a
    /// plain connection (a late 408, say) would be taken for the next answer; under TLS it may be a session ticket,
    /// so hyper reads it first, and ends the connection if it is more.
    pub(crate) fn is_quiet(&mut self) -> bool {
        const ROUNDS: usize = 4;
        if !self.is_ready() {
            return false;
        }
        for _ in 0..ROUNDS {
            match self.probe.peek() {
                Peek::Quiet => return self.is_ready(),
                Peek::Readable if self.tls => {
                    self.meter.force_read(true);
                    self.drive();
                    self.meter.force_read(false);
                }
                Peek::Readable | Peek::Ended | Peek::Broken(_) => return false,
            }
        }
        false
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Outgoing>,
        watch: &mut Watch,
    ) -> Result<Response<Incoming>, Failure> {
        let mut begun = false;
        self.used = true;
        // Whoever drops it from here on gives the work up; the pool turns this off again.
        self.meter.reset_on_drop(true);
        let mut response = pin!(self.sender.try_send_request(request));
        std::future::poll_fn(|cx| {
            for _ in 0..LOOKS {
                self.ear.close();
                let mut ours = Context::from_waker(self.ear.waker());
                if self.open && Pin::new(&mut self.conn).poll(&mut ours).is_ready() {
                    self.open = false;
                }
                // The answer can only come from the poll above, so nobody needs to be woken for it.
                let mut quiet = Context::from_waker(Waker::noop());
                if let Poll::Ready(done) = response.as_mut().poll(&mut quiet) {
                    return Poll::Ready(done.map_err(|mut failed| {
                        let returned = failed.take_message().map(Box::new);
                        Failure::Hyper { error: failed.into_error(), returned }
                    }));
                }
                if self.ear.listen(cx.waker()) {
                    let progress = self.meter.progress();
                    if !std::mem::replace(&mut begun, true) {
                        // Written in the moment that the watch began with: the clock need not be asked.
                        watch.has_seen(progress);
                    }
                    let lapsed = watch.poll(&mut self.timer, progress, cx);
                    return lapsed.map(|lapse| Err(Failure::Lapsed(lapse)));
                }
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await
    }
}
