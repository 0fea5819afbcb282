//! Addresses to which no connection can be made.
//!
//! [`Refused`] is a port that is bound but does not listen, so it refuses connections for as long as the value lives.
//! The obvious way, which is to bind a port, note its number and close it, is a race: another process may take the
//! number before the test connects.
//!
//! [`BlackHole`] is a listener on loopback whose backlog is full, so a connect gets no answer. The obvious way, which
//! is an unroutable address, depends on the network of the machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A port that refuses connections for as long as this value lives.
#[derive(Debug)]
pub struct Refused {
    address: SocketAddr,
    _bound: Socket,
}

impl Refused {
    /// Binds a free port on 127.0.0.1 and returns it. The port refuses connections for as long as the returned value
    /// lives.
    ///
    /// # Errors
    /// If no port can be bound.
    pub fn open() -> io::Result<Refused> {
        let (bound, address) = bound()?;
        Ok(Refused { address, _bound: bound })
    }

    /// The address that refuses connections.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A listener whose backlog is full. A connect to it gets no answer at all, and so lasts until the connecting program's
/// timeout.
///
/// Linux drops the first packet of a connection when the backlog is full; other systems may refuse instead.
#[derive(Debug)]
pub struct BlackHole {
    address: SocketAddr,
    _listener: Socket,
    _fillers: Vec<TcpStream>,
}

impl BlackHole {
    /// The maximum time that one connect may take while the backlog is filled. A connect that takes longer shows that
    /// the backlog is full, because on loopback the kernel answers within microseconds or not at all.
    const FULL_AFTER: Duration = Duration::from_millis(100);
    const MOST_FILLERS: usize = 64;

    /// Listens on a free port of 127.0.0.1, fills the backlog, and returns the listener. Blocks the thread for about
    /// 100 ms.
    ///
    /// # Errors
    /// If the address cannot be bound, or if the backlog does not fill.
    pub fn open() -> io::Result<BlackHole> {
        let (listener, address) = bound()?;
        listener.listen(0)?;
        let mut fillers = Vec::new();
        while fillers.len() < Self::MOST_FILLERS {
            match TcpStream::connect_timeout(&address, Self::FULL_AFTER) {
                Ok(filler) => fillers.push(filler),
                Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                    return Ok(BlackHole { address, _listener: listener, _fillers: fillers });
                }
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::other("the backlog did not fill: this system does not keep to it"))
    }

    /// The address at which connects get no answer.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn bound() -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    let address = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an IP address"))?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_port_refuses_for_as_long_as_it_lives() {
        let port = Refused::open().unwrap();
        for _ in 0..3 {
            let failure = TcpStream::connect(port.address()).unwrap_err();
            assert_eq!(failure.kind(), io::ErrorKind::ConnectionRefused);
        }
    }

    #[test]
    fn black_hole_neither_accepts_nor_refuses() {
        let hole = BlackHole::open().unwrap();
        for _ in 0..2 {
            let failure = TcpStream::connect_timeout(&hole.address(), Duration::from_millis(50)).unwrap_err();
            assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
        }
    }
}
