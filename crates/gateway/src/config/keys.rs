//! The one table of all keys that may stand in a configuration file.
//!
//! Four things come from this table, so they cannot contradict each other: which keys are unknown, which valid name is
//! nearest to an unknown key, how each value must look, and what the JSON Schema says. The reader (`read`) asks for
//! values only by the names in this table.

mod dependency;
mod gateway;
mod operation;
mod policies;
mod root;

use seawall_actions::template::Purpose;

pub(super) use operation::needs_durable;
#[cfg(test)]
pub(super) use operation::operation_doc;
pub(super) use policies::{ANSWER, BREAKER, BUDGET, CONCURRENCY, DNS, POOL, RETRY, TIMEOUT};
pub(super) use root::ROOT;

/// One table of the file.
#[derive(Debug)]
pub(super) struct Spec {
    /// The table's name in messages.
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    /// The keys of the table, in groups. A group may belong to several tables.
    pub(super) groups: &'static [&'static [Key]],
}

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) doc: &'static str,
}

impl Spec {
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> + Clone + use<> {
        let groups = self.groups;
        groups.iter().flat_map(|group| group.iter())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.keys().map(|key| key.name)
    }

    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

/// What a value must be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A table.
    Table(&'static Spec),
    /// A list of tables: `[[…]]`.
    Tables(&'static Spec),
    /// Tables whose names the user chooses.
    Named(&'static Spec),
    /// Header names and values.
    Headers,
    /// Header names, and values with placeholders.
    HeaderTemplates(Purpose),
    /// A JSON body with placeholders.
    Json(Purpose),
    /// The fields of a form, with placeholders in their values.
    Form(Purpose),
    /// Conditions on an answer.
    Predicates,
    Flag,
    Whole {
        min: u64,
        max: u64,
    },
    /// A number of tokens, zero or more.
    Tokens,
    /// A ratio from 0 to 1. Zero is accepted only if `zero` is `true`.
    Ratio {
        zero: bool,
    },
    Time {
        zero: bool,
    },
    TimeOrOff,
    Size,
    SizeWithin {
        min: u64,
        max: u64,
    },
    SizeOrOff,
    Choice(&'static [&'static str]),
    /// A word that says what a success means if it fits no declared answer.
    Otherwise,
    HttpVersion,
    Socket,
    IpOrOff,
    EndpointUrl,
    ProxyUrl,
    LedgerUrl,
    HeaderName,
    HostNames,
    Statuses,
    /// A list of failure statuses, from 400 to 599. It may be empty.
    Failures,
    File,
    Pattern,
    Request(Purpose),
    Pointer,
    GuardKey,
    Zone,
    /// How long a key is remembered: a length of time, or a time of day in a zone.
    Lifetime,
    /// Until when the provider can be asked about an action or takes a cancel: a length of time after the first send,
    /// or the end of a day in the provider's time zone.
    Window,
    /// The characters of a key, as a list of characters and ranges.
    KeyChars,
    /// Where the key of an action comes from: a text with placeholders, or `generate`.
    KeySource,
    /// A list of names of headers that are recorded. A header that carries credentials is not allowed.
    StoredHeaders,
    /// A code of ISO 4217, or a JSON pointer to one.
    Currency,
    /// A name that is used as a label of metrics.
    Name,
    /// Roles of a database: a list, or a table with a caller's name for each role.
    SqlRoles,
    Texts,
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, required: false, doc }
}

const fn must(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, required: true, doc }
}

const COUNT: Kind = Kind::Whole { min: 1, max: 1_000_000 };
const TIME: Kind = Kind::Time { zero: false };
const TIME_OR_ZERO: Kind = Kind::Time { zero: true };
