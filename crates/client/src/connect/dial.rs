//! Makes the TCP connection to one address, or to the first of several that connects.
//!
//! An attempt at the next address starts when an attempt has failed, or 250 ms after the last one was started (RFC
//! 8305, "connection attempt delay"). The address families alternate, and the first address that connects wins. If
//! addresses were tried one after the other, one dead address could use up the whole connect timeout. If all were tried
//! at the same time, a provider with three addresses would get three connections for each one that is needed.

use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use super::descriptors::{in_words, is_ours, no_port, unreserved};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

/// The time between the starts of two attempts, if no attempt fails in between. RFC 8305, section 8, recommends this
/// value.
const STAGGER: Duration = Duration::from_millis(250);

/// Returns the addresses in the order in which they are tried. IPv4 and IPv6 alternate, and within each family the
/// resolver's order is kept. If `bind` is set, only addresses of its family are returned.
fn interleaved(addresses: &[IpAddr], bind: Option<IpAddr>) -> Vec<IpAddr> {
    let usable = |ip: &&IpAddr| bind.is_none_or(|from| from.is_ipv4() == ip.is_ipv4());
    let first_is_v4 = addresses.first().is_some_and(IpAddr::is_ipv4);
    let (mut first, mut second): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().filter(usable).partition(|ip| ip.is_ipv4() == first_is_v4);
    first.reverse();
    second.reverse();
    let mut order = Vec::with_capacity(first.len() + second.len());
    while !(first.is_empty() && second.is_empty()) {
        order.extend(first.pop());
        order.extend(second.pop());
    }
    order
}

/// Connects to the first of these addresses that answers. Fails if no address answers. Normally the first error is
/// returned. But if an attempt failed because of this process itself (it had no file descriptor, for example), that
/// error is returned, because the address might have answered.
pub(super) async fn dial(addresses: &[IpAddr], port: u16, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let order = interleaved(addresses, bind);
    if order.is_empty() {
        let message = "no address of the same family as the bind address";
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, message));
    }
    race(order, |ip| dial_one(SocketAddr::new(ip, port), bind)).await
}

async fn dial_one(address: SocketAddr, bind: Option<IpAddr>) -> io::Result<TcpStream> {
    let named = |error: io::Error| in_words(&error, format!("{address}: {error}"));
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.and_then(unreserved).map_err(named)?;
    if let Some(from) = bind {
        let from = SocketAddr::new(from, 0);
        socket.bind(from).map_err(|error| {
            let text = format!("bind to {}: {error}", from.ip());
            // No particular port was asked for, so this error means that all ports are in use.
            if error.kind() == io::ErrorKind::AddrInUse { no_port(&text) } else { in_words(&error, text) }
        })?;
    }
    let tcp = socket.connect(address).await.map_err(|error| match error.kind() {
        // With IPv4 this error means that no local port is free. With IPv6 it can also mean that this machine has no
        // address from which the target can be reached. So only IPv4 is handled here.
        io::ErrorKind::AddrNotAvailable if address.is_ipv4() => no_port(&format!("{address}: {error}")),
        _ => named(error),
    })?;
    tcp.set_nodelay(true).map_err(named)?;
    // Keepalive detects within two minutes that the server has vanished. It costs nothing while a connection is in use.
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4);
    SockRef::from(&tcp).set_tcp_keepalive(&keepalive).map_err(named)?;
    Ok(tcp)
}

/// Runs `attempt` on the addresses in their order. The next attempt starts when any attempt has failed, or when
/// [`STAGGER`] has passed since the last start. Returns the first success, or an error if all attempts fail. `order`
/// must not be empty.
async fn race<T, F>(order: Vec<IpAddr>, attempt: impl Fn(IpAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = order.into_iter().peekable();
    let mut trying: Vec<Pin<Box<F>>> = Vec::new();
    let mut first_error = None;
    loop {
        if let Some(ip) = waiting.next() {
            trying.push(Box::pin(attempt(ip)));
        } else if trying.is_empty() {
            return Err(first_error.unwrap_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable)));
        }
        tokio::select! {
            biased;
            ended = first_ended(&mut trying) => match ended {
                Ok(connected) => return Ok(connected),
                Err(error) if first_error.is_none() || is_ours(&error) => first_error = Some(error),
                Err(_) => {}
            },
            () = tokio::time::sleep(STAGGER), if waiting.peek().is_some() => {}
        }
    }
}

