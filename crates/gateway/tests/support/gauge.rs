//! An upstream that counts the requests in flight, and holds its answers back until a test releases them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::soon;

/// The upstream. It accepts requests without a body over HTTP/1.1, and ends when its runtime ends.
pub struct Gauge {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

struct Seen {
    in_flight: AtomicUsize,
    most: AtomicUsize,
    /// The targets of all requests, in the order in which they came.
    targets: std::sync::Mutex<Vec<String>>,
    /// The number of answers that may be sent now. If this is `None`, each answer is sent after `hold`.
    leave: Option<Semaphore>,
    hold: Duration,
    /// The most requests at the same time. Requests beyond this number are answered 503.
    capacity: AtomicUsize,
    /// The time that the work on each request takes. Requests are worked on one after the other. If this is zero, all
    /// are worked on at the same time.
    work: std::sync::Mutex<Duration>,
    /// When the work on all requests so far will be done. This includes requests that were abandoned.
    done: std::sync::Mutex<Instant>,
}

impl Gauge {
    /// A gauge that answers each request after this time.
    pub async fn holding(hold: Duration) -> Gauge {
        Gauge::start(hold, None).await
    }

    /// A gauge that answers when a test calls [`Gauge::answer`].
    pub async fn gated() -> Gauge {
        Gauge::start(Duration::ZERO, Some(Semaphore::new(0))).await
    }

    async fn start(hold: Duration, leave: Option<Semaphore>) -> Gauge {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (in_flight, most, capacity) =
            (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(usize::MAX));
        let (work, done) = (Default::default(), std::sync::Mutex::new(Instant::now()));
        let targets = Default::default();
        let seen = Arc::new(Seen { in_flight, most, targets, leave, hold, capacity, work, done });
        let shared = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Gauge { address, seen }
    }

    /// The most requests that were in flight at the same time.
    pub fn most(&self) -> usize {
        self.seen.most.load(Ordering::SeqCst)
    }

    /// Lets this number of answers be sent.
    pub fn answer(&self, answers: usize) {
        self.seen.leave.as_ref().expect("it is gated").add_permits(answers);
    }

    /// From now on, requests beyond this number at the same time are answered 503.
    pub fn takes(&self, capacity: usize) {
        self.seen.capacity.store(capacity, Ordering::SeqCst);
    }

    /// From now on requests are worked on one after the other, each for this time, and they wait for their turn. Requests that
    /// were abandoned are worked on, too. With a time of zero, all are worked on at the same time.
    pub fn works(&self, each: Duration) {
        *self.seen.work.lock().unwrap() = each;
        *self.seen.done.lock().unwrap() = Instant::now();
    }

    pub fn targets(&self) -> Vec<String> {
        self.seen.targets.lock().unwrap().clone()
    }

    /// Waits until this number of requests has come.
    pub async fn until(&self, requests: usize) {
        soon("requests at the gauge", async {
            while self.seen.targets.lock().unwrap().len() < requests {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }
}

impl Seen {
    /// Returns the time until the request that has just come is answered.
    fn turn(&self) -> Duration {
        let work = *self.work.lock().unwrap();
        let mut done = self.done.lock().unwrap();
        let now = Instant::now();
        *done = (*done).max(now) + work;
        self.hold.max(*done - now)
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Seen>) {
    let mut read = Vec::new();
    loop {
        while !read.windows(4).any(|four| four == b"\r\n\r\n") {
            let mut piece = [0; 4096];
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read.extend_from_slice(&piece[..length]),
            }
        }
        let head = String::from_utf8_lossy(&read).into_owned();
        read.clear();
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let now = seen.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        seen.most.fetch_max(now, Ordering::SeqCst);
        seen.targets.lock().unwrap().push(target);
        match &seen.leave {
            Some(leave) => leave.acquire().await.unwrap().forget(),
            None => tokio::time::sleep(seen.turn()).await,
        }
        let status = if now > seen.capacity.load(Ordering::SeqCst) { "503 No" } else { "200 OK" };
        seen.in_flight.fetch_sub(1, Ordering::SeqCst);
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
