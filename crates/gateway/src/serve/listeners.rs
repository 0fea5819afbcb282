//! Opens the listeners. For callers, there is one socket for each address and worker. The admin API has one socket.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::error::StartError;
use crate::callers::door::Entrance;
use crate::running::process::Running;

/// The maximum number of connections to one listener that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// Opens every listener for callers, once for each worker. Returns one list for each worker, with all listeners of that
/// worker. Fails if an address is in use or cannot be opened.
pub(super) fn open_doors(running: &Running, workers: usize) -> Result<Vec<Vec<Entrance>>, StartError> {
    let compiled = running.compiled.load();
    let gateway = &compiled.settings.gateway;
    let tokens = running.clients_tokens();
    let own = compiled.settings.dependencies.iter().filter_map(|d| Some((d.listen?, Some(d.name.clone()))));
    let wanted: Vec<(SocketAddr, Option<String>)> = [(gateway.listen, None)].into_iter().chain(own).collect();
    let mut doors: Vec<Vec<Entrance>> = (0..workers).map(|_| Vec::new()).collect();
    for (address, own) in wanted {
        probe(address)?;
        let mut address = address;
        for entrances in &mut doors {
            let listener = listen(address, true)?;
            // If port 0 is configured, the kernel chooses a port for the first worker. The other workers use the same
            // port.
            address = listener.local_addr().map_err(|e| in_use(address, &e))?;
            entrances.push(Entrance { listener, address, own: own.clone(), tokens: tokens.clone() });
        }
    }
    Ok(doors)
}

/// Fails if another program uses this address. With SO_REUSEPORT alone, two gateways could share a port without
/// noticing, and each would get half of the calls. So the port is first opened without SO_REUSEPORT.
fn probe(address: SocketAddr) -> Result<(), StartError> {
    if address.port() == 0 { Ok(()) } else { listen(address, false).map(drop) }
}

fn listen(address: SocketAddr, shared: bool) -> Result<TcpListener, StartError> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if shared {
            socket.set_reuse_port(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(|error| in_use(address, &error))
}

fn in_use(address: SocketAddr, error: &io::Error) -> StartError {
    StartError::Machine(match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{address} is in use: is another gateway running? Choose another address, or stop it")
        }
        _ => format!("cannot listen on {address}: {error}"),
    })
}

pub(super) fn admin_listener(running: &Running) -> Result<tokio::net::TcpListener, StartError> {
    let address = running.compiled.load().settings.gateway.admin;
    tokio::net::TcpListener::from_std(listen(address, false)?).map_err(|error| in_use(address, &error))
}
