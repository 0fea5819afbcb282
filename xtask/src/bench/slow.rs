//! `cargo xtask bench slow-readers`: measures the gateway's memory while many exchanges make no progress.
//!
//! If a caller does not read a long answer, a part of the answer stays in the gateway's buffers. If a dependency does
//! not read a long upload, a part of the upload stays there. Each case starts a new gateway with two workers in front
//! of its own upstream. It measures the gateway's memory without stalled exchanges, with one of them, with all of them,
//! and after all callers have left.
//!
//! The memory with one exchange is measured separately, because it includes what the gateway allocates only once and
//! all exchanges share. Only anonymous memory is counted, since the kernel can free pages of the program's own file at
//! any time.

use std::fmt::Write as _;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::cell::{Bench, Scenario, build};
use super::measure::Memory;
use super::proxies::{self, Arm, Programs};
use super::report;
use super::still::{BEGIN_WITHIN, Still};
use super::upstream::LONG_BYTES;
use crate::process::{Outcome, free_port, target};

/// The options of `cargo xtask bench slow-readers`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The number of stalled callers that each case has at the same time.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u16).range(2..=1000))]
    readers: u16,
    /// The path of the gateway's program. Without this option, a release build of this tree is made and measured.
    #[arg(long)]
    program: Option<PathBuf>,
    /// Run only the cases whose name contains this text.
    #[arg(long)]
    only: Option<String>,
}

/// One kind of exchange that makes no progress.
struct Case {
    name: &'static str,
    path: &'static str,
    /// Whether the caller sends a body of [`LONG_BYTES`] that the upstream does not read. If not, the upstream sends a
    /// long answer that the caller does not read.
    upload: bool,
}

const CASES: [Case; 3] = [
    Case { name: "answers with a length", path: "/long", upload: false },
    Case { name: "answers in chunks", path: "/chunked", upload: false },
    Case { name: "uploads", path: "/stall", upload: true },
];

/// A load without stalled callers, which is measured after the cases: 512 connections that are kept open between
/// requests.
const KEPT: Scenario = Scenario {
    name: "512 kept connections, 100 B, 2 workers",
    connections: 512,
    path: "/100",
    workers: 2,
    rate: None,
};

/// The size of the socket buffers that the callers request from the kernel. It is small, so that the callers' sockets
/// hold only few of the bytes that make no progress.
const SOCKET_BYTES: u32 = 4096;
/// The maximum number of callers that may have started without having begun their exchange. After each start, the
/// benchmark waits until there are at most this many of them. If all callers started together, the gateway's connects
/// to the upstream could take too long on a busy machine.
const CROWD: usize = 50;
/// The time between two measurements while the memory grows.
const LOOK: Duration = Duration::from_millis(50);
/// If the memory has not grown by more than [`STILL_KIB`] for this time, it counts as no longer growing.
const STILL: Duration = Duration::from_millis(500);
const STILL_KIB: u64 = 128;
/// The maximum time to wait until the memory stops growing. It is less than 10 s, because the gateway ends an exchange
/// after 10 s without progress.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
/// The times at which the memory is measured after all callers have left, counted from the moment when they left.
const AFTER: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];

/// The gateway's anonymous memory in one case, in KiB: without stalled callers, with one, with all, and at the times in
/// [`AFTER`].
struct Seen {
    rest: u64,
    one: u64,
    all: u64,
    after: [u64; AFTER.len()],
}

/// Measures all cases and prints the table.
pub(crate) fn slow_readers(options: &Options) -> Outcome<()> {
    let program = match &options.program {
        Some(program) => program.canonicalize().map_err(|e| format!("{}: {e}", program.display()))?,
        None => {
            build("seawall-gateway")?;
            target().join("release").join("seawall")
        }
    };
    let bench = prepare(program)?;
    let part = options.only.as_deref().unwrap_or_default();
    println!("{}\n", report::heading(&bench)?);
    println!("{} callers, two workers; anonymous memory in MiB\n", options.readers);
    println!("{}", heading(options.readers));
    for case in CASES.iter().filter(|case| case.name.contains(part)) {
        println!("{}", row(case.name, options.readers, &measure(&bench, case, options.readers)?));
    }
    if KEPT.name.contains(part) {
        let port = free_port()?;
        let _upstream = bench.upstream(&KEPT, port)?;
        let cell = bench.cell(0, 0, Arm::Seawall, port)?;
        println!(
            "\n{}: {:.1} MiB of anonymous memory at most under load, {:.1} at rest (RSS {:.1} and {:.1}); {} errors",
            KEPT.name,
            mib(cell.peak.anonymous_kib),
            mib(cell.idle.anonymous_kib),
            mib(cell.peak.rss_kib),
            mib(cell.idle.rss_kib),
            cell.seen.errors
        );
    }
    Ok(())
}

fn prepare(program: PathBuf) -> Outcome<Bench> {
    let folder = target().join("bench");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(Bench {
        programs: Programs { seawall: Some(program), before: None },
        arms: vec![Arm::Seawall],
        scenarios: vec![KEPT],
        seconds: 2.0,
        rounds: 1,
        // The speed of the load generator does not matter here. So this program itself is used as the generator, even
        // if it is a development build.
        generator: std::env::current_exe().map_err(|e| format!("this program's own file: {e}"))?,
        folder,
    })
}

