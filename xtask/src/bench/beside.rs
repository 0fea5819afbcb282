//! `cargo xtask bench beside-stalled`: measures ordinary calls ("good calls") while other callers keep exchanges open
//! without finishing them.
//!
//! There are three runs with the same load of good calls, one after the other: alone (A), beside thousands of stalled
//! callers (B), and alone again (A). One half of the stalled callers read their answers slowly; the other half have
//! stopped sending their bodies. The speed of the machine changes from hour to hour, so figures of B are compared with
//! those of the two A runs. The good calls go to one dependency and the stalled callers to another. So both share the
//! gateway, but not the limits of a dependency.
//!
//! The gateway's memory is measured before the stalled callers start, at the end of run B, and two seconds after the
//! stalled callers have left.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::cell::{Bench, Scenario, build};
use super::load::Seen;
use super::measure::Memory;
use super::proxies::{Arm, Programs};
use super::report;
use super::slow::connect;
use super::still::Still;
use super::upstream::LONG_BYTES;
use crate::process::{Outcome, Server, free_port, target};

/// The options of `cargo xtask bench beside-stalled`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The number of callers that read slowly. There are as many callers whose uploads stall.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u16).range(1..=4000))]
    callers: u16,
    /// The number of good calls per second.
    #[arg(long, default_value_t = 300)]
    rate: u32,
    /// The number of seconds in which good calls are counted, in each of the three runs.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Let the uploading callers send as much of their bodies as the gateway accepts, although the dependency does not
    /// read them. Without this option, these callers stop after the beginning of the body. With it, the gateway does
    /// not notice when such a caller leaves.
    #[arg(long)]
    unread_uploads: bool,
    /// The path of the gateway's program. Without this option, a release build of this tree is made and measured.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// The p99 of run B may be higher than the mean p99 of the two A runs by this time, or may be twice this mean,
/// whichever is more. A p99 is the latency that 99 % of the calls do not exceed.
const ABOVE: Duration = Duration::from_millis(5);
/// The maximum growth of the gateway's memory, in MiB: the memory after the stalled callers have left, minus the memory
/// before they came.
const LEFT_MIB: f64 = 25.0;
/// The time between the moment when the stalled callers leave and the last measurement of the memory.
const AFTER: Duration = Duration::from_secs(2);
/// The number of stalled callers that may be starting at the same time. After each start, the benchmark waits until at
/// most this many callers have started but not yet begun their exchange.
const CROWD: usize = 100;
/// The number of bytes that a slow reader reads in each second.
const SLOW_BYTES: usize = 1024;

/// Makes the three runs, and prints the figures. Returns an error in three cases:
///
/// - A good call failed.
/// - The p99 of the run beside the stalled callers is above its bound.
/// - The gateway's memory has grown by more than [`LEFT_MIB`].
pub(crate) fn beside_stalled(options: &Options) -> Outcome<()> {
    build("xtask")?;
    let program = match &options.program {
        Some(program) => program.canonicalize().map_err(|e| format!("{}: {e}", program.display()))?,
        None => {
            build("seawall-gateway")?;
            target().join("release").join("seawall")
        }
    };
    let folder = target().join("bench");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let good = Scenario {
        name: "good calls, 100 B, 2 workers",
        connections: 64,
        path: "/100",
        workers: 2,
        rate: Some(options.rate),
    };
    let bench = Bench {
        programs: Programs { seawall: Some(program), before: None },
        arms: vec![Arm::Seawall],
        scenarios: vec![good],
        seconds: options.seconds,
        rounds: 1,
        generator: target().join("release").join("xtask"),
        folder,
    };
    println!("{}\n", report::heading(&bench)?);
    let up = free_port()?;
    let _upstream = bench.upstream(&good, up)?;
    let gateway = Gateway::start(&bench, up)?;
    let measured = Runs::measure(&bench, &good, &gateway, options)?;
    print!("{}", measured.table(options));
    measured.judge()
}

/// The gateway in front of one upstream, with two dependencies: `good` for good calls, and `still` for stalled callers.
/// The fields with these names are the ports of the dependencies.
struct Gateway {
    server: Server,
    good: u16,
    still: u16,
}