/// Waits until one of these attempts ends, removes it from the list, and returns its result.
async fn first_ended<T, F>(trying: &mut Vec<Pin<Box<F>>>) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    poll_fn(|cx| {
        for at in 0..trying.len() {
            if let Poll::Ready(ended) = trying[at].as_mut().poll(cx) {
                drop(trying.swap_remove(at));
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::{Instant, sleep};

    use super::*;

    fn ips(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn families_take_turns() {
        let table = [
            ("::1 ::2 ::3 1.1.1.1", None, "::1 1.1.1.1 ::2 ::3"),
            ("1.1.1.1 1.1.1.2 ::1 ::2", None, "1.1.1.1 ::1 1.1.1.2 ::2"),
            ("1.1.1.1 1.1.1.2", None, "1.1.1.1 1.1.1.2"),
            ("::1 1.1.1.1 1.1.1.2", Some("127.0.0.1"), "1.1.1.1 1.1.1.2"),
            ("::1 1.1.1.1", Some("::1"), "::1"),
            ("1.1.1.1", Some("::1"), ""),
        ];
        for (given, bind, expected) in table {
            let bind = bind.map(|ip| ip.parse().unwrap());
            assert_eq!(interleaved(&ips(given), bind), ips(expected), "{given} from {bind:?}");
        }
    }

    /// Runs [`race`] on one address for each entry of `plan`. The entry says after how many milliseconds the address
    /// answers, and whether it connects. Returns the winner or the first error, the time at which each attempt was
    /// started, and how long the race took.
    async fn run(plan: &[(u64, bool)]) -> (io::Result<usize>, Vec<u64>, u64) {
        let order: Vec<IpAddr> = (0..plan.len()).map(|n| IpAddr::from([10, 0, 0, n as u8])).collect();
        let began = Instant::now();
        let starts = Mutex::new(Vec::new());
        let outcome = race(order, |ip| {
            let IpAddr::V4(v4) = ip else { unreachable!() };
            let n = usize::from(v4.octets()[3]);
            starts.lock().unwrap().push(began.elapsed().as_millis() as u64);
            let (after, connects) = plan[n];
            async move {
                sleep(Duration::from_millis(after)).await;
                if connects { Ok(n) } else { Err(io::Error::other(n.to_string())) }
            }
        })
        .await;
        (outcome, starts.into_inner().unwrap(), began.elapsed().as_millis() as u64)
    }

    #[tokio::test(start_paused = true)]
    async fn first_to_connect_wins_and_the_next_starts_after_the_stagger() {
        let (won, starts, took) = run(&[(5_000, true), (100, true), (1, true)]).await;
        assert_eq!((won.unwrap(), starts, took), (1, vec![0, 250], 350));
    }

    #[tokio::test(start_paused = true)]
    async fn failed_address_gives_way_at_once() {
        let (won, starts, took) = run(&[(10, false), (10, true)]).await;
        assert_eq!((won.unwrap(), starts, took), (1, vec![0, 10], 20));
    }

    #[tokio::test(start_paused = true)]
    async fn slow_first_address_still_wins_when_the_others_fail() {
        let (won, starts, took) = run(&[(900, true), (5, false), (5, false)]).await;
        assert_eq!((won.unwrap(), starts, took), (0, vec![0, 250, 255], 900));
    }

    #[tokio::test(start_paused = true)]
    async fn first_error_is_returned_when_all_fail() {
        let (lost, starts, took) = run(&[(300, false), (10, false), (1, false)]).await;
        // The attempt on the second address failed first, at 260 ms. So the attempt on the third address was started
        // then.
        assert_eq!((lost.unwrap_err().to_string().as_str(), starts, took), ("1", vec![0, 250, 260], 300));
    }
}
