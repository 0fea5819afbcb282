//! The declaration of each operation: its rules, how its provider is reached, and what the application does when an
//! action ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use seawall_policy::Misuse;

use crate::action::{Action, Sizes};
use crate::machine::Rules;
use crate::remote::Remote;
use crate::store::{Boxed, Declared, Follow, Store};
use crate::terms::{Declaration, SqlTerms};

/// The declaration of one operation of one dependency.
pub struct Operation<S: Store> {
    pub(crate) dependency: String,
    pub(crate) name: String,
    pub(crate) rules: Rules,
    pub(crate) remote: Arc<dyn Remote>,
    pub(crate) follow: Option<Follow<S::Connection>>,
    sql: SqlTerms,
}

impl<S: Store> Clone for Operation<S> {
    fn clone(&self) -> Self {
        Operation {
            dependency: self.dependency.clone(),
            name: self.name.clone(),
            rules: self.rules.clone(),
            remote: self.remote.clone(),
            follow: self.follow.clone(),
            sql: self.sql.clone(),
        }
    }
}

impl<S: Store> Operation<S> {
    /// Declares an operation of a dependency, with its rules and the remote that reaches its provider.
    #[must_use]
    pub fn new(
        dependency: impl Into<String>,
        name: impl Into<String>,
        rules: Rules,
        remote: Arc<dyn Remote>,
    ) -> Operation<S> {
        let (dependency, name) = (dependency.into(), name.into());
        Operation { dependency, name, rules, remote, follow: None, sql: SqlTerms::default() }
    }

    /// Sets the handler of this operation. The ledger runs it when an action ends as done, failed or cancelled;
    /// `action.state.end()` says which. The handler runs in the transaction that writes this end, so both are committed
    /// or neither is. If the handler returns an error or panics, the transaction is rolled back, what the provider
    /// answered is kept, and the handler is run again later.
    ///
    /// The handler runs only for ends that the ledger writes by itself. If a caller settles or cancels in its own
    /// transaction, the caller does its own work in that transaction. The handler must not make calls to other systems,
    /// since the row is locked while the handler runs.
    #[must_use]
    pub fn on_settled<F>(mut self, handler: F) -> Operation<S>
    where
        F: for<'a> Fn(
                &'a mut S::Connection,
                &'a Action,
            )
                -> Boxed<'a, std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + Sync
            + 'static,
    {
        self.follow = Some(Arc::new(handler));
        self
    }

    /// Sets the terms for applications that call the ledger's SQL functions, such as `seawall.record`, for this
    /// operation: for example which roles may do so. Default [`SqlTerms::default`].
    #[must_use]
    pub fn sql(self, terms: SqlTerms) -> Operation<S> {
        Operation { sql: terms, ..self }
    }

    fn check(&self) -> Result<(), Misuse> {
        let rules = &self.rules;
        let here = |text: &str| Misuse::new(format!("{} {}: {text}", self.dependency, self.name));
        for (what, name) in [("dependency", &self.dependency), ("operation", &self.name)] {
            if name.chars().any(char::is_control) {
                return Err(here(&format!("the {what} holds a control character")));
            }
        }
        if rules.attempt.is_zero() {
            return Err(here("an attempt of no time"));
        }
        // If the lease ended before the attempt, another worker could ask about an attempt that is still under way.
        if rules.lease <= rules.attempt {
            return Err(here("the lease must be longer than an attempt may take"));
        }
        Ok(())
    }
}

/// All declared operations, by dependency and name.
pub(crate) struct Operations<S: Store> {
    by_dependency: HashMap<String, HashMap<String, Arc<Operation<S>>>>,
}

