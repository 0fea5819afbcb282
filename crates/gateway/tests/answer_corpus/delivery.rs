//! Whether the kernel has delivered what was written to a connection.
//!
//! The obvious way is the table in `/proc/net/tcp`. It lists every connection of the machine, including those in TIME_WAIT,
//! and other tests leave tens of thousands of these. With 26,000 of them and a busy machine, one look took between 0.4 and 1.0
//! seconds. The thread that looks also plays all dependencies. During that time none of them answered or ended a connection,
//! and the gateway rightly reported a read timeout. So the kernel is asked for one connection, by its two addresses
//! (`sock_diag(7)`). That costs the same however many connections there are.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::ops::Range;

use socket2::{Domain, Protocol, Socket, Type};

use super::support::soon;

const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const AF_INET: u8 = 2;
const IPPROTO_TCP: u8 = 6;
const REQUEST_BYTES: u32 = 72;
/// Where a request has the two ports. An answer has them at [`PORTS`].
const ASKED_PORTS: Range<usize> = 24..28;
const PORTS: Range<usize> = 20..24;
/// Where an answer has the number of bytes that are not acknowledged (`idiag_wqueue`). The end of the connection counts as
/// one.
const UNACKNOWLEDGED: Range<usize> = 76..80;

/// Waits until the kernel has delivered the bytes that were written to a connection, and its end if the connection was closed.
/// On a busy machine, a write may return before its bytes are delivered. Then the next request could be sent before the
/// gateway can know of these bytes. A connection that was reset is gone immediately, and is not waited for.
pub async fn delivered(ours: SocketAddr, theirs: SocketAddr) {
    soon("the bytes to be delivered", async {
        // If the kernel does not answer, there is nothing to wait for.
        while unacknowledged(ours, theirs).unwrap_or(false) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Whether the socket with these two addresses has bytes that are not delivered. Fails if there is no such socket.
fn unacknowledged(ours: SocketAddr, theirs: SocketAddr) -> io::Result<bool> {
    let kernel = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, Some(Protocol::from(NETLINK_SOCK_DIAG)))?;
    kernel.set_nonblocking(true)?;
    let request = request(ours, theirs)?;
    kernel.send(&request)?;
    let mut answer = [0; 1024];
    let read = (&kernel).read(&mut answer)?;
    if read < UNACKNOWLEDGED.end || answer[4..6] != SOCK_DIAG_BY_FAMILY.to_ne_bytes() {
        return Err(io::ErrorKind::NotFound.into());
    }
    // If the connection is gone, the kernel's answer describes the listener from which the connection came.
    if answer[PORTS] != request[ASKED_PORTS] {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(answer[UNACKNOWLEDGED] != [0; 4])
}

/// A netlink header and `struct inet_diag_req_v2`, for one connection.
fn request(ours: SocketAddr, theirs: SocketAddr) -> io::Result<Vec<u8>> {
    let (SocketAddr::V4(ours), SocketAddr::V4(theirs)) = (ours, theirs) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let mut request = Vec::with_capacity(REQUEST_BYTES as usize);
    request.extend(REQUEST_BYTES.to_ne_bytes());
    request.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    // The sequence number and the sender's port may be zero, since this socket gets no other answer from the kernel.
    request.extend([0; 8]);
    // No extensions, one byte of padding, and every state of a connection.
    request.extend([AF_INET, IPPROTO_TCP, 0, 0]);
    request.extend(u32::MAX.to_ne_bytes());
    request.extend(ours.port().to_be_bytes());
    request.extend(theirs.port().to_be_bytes());
    for address in [ours, theirs] {
        request.extend(address.ip().octets());
        request.extend([0; 12]);
    }
    // Any interface, and no cookie.
    request.extend([0; 4]);
    request.extend([0xff; 8]);
    Ok(request)
}

mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use socket2::SockRef;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    fn ends(stream: &TcpStream) -> (SocketAddr, SocketAddr) {
        (stream.local_addr().unwrap(), stream.peer_addr().unwrap())
    }

    #[tokio::test]
    async fn bytes_are_on_their_way_until_there_is_room_for_them() {
        let (mut ours, mut theirs) = pair();
        let (us, them) = ends(&ours);
        assert!(!unacknowledged(us, them).unwrap());

        ours.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(bytes) = ours.write(&[7; 65536]) {
            written += bytes;
        }
        assert!(unacknowledged(us, them).unwrap(), "{written} bytes were written, and none was read");

        // The end of the connection comes after the bytes.
        drop(ours);
        assert!(unacknowledged(us, them).unwrap());
        let reader = std::thread::spawn(move || io::copy(&mut theirs, &mut io::sink()).unwrap());
        delivered(us, them).await;
        assert_eq!(reader.join().unwrap(), written as u64);
    }

    #[test]
    fn a_connection_that_was_reset_is_gone_though_its_listener_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ours = listener.accept().unwrap().0;
        let (us, them) = ends(&ours);
        SockRef::from(&ours).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(ours);
        assert!(unacknowledged(us, them).is_err());
    }

    /// The number of bytes that this thread has read from files so far.
    fn taken() -> u64 {
        let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
        io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    }

    #[test]
    fn a_look_at_one_connection_reads_nothing_of_the_others() {
        let all: Vec<_> = (0..64).map(|_| pair()).collect();
        let (us, them) = ends(&all[0].0);
        let before = taken();
        assert!(!unacknowledged(us, them).unwrap());
        let taken = taken() - before;
        assert!(taken < 2048, "{taken} bytes were read");
    }
}
