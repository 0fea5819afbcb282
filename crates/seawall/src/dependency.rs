//! A system that one does not own, as a Rust program holds it.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use seawall_client::any::Site;
use seawall_policy::Idempotency;
#[cfg(feature = "http")]
use seawall_policy::{Plan, Rules};

#[cfg(feature = "http")]
use crate::http::{Http, Lines};
use crate::{Attempt, Builder, Call, Fault, OperationBuilder, Plain, Retry, Timeouts};

/// A system that one does not own. Clones are the same one: they share breaker, limit, budget and connections.
///
/// Made once by [`Dependency::builder`] and kept for the life of the program: what it learns is in it.
#[derive(Clone)]
pub struct Dependency(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) name: Arc<str>,
    /// For calls of no declared operation, by idempotency in the order of [`Idempotency::ALL`].
    pub(crate) sites: [Site; 4],
    pub(crate) timeouts: Timeouts,
    pub(crate) retry: Retry,
    /// None without an endpoint.
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
    /// Begins to describe a dependency. The name stands in errors and logs.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Makes a call of any kind: the closure makes each attempt, under deadline, breaker, limit and budget.
    ///
    /// `idempotency` says what a second delivery would do, and so decides when an attempt may be repeated. An attempt that
    /// returns `Ok` took effect. One that returns an error may have, unless the error is a [`Fault`] that says better.
    #[track_caller]
    pub fn call<F, Fut, T, E>(&self, idempotency: Idempotency, attempt: F) -> Call<'_, F, Fut, Plain>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<Fault>,
    {
        Call::new(self.site(idempotency), &self.0.name, attempt, Location::caller())
    }

    /// Declares one thing that it can do: what a second delivery does, how long it may take, what its answers mean.
    pub fn operation(&self, name: impl Into<String>) -> OperationBuilder {
        OperationBuilder::new(self.clone(), name.into())
    }

    /// Makes HTTP requests, under deadline, breaker, limit and budget.
    #[cfg(feature = "http")]
    #[must_use]
    pub fn http(&self) -> Http {
        Http(Whom::Dependency(self.clone()))
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

/// Whom an HTTP request is for.
#[cfg(feature = "http")]
#[derive(Clone, Debug)]
pub(crate) enum Whom {
    /// A dependency; the method decides what a second delivery does.
    Dependency(Dependency),
    /// One of its operations.
    Operation(crate::Operation),
}

#[cfg(feature = "http")]
impl Whom {
    fn dependency(&self) -> &Inner {
        match self {
            Whom::Dependency(dependency) => &dependency.0,
            Whom::Operation(operation) => &operation.dependency.0,
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.dependency().name
    }

    pub(crate) fn lines(&self) -> Option<&Lines> {
        self.dependency().lines.as_ref()
    }

    /// The longest body that is collected.
    pub(crate) fn answer_limit(&self) -> usize {
        self.dependency().answer_limit
    }

    /// So many bytes of a streaming request are kept for a repeat.
    pub(crate) fn keep(&self) -> usize {
        match self {
            Whom::Dependency(dependency) => dependency.0.retry.buffer,
            Whom::Operation(operation) => operation.declared.keep,
        }
    }

    /// What holds for a request of this method; `said` is what it says itself.
    pub(crate) fn plan(&self, said: Option<Idempotency>, method: &http::Method) -> Arc<Plan> {
        match self {
            Whom::Dependency(dependency) => {
                let idempotency = said.unwrap_or_else(|| Idempotency::of_method(method.as_str()));
                Arc::clone(&dependency.site(idempotency).plan)
            }
            Whom::Operation(operation) => {
                let plan = &operation.declared.site.plan;
                match said {
                    Some(other) if other != plan.rules.idempotency => {
                        let rules = Rules { idempotency: other, ..plan.rules.clone() };
                        Arc::new(Plan { rules, ..Plan::clone(plan) })
                    }
                    Some(_) | None => Arc::clone(plan),
                }
            }
        }
    }
}