impl Gateway {
    fn start(bench: &Bench, up: u16) -> Outcome<Gateway> {
        let (listen, admin, good, still) = (free_port()?, free_port()?, free_port()?, free_port()?);
        let text = format!(
            r#"[gateway]
listen = "127.0.0.1:{listen}"
admin = "127.0.0.1:{admin}"
workers = 2

[dependency.good]
url = "http://127.0.0.1:{up}"
listen = "127.0.0.1:{good}"

[dependency.still]
url = "http://127.0.0.1:{up}"
listen = "127.0.0.1:{still}"
timeout = {{ read = "120s", total = "180s" }}
concurrency = {{ max = 10000, adaptive = false }}
"#
        );
        let file = bench.folder.join("beside.toml");
        std::fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
        let program = bench.programs.seawall.as_ref().ok_or("no program")?;
        let words = ["serve", "-c", file.to_str().ok_or("the target folder's path is not UTF-8")?];
        let log = bench.folder.join("beside.log");
        let mut server = Server::start("seawall", Some("0-1"), program, &words, &log, false)?;
        server.ready(admin, "/readyz", Duration::from_secs(10))?;
        Ok(Gateway { server, good, still })
    }

    fn memory(&self) -> Memory {
        Memory::of(self.server.group())
    }
}

/// The figures of the three runs: alone (`first`), beside the stalled callers (`beside`), and alone again (`last`).
/// Also the gateway's memory before, with and after the stalled callers.
struct Runs {
    first: Seen,
    beside: Seen,
    last: Seen,
    before: Memory,
    during: Memory,
    after: Memory,
}

impl Runs {
    fn measure(bench: &Bench, good: &Scenario, gateway: &Gateway, options: &Options) -> Outcome<Runs> {
        let run = || Ok::<_, String>(bench.load(good, gateway.good, None)?.0);
        let first = run()?;
        let before = gateway.memory();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| format!("no runtime: {e}"))?;
        let mut callers = Still::new("a caller's exchange ended");
        let (port, unread, each) = (gateway.still, options.unread_uploads, options.callers.into());
        runtime.block_on(begin(&mut callers, port, unread, each))?;
        let beside = std::thread::scope(|scope| {
            let load = scope.spawn(run);
            runtime.block_on(async {
                while !load.is_finished() {
                    sleep(Duration::from_millis(20)).await;
                }
            });
            load.join().map_err(|_| "the load's thread panicked".to_owned())?
        })?;
        let during = gateway.memory();
        runtime.block_on(callers.leave())?;
        std::thread::sleep(AFTER);
        let after = gateway.memory();
        let last = run()?;
        Ok(Runs { first, beside, last, before, during, after })
    }

    /// Returns the highest p99 that the run beside the stalled callers may have, in nanoseconds. It is the mean p99 of
    /// the two runs alone plus [`ABOVE`] (5 ms), or twice this mean, whichever is more.
    fn bound_ns(&self) -> u64 {
        let alone = u64::midpoint(self.first.p99_ns, self.last.p99_ns);
        let above = alone.saturating_add(u64::try_from(ABOVE.as_nanos()).unwrap_or(u64::MAX));
        above.max(alone.saturating_mul(2))
    }

    fn left_mib(&self) -> f64 {
        (self.after.rss_kib as f64 - self.before.rss_kib as f64) / 1024.0
    }

    fn table(&self, options: &Options) -> String {
        let row = |name: &str, seen: &Seen| {
            let (p50, p99) = (seen.p50_ns as f64 / 1e6, seen.p99_ns as f64 / 1e6);
            format!("| {name} | {} | {} | {p50:.2} | {p99:.2} |\n", seen.requests, seen.errors)
        };
        let mib = |memory: &Memory| memory.rss_kib as f64 / 1024.0;
        let (callers, rate) = (options.callers, options.rate);
        format!(
            "{rate} good calls a second; B beside {callers} slow readers and {callers} stalled uploads\n\n\
             | run | calls | errors | p50, ms | p99, ms |\n| --- | --- | --- | --- | --- |\n{}{}{}\n\
             p99 in B may be {:.2} ms.\nRSS: {:.1} MiB before these callers, {:.1} with them, {:.1} two seconds after.\n",
            row("A", &self.first),
            row("B", &self.beside),
            row("A", &self.last),
            self.bound_ns() as f64 / 1e6,
            mib(&self.before),
            mib(&self.during),
            mib(&self.after),
        )
    }

    fn judge(&self) -> Outcome<()> {
        let errors = self.first.errors + self.beside.errors + self.last.errors;
        if errors > 0 {
            return Err(format!("{errors} good calls failed: {:?}", self.beside.first_error));
        }
        if self.beside.p99_ns > self.bound_ns() {
            return Err("the p99 of good calls is over its bound beside callers that stand still".to_owned());
        }
        if self.left_mib() > LEFT_MIB {
            let left = self.left_mib();
            return Err(format!("{left:.1} MiB more than before are left, and {LEFT_MIB} may be"));
        }
        Ok(())
    }
}

