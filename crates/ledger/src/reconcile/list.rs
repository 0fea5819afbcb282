//! What a question for the provider's list holds, and what a page of it says.
//!
//! These are the types of [`Remote::list`](crate::Remote::list). The ledger knows neither HTTP nor the provider's
//! words: the remote fills window and cursor into a request, and turns the answer into a [`Page`]. For answers in JSON,
//! [`JsonList`](super::JsonList) does the second half, with exact amounts.
//!
//! Only a whole list is evidence. So anything that cannot be read or asked is an error here, and never an empty page or
//! a record left out. Half a list would make the other half "only here".

use std::fmt;

use super::{Amount, Window};
use crate::machine::Stamp;

/// The longest key, id or cursor that is taken, in bytes. A longer one makes the page unreadable.
pub const LONGEST_TEXT_BYTES: usize = 1024;

/// A question for one page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListAsk {
    /// The dependency whose list is asked for.
    pub dependency: String,
    /// The time whose records are asked for, on the provider's clock: `from` included, `to` not. [`Window::from_text`]
    /// and [`Window::to_text`] write them with the offset of the provider's zone.
    pub window: Window,
    /// The `next` of the page before; `None` asks for the first page.
    pub cursor: Option<String>,
}

/// One page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The records, in any order. A record that was on an earlier page is taken once.
    pub records: Vec<Listed>,
    /// How to ask for the next page; `None` says that this is the last one.
    pub next: Option<String>,
}

/// One record of the provider.
///
/// Records are told apart by their `id`, and those without one by their `key`. A list with a record that has neither is
/// not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Our key, where the record has one. A record that was made without the ledger may have none.
    pub key: Option<String>,
    /// The provider's own name for it.
    pub id: Option<String>,
    /// In the unit in which our own requests name amounts.
    pub amount: Option<Amount>,
    /// What has become of it there.
    pub state: ListedState,
    /// When it was made there, if the record says so. It is shown to people; nothing is decided by it.
    pub at: Option<Stamp>,
}

impl Listed {
    /// What tells this record from others.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        match (&self.id, &self.key) {
            (Some(id), _) => Some(format!("id:{id}")),
            (None, Some(key)) => Some(format!("key:{key}")),
            (None, None) => None,
        }
    }

    /// Why this record cannot be taken in, if it cannot.
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

/// What has become of a record at the provider, in the ledger's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListedState {
    /// It took effect.
    Applied,
    /// It was undone: cancelled, refunded.
    Cancelled,
    /// Neither: declined, pending, or a word that is not mapped.
    Other,
}

/// Why there is no page. In each of these cases the list is not complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPage {
    /// Asking failed: no answer came, or a status that is no page. Asking again may help.
    Unavailable(String),
    /// The answer came and is not understood. Asking again does not help, unless the answer was cut short.
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
