//! The type [`Whom`]: the dependency, or the operation of a dependency, to which an HTTP request belongs.

use std::sync::Arc;

use seawall_policy::{Idempotency, Plan, Rules};

use super::lines::Lines;
use crate::dependency::{Dependency, Inner};
use crate::operation::Operation;

/// The dependency or the operation to which an HTTP request belongs.
#[derive(Clone, Debug)]
pub(crate) enum Whom {
    /// The request belongs to no declared operation. Its HTTP method decides whether a second delivery could have a
    /// second effect.
    Dependency(Dependency),
    /// The request belongs to this operation, whose declaration decides whether a second delivery could have a second
    /// effect.
    Operation(Operation),
}

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

    /// Returns the maximum length of an answer's body that is collected in memory, in bytes.
    pub(crate) fn answer_limit(&self) -> usize {
        self.dependency().answer_limit
    }

    /// Returns the maximum number of bytes of a streaming request body that are kept for a repeat.
    pub(crate) fn keep(&self) -> usize {
        match self {
            Whom::Dependency(dependency) => dependency.0.retry.buffer,
            Whom::Operation(operation) => operation.declared.keep,
        }
    }

    /// Returns the plan for a request of this method. `said` is the idempotency that the request itself declares; it
    /// overrides that of the method or the operation.
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
