use seawall_client::connect::{join_turns, send_turn};
use seawall_lab::rogue::{Act, Rogue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use super::*;
use crate::callers::stopwatch::{self, Lap};
use crate::config;

/// Whether the build is optimised. Other builds run with fewer callers, and their times are not compared.
const FULL: bool = !cfg!(debug_assertions);
const CALLERS: usize = if FULL { 1_000 } else { 200 };
const HELD: usize = 10;

/// Runs one worker on a thread of its own until `stop` becomes true, and returns what the worker's stopwatch noted.
fn work(
    running: Arc<Running>,
    entrance: Entrance,
    stop: watch::Receiver<bool>,
) -> std::thread::JoinHandle<Vec<Lap>> {
    std::thread::spawn(move || {
        join_turns();
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().on_thread_park(|| {
            send_turn();
            stopwatch::look();
        });
        let worker = Worker::new(0, running, crate::durable::Room::new()).unwrap();
        builder.build().unwrap().block_on(Arc::new(worker).serve(vec![entrance], stop)).unwrap();
        stopwatch::take_laps()
    })
}

async fn ask(caller: &mut TcpStream) {
    caller.write_all(b"GET /up/x HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
}

/// Reads a refusal to the end of its body.
async fn refused(mut caller: TcpStream) -> TcpStream {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        assert_ne!(caller.read_buf(&mut bytes).await.unwrap(), 0, "it ended");
    }
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.starts_with("HTTP/1.1 503 "), "{text}");
    assert!(text.contains("seawall-reason: concurrency-limit\r\n"), "{text}");
    caller
}

/// A crowd of callers sends requests at the same moment, five times. A worker sends its answers together at the end of
/// each turn of the event loop, so a crowd is its worst case: an answer must not wait until all other requests are
/// read.
#[tokio::test]
async fn a_refusal_is_written_at_once_in_the_midst_of_a_crowd() {
    let hung = Rogue::builder().acts([Act::Hang]).bind().unwrap();
    let text = format!(
        "[dependency.up]\nurl = \"http://{}\"\nconcurrency = {{ max = {HELD}, adaptive = false }}\n",
        hung.address()
    );
    let settings = config::parse("test", &text, &|_| None).unwrap().settings;
    let running = Arc::new(Running::new(settings, 1).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // The kernel keeps as many connections that are not accepted yet as it does for the gateway's own listeners.
    socket2::SockRef::from(&listener).listen(1024).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();

    // All callers have sent their requests before the worker begins.
    let mut crowd = Vec::new();
    for _ in 0..CALLERS {
        let mut caller = TcpStream::connect(address).await.unwrap();
        ask(&mut caller).await;
        crowd.push(caller);
    }
    let (stop, stopped) = watch::channel(false);
    let entrance = Entrance { listener, address, own: None, tokens: None };
    let worker = work(Arc::clone(&running), entrance, stopped);
    let mut answers: JoinSet<TcpStream> = crowd.into_iter().map(refused).collect();
    // Ten calls wait for an answer that never comes.
    for round in 1..=5 {
        let mut crowd = Vec::new();
        while crowd.len() < CALLERS - HELD {
            crowd.push(answers.join_next().await.unwrap().unwrap());
        }
        if round == 5 {
            break;
        }
        for caller in &mut crowd {
            ask(caller).await;
        }
        crowd.into_iter().for_each(|caller| drop(answers.spawn(refused(caller))));
    }
    answers.abort_all();
    while answers.join_next().await.is_some() {}
    assert_eq!(hung.read(|counts| counts.requests), HELD as u64);
    running.drain(Duration::from_secs(30));
    drop(stop);
    let mut laps = worker.join().unwrap();
    assert!(laps.len() >= 5 * (CALLERS - HELD), "{}", laps.len());
    let others = laps.iter().map(|lap| lap.others).max().unwrap();
    println!("{CALLERS} callers, from head to answer, with at most {others} other heads between");
    // The calls of the first of the five times are shown apart, and do not count for the bound below: the callers still
    // connect then. A worker that is busy with accepting seldom checks whether answers have been written, so the
    // measured times are too long.
    let connected = laps.split_off(CALLERS - HELD);
    figures("while they connect, by the clock", &mut laps, |lap| lap.took);
    let mut laps = connected;
    figures("once they are connected, by the clock", &mut laps, |lap| lap.took);
    let what = "less what others had of the processor";
    let p99 = figures(what, &mut laps, |lap| lap.took.saturating_sub(lap.displaced));
    assert!(others < 32, "{others}");
    assert!(!FULL || p99 < Duration::from_millis(1), "{p99:?}");
}

/// Prints the median, the 99th percentile and the maximum of one figure of the laps (the measured times of the
/// requests), and returns the 99th percentile.
fn figures(what: &str, laps: &mut [Lap], figure: fn(&Lap) -> Duration) -> Duration {
    laps.sort_unstable_by_key(figure);
    let at = |share: usize| figure(&laps[laps.len() * share / 1000]);
    let (median, p99, worst) = (at(500), at(990), figure(&laps[laps.len() - 1]));
    println!("{what}: {median:?} (median), {p99:?} (p99), {worst:?} (worst)");
    p99
}
