//! Performs many actions at the same time for some seconds, and measures what they cost. The programs for all measured
//! libraries share this file.
//!
//! It prints `begin` when the warm-up is over, and one line of JSON at the end:
//! `{"actions":N,"seconds":S,"p50_us":…,"p99_us":…,"errors":N}`.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The options of the command line. Each is written `--name=value`.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The database's URL.
    pub(crate) url: String,
    /// Where the provider listens.
    pub(crate) upstream: SocketAddr,
    /// The number of actions in flight.
    pub(crate) concurrency: usize,
    /// The time before the measurement begins.
    pub(crate) warm_up: Duration,
    /// The length of the measurement.
    pub(crate) span: Duration,
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Panics
    ///
    /// If an option is missing or wrong. Only the benchmark calls this.
    pub(crate) fn from_args() -> Asked {
        let args: Vec<String> = std::env::args().collect();
        let option = |name: &str| {
            let prefix = format!("--{name}=");
            let found = args.iter().find_map(|arg| arg.strip_prefix(prefix.as_str()));
            found.unwrap_or_else(|| panic!("--{name}=… is missing")).to_owned()
        };
        let seconds = |name: &str| Duration::from_secs_f64(option(name).parse().expect("seconds"));
        Asked {
            url: option("url"),
            upstream: option("upstream").parse().expect("an address"),
            concurrency: option("concurrency").parse().expect("a number"),
            warm_up: seconds("warm-up"),
            span: seconds("seconds"),
        }
    }
}

/// Open connections to the provider, which are used again.
#[derive(Clone)]
pub(crate) struct Line {
    upstream: SocketAddr,
    idle: Arc<Mutex<Vec<TcpStream>>>,
}

impl Line {
    /// Begins without a connection.
    pub(crate) fn new(upstream: SocketAddr) -> Line {
        Line { upstream, idle: Arc::default() }
    }

    /// Sends one POST and reads its answer.
    pub(crate) async fn post(&self, key: &str, body: &[u8]) -> std::io::Result<()> {
        let idle = self.idle.lock().expect("nobody panics with it").pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.upstream).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        let head = format!(
            "POST /charges HTTP/1.1\r\nhost: {}\r\nidempotency-key: {key}\r\ncontent-length: {}\r\n\r\n",
            self.upstream,
            body.len()
        );
        let mut message = head.into_bytes();
        message.extend_from_slice(body);
        stream.write_all(&message).await?;
        let mut answer = [0; 1024];
        let mut filled = 0;
        // The provider's answer is short: a head and one hundred bytes.
        loop {
            let read = stream.read(&mut answer[filled..]).await?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            let head = answer[..filled].windows(4).position(|four| four == b"\r\n\r\n");
            if head.is_some_and(|end| filled >= end + 4 + 100) {
                break;
            }
        }
        self.idle.lock().expect("nobody panics with it").push(stream);
        Ok(())
    }
}

/// Calls `act` again and again in several tasks. `act` gets a number that is never used twice, and returns whether it
/// succeeded.
pub(crate) async fn drive<F, Fut>(asked: &Asked, act: F)
where
    F: Fn(u64) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = bool> + Send,
{
    let begin = Instant::now() + asked.warm_up;
    let end = begin + asked.span;
    let number = Arc::new(AtomicU64::new(0));
    let errors = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    for _ in 0..asked.concurrency {
        let (act, number, errors) = (act.clone(), number.clone(), errors.clone());
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            loop {
                let from = Instant::now();
                if from >= end {
                    return took;
                }
                let well = act(number.fetch_add(1, Ordering::Relaxed)).await;
                let now = Instant::now();
                if !well {
                    errors.fetch_add(1, Ordering::Relaxed);
                } else if now >= begin && now < end {
                    took.push(u32::try_from((now - from).as_micros()).unwrap_or(u32::MAX));
                }
            }
        }));
    }
    tokio::time::sleep_until(begin.into()).await;
    println!("begin");
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("an action panicked"));
    }
    all.sort_unstable();
    let at = |share: f64| all.get(((all.len() as f64) * share) as usize).or(all.last()).copied().unwrap_or(0);
    println!(
        "{{\"actions\":{},\"seconds\":{},\"p50_us\":{},\"p99_us\":{},\"errors\":{}}}",
        all.len(),
        asked.span.as_secs_f64(),
        at(0.5),
        at(0.99),
        errors.load(Ordering::Relaxed)
    );
}
