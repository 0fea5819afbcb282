//! Divides the file descriptors of this process between callers, dependencies and the admin side.
//!
//! At its start, the gateway raises the limit of file descriptors as far as the system allows, and divides the
//! descriptors:
//!
//! - A few descriptors, those with the highest numbers, are kept for the admin side, for lookups and for files.
//!   Connections of callers and to dependencies never use them (`reserve_descriptors`), and the admin side takes no
//!   more connections than these descriptors allow.
//! - Of the other descriptors, connections to dependencies get the number that the configuration lets them use, but
//!   never more than half. Connections of callers get the descriptors that then remain. A caller over HTTP/1.1 makes
//!   one call at a time, and so needs at most one connection to a dependency. So there is a descriptor for the call of
//!   each caller that is let in.
//!
//! A caller for which there is no room gets an answer that says so. Its connection uses a descriptor only until that
//! answer is sent.
//!
//! A simpler gateway would let callers in until `accept` fails. By then no descriptor would be left for connections to
//! its dependencies. The callers that were let in would wait in vain, and the operators could not ask the gateway what
//! is wrong.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seawall_client::connect::{is_reserved, reserve_descriptors};
use seawall_client::give_up_idle;
use seawall_policy::Reason;
use tokio::net::TcpStream;

use seawall_client::connect::HttpVersion;

use crate::config::Settings;
use crate::problem::Problem;

/// The maximum number of callers' connections, even if `gateway.limits.connections` allows more.
static MOST_CALLERS: AtomicU64 = AtomicU64::new(u64::MAX);

/// The maximum number of connections to the admin side.
static ADMIN_SEATS: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The number of descriptors that the runtime of one worker holds: two for epoll, one for the waker, and one for its
/// end of the pipe that delivers signals.
const OF_A_RUNTIME: u64 = 4;
/// The number of descriptors that may be in use for a short time: for connections to the admin side, a file and the
/// lookup of a host name. The kernel always gives out the lowest free number, so such a descriptor can push a caller's
/// connection up to a higher number, as if the program held one more descriptor all the time. So this number is counted
/// as the program's own.
const PASSING: u64 = 4;
/// The minimum number of descriptors that are kept for the admin side, lookups and files. Normally an eighth of the
/// limit is kept; this number is kept if an eighth is less. It is enough for a request to `/livez`, a reload and a
/// lookup at the same time.
const LEAST_KEPT: u64 = 16;
/// The maximum number of descriptors that are kept: 256 for connections to the admin side, and a quarter of that
/// number, 64, for lookups and files.
const MOST_KEPT: u64 = 320;

/// The division of the descriptors. Every field is a number of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    /// The present limit of the process's descriptors.
    limit: u64,
    /// The number of descriptors that are kept for the admin side, lookups and files. It is a part of `limit`.
    kept: u64,
    /// The number of descriptors that the program holds even when there is no call. It is a part of `limit`.
    own: u64,
    /// The maximum number of descriptors that callers may use. They are taken from what remains of `limit` after `kept`
    /// and `own` are subtracted.
    callers: u64,
    /// The numbers of descriptors that the calls of this configuration may need: first for callers, then for
    /// connections to dependencies. The descriptors that are counted in `kept` and in `own` are not included.
    wanted: (u64, u64),
}

impl Share {
    fn of(limit: u64, own: u64, wanted: (u64, u64)) -> Share {
        let kept = (limit / 8).clamp(LEAST_KEPT, MOST_KEPT);
        let rest = limit.saturating_sub(kept).saturating_sub(own);
        let callers = (rest - wanted.1.min(rest.div_ceil(2))).max(1);
        Share { limit, kept, own, callers, wanted }
    }

    /// Returns the maximum number of connections to the admin side: four fifths of `kept`. The last fifth is for
    /// lookups and files.
    fn seats(&self) -> u64 {
        self.kept * 4 / 5
    }

    fn rest(&self) -> u64 {
        self.limit.saturating_sub(self.kept).saturating_sub(self.own)
    }

    /// Returns a warning, in words, if the limit is too small for what this configuration may need; `None` if it is
    /// large enough. `hard` is the hard limit, which the warning names.
    fn too_small(&self, hard: u64) -> Option<String> {
        let Share { limit, kept, own, callers, wanted: (of_callers, of_dependencies) } = *self;
        if of_callers.saturating_add(of_dependencies) <= self.rest() {
            return None;
        }
        let needed = (kept + own).saturating_add(of_callers).saturating_add(of_dependencies);
        let admitted = callers.min(of_callers);
        Some(format!(
            "the limit of open files is {limit} (hard limit {hard}), and this configuration may need {needed}: {of_callers} for \
             callers (gateway.limits.connections), {of_dependencies} for connections to dependencies (concurrency.max, \
             pool.max_idle), {own} for the program and {kept} kept for the admin side. Until it is raised (LimitNOFILE=, ulimit \
             -Hn) at most {admitted} callers are let in, and calls for which there is no descriptor end as `{}`",
            Reason::OutOfDescriptors
        ))
    }
}

