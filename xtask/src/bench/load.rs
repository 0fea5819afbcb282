//! The load generator: it sends GET requests over kept connections, in a closed or an open loop.
//!
//! In a closed loop, each connection sends its next request when its last one was answered. In an open loop, requests
//! are due at fixed times, whatever the proxy does, and the latency of a request is measured from the time at which it
//! was due. A separate thread waits for these times, because the runtime's timer is only exact to a millisecond.
//!
//! The obvious way would be to measure latency from the moment at which a request is sent. This hides every stall:
//! while all connections wait for answers, the next requests are sent late, and this delay is not counted ("coordinated
//! omission").
//!
//! The generator runs as a separate process. It prints `begin` when the warm-up is over, and one line of JSON at the
//! end. The parent process reads the proxy's CPU time when it receives each of these two lines.

use std::cell::RefCell;
use std::io::{Error, ErrorKind, Result as IoResult, Write};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::LocalSet;

use super::upstream::head_end;
use crate::process::Outcome;

/// The maximum length of an answer's head, and the maximum number of bytes of a body that are read at a time.
const BUFFER_BYTES: usize = 16 * 1024;

/// A request that is not answered when the run ends counts as an error if it has waited for longer than this. Other
/// unanswered requests are not counted.
const STUCK: Duration = Duration::from_secs(1);

/// The load: where requests are sent, how many, and for how long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Load {
    /// The loopback port to which requests are sent.
    #[arg(long)]
    pub(crate) port: u16,
    /// The path that is requested.
    #[arg(long)]
    pub(crate) path: String,
    /// The number of connections, which are kept open.
    #[arg(long)]
    pub(crate) connections: usize,
    /// The number of seconds before counting starts.
    #[arg(long)]
    pub(crate) warm_up: f64,
    /// The number of seconds in which requests are counted.
    #[arg(long)]
    pub(crate) seconds: f64,
    /// The number of requests that are sent per second, whether or not earlier ones were answered (an open loop).
    /// Without this option, each connection sends its next request when its last one was answered (a closed loop).
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    /// Send POST requests, each with an idempotency key and a body of its own, in place of GET requests.
    #[arg(long)]
    pub(crate) keyed: bool,
}

/// The figures of the time in which requests were counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// The number of requests that were answered with 200 and a complete body.
    pub(crate) requests: u64,
    /// The number of requests that failed or got no complete answer. A request that is still not answered when the run
    /// ends counts if it has waited for more than a second. A request that was due but never sent counts as well.
    pub(crate) errors: u64,
    /// The length of the time in which requests were counted, in seconds.
    pub(crate) seconds: f64,
    /// The median time to the complete answer, in nanoseconds.
    pub(crate) p50_ns: u64,
    /// The 99th percentile of the time to the complete answer, in nanoseconds.
    pub(crate) p99_ns: u64,
    /// The text of the first error after the warm-up, for a person who looks for the cause; `None` if there was no
    /// error.
    pub(crate) first_error: Option<String>,
}

impl Seen {
    /// Returns the JSON that the generator prints as its last line.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "requests": self.requests,
            "errors": self.errors,
            "seconds": self.seconds,
            "p50_ns": self.p50_ns,
            "p99_ns": self.p99_ns,
            "first_error": self.first_error,
        })
    }

    /// Reads the last line that the generator prints, and returns its figures. Fails if the line is not such a line.
    pub(crate) fn from_json(line: &str) -> Outcome<Seen> {
        let value: Value = serde_json::from_str(line).map_err(|e| format!("load said `{line}`: {e}"))?;
        let count = |name: &str| {
            value[name].as_u64().ok_or_else(|| format!("load said `{line}`: no number `{name}`"))
        };
        Ok(Seen {
            requests: count("requests")?,
            errors: count("errors")?,
            seconds: value["seconds"].as_f64().ok_or_else(|| format!("load said `{line}`: no seconds"))?,
            p50_ns: count("p50_ns")?,
            p99_ns: count("p99_ns")?,
            first_error: value["first_error"].as_str().map(str::to_owned),
        })
    }
}

/// The results of all connections.
#[derive(Default)]
struct Book {
    latencies_ns: Vec<u64>,
    errors: u64,
    first_error: Option<String>,
    /// For each connection, the time from which the latency of its current request is measured; `None` if no request of
    /// this connection is waiting for an answer.
    running: Vec<Option<Instant>>,
}