/// Starts `each` slow readers and `each` stalled uploads, and waits until every one of them has begun its exchange.
async fn begin(still: &mut Still, port: u16, unread: bool, each: usize) -> Outcome<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    for number in 0..2 * each {
        let begun = still.begun();
        still.spawn(async move {
            match number % 2 {
                0 => read_slowly(address, &begun).await,
                _ => stop_sending(address, unread, &begun).await,
            }
        });
        still.until_waiting(CROWD).await?;
    }
    still.until_waiting(0).await
}

/// Requests a long answer, and reads [`SLOW_BYTES`] of it each second. Returns only if something fails, for example if
/// the connection breaks.
async fn read_slowly(address: SocketAddr, begun: &AtomicUsize) -> Outcome<()> {
    let broke = |e: std::io::Error| format!("a slow reader's connection broke: {e}");
    let mut stream = connect(address).await.map_err(broke)?;
    let head = format!("GET /long HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.map_err(broke)?;
    let mut piece = [0; SLOW_BYTES];
    stream.read_exact(&mut piece[..12]).await.map_err(broke)?;
    if piece[..12] != *b"HTTP/1.1 200" {
        return Err(format!("an answer began with `{}`", String::from_utf8_lossy(&piece[..12])));
    }
    begun.fetch_add(1, Ordering::Relaxed);
    loop {
        sleep(Duration::from_secs(1)).await;
        stream.read_exact(&mut piece).await.map_err(broke)?;
    }
}

/// Sends the head of an upload and the beginning of its body, or with `unread` as much of the body as the gateway
/// accepts. After that, waits for an answer that the upstream never sends. Fails if an answer comes.
async fn stop_sending(address: SocketAddr, unread: bool, begun: &AtomicUsize) -> Outcome<()> {
    let broke = |e: std::io::Error| format!("an upload's connection broke: {e}");
    let mut stream = connect(address).await.map_err(broke)?;
    let head = format!("POST /stall HTTP/1.1\r\nhost: {address}\r\ncontent-length: {LONG_BYTES}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.map_err(broke)?;
    let piece = [b'x'; 4096];
    stream.write_all(&piece).await.map_err(broke)?;
    begun.fetch_add(1, Ordering::Relaxed);
    if unread {
        for _ in 1..LONG_BYTES / piece.len() {
            stream.write_all(&piece).await.map_err(broke)?;
        }
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.map_err(broke)?;
    Err(format!("an upload was answered with `{}`", String::from_utf8_lossy(&answer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(alone_ms: u64, beside_ms: u64, left_mib: u64) -> Runs {
        let seen = |ms: u64| Seen { p99_ns: ms * 1_000_000, requests: 1, ..Seen::default() };
        let memory = |mib: u64| Memory { rss_kib: mib * 1024, ..Memory::default() };
        Runs {
            first: seen(alone_ms),
            beside: seen(beside_ms),
            last: seen(alone_ms),
            before: memory(20),
            during: memory(300),
            after: memory(20 + left_mib),
        }
    }

    #[test]
    fn the_larger_of_both_bounds_holds() {
        assert!(runs(1, 6, 25).judge().is_ok());
        assert!(runs(1, 7, 0).judge().is_err());
        assert!(runs(10, 20, 0).judge().is_ok());
        assert!(runs(10, 21, 0).judge().is_err());
        assert!(runs(1, 1, 26).judge().is_err());
    }
}
