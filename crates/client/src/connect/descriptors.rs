//! Whether it is our own fault that there is no connection: this process has no file descriptor left, or lacks
//! something else that a socket needs.
//!
//! The obvious reading takes every error of `connect` for the provider's. A process that runs out of descriptors then
//! finds all its providers dead in the same moment, opens all their breakers, and keeps them open for a while after it
//! has descriptors again. So errors that the kernel gives because of this process are told apart here.
//!
//! A process that must stay reachable for its operators keeps some descriptors back ([`reserve_descriptors`]). The kernel
//! gives out the lowest number that is free, so a socket with a number above the line says, without any counting, that
//! everything below is in use: it is closed, and the attempt ends as it would have without that room.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use socket2::{Domain, Socket, Type};

/// The first number that connections do not use.
static LINE: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// What a lookup of the system's resolver may hold open at the same time: its files and its sockets.
const OF_A_LOOKUP: usize = 4;

/// From now on no connection of this process uses a descriptor with this number or a higher one. These descriptors stay
/// for files, for lookups, and for the people who look after the process. By default there is no such bound.
pub fn reserve_descriptors(from: RawFd) {
    LINE.store(from, Ordering::Relaxed);
}

/// Whether a descriptor is one of those that are kept back. If so, all others are in use.
#[must_use]
pub fn is_reserved(held: &impl AsRawFd) -> bool {
    held.as_raw_fd() >= LINE.load(Ordering::Relaxed)
}

/// Returns the socket, or an error if it took a descriptor that is kept for others.
pub(super) fn unreserved<S: AsRawFd>(socket: S) -> io::Result<S> {
    if is_reserved(&socket) {
        let why = "all file descriptors but those kept for the process itself are in use";
        return Err(io::Error::other(Exhausted(why.to_owned())));
    }
    Ok(socket)
}

/// An error of our own making, in words, which replace the kernel's code.
#[derive(Debug)]
struct Exhausted(String);

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Exhausted {}

/// The same error with more words, which is still told from others by [`is_ours`].
pub(super) fn in_words(error: &io::Error, text: String) -> io::Error {
    match is_ours(error) {
        true => io::Error::other(Exhausted(text)),
        false => io::Error::new(error.kind(), text),
    }
}

/// The error of a `connect` or a `bind` that found no local port free, in words.
pub(super) fn no_port(text: &str) -> io::Error {
    io::Error::other(Exhausted(format!("{text} (no local port is free)")))
}

/// Whether the kernel refused this because of us: no descriptor in this process (EMFILE) or on this machine (ENFILE),
/// no memory for sockets (ENOBUFS, ENOMEM), or no room to watch one more (ENOSPC, of epoll).
#[must_use]
pub fn is_ours(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    let said = error.get_ref().is_some_and(|inner| inner.is::<Exhausted>());
    said || matches!(code, Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC))
}

/// Whether a lookup that failed had no descriptors to work with. The resolver's own error often does not say so: where
/// it cannot open its files, it knows no name server, and the name "does not exist". So this tries to do what the
/// lookup did.
pub(super) fn starved_lookup(error: &io::Error) -> bool {
    let sockets = || -> io::Result<Vec<Socket>> {
        (0..OF_A_LOOKUP).map(|_| Socket::new(Domain::IPV4, Type::DGRAM, None)).collect()
    };
    is_ours(error) || sockets().is_err_and(|error| is_ours(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_kernel_refuses_for_our_sake_is_ours() {
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM, libc::ENOSPC] {
            let error = io::Error::from_raw_os_error(code);
            assert!(is_ours(&error), "{error}");
            let told = in_words(&error, format!("to 10.0.0.1: {error}"));
            assert!(is_ours(&told) && told.to_string().starts_with("to 10.0.0.1"), "{told}");
            assert!(starved_lookup(&told));
        }
        for code in [
            libc::ECONNREFUSED,
            libc::EHOSTUNREACH,
            libc::ENETUNREACH,
            libc::ETIMEDOUT,
            libc::EADDRNOTAVAIL,
            libc::EACCES,
            libc::EPERM,
        ] {
            let error = io::Error::from_raw_os_error(code);
            let told = in_words(&error, "in words".to_owned());
            assert!(!is_ours(&error) && !is_ours(&told) && told.kind() == error.kind(), "{error}");
            assert!(!starved_lookup(&error), "{error}");
        }
        assert!(is_ours(&no_port("10.0.0.1:443")));
    }
}
