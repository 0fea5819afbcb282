//! The type [`Operation`]: one thing that a dependency can do, declared once.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use seawall_client::any::Site;
use seawall_policy::{self as policy, Effect, Field, Idempotency, Misuse, Plan, Rules, Scalar, Timeouts};

use crate::call::{Attempt, Call};
use crate::dependency::Dependency;
use crate::fault::Fault;
use crate::judge::Plain;
use crate::misuse;
use crate::settings::Retry;

/// One thing that a dependency can do: how it is called and what its answers mean. All clones are the same operation.
#[derive(Clone)]
pub struct Operation {
    pub(crate) dependency: Dependency,
    pub(crate) declared: Arc<Declared>,
}

pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) site: Site,
    #[cfg(feature = "http")]
    pub(crate) keep: usize,
}

impl fmt::Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operation")
            .field("name", &self.declared.name)
            .field("dependency", &self.dependency.name())
            .finish_non_exhaustive()
    }
}

impl Dependency {
    /// Begins to declare one thing that this dependency can do: what a second delivery does, how long a call may take,
    /// and what the answers mean.
    pub fn operation(&self, name: impl Into<String>) -> OperationBuilder {
        OperationBuilder::new(self.clone(), name.into())
    }
}

impl Operation {
    /// The operation's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.declared.name
    }

    /// Makes a call around any future, as [`Dependency::call`] does, with the settings of this operation.
    #[track_caller]
    pub fn call<F, Fut, T, E>(&self, attempt: F) -> Call<'_, F, Fut, Plain>
    where
        F: FnMut(Attempt) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<Fault>,
    {
        Call::new(&self.declared.site, &self.dependency.0.name, attempt, Location::caller())
    }
}

/// Describes a set of answers by their statuses and by fields of the JSON body. If no status is named, answers with any
/// status belong to the set.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct When(pub(crate) policy::Predicate);

impl When {
    /// Describes all answers.
    pub fn any() -> When {
        When::default()
    }

    /// Describes the answers with this status.
    pub fn status(status: u16) -> When {
        When::default().or_status(status)
    }

    /// Adds the answers with this status to the set.
    pub fn or_status(mut self, status: u16) -> When {
        self.0.statuses.push(status);
        self
    }

    /// Adds a condition: the JSON body has one of these values at this pointer (RFC 6901, such as `/error/code`). An
    /// answer belongs to the set only if all conditions hold.
    pub fn field<V: Into<Value>>(mut self, pointer: &str, any_of: impl IntoIterator<Item = V>) -> When {
        let any_of = any_of.into_iter().map(|value| value.into().0).collect();
        self.0.fields.push(Field { pointer: pointer.to_owned(), any_of });
        self
    }
}

