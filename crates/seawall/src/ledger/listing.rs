//! The type [`Listing`]: how a program describes the provider's own list of records.

use std::sync::Arc;

use seawall_actions::template::{JsonTemplate, Purpose, RequestTemplate};
use seawall_actions::{self as actions, ListRemote};
use seawall_ledger::Remote;
use seawall_ledger::reconcile::JsonList;
use seawall_policy::{Idempotency, Problem, Wrong};
use serde_json::Value;

use crate::dependency::Dependency;
use crate::misuse::Misuse;

/// Describes the request that lists the provider's records, and how the pages of the answer are read.
///
/// ```
/// use seawall::ledger::Listing;
///
/// let listing = Listing::by("GET /v1/charges?from={from}&to={to}&cursor={next}")
///     .items("/data")
///     .next("/next")
///     .key("/metadata/key")
///     .id("/id")
///     .amount("/amount")
///     .state("/status", ["succeeded"], ["refunded"]);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Listing {
    request: String,
    json: Option<Value>,
    form: JsonList,
}

impl Listing {
    /// Makes the description from the request that lists the records: a method and a path, which may contain the holes
    /// `{from}`, `{to}` and `{next}`.
    pub fn by(request: impl Into<String>) -> Listing {
        Listing { request: request.into(), json: None, form: JsonList::default() }
    }

    /// Gives the request a JSON body. Its strings may contain holes.
    pub fn json(mut self, body: Value) -> Listing {
        self.json = Some(body);
        self
    }

    /// Sets the JSON pointer to the array of items in a page. Default: the page itself is the array.
    pub fn items(mut self, pointer: impl Into<String>) -> Listing {
        self.form.items = pointer.into();
        self
    }

    /// Sets the JSON pointer at which a page has the cursor of the next page. Default: there is only one page.
    pub fn next(mut self, pointer: impl Into<String>) -> Listing {
        self.form.next = Some(pointer.into());
        self
    }

    /// Sets the JSON pointer to our key in an item.
    pub fn key(mut self, pointer: impl Into<String>) -> Listing {
        self.form.key = pointer.into();
        self
    }

    /// Sets the JSON pointer to the provider's own id in an item. Default: an item is identified by its key.
    pub fn id(mut self, pointer: impl Into<String>) -> Listing {
        self.form.id = Some(pointer.into());
        self
    }

    /// Sets the JSON pointer to the amount in an item. Default: amounts are not read.
    pub fn amount(mut self, pointer: impl Into<String>) -> Listing {
        self.form.amount = Some(pointer.into());
        self
    }

    /// Sets the power of ten by which the provider's amounts are multiplied to get our unit: 2 if the provider says
    /// 10.50 and we say 1050. Default 0.
    pub fn shift(mut self, by: i8) -> Listing {
        self.form.shift = by;
        self
    }

    /// Sets the JSON pointer to the state in an item, and which states mean "it took effect" and "it was undone".
    pub fn state<A, C>(mut self, pointer: impl Into<String>, applied: A, cancelled: C) -> Listing
    where
        A: IntoIterator<Item: Into<String>>,
        C: IntoIterator<Item: Into<String>>,
    {
        self.form.state = pointer.into();
        self.form.applied = applied.into_iter().map(Into::into).collect();
        self.form.cancelled = cancelled.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the JSON pointer to the time of creation in an item, as RFC 3339. The time is only shown to people.
    /// Default: none.
    pub fn at(mut self, pointer: impl Into<String>) -> Listing {
        self.form.at = Some(pointer.into());
        self
    }
}

impl Dependency {
    /// Returns the provider's own list for a reconciler.
    ///
    /// # Errors
    /// If a part of the description could never work. The error names all such problems.
    pub fn listing(&self, listing: Listing) -> Result<Arc<dyn Remote>, Misuse> {
        let Listing { request, json, form } = listing;
        let mut problems = Vec::new();
        let mut read = |setting, wrong| problems.push(Problem::error(setting, wrong));
        let mut request =
            RequestTemplate::parse(&request, Purpose::List).map_err(|wrong| read("list", wrong)).ok();
        if let Some(body) = json {
            let body = JsonTemplate::parse(&body, Purpose::List).map_err(|wrong| read("json", wrong)).ok();
            request.iter_mut().zip(body).for_each(|(request, body)| request.set_body(body));
        }
        let connections = self.connections();
        if connections.is_none() {
            read("list", Wrong::new("the dependency has no endpoint, so there is nowhere to ask"));
        }
        let listing = request.map(|request| actions::Listing { request, form });
        problems.extend(listing.iter().flat_map(actions::Listing::check));
        Misuse::of_problems("listing: ", problems)?;
        let (listing, connections) =
            listing.zip(connections).expect("what is missing was told, and returned above");
        let plan = Arc::clone(&self.site(Idempotency::Safe).plan);
        Ok(Arc::new(ListRemote { connections, plan, listing, page_bytes: self.0.answer_limit }))
    }
}
