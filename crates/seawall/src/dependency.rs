//! The type [`Dependency`]: a system that the application calls and does not own.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use seawall_client::any::Site;
use seawall_policy::{Idempotency, Timeouts};

use crate::call::{Attempt, Call};
use crate::fault::Fault;
#[cfg(feature = "http")]
use crate::http::lines::Lines;
use crate::judge::Plain;
use crate::settings::Retry;

/// A system that the application calls and does not own. All clones are the same dependency: they share the breaker,
/// the limit, the budget and the connections.
///
/// Make it once, by [`Dependency::builder`], and keep it for the life of the program. It holds what was learned about
/// the system's health.
#[derive(Clone)]
pub struct Dependency(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) name: Arc<str>,
    /// What calls without a declared operation use: the guards, the clock and a plan. There is one entry for each
    /// idempotency, in the order of [`Idempotency::ALL`].
    pub(crate) sites: [Site; 4],
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: Retry,
    /// The connections; `None` if the dependency has no endpoint.
    #[cfg(feature = "http")]
    pub(crate) lines: Option<Lines>,
    #[cfg(feature = "http")]
    pub(crate) answer_limit: usize,
}

impl fmt::Debug for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependency").field("name", &self.0.name).finish_non_exhaustive()
    }
}

impl Dependency {
    /// The dependency's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Makes a call around any future. The closure makes each attempt; deadline, breaker, limit and budget apply to all
    /// of them.
    ///
    /// `idempotency` says what a second delivery of the request would do. It decides when an attempt may be repeated.
    /// An attempt that returns `Ok` took effect. An attempt that returns an error may have taken effect, unless the
    /// error is a [`Fault`] that says otherwise.
    #[track_caller]
    pub fn call<F, Fut, T, E>(&self, idempotency: Idempotency, attempt: F) -> Call<'_, F, Fut, Plain>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<Fault>,
    {
        Call::new(self.site(idempotency), &self.0.name, attempt, Location::caller())
    }

    pub(crate) fn site(&self, idempotency: Idempotency) -> &Site {
        let [safe, idempotent, keyed, none] = &self.0.sites;
        match idempotency {
            Idempotency::Safe => safe,
            Idempotency::Idempotent => idempotent,
            Idempotency::Keyed => keyed,
            Idempotency::None => none,
        }
    }
}
