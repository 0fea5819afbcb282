//! Holds what one worker routes requests by: the configuration that the worker uses, and the worker's own connections
//! to each dependency.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use seawall_client::{Clock, Dependency, Outcome};

use super::compiled::Compiled;
use super::here;
use super::process::Running;

/// A configuration with this worker's own connections.
pub(crate) struct Routes {
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) dependencies: Vec<Arc<Dependency>>,
}

/// The routes of one worker, which a reload replaces.
pub(crate) struct Router {
    /// The worker's index.
    pub(crate) index: usize,
    pub(crate) running: Arc<Running>,
    routes: ArcSwap<Routes>,
    /// The dependencies of former configurations, which may still have running calls.
    retired: Mutex<Vec<Weak<Dependency>>>,
}

impl Router {
    /// Makes a worker's router, with a client for each dependency of the configuration in force. Fails if a client
    /// cannot be made.
    pub(crate) fn new(index: usize, running: Arc<Running>) -> Result<Router, String> {
        let routes = Routes::new(running.compiled.load_full(), None, running.clock, index)?;
        Ok(Router { index, running, routes: ArcSwap::from_pointee(routes), retired: Mutex::default() })
    }

    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.routes.load_full()
    }

    /// Registers this worker's connections for the current thread. When the ledger works on this thread, it uses them.
    pub(crate) fn serve_here(&self) {
        let routes = self.routes();
        let names = routes.compiled.dependencies.iter().map(|dependency| dependency.settings.name.as_str());
        here::serve_here(names.zip(&routes.dependencies));
    }

    /// Begins to check the health of the dependencies for which health checks are configured.
    pub(crate) fn watch_health(&self) {
        self.routes().watch_health(None);
    }

    /// Returns whether any call of this worker is still running: each running call holds a reference to its dependency.
    /// A call may go on after its caller's connection has ended.
    pub(crate) fn follows_calls(&self) -> bool {
        let now = self.routes();
        now.dependencies.iter().any(|dependency| Arc::strong_count(dependency) > 1)
            || self.retired.lock().iter().any(|dependency| dependency.strong_count() > 0)
    }

    /// Ends the witnesses, so that they do not delay the end of the gateway. A witness is an attempt that goes on after
    /// its caller has left, only to learn whether the endpoint hangs.
    pub(crate) fn end_witnesses(&self) {
        self.routes().dependencies.iter().for_each(|dependency| dependency.end_witnesses());
        for retired in self.retired.lock().iter().filter_map(Weak::upgrade) {
            retired.end_witnesses();
        }
    }

    /// Makes this worker use the configuration in force, if it does not yet. The connections of every dependency that
    /// did not change are kept. If the new configuration cannot be used, an error is logged, and the worker keeps the
    /// old one.
    pub(crate) fn take_over(&self) {
        let compiled = self.running.compiled.load_full();
        let old = self.routes();
        if compiled.generation == old.compiled.generation {
            return;
        }
        match Routes::new(compiled, Some(&old), self.running.clock, self.index) {
            Ok(routes) => {
                let kept = |d: &&Arc<Dependency>| routes.dependencies.iter().any(|new| Arc::ptr_eq(new, d));
                let gone = old.dependencies.iter().filter(|d| !kept(d)).map(Arc::downgrade);
                let mut retired = self.retired.lock();
                retired.retain(|dependency| dependency.strong_count() > 0);
                retired.extend(gone);
                drop(retired);
                let generation = routes.compiled.generation;
                routes.watch_health(Some(&old));
                self.routes.store(Arc::new(routes));
                self.serve_here();
                self.running.taken_over(self.index, generation);
            }
            Err(error) => {
                tracing::error!(worker = self.index, error, "the new configuration was not taken over")
            }
        }
    }
}

impl Routes {
    fn new(
        compiled: Arc<Compiled>,
        old: Option<&Routes>,
        clock: Clock,
        worker: usize,
    ) -> Result<Routes, String> {
        let mut dependencies = Vec::with_capacity(compiled.dependencies.len());
        for dependency in &compiled.dependencies {
            let same = old.and_then(|old| {
                let at = old.compiled.dependencies.iter().position(|d| Arc::ptr_eq(d, dependency))?;
                Some(Arc::clone(&old.dependencies[at]))
            });
            dependencies.push(match same {
                Some(same) => same,
                None => {
                    let made =
                        Dependency::new(dependency.client.clone(), Arc::clone(&dependency.shared), clock);
                    let counted = Arc::clone(dependency);
                    let tell = move |outcome: &Outcome| {
                        let finish = &outcome.finish;
                        counted.counters[worker].ended(finish.effect, outcome.reason(), finish.attempts);
                    };
                    let made = made.map_err(|error| error.to_string())?.on_followed(Arc::new(tell));
                    Arc::new(made)
                }
            });
        }
        Ok(Routes { compiled, dependencies })
    }

    /// Begins to check the health of those dependencies that are not in `old`, the routes before a reload. At the
    /// start, `old` is `None`, and all dependencies are checked. The checks end when the dependency is no longer used.
    fn watch_health(&self, old: Option<&Routes>) {
        let known =
            |d: &Arc<Dependency>| old.is_some_and(|old| old.dependencies.iter().any(|o| Arc::ptr_eq(o, d)));
        for new in self.dependencies.iter().filter(|dependency| !known(dependency)) {
            tokio::spawn(Dependency::watch_health(Arc::downgrade(new)));
        }
    }
}
