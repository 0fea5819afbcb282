//! Finds out whether this process itself is the reason why a connection could not be made: the process has no file
//! descriptor left, or lacks something else that a socket needs.
//!
//! The obvious way would count every error of `connect` as the provider's. But if a process runs out of descriptors,
//! all its providers would then seem dead in the same moment. All its breakers would open, and would stay open for a
//! while after it has descriptors again. So the errors that the kernel gives because of this process are told apart
//! here.
//!
//! A process that must stay reachable for its operators reserves some descriptors ([`reserve_descriptors`]). The kernel
//! always gives out the lowest number that is free. So if a new socket gets a reserved number, all lower ones are in
//! use, and nothing has to be counted. The socket is closed, and the attempt ends as it would if there were no
//! descriptor left.

use std::error::Error;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

use socket2::{Domain, Socket, Type};

/// The lowest reserved descriptor number. Connections use neither this number nor a higher one. By default no number is
/// reserved.
static LINE: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// The number of descriptors that one lookup by the system's resolver may need at the same time, for its files and
/// sockets.
const OF_A_LOOKUP: usize = 4;

/// Reserves the descriptors with the number `from` and all higher ones: from now on, no connection of this process uses
/// them. They are kept for files, for lookups, and for the operators' connections. By default none are reserved.
pub fn reserve_descriptors(from: RawFd) {
    LINE.store(from, Ordering::Relaxed);
}

/// Returns whether a descriptor is a reserved one. If it is, all lower numbers are in use.
#[must_use]
pub fn is_reserved(held: &impl AsRawFd) -> bool {
    held.as_raw_fd() >= LINE.load(Ordering::Relaxed)
}

/// Returns the socket, unless its descriptor is a reserved one. In that case the socket is closed, and an error is
/// returned.
pub(super) fn unreserved<S: AsRawFd>(socket: S) -> io::Result<S> {
    if is_reserved(&socket) {
        let why = "all file descriptors but those kept for the process itself are in use";
        return Err(io::Error::other(Exhausted(why.to_owned())));
    }
    Ok(socket)
}

/// An error that says, in words instead of the kernel's code, that this process lacks a resource.
#[derive(Debug)]
struct Exhausted(String);

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Exhausted {}

/// Returns an error with the message `text` in place of `error`. For both errors, [`is_ours`] gives the same result.
pub(super) fn in_words(error: &io::Error, text: String) -> io::Error {
    match is_ours(error) {
        true => io::Error::other(Exhausted(text)),
        false => io::Error::new(error.kind(), text),
    }
}

/// Returns the error of a `connect` or a `bind` that found no free local port. Its message begins with `text`.
pub(super) fn no_port(text: &str) -> io::Error {
    io::Error::other(Exhausted(format!("{text} (no local port is free)")))
}

/// Returns whether this process or this machine is the cause of an error. The causes are:
///
/// - No descriptor is left in this process (EMFILE) or on this machine (ENFILE).
/// - There is no memory for sockets (ENOBUFS, ENOMEM).
/// - epoll can watch no further descriptor (ENOSPC).
#[must_use]
pub fn is_ours(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    let said = error.get_ref().is_some_and(|inner| inner.is::<Exhausted>());
    said || matches!(code, Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC))
}

/// Returns whether a lookup failed because this process had no descriptors for it. The resolver's own error often does
/// not say so: if the resolver cannot open its files, it knows no name server, and reports that the name does not
/// exist. So this function tries to open what the lookup needs.
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
