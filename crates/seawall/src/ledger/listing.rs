//! The provider's own list, as a program describes it.

use std::sync::Arc;

use seawall_actions::template::{JsonTemplate, Purpose, RequestTemplate};
use seawall_actions::{self as actions, ListRemote};
use seawall_ledger::Remote;
use seawall_ledger::reconcile::JsonList;
use seawall_policy::{Idempotency, Problem, Wrong};
use serde_json::Value;

use crate::dependency::Dependency;
use crate::misuse::Misuse;

/// How the provider's records are listed, and how its pages are read.
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
    /// Lists by this request: a method and a path with holes (`{from}`, `{to}`, `{next}`).
    pub fn by(request: impl Into<String>) -> Listing {
        Listing { request: request.into(), json: None, form: JsonList::default() }
    }

    /// With a JSON body, whose strings may have holes.
    pub fn json(mut self, body: Value) -> Listing {
        self.json = Some(body);
        self
    }

    /// Where a page has its items. Default: the page is the list.
    pub fn items(mut self, pointer: impl Into<String>) -> Listing {
        self.form.items = pointer.into();
        self
    }

    /// Where a page has the cursor of the next. Default: there is one page.
    pub fn next(mut self, pointer: impl Into<String>) -> Listing {
        self.form.next = Some(pointer.into());
        self
    }

    /// Where an item has our key.
    pub fn key(mut self, pointer: impl Into<String>) -> Listing {
        self.form.key = pointer.into();
        self
    }

    /// Where an item has the provider's own name.
    pub fn id(mut self, pointer: impl Into<String>) -> Listing {
        self.form.id = Some(pointer.into());
        self
    }

    /// Where an item has its amount.
    pub fn amount(mut self, pointer: impl Into<String>) -> Listing {
        self.form.amount = Some(pointer.into());
        self
    }

    /// Their amounts times ten to the power of this are amounts in our unit: 2 where they say 10.50 and we say 1050.
    pub fn shift(mut self, by: i8) -> Listing {
        self.form.shift = by;
        self
    }

    /// Where an item has its state, and which states mean "it took effect" and "it was undone".
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

    /// Where an item has the time at which it was made, as RFC 3339; shown to people only.
    pub fn at(mut self, pointer: impl Into<String>) -> Listing {
        self.form.at = Some(pointer.into());
        self
    }
}

impl Dependency {
    /// The provider's own list, for a reconciler.
    ///
    /// # Errors
    /// Everything that could never work.
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
