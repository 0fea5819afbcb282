//! Finds the connections to a dependency: those of the thread on which the code runs.
//!
//! A socket belongs to the runtime that opened it, and each worker has a runtime and a thread of its own. The ledger
//! asks for connections by the name of a dependency, wherever it works on an action. It then gets the connections of
//! its own thread. They belong to the configuration in force, so an action that is sent again uses the present
//! credentials.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use seawall_actions::Connections;
use seawall_client::Dependency;

thread_local! {
    /// The dependencies of this thread, with their names. The references are weak. A strong one would look like a call
    /// that still uses the dependency, and a drain waits until there is none.
    static HERE: RefCell<Vec<(String, Weak<Dependency>)>> = const { RefCell::new(Vec::new()) };
}

/// Replaces the dependencies of this thread.
pub(crate) fn serve_here<'d>(dependencies: impl Iterator<Item = (&'d str, &'d Arc<Dependency>)>) {
    let named = dependencies.map(|(name, dependency)| (name.to_owned(), Arc::downgrade(dependency)));
    HERE.set(named.collect());
}

/// Returns a function that finds the connections to the dependency of this name. It finds those of the thread on which
/// it is called, and returns `None` if that thread has no such dependency.
pub(crate) fn connections(name: &str) -> Connections {
    let name = name.to_owned();
    Arc::new(move || {
        HERE.with_borrow(|here| {
            here.iter().find(|(known, _)| *known == name).and_then(|(_, it)| it.upgrade())
        })
    })
}