/// Raises this process's limit of file descriptors as far as the system allows, divides the descriptors, and warns if
/// they are too few. This must be called before anything listens.
pub(crate) fn divide(settings: &Settings, workers: usize) {
    let (limit, hard) = raise();
    let workers = workers as u64;
    let share = Share::of(limit, own(settings, workers), wanted(settings, workers));
    reserve_descriptors(i32::try_from(share.limit - share.kept.min(share.limit)).unwrap_or(i32::MAX));
    MOST_CALLERS.store(share.callers, Ordering::Relaxed);
    ADMIN_SEATS.store(usize::try_from(share.seats()).unwrap_or(usize::MAX), Ordering::Relaxed);
    match share.too_small(hard) {
        Some(why) => tracing::warn!("{why}"),
        None => tracing::debug!(?share, "file descriptors"),
    }
}

/// Returns the maximum number of connections to the admin side at the same time. File descriptors are always kept for
/// them, however many callers there are.
pub(crate) fn admin_seats() -> usize {
    ADMIN_SEATS.load(Ordering::Relaxed)
}

/// Returns the refusal for a caller that was just accepted, if there is no descriptor for it, and otherwise `None`.
/// `connected` is the number of other callers that are connected.
pub(crate) fn no_room(tcp: &TcpStream, connected: u64) -> Option<Problem> {
    let why = if connected >= MOST_CALLERS.load(Ordering::Relaxed) {
        format!("{connected} callers are connected, as many as there are file descriptors for")
    } else if is_reserved(tcp) {
        // One idle connection to a dependency is closed, so that there is room when this caller comes back.
        let _freed = give_up_idle();
        "a caller was turned away: all file descriptors but those kept for the admin side are in use"
            .to_owned()
    } else {
        return None;
    };
    Some(Problem::refused(Reason::OutOfDescriptors, None, why))
}

/// Raises the soft limit of file descriptors to the hard limit. Returns the soft limit and the hard limit as they are
/// afterwards.
fn raise() -> (u64, u64) {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    if before.current != before.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the limit of open files cannot be raised to its hard limit");
    }
    let now = getrlimit(Resource::Nofile);
    // `None` means that there is no limit.
    (now.current.unwrap_or(u64::MAX), now.maximum.unwrap_or(u64::MAX))
}

/// Returns the number of descriptors that the program holds while it serves and no caller is connected.
fn own(settings: &Settings, workers: u64) -> u64 {
    // The kernel gives out the lowest free number, counted from 0. So the number of this file equals the number of
    // descriptors in use before it was opened.
    let now = File::open("/dev/null").map_or(0, |file| file.as_raw_fd());
    let doors =
        1 + settings.dependencies.iter().filter(|dependency| dependency.listen.is_some()).count() as u64;
    u64::try_from(now).unwrap_or(0) + workers * (doors + OF_A_RUNTIME) + 1 + PASSING
}

/// Returns the maximum numbers of connections that the configuration allows: first of callers, then to dependencies.
fn wanted(settings: &Settings, workers: u64) -> (u64, u64) {
    let callers = settings.gateway.limits.connections as u64;
    let dependencies = settings.dependencies.iter().map(|dependency| {
        let limit = dependency.concurrency.limit;
        let calls = if limit.enabled { u64::from(limit.max) } else { callers };
        let each = match dependency.http == HttpVersion::Http2 {
            // Over HTTP/2, many calls share one connection to a dependency. But each worker has connections of its own.
            true => workers.min(calls),
            false => calls + workers * dependency.pool.max_idle as u64,
        };
        dependency.endpoints.len() as u64 * each
    });
    (callers, dependencies.fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_what_dependencies_cannot_want_and_at_least_half() {
        for (limit, own, wanted, kept, callers) in [
            // The limit is large enough for all wanted connections, so only the configuration bounds the number of
            // callers.
            (20_000, 40, (10_000, 1_128), 320, 18_512),
            (1_048_576, 40, (10_000, 1_128), 320, 1_047_088),
            (1_024, 40, (10_000, 1_128), 128, 428),
            (256, 31, (50, 1_000), 32, 96),
            (64, 15, (10_000, 1_128), 16, 16),
            // Even if no descriptor is left to divide, one caller is admitted.
            (32, 40, (10_000, 1_128), 16, 1),
            (8, 40, (10, 10), 16, 1),
            (u64::MAX, 40, (10_000, u64::MAX), 320, (u64::MAX - 360) / 2),
        ] {
            let share = Share::of(limit, own, wanted);
            assert_eq!((share.kept, share.callers), (kept, callers), "{limit}");
        }
    }

    #[test]
    fn a_limit_that_is_too_small_is_named_with_what_is_needed() {
        assert_eq!(Share::of(20_000, 40, (10_000, 1_128)).too_small(20_000), None);
        let said = Share::of(1_024, 40, (10_000, 1_128)).too_small(4_096).unwrap();
        for part in
            ["is 1024 (hard limit 4096)", "may need 11296", "10000 for callers", "1128 for", "at most 428"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        let said = Share::of(1_024, 40, (100, 1_128)).too_small(1_024).unwrap();
        assert!(said.contains("at most 100 callers"), "the configuration lets no more in: {said}");
    }
}