impl Book {
    /// Removes the results of the warm-up. Requests that are still waiting for an answer are kept.
    fn forget_results(&mut self) {
        self.latencies_ns.clear();
        self.errors = 0;
        self.first_error = None;
    }
}

type Shared = Rc<RefCell<Book>>;
type Due = Rc<Mutex<UnboundedReceiver<Instant>>>;

/// Runs the load. Prints `begin` when counting starts, and the results as one line of JSON at the end.
pub(crate) fn run(load: &Load) -> Outcome<()> {
    println!("{}", measure(load)?.to_json());
    Ok(())
}

/// Runs the load, and returns its results. Prints `begin` when counting starts.
pub(crate) fn measure(load: &Load) -> Outcome<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("no runtime: {e}"))?;
    let due = load.rate.map(pace);
    let seen = LocalSet::new().block_on(&runtime, drive(load, due));
    // Two things still run: the thread that waits until requests are due, and the requests that have no answer yet.
    // They are not stopped here, because the process ends now.
    Ok(seen)
}

/// Starts a thread that waits, for each request, until the request is due, and then puts its due time into the returned
/// queue. The connections take the due times from this queue.
fn pace(rate: u32) -> Due {
    let (queue, due) = unbounded_channel();
    std::thread::spawn(move || {
        let start = Instant::now();
        for n in 0_u64.. {
            let at = start + Duration::from_nanos(n * 1_000_000_000 / u64::from(rate));
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if queue.send(at).is_err() {
                return;
            }
        }
    });
    Rc::new(Mutex::new(due))
}

async fn drive(load: &Load, due: Option<Due>) -> Seen {
    let book = Shared::default();
    book.borrow_mut().running.resize(load.connections, None);
    for slot in 0..load.connections {
        tokio::task::spawn_local(keep_sending(load.clone(), slot, due.clone(), book.clone()));
    }
    tokio::time::sleep(Duration::from_secs_f64(load.warm_up)).await;
    book.borrow_mut().forget_results();
    println!("begin");
    let _ = std::io::stdout().flush();
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs_f64(load.seconds)).await;
    let now = Instant::now();
    // Each due time that is still in the queue belongs to a request that was never sent. These requests are counted
    // here. A connection that waits for a due time holds the lock of the queue. It waits only if the queue is empty. So
    // if the lock is not free, there is nothing to count.
    let overdue = due.and_then(|queue| queue.try_lock().ok().map(|queue| queue.len() as u64));
    sum_up(&mut book.borrow_mut(), start, now, overdue.unwrap_or(0))
}

fn sum_up(book: &mut Book, start: Instant, now: Instant, overdue: u64) -> Seen {
    let stuck = book.running.iter().flatten().filter(|since| now - **since > STUCK).count() as u64;
    let latencies = &mut book.latencies_ns;
    latencies.sort_unstable();
    let first_error = book.first_error.take().or_else(|| {
        (stuck + overdue > 0).then(|| format!("at the end {stuck} hung and {overdue} were overdue"))
    });
    Seen {
        requests: latencies.len() as u64,
        errors: book.errors + stuck + overdue,
        seconds: (now - start).as_secs_f64(),
        p50_ns: percentile(latencies, 50),
        p99_ns: percentile(latencies, 99),
        first_error,
    }
}

/// Returns the nearest-rank percentile of sorted figures; 0 if there are no figures.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

async fn keep_sending(load: Load, slot: usize, due: Option<Due>, book: Shared) {
    loop {
        if let Err(e) = converse(&load, slot, due.as_ref(), &book).await {
            let mut book = book.borrow_mut();
            book.errors += 1;
            book.running[slot] = None;
            book.first_error.get_or_insert_with(|| e.to_string());
        }
        // Without this wait, a connect that is refused would be repeated in a busy loop.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Opens one connection, and sends requests on it one after the other. Returns the error that ended the connection, or
/// `Ok` if no further request will be due.
async fn converse(load: &Load, slot: usize, due: Option<&Due>, book: &Shared) -> IoResult<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, load.port)).await?;
    stream.set_nodelay(true)?;
    let request = format!(
        "GET {} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nuser-agent: seawall-bench\r\naccept: */*\r\n\r\n",
        load.path, load.port
    );
    let mut buffer = vec![0; BUFFER_BYTES];
    // The keys on this connection begin with the time at which it was opened. So they differ from the keys on an
    // earlier connection with the same `slot`.
    let name = start_micros();
    for n in 0_u64.. {
        let keyed = load.keyed.then(|| keyed(load, &format!("{name}-{slot}-{n}")));
        let start = match due {
            None => Instant::now(),
            Some(queue) => match queue.lock().await.recv().await {
                Some(at) => at,
                None => return Ok(()),
            },
        };
        book.borrow_mut().running[slot] = Some(start);
        stream.write_all(keyed.as_ref().unwrap_or(&request).as_bytes()).await?;
        read_answer(&mut stream, &mut buffer).await?;
        let mut book = book.borrow_mut();
        book.running[slot] = None;
        let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        book.latencies_ns.push(ns);
    }
    Ok(())
}

