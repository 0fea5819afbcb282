//! Named points at which a test can end the process or stop a task.
//!
//! Failpoints work only with the feature `testing`; without that feature, passing a point does nothing. The environment
//! variable `SEAWALL_FAILPOINTS` says what happens at which point, such as `after-attempt=abort` or
//! `after-answer=hold`; several settings are separated by `;`. `abort` ends the process immediately, as `kill -9` does.
//! `hold` stops the task for ever, so that a test can kill the process while the task is at this point. `NAME=abort@3`
//! takes effect only when the point is reached for the third time.

/// Does nothing, since the feature `testing` is off. With this feature, another function of the same name ends the
/// process or stops the task, if the environment variable `SEAWALL_FAILPOINTS` says so for the point.
#[cfg(not(feature = "testing"))]
#[inline(always)]
pub(crate) async fn point(_: &str) {}

#[cfg(feature = "testing")]
pub(crate) use armed::point;

#[cfg(feature = "testing")]
mod armed {
    use std::collections::HashMap;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    enum What {
        Abort,
        Hold,
    }

    struct Point {
        what: What,
        /// When the failpoint takes effect: 1 means only the first time that it is reached, 2 only the second time, and
        /// so on. 0 means every time.
        at: u64,
        passed: AtomicU64,
    }

    static POINTS: OnceLock<HashMap<String, Point>> = OnceLock::new();

    fn read() -> HashMap<String, Point> {
        let text = std::env::var("SEAWALL_FAILPOINTS").unwrap_or_default();
        let each = text.split(';').filter(|part| !part.trim().is_empty());
        each.map(|part| {
            let (name, what) = part.split_once('=').expect("a failpoint is NAME=abort or NAME=hold");
            let (what, at) = what.split_once('@').unwrap_or((what, "0"));
            let what = match what.trim() {
                "abort" => What::Abort,
                "hold" => What::Hold,
                other => panic!("`{other}` is nothing that a failpoint does: abort or hold"),
            };
            let at = at.trim().parse().expect("@ is followed by a number");
            (name.trim().to_owned(), Point { what, at, passed: AtomicU64::new(0) })
        })
        .collect()
    }

    pub(crate) async fn point(name: &str) {
        let Some(point) = POINTS.get_or_init(read).get(name) else { return };
        let times = point.passed.fetch_add(1, Ordering::SeqCst) + 1;
        if point.at != 0 && point.at != times {
            return;
        }
        eprintln!("failpoint {name}");
        match point.what {
            What::Abort => std::process::abort(),
            What::Hold => std::future::pending().await,
        }
    }
}