impl<S: Store> Operations<S> {
    pub(crate) fn new(all: Vec<Operation<S>>) -> Result<Operations<S>, Misuse> {
        let mut by_dependency: HashMap<String, HashMap<String, Arc<Operation<S>>>> = HashMap::new();
        for operation in all {
            operation.check()?;
            let (dependency, name) = (operation.dependency.clone(), operation.name.clone());
            let names = by_dependency.entry(dependency).or_default();
            if names.insert(name.clone(), Arc::new(operation)).is_some() {
                return Err(Misuse::new(format!("the operation `{name}` is declared twice")));
            }
        }
        Ok(Operations { by_dependency })
    }

    pub(crate) fn get(&self, dependency: &str, name: &str) -> Result<&Arc<Operation<S>>, Misuse> {
        self.by_dependency
            .get(dependency)
            .and_then(|names| names.get(name))
            .ok_or_else(|| Misuse::new(format!("no operation `{name}` of `{dependency}` was declared")))
    }

    pub(crate) fn of(&self, action: &Action) -> Result<&Arc<Operation<S>>, Misuse> {
        self.get(&action.dependency, &action.operation)
    }

    pub(crate) fn dependencies(&self) -> impl Iterator<Item = &str> {
        self.by_dependency.keys().map(String::as_str)
    }

    /// Returns the declared operations of this dependency, in the order of their names. There may be none.
    pub(crate) fn declared(&self, dependency: &str) -> Declared {
        let names = self.by_dependency.get(dependency).into_iter().flat_map(HashMap::keys);
        let mut operations: Vec<String> = names.cloned().collect();
        operations.sort_unstable();
        Declared { dependency: dependency.to_owned(), operations }
    }

    /// Returns all operations as this process declares them. If the terms of an operation have no limit on the size of
    /// a request or of a key, they get the ledger's limit.
    pub(crate) fn declarations(&self, sizes: Sizes) -> Vec<Declaration> {
        let all = self.by_dependency.values().flat_map(HashMap::values);
        let declaration = |of: &Arc<Operation<S>>| Declaration {
            dependency: of.dependency.clone(),
            operation: of.name.clone(),
            terms: SqlTerms {
                request_max: of.sql.request_max.or(Some(sizes.request)),
                key_max: of.sql.key_max.or(Some(sizes.key)),
                ..of.sql.clone()
            },
        };
        all.map(declaration).collect()
    }

    /// Returns the longest lease of all operations of this dependency; 2 min if it has no operations.
    pub(crate) fn lease(&self, dependency: &str) -> Duration {
        let names = self.by_dependency.get(dependency);
        let leases = names.into_iter().flat_map(HashMap::values).map(|operation| operation.rules.lease);
        leases.max().unwrap_or(Duration::from_secs(120))
    }

    /// Returns two times. The first is the bound above which a change of the database's clock is a jump: the shortest
    /// `pause` of all operations. The second is how long the time is in doubt after a jump: the longest sum of an
    /// operation's quiet time and attempt. Returns `None` if there are no operations.
    pub(crate) fn doubt(&self) -> Option<(Duration, Duration)> {
        let rules =
            || self.by_dependency.values().flat_map(HashMap::values).map(|operation| &operation.rules);
        let wait = rules().map(|rules| rules.quiet.saturating_add(rules.attempt)).max()?;
        Some((rules().map(|rules| rules.pause).min()?, wait))
    }

    /// Returns each operation's name, with the dependency before it.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.by_dependency.iter();
        all.flat_map(|(dependency, names)| names.keys().map(move |name| (dependency.as_str(), name.as_str())))
    }

    /// Returns the longest `give_up` of this dependency's operations. An operation's `give_up` is the time for which
    /// workers try to send an action that was never sent.
    pub(crate) fn give_up(&self, dependency: &str) -> std::time::Duration {
        let names = self.by_dependency.get(dependency);
        let times = names.into_iter().flat_map(HashMap::values).map(|operation| operation.rules.give_up);
        times.max().unwrap_or_default()
    }

    pub(crate) fn any_follows(&self) -> bool {
        self.by_dependency.values().flat_map(HashMap::values).any(|operation| operation.follow.is_some())
    }
}
