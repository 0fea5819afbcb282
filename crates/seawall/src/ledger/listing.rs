//! The other side's own list, over HTTP, for reconciliation.

use std::sync::Arc;

use http::StatusCode;
use seawall_ledger::reconcile::{Amount, JsonList, ListAsk, NoPage, Page, amount_at};
use seawall_ledger::store::Boxed;
use seawall_ledger::{Call, Found, Performed, Remote, Report, Undone};
use serde_json::Value;

use crate::stored::StoredRequest;
use crate::template::{Fill, Hole, Pointer, Purpose, Raw, RequestTemplate};
use crate::{Dependency, Misuse};

/// How the other side's records are listed, and how its pages are read.
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

    /// Where an item has the other side's own name.
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

/// Reads an amount from what was recorded.
pub type ReadAmount = Arc<dyn Fn(&[u8]) -> Option<Amount> + Send + Sync>;

/// Reads the amount of a recorded request, at this pointer of its JSON body: what a reconciler compares with the list's.
#[must_use]
pub fn recorded_amount(pointer: &str) -> ReadAmount {
    let pointer = pointer.to_owned();
    Arc::new(move |recorded| amount_at(&StoredRequest::decode(recorded).body, &pointer))
}

impl Dependency {
    /// The other side's own list, for a reconciler.
    ///
    /// # Errors
    /// What could never work, all at once.
    pub fn listing(&self, listing: Listing) -> Result<Arc<dyn Remote>, Misuse> {
        let Listing { request, json, form } = listing;
        let mut problems = Vec::new();
        let mut note = |problem: String| problems.push(format!("listing: {problem}"));
        let template = RequestTemplate::parse(&request, Purpose::List).and_then(|template| match &json {
            Some(body) => template.json(body, Purpose::List),
            None => Ok(template),
        });
        let template = template.map_err(|wrong| note(wrong.to_string())).ok();
        let whole = [&form.items];
        let pointers = [Some(&form.key), Some(&form.state)].into_iter().flatten();
        let optional = [&form.next, &form.id, &form.amount, &form.at].into_iter().flatten();
        for pointer in pointers.chain(optional).chain(whole.into_iter().filter(|items| !items.is_empty())) {
            if let Err(wrong) = Pointer::parse(pointer) {
                note(wrong.to_string());
            }
        }
        if let Some(template) = &template {
            let has = |wanted: &Hole| template.holes().any(|hole| hole == wanted);
            if has(&Hole::Next) != form.next.is_some() {
                note(
                    "`{next}` and the pointer `next` go together: without one every page would be the first"
                        .into(),
                );
            }
            if !has(&Hole::From) || !has(&Hole::To) {
                note("without `{from}` and `{to}` every window would be the whole list".to_owned());
            }
        }
        if form.applied.is_empty() {
            note("no state would mean \"it took effect\"".to_owned());
        }
        if self.0.lines.is_none() {
            note("the dependency has no endpoint".to_owned());
        }
        if let Some(misuse) = Misuse::of(problems) {
            return Err(misuse);
        }
        let request = template.expect("a wrong one was noted, and returned above");
        Ok(Arc::new(List { dependency: self.clone(), request, form }))
    }
}

struct List {
    dependency: Dependency,
    request: RequestTemplate,
    form: JsonList,
}

/// The first page has no cursor: its hole is filled with nothing.
struct Asked<'a>(&'a ListAsk);

impl Fill for Asked<'_> {
    fn fill(&self, hole: &Hole) -> Option<Raw> {
        match hole {
            Hole::From => Some(Raw::string(&self.0.window.from_text())),
            Hole::To => Some(Raw::string(&self.0.window.to_text())),
            Hole::Next => Some(Raw::string(self.0.cursor.as_deref().unwrap_or_default())),
            Hole::Key
            | Hole::CancelKey
            | Hole::Request(_)
            | Hole::RequestHeader(_)
            | Hole::Confirm(_)
            | Hole::Answer(_) => None,
        }
    }
}

impl List {
    async fn page(&self, ask: &ListAsk) -> Result<Page, NoPage> {
        let unavailable = |why: String| NoPage::Unavailable(why);
        let filled = self.request.fill(&Asked(ask)).map_err(|unfilled| unavailable(unfilled.to_string()))?;
        let http = self.dependency.http();
        let mut request =
            http.request(filled.method, &filled.target).idempotency(seawall_policy::Idempotency::Safe);
        if let Some(body) = filled.body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await.map_err(|error| unavailable(error.to_string()))?;
        if answer.status() != StatusCode::OK {
            return Err(unavailable(format!("answered {}", answer.status().as_u16())));
        }
        let body = answer.bytes().await.map_err(|error| unavailable(error.to_string()))?;
        self.form.page(&body)
    }
}

/// A list does nothing else.
impl Remote for List {
    fn perform<'a>(&'a self, _: Call<'a>) -> Boxed<'a, (Performed, Report)> {
        Box::pin(std::future::ready((Performed::NotSent, Report::default())))
    }

    fn confirm<'a>(&'a self, _: Call<'a>) -> Boxed<'a, (Found, Report)> {
        Box::pin(std::future::ready((Found::Other, Report::default())))
    }

    fn cancel<'a>(&'a self, _: Call<'a>) -> Boxed<'a, (Undone, Report)> {
        Box::pin(std::future::ready((Undone::NotSent, Report::default())))
    }

    fn list<'a>(&'a self, ask: &'a ListAsk) -> Boxed<'a, Result<Page, NoPage>> {
        Box::pin(self.page(ask))
    }
}
