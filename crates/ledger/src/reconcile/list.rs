//! The types of a question for the provider's list, and of the pages of the list.
//!
//! [`Remote::list`](crate::Remote::list) takes and returns these types. The ledger knows neither HTTP nor the
//! provider's words. The remote writes the window and the cursor into a request, and turns the answer into a [`Page`].
//! For answers in JSON, [`JsonList`](super::JsonList) reads the page, with exact amounts.
//!
//! Only a whole list proves that the provider has no record of an action. So a page that cannot be requested or read is
//! always an error. If it became an empty page instead, every action on that page would be reported as "only here".

use std::fmt;

use super::{Amount, Window};
use crate::machine::Stamp;

/// The maximum length of a key, an id or a cursor, in bytes. If a page has a longer key, id or cursor, the whole page
/// counts as unreadable.
pub const LONGEST_TEXT_BYTES: usize = 1024;

/// A question for one page of the provider's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListAsk {
    /// The dependency whose provider is asked.
    pub dependency: String,
    /// The window of time whose records are requested, on the provider's clock. `from` is included, `to` is not.
    /// [`Window::from_text`] and [`Window::to_text`] write these two times with the offset of the provider's zone.
    pub window: Window,
    /// The cursor in `next` of the previous page; `None` asks for the first page.
    pub cursor: Option<String>,
}

/// One page of the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The records of the page, in any order. A record that was on an earlier page may come again; it is counted only
    /// once.
    pub records: Vec<Listed>,
    /// The cursor of the next page; `None` if this is the last page.
    pub next: Option<String>,
}

/// One record of the provider's list.
///
/// Records are identified by their `id`, or by their `key` if they have no `id`. A list with a record that has neither
/// cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The idempotency key that was sent with the request; `None` if the record has none, such as a record that was
    /// made without the ledger.
    pub key: Option<String>,
    /// The provider's own name for the record.
    pub id: Option<String>,
    /// The amount, in the unit of the amount that the ledger compares it with: units of the currency, such as 10.50, if
    /// the action's row has an amount, and otherwise the unit of the action's request. `None` if the record names no
    /// amount.
    pub amount: Option<Amount>,
    /// The state of the effect at the provider.
    pub state: ListedState,
    /// When the record was made at the provider; `None` if the record does not say so. The time is only shown to
    /// people.
    pub at: Option<Stamp>,
}

impl Listed {
    /// Returns what identifies this record: its id, or its key if it has no id; `None` if it has neither.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        match (&self.id, &self.key) {
            (Some(id), _) => Some(format!("id:{id}")),
            (None, Some(key)) => Some(format!("key:{key}")),
            (None, None) => None,
        }
    }

    /// Returns why this record cannot be used; `None` if it can be used.
    #[must_use]
    pub fn unreadable(&self) -> Option<&'static str> {
        let texts = || self.key.iter().chain(&self.id);
        if self.key.is_none() && self.id.is_none() {
            Some("a record has neither key nor id")
        } else if texts().any(|text| text.len() > LONGEST_TEXT_BYTES) {
            Some("a record's key or id is too long")
        } else if texts().any(|text| text.is_empty() || text.contains('\0')) {
            Some("a record's key or id is empty, or has a zero byte")
        } else {
            None
        }
    }
}

/// The state of an effect at the provider, in the ledger's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListedState {
    /// The effect was applied.
    Applied,
    /// The effect was undone, such as by a cancel or a refund.
    Cancelled,
    /// The effect was declined or is pending, or the provider's word for its state is not mapped.
    Other,
}

/// The reason why a page could not be read. In each case the list is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPage {
    /// No answer came, or the status of the answer says that its body is no page. Asking again may help.
    Unavailable(String),
    /// The answer cannot be understood. Asking again helps only if the answer was cut short.
    Unreadable(String),
    /// No list is declared for this dependency.
    Undeclared,
}

impl fmt::Display for NoPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoPage::Unavailable(why) => write!(f, "the list could not be asked for: {why}"),
            NoPage::Unreadable(why) => write!(f, "the list is not understood: {why}"),
            NoPage::Undeclared => f.write_str("no list is declared"),
        }
    }
}

impl std::error::Error for NoPage {}
