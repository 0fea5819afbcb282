//! The type [`Listing`]: how a program describes the provider's own list of records.

use std::sync::Arc;

use seawall_actions::template::{Purpose, RequestTemplate};
use seawall_actions::{self as actions, ListRemote};
use seawall_ledger::Remote;
use seawall_ledger::reconcile::JsonList;
use seawall_policy::{Idempotency, Misuse, Problem, Wrong};
use serde_json::Value;

use super::declare::notes_of;
use super::draft::{Draft, form, header, json};
use crate::dependency::Dependency;

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
    request: Draft<RequestTemplate>,
    form: JsonList,
}

impl Listing {
    /// Makes the description from the request that lists the records: a method and a path, which may contain the holes
    /// `{from}` and `{to}` (the span of time that is compared) and `{next}` (the cursor of the page).
    pub fn by(request: impl AsRef<str>) -> Listing {
        let request = RequestTemplate::parse(request.as_ref(), Purpose::List);
        Listing { request: Draft::by(request, "list", |request| request), form: JsonList::default() }
    }

    /// Gives the request a header. Its value may contain holes such as `{from}`. Do not use it for credentials: put
    /// them on the endpoint. If the endpoint has a header of the same name, the endpoint's value is sent.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Listing {
        let header = header(name.as_ref(), value.as_ref(), Purpose::List);
        self.request.put("headers", header, |request| request, RequestTemplate::add_header);
        self
    }

    /// Gives the request a JSON body. Its strings may contain holes. A request has a JSON body or a form, but not both.
    pub fn json(mut self, body: Value) -> Listing {
        let body = json(&body, Purpose::List);
        self.request.put("json", body, |request| request, RequestTemplate::set_body);
        self
    }

    /// Gives the request a body of `application/x-www-form-urlencoded` with these fields, in this order. The values may
    /// contain holes. A request has a JSON body or a form, but not both.
    pub fn form<N: AsRef<str>, V: AsRef<str>>(mut self, fields: impl IntoIterator<Item = (N, V)>) -> Listing {
        let body = form(fields, Purpose::List);
        self.request.put("form", body, |request| request, RequestTemplate::set_body);
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

    /// Sets the JSON pointer to the key in an item: the key under which the action was sent.
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

    /// Sets `by`: the provider's amounts are multiplied by 10 to the power of `by`, so that they have the ledger's
    /// unit. Default 0. Two examples:
    ///
    /// - The list says 10.50 where the ledger says 1050: `by` is 2.
    /// - The list says 1050 where the ledger says 10.50: `by` is -2.
    ///
    /// If the operation declares its amount, the ledger has units of the currency, such as 10.50.
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
        let Listing { request: Draft { read: request, unread: mut problems }, form } = listing;
        let connections = self.connections();
        if connections.is_none() {
            let wrong = Wrong::new("the dependency has no endpoint, so there is nowhere to ask");
            problems.push(Problem::error("list", wrong));
        }
        let listing = request.map(|request| actions::Listing { request, form });
        problems.extend(listing.iter().flat_map(actions::Listing::check));
        notes_of("listing: ", problems)?;
        let (listing, connections) =
            listing.zip(connections).expect("what is missing was told, and returned above");
        let plan = Arc::clone(&self.site(Idempotency::Safe).plan);
        Ok(Arc::new(ListRemote { connections, plan, listing, page_bytes: self.0.answer_limit }))
    }
}