/// A value of a JSON field: text, a number or a truth value.
#[derive(Clone, Debug, PartialEq)]
pub struct Value(Scalar);

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value(Scalar::Text(text.to_owned()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value(Scalar::Text(text))
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value(Scalar::Integer(number))
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Value {
        Value(Scalar::Integer(number.into()))
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Value {
        Value(Scalar::Bool(truth))
    }
}

/// Collects the declaration of an [`Operation`]. A setting that is left out has the dependency's value.
#[derive(Clone, Debug)]
#[must_use = "`build` makes the operation"]
pub struct OperationBuilder {
    dependency: Dependency,
    name: String,
    rules: Rules,
    otherwise: Option<Effect>,
    timeouts: Timeouts,
    retry: Retry,
}

impl OperationBuilder {
    pub(crate) fn new(dependency: Dependency, name: String) -> OperationBuilder {
        let (timeouts, retry) = (dependency.0.timeouts, dependency.0.retry);
        let overload = dependency.0.sites[0].plan.rules.overload.clone();
        let rules = Rules { overload, ..Rules::of(Idempotency::None) };
        OperationBuilder { dependency, name, rules, otherwise: None, timeouts, retry }
    }

    /// Sets what a second delivery does. Default: [`Idempotency::None`], which means that a second delivery may be a
    /// second effect.
    pub fn idempotency(mut self, idempotency: Idempotency) -> OperationBuilder {
        self.rules.idempotency = idempotency;
        self
    }

    /// Sets how long calls of this operation may take. Default: the dependency's timeouts.
    pub fn timeout(mut self, timeouts: Timeouts) -> OperationBuilder {
        self.timeouts = timeouts;
        self
    }

    /// Sets how calls of this operation are repeated. Default: the dependency's setting.
    pub fn retry(mut self, retry: Retry) -> OperationBuilder {
        self.retry = retry;
        self
    }

    /// Adds statuses of the dependency's overload list, such as 429, that mean "not done" for this operation. After
    /// such an answer, a call of any idempotency may be repeated. Default: none; then the effect of a 429 or a 503 is
    /// unknown.
    pub fn refuses(mut self, statuses: impl IntoIterator<Item = u16>) -> OperationBuilder {
        self.rules.refuses.extend(statuses);
        self
    }

    /// Declares what the answers of `when` mean for the effect, whatever their status says. An answer is compared with
    /// the declared sets in this order: applied, not applied, unknown. The first set that matches decides.
    /// [`otherwise`](Self::otherwise) says what an answer means that is in none of them.
    ///
    /// These declarations hold for HTTP requests ([`Operation::http`]) and for the ledger. A closure or a tower layer
    /// sees the answer itself, and must say what the answer means.
    pub fn answers(mut self, effect: Effect, when: When) -> OperationBuilder {
        let answers = &mut self.rules.answers;
        match effect {
            Effect::Applied => answers.applied.push(when.0),
            Effect::NotApplied => answers.not_applied.push(when.0),
            Effect::Unknown => answers.unknown.push(when.0),
        }
        self
    }

    /// Declares answers that mean "I have this key already". Such an answer comes from a provider that remembers keys,
    /// but not what it answered to them. It proves that an earlier request with the key arrived, and says nothing of
    /// the effect of that request. So the effect is unknown, whatever the status says.
    ///
    /// These answers are checked before those of [`answers`](Self::answers). If `duplicate` is called several times,
    /// each of the declared sets has this meaning.
    pub fn duplicate(mut self, when: When) -> OperationBuilder {
        self.rules.answers.duplicate.push(when.0);
        self
    }

    /// Sets the meaning of an answer that has a status of 2xx and matches none of the declared
    /// [`answers`](Self::answers): [`Effect::Applied`] or [`Effect::Unknown`].
    ///
    /// - Default: the status decides. But if a declaration has a condition on a field and the body is not JSON, the
    ///   condition cannot be checked, and the effect is unknown.
    /// - `Unknown` is the safe choice if you declare which answers mean applied. Then a new result code, an error page
    ///   or a maintenance page of the provider does not count as applied.
    /// - With `Applied`, a body that is not JSON counts as applied.
    ///
    /// A body that was not read, because it is longer than 256 KiB or compressed, always leaves the effect unknown.
    pub fn otherwise(mut self, effect: Effect) -> OperationBuilder {
        self.otherwise = Some(effect);
        self
    }

    /// Checks the declaration, and returns the operation.
    ///
    /// # Errors
    /// If a setting could never work. The error names all such settings.
    pub fn build(mut self) -> Result<Operation, Misuse> {
        let mut problems = Vec::new();
        let at = format!("operation {}: ", self.name);
        self.rules.answers.otherwise = match self.otherwise {
            None => None,
            Some(Effect::Applied) => Some(policy::Otherwise::Applied),
            Some(Effect::Unknown) => Some(policy::Otherwise::Unknown),
            Some(Effect::NotApplied) => {
                problems.push(format!(
                    "{at}otherwise: a success that nobody declared is no proof of \"not applied\"; say applied or unknown"
                ));
                None
            }
        };
        if self.name.is_empty() {
            problems.push("operation: the name is empty".to_owned());
        }
        misuse::tell(&format!("{at}timeout"), self.timeouts.problems(), &mut problems);
        misuse::tell(&format!("{at}retry"), self.retry.problems(), &mut problems);
        for status in self.rules.refuses.iter().filter(|status| !self.rules.overload.contains(status)) {
            problems.push(format!(
                "{at}refuses {status}: that is none of the dependency's overload statuses; see `answers`"
            ));
        }
        let answers = &self.rules.answers;
        let lists = [&answers.duplicate, &answers.applied, &answers.not_applied, &answers.unknown];
        let fields = lists.into_iter().flatten();
        for field in fields.flat_map(|predicate| &predicate.fields) {
            let pointer = &field.pointer;
            if !pointer.is_empty() && !pointer.starts_with('/') {
                problems.push(format!("{at}answers: `{pointer}` is not a JSON pointer; it begins with `/`"));
            }
        }
        if let Some(misuse) = Misuse::of(problems) {
            return Err(misuse);
        }
        let shared = &self.dependency.0;
        let [site, ..] = &shared.sites;
        let plan = Plan {
            timeouts: self.timeouts,
            attempts: self.retry.attempts,
            backoff: self.retry.backoff,
            after_max: self.retry.after_max,
            ..Plan::new(self.rules, site.plan.endpoints)
        };
        let site = Site { shared: Arc::clone(&site.shared), clock: site.clock, plan: Arc::new(plan) };
        let declared = Declared {
            name: self.name,
            site,
            #[cfg(feature = "http")]
            keep: self.retry.buffer,
        };
        Ok(Operation { dependency: self.dependency, declared: Arc::new(declared) })
    }
}
