use std::future::Future;
use std::pin::Pin;
use std::task::Context;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::counted::Counted;
use super::*;

/// Runs `body` on a new thread that takes part in turns.
fn in_turns<F: Future<Output = ()> + Send + 'static>(body: F) {
    let thread = std::thread::spawn(|| {
        join_turns();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().on_thread_park(send_turn).build();
        runtime.unwrap().block_on(body);
    });
    thread.join().unwrap();
}

/// A connection that we made, and its peer.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (ours, theirs) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (ours.unwrap(), theirs.unwrap().0)
}

fn write_now(stream: &mut Counted, message: &[u8]) -> usize {
    let mut context = Context::from_waker(Waker::noop());
    match Pin::new(stream).poll_write(&mut context, message) {
        std::task::Poll::Ready(written) => written.unwrap(),
        std::task::Poll::Pending => panic!("it takes a first message"),
    }
}

#[test]
fn a_message_goes_out_when_the_turn_ends_and_is_counted_then() {
    in_turns(async {
        let (ours, mut theirs) = pair().await;
        let mut ours = Counted::dialed(ours);
        let meter = ours.meter();
        assert_eq!(write_now(&mut ours, b"one "), 4);
        assert_eq!(write_now(&mut ours, b"two"), 3);
        ours.flush().await.unwrap();
        assert_eq!((meter.written(), meter.progress()), (0, 7), "taken, not sent");
        let mut seen = [0; 7];
        theirs.read_exact(&mut seen).await.unwrap();
        assert_eq!((&seen, meter.written()), (b"one two", 7));
    });
}

#[test]
fn a_message_that_has_waited_goes_out_with_the_next() {
    in_turns(async {
        let ((one, _other), (two, _another)) = (pair().await, pair().await);
        let (mut one, mut two) = (Counted::dialed(one), Counted::dialed(two));
        let (first, second) = (one.meter(), two.meter());
        write_now(&mut one, b"one");
        let began = Instant::now();
        while began.elapsed() < WAIT {
            std::hint::spin_loop();
        }
        assert_eq!(first.written(), 0, "nobody looks at the clock for it alone");
        write_now(&mut two, b"two");
        assert_eq!((first.written(), second.written()), (3, 3));
        write_now(&mut one, b"one");
        let began = Instant::now();
        while began.elapsed() < WAIT {
            std::hint::spin_loop();
        }
        send_overdue();
        assert_eq!(first.written(), 6, "or when somebody looks");
    });
}

#[test]
fn a_request_that_is_given_up_in_its_turn_is_never_sent() {
    in_turns(async {
        let (ours, mut theirs) = pair().await;
        let mut ours = Counted::dialed(ours);
        write_now(&mut ours, b"charge");
        drop(ours);
        let mut seen = Vec::new();
        theirs.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, b"");
    });
}

#[test]
fn an_answer_is_sent_though_its_connection_ends() {
    in_turns(async {
        let (mut ours, theirs) = pair().await;
        let mut theirs = Counted::accepted(theirs);
        // This message is too long to be queued, so it is sent immediately. After that, tokio knows that the socket is
        // writable, so `write_now` does not have to wait.
        theirs.write_all(&[b'-'; MESSAGE_BYTES + 1]).await.unwrap();
        write_now(&mut theirs, b"done");
        drop(theirs);
        let mut seen = Vec::new();
        ours.read_to_end(&mut seen).await.unwrap();
        assert!(seen.ends_with(b"-done"), "{} bytes", seen.len());
    });
}

#[test]
fn a_shutdown_sends_what_waits_first() {
    in_turns(async {
        let (ours, mut theirs) = pair().await;
        let mut ours = Counted::dialed(ours);
        write_now(&mut ours, b"last words");
        ours.shutdown().await.unwrap();
        let mut seen = Vec::new();
        theirs.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, b"last words");
    });
}

#[test]
fn what_a_full_socket_leaves_behind_follows_in_order() {
    in_turns(async {
        const TOTAL: usize = 8 << 20;
        let (ours, mut theirs) = pair().await;
        let mut ours = Counted::dialed(ours);
        let meter = ours.meter();
        let sender = tokio::spawn(async move {
            let mut sent = 0_usize;
            while sent < TOTAL {
                // Messages of many lengths. Each byte's value depends on its position, so that the reader notices bytes
                // that are lost or in the wrong order.
                let length = (1 + sent % 15_000).min(TOTAL - sent);
                let message: Vec<u8> = (sent..sent + length).map(|at| (at % 251) as u8).collect();
                ours.write_all(&message).await.unwrap();
                ours.flush().await.unwrap();
                sent += length;
            }
            ours.shutdown().await.unwrap();
        });
        let mut seen = Vec::new();
        theirs.read_to_end(&mut seen).await.unwrap();
        sender.await.unwrap();
        assert_eq!((seen.len(), meter.written()), (TOTAL, TOTAL as u64));
        assert!(seen.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
    });
}

#[test]
fn a_long_message_and_a_thread_without_turns_send_at_once() {
    in_turns(async {
        let (ours, _theirs) = pair().await;
        let mut ours = Counted::dialed(ours);
        assert!(write_now(&mut ours, &[0; MESSAGE_BYTES + 1]) > 0);
        assert!(ours.meter().written() > 0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (ours, _theirs) = pair().await;
        let mut ours = Counted::dialed(ours);
        assert_eq!(write_now(&mut ours, b"now"), 3);
        assert_eq!(ours.meter().written(), 3);
    });
}

#[test]
fn a_long_turn_is_sent_before_it_ends() {
    in_turns(async {
        let mut all = Vec::new();
        for _ in 0..MESSAGES {
            let (ours, theirs) = pair().await;
            all.push((Counted::dialed(ours), theirs));
        }
        for (number, (ours, _)) in all.iter_mut().enumerate() {
            write_now(ours, b"x");
            assert_eq!(ours.meter().written(), u64::from(number + 1 == MESSAGES));
        }
        assert!(all.iter().all(|(ours, _)| ours.meter().written() == 1));
    });
}

#[test]
fn who_always_has_more_to_send_lets_others_go_first() {
    in_turns(async {
        let ((small, _a), (busy, _b)) = (pair().await, pair().await);
        let (mut small, mut busy) = (Counted::dialed(small), Counted::dialed(busy));
        write_now(&mut small, b"x");
        for _ in 2..MESSAGES {
            write_now(&mut busy, b"more");
        }
        assert_eq!(small.meter().written(), 0);
        write_now(&mut busy, b"more");
        assert_eq!(small.meter().written(), 1, "though the turn has not ended");

        write_now(&mut small, b"y");
        write_now(&mut busy, &[0; MESSAGE_BYTES + 1]);
        assert_eq!(small.meter().written(), 2, "before what is too long to wait");
    });
}