fn measure(bench: &Bench, case: &Case, readers: u16) -> Outcome<Seen> {
    let up = free_port()?;
    let _upstream = bench.upstream(&KEPT, up)?;
    let gateway =
        proxies::start(Arm::Seawall, &bench.programs, up, KEPT.workers, KEPT.proxy_cpus(), &bench.folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("no runtime: {e}"))?;
    let group = gateway.server.group();
    let seen = runtime.block_on(async {
        let mut callers = Callers::new(case, gateway.port);
        let rest = settled(group).await;
        callers.begin(1).await?;
        let one = settled(group).await;
        callers.begin(usize::from(readers) - 1).await?;
        let all = settled(group).await;
        callers.still.leave().await?;
        let left = Instant::now();
        let mut after = [0; AFTER.len()];
        for (delay, kib) in AFTER.into_iter().zip(&mut after) {
            sleep_until(left + delay).await;
            *kib = Memory::of(group).anonymous_kib;
        }
        Ok(Seen { rest, one, all, after })
    });
    seen.map_err(|why: String| format!("{}: {why}", case.name))
}

/// The stalled callers of one case, and what each of them sends.
struct Callers {
    address: SocketAddr,
    head: Arc<str>,
    upload: bool,
    still: Still,
}

impl Callers {
    fn new(case: &Case, port: u16) -> Callers {
        let mut head = String::new();
        let method = if case.upload { "POST" } else { "GET" };
        let _ = write!(head, "{method} {} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n", case.path);
        if case.upload {
            let _ = write!(head, "content-length: {LONG_BYTES}\r\n");
        }
        head.push_str("\r\n");
        Callers {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            head: head.into(),
            upload: case.upload,
            still: Still::new("an upload was taken whole"),
        }
    }

    /// Starts `count` more stalled callers. Waits until each of them has received the beginning of its answer or sent
    /// the beginning of its upload.
    async fn begin(&mut self, count: usize) -> Outcome<()> {
        for _ in 0..count {
            let (address, head, upload) = (self.address, Arc::clone(&self.head), self.upload);
            let begun = self.still.begun();
            self.still.spawn(async move { stand_still(address, &head, upload, &begun).await });
            self.still.until_waiting(CROWD).await?;
        }
        self.still.until_waiting(0).await
    }
}

/// Makes one exchange that makes no progress:
///
/// - With `upload`, the caller sends a long body to an upstream that does not read it. So the caller soon waits without
///   end. If the whole body is accepted in spite of that, the function returns `Ok`.
/// - Without `upload`, the caller reads only the status of the answer, and then waits without end.
///
/// Fails if the connection breaks, or if no answer with status 200 begins.
async fn stand_still(address: SocketAddr, head: &str, upload: bool, begun: &AtomicUsize) -> Outcome<()> {
    let mut stream = connect(address).await.map_err(|e| format!("a caller could not connect: {e}"))?;
    let broke = |e: std::io::Error| format!("a caller's connection broke: {e}");
    stream.write_all(head.as_bytes()).await.map_err(broke)?;
    if upload {
        let piece = [b'x'; 4096];
        stream.write_all(&piece).await.map_err(broke)?;
        begun.fetch_add(1, Ordering::Relaxed);
        for _ in 1..LONG_BYTES / piece.len() {
            stream.write_all(&piece).await.map_err(broke)?;
        }
        return Ok(());
    }
    let mut status = [0; 12];
    let read = timeout(BEGIN_WITHIN, stream.read_exact(&mut status)).await;
    read.map_err(|_| format!("no answer came within {BEGIN_WITHIN:?}"))?.map_err(broke)?;
    if status != *b"HTTP/1.1 200" {
        return Err(format!("an answer began with `{}`", String::from_utf8_lossy(&status)));
    }
    begun.fetch_add(1, Ordering::Relaxed);
    pending().await
}

pub(super) async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(SOCKET_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BYTES)?;
    socket.connect(address).await
}

/// Waits until the anonymous memory has stopped growing, but at most [`SETTLE_WITHIN`]. Returns the memory at the end
/// of this wait, in KiB.
async fn settled(group: u32) -> u64 {
    let began = Instant::now();
    let (mut top, mut since) = (Memory::of(group).anonymous_kib, began);
    loop {
        sleep(LOOK).await;
        let (kib, now) = (Memory::of(group).anonymous_kib, Instant::now());
        if kib > top + STILL_KIB {
            (top, since) = (kib, now);
        }
        if now >= since + STILL || now >= began + SETTLE_WITHIN {
            return kib;
        }
    }
}

fn heading(readers: u16) -> String {
    let mut names = format!("| | at rest | with 1 | with {readers} | KiB each beyond the first |");
    for delay in AFTER {
        let _ = write!(names, " {} s after |", delay.as_secs_f64());
    }
    let columns = names.matches('|').count() - 1;
    format!("{names}\n|{}", " --- |".repeat(columns))
}

fn row(name: &str, readers: u16, seen: &Seen) -> String {
    let each = seen.all.saturating_sub(seen.one) as f64 / f64::from(readers - 1);
    let mut cells = format!("| {name} |");
    for kib in [seen.rest, seen.one, seen.all] {
        let _ = write!(cells, " {:.1} |", mib(kib));
    }
    let _ = write!(cells, " {each:.0} |");
    for kib in seen.after {
        let _ = write!(cells, " {:.1} |", mib(kib));
    }
    cells
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_shared_by_those_beyond_the_first() {
        let seen = Seen { rest: 1024, one: 2048, all: 2048 + 64 * 10, after: [2048; AFTER.len()] };
        let row = row("answers", 11, &seen);
        assert_eq!(row, "| answers | 1.0 | 2.0 | 2.6 | 64 | 2.0 | 2.0 | 2.0 | 2.0 |");
        let heading = heading(11);
        assert!(
            heading.lines().all(|line| line.matches('|').count() == row.matches('|').count()),
            "{heading}"
        );
    }
}