/// Returns the wall-clock time in microseconds.
fn start_micros() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_micros())
}

/// Returns a POST request with this key, and with a body that has the key in it.
fn keyed(load: &Load, key: &str) -> String {
    let body = format!("{{\"amount\":1200,\"currency\":\"EUR\",\"order\":\"{key}\"}}");
    format!(
        "POST {} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nuser-agent: seawall-bench\r\naccept: */*\r\ncontent-type: \
         application/json\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
        load.path,
        load.port,
        body.len()
    )
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> IoResult<()> {
    let mut filled = 0;
    let head = loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        if let Some(end) = head_end(&buffer[..filled]) {
            break end;
        }
    };
    let mut left = (head + body_length(&buffer[..head])?)
        .checked_sub(filled)
        .ok_or_else(|| Error::other("more bytes than the answer announced"))?;
    while left > 0 {
        let piece = left.min(buffer.len());
        match stream.read(&mut buffer[..piece]).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => left -= read,
        }
    }
    Ok(())
}

/// Returns the length of the body that the head of an answer announces. Fails if the status is not 200, or if the head
/// has no `content-length`. A chunked body has none, but the benchmark's upstreams send no chunked body to the
/// generator.
fn body_length(head: &[u8]) -> IoResult<usize> {
    if head.get(9..12) != Some(b"200") {
        return Err(Error::other(format!(
            "answered with {}",
            String::from_utf8_lossy(head.get(9..12).unwrap_or_default())
        )));
    }
    let name = b"content-length:";
    let lines = head.split(|byte| *byte == b'\n');
    let value = lines
        .filter(|line| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name))
        .find_map(|line| std::str::from_utf8(&line[name.len()..]).ok()?.trim().parse().ok());
    value.ok_or_else(|| Error::other("no content-length"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_the_nearest_rank() {
        let figures: Vec<u64> = (1..=200).collect();
        assert_eq!(percentile(&figures, 50), 100);
        assert_eq!(percentile(&figures, 99), 198);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[], 99), 0);
    }

    #[test]
    fn only_a_200_with_a_length_is_a_success() {
        assert_eq!(body_length(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n").unwrap(), 12);
        assert!(body_length(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").is_err());
        assert!(body_length(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn hung_and_overdue_requests_are_errors() {
        let start = Instant::now();
        let now = start + Duration::from_secs(5);
        let mut book = Book {
            latencies_ns: vec![3, 1, 2],
            running: vec![None, Some(start), Some(now - Duration::from_millis(10))],
            ..Book::default()
        };
        let seen = sum_up(&mut book, start, now, 4);
        assert_eq!((seen.requests, seen.errors, seen.p50_ns), (3, 5, 2));
        assert!(seen.first_error.is_some());
    }

    #[test]
    fn errors_of_the_warm_up_are_forgotten() {
        let start = Instant::now();
        let mut book = Book {
            latencies_ns: vec![7],
            errors: 1,
            first_error: Some("refused".into()),
            running: vec![Some(start)],
        };
        book.forget_results();
        let seen = sum_up(&mut book, start, start + Duration::from_secs(5), 0);
        assert_eq!((seen.requests, seen.errors), (0, 1));
        assert_eq!(seen.first_error.as_deref(), Some("at the end 1 hung and 0 were overdue"));
    }

    #[test]
    fn printed_line_is_read_back() {
        let seen = Seen {
            requests: 9,
            errors: 1,
            seconds: 2.5,
            p50_ns: 10,
            p99_ns: 20,
            first_error: Some("x".into()),
        };
        assert_eq!(Seen::from_json(&seen.to_json().to_string()).unwrap(), seen);
    }
}
