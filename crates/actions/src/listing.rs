//! Reads the provider's own list over HTTP, for reconciliation.

use std::sync::Arc;

use seawall_ledger::reconcile::{Amount, JsonList, ListAsk, NoPage, Page, amount_at};
use seawall_ledger::store::Boxed;
use seawall_ledger::{Delivery, Found, Performed, Remote, Report, Undone};
use seawall_policy::{Plan, Problem, Wish, Wrong};

use crate::exchange::{Connections, exchange};
use crate::stored::StoredRequest;
use crate::template::{Fill, Hole, Pointer, Raw, RequestTemplate};

/// How the list of the provider's records is requested page by page, and how each page is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Listing {
    /// The request for a page.
    pub request: RequestTemplate,
    /// How a page is read: the JSON pointers to its items, to the cursor of the next page, and to the fields of an
    /// item.
    pub form: JsonList,
}

impl Listing {
    /// Returns everything that is wrong with the declaration.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let form = &self.form;
        let mut problems = Vec::new();
        let mut error = |setting, with, wrong| problems.push(Problem::error(setting, wrong).with(with));
        let pointers = [
            ("key", Some(&form.key)),
            ("state.pointer", Some(&form.state)),
            // An empty pointer is the default and means that the page itself is the list. It is not checked, since it
            // points to no field.
            ("items", Some(&form.items).filter(|items| !items.is_empty())),
            ("next", form.next.as_ref()),
            ("id", form.id.as_ref()),
            ("amount", form.amount.as_ref()),
            ("at", form.at.as_ref()),
        ];
        for (setting, pointer) in pointers {
            if let Some(Err(wrong)) = pointer.map(|pointer| Pointer::parse(pointer)) {
                error(setting, &[], wrong);
            }
        }
        let asks_for = |wanted: &Hole| self.request.holes().any(|hole| hole == wanted);
        match (asks_for(&Hole::Next), form.next.is_some()) {
            (true, false) => error(
                "list",
                &["next"],
                Wrong::new("`{next}` is never found: `next` is missing")
                    .help("the JSON pointer of a page's cursor"),
            ),
            (false, true) => {
                error(
                    "next",
                    &["list"],
                    Wrong::new("`list` has no `{next}`, so every page would be the first"),
                );
            }
            (true, true) | (false, false) => {}
        }
        if !asks_for(&Hole::From) || !asks_for(&Hole::To) {
            let wrong = Wrong::new("without `{from}` and `{to}` every window would be the whole list");
            error("list", &[], wrong);
        }
        if form.applied.is_empty() {
            error("state.applied", &[], Wrong::new("no state would mean \"it took effect\""));
        }
        problems
    }
}

/// A function that reads an amount from the bytes of a recorded request. It returns `None` if there is no amount.
pub type ReadAmount = Arc<dyn Fn(&[u8]) -> Option<Amount> + Send + Sync>;

/// Returns a function that reads the amount at this JSON pointer in the body of a recorded request. A reconciler
/// compares this amount with the amount in the provider's list.
#[must_use]
pub fn recorded_amount(pointer: &str) -> ReadAmount {
    let pointer = pointer.to_owned();
    Arc::new(move |recorded| amount_at(&StoredRequest::decode(recorded).body, &pointer))
}

/// The provider's own list, from which a reconciler requests page after page. This remote does not send requests that
/// perform, confirm or cancel an action.
pub struct ListRemote {
    /// The connections to the provider.
    pub connections: Connections,
    /// The plan for a request for a page. The request is declared as `safe`: it changes nothing, so it may be repeated.
    pub plan: Arc<Plan>,
    /// The request for a page, and how a page is read.
    pub listing: Listing,
    /// The maximum length of a page, in bytes.
    pub page_bytes: usize,
}

/// Fills the holes of the request for one page. The first page has no cursor, so the hole for the cursor is filled with
/// an empty text.
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
            | Hole::Sent(_)
            | Hole::Confirm(_)
            | Hole::Answer(_) => None,
        }
    }
}

impl ListRemote {
    async fn page(&self, ask: &ListAsk) -> Result<Page, NoPage> {
        let unavailable = |why: String| Err(NoPage::Unavailable(why));
        let filled = match self.listing.request.fill(&Asked(ask)) {
            Ok(filled) => filled,
            Err(unfilled) => return unavailable(unfilled.to_string()),
        };
        let wish = |_| Wish::default();
        let answer = exchange(&self.connections, &self.plan, filled.into(), wish, self.page_bytes).await;
        let Some(page) = answer.answer else { return unavailable(answer.report.detail.unwrap_or_default()) };
        match (page.head.status.as_u16(), page.whole()) {
            (200, Some(body)) => self.listing.form.page(body),
            (200, None) if page.broken => unavailable(answer.report.detail.unwrap_or_default()),
            (200, None) => unavailable(format!("a page is longer than {} bytes", self.page_bytes)),
            (other, _) => unavailable(format!("answered {other}")),
        }
    }
}

impl Remote for ListRemote {
    fn perform<'a>(&'a self, _: Delivery<'a>) -> Boxed<'a, (Performed, Report)> {
        Box::pin(std::future::ready((Performed::NotSent, Report::default())))
    }

    fn confirm<'a>(&'a self, _: Delivery<'a>) -> Boxed<'a, (Found, Report)> {
        Box::pin(std::future::ready((Found::NotSent, Report::default())))
    }

    fn cancel<'a>(&'a self, _: Delivery<'a>) -> Boxed<'a, (Undone, Report)> {
        Box::pin(std::future::ready((Undone::NotSent, Report::default())))
    }

    fn list<'a>(&'a self, ask: &'a ListAsk) -> Boxed<'a, Result<Page, NoPage>> {
        Box::pin(self.page(ask))
    }
}
