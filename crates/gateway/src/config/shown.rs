//! Decides which parts of a file a report may show. Four kinds of text are shown:
//!
//! - the words of our own table of keys,
//! - the values of keys that are known to be harmless,
//! - `${env:NAME}` and `${file:PATH}`,
//! - the marks that TOML is made of.
//!
//! Everything else, including comments, is replaced by stars.
//!
//! A report quotes the line of a mistake, and is shown on terminals, in logs and on the admin side. The obvious rule
//! would replace only the values of keys that hold secrets. It would fail where it matters: a secret under a misspelt
//! key (`headerz`) does not stand under a key that is known to hold one.

use std::collections::BTreeSet;
use std::ops::Range;

use seawall_actions::shown::{LONGEST_WORD, is_word, tellable};
use toml::de::{DeTable, DeValue};

use super::keys::{Kind, ROOT, Spec};
use super::shape::judge;
use super::values::Value;

/// The maximum length of a value that is shown, in bytes. A longer value is hidden even if its key is harmless: its
/// closing quote may be missing, and then the parser takes the lines after it for a part of the value.
const LONGEST_VALUE: usize = 200;
/// Returns whether this may be the name of an environment variable. A text with both digits and lowercase letters is
/// refused, since nobody names a variable in this way, and many secrets look like that.
pub(super) fn is_variable(name: &str) -> bool {
    let upper = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    is_word(name) || (name.len() <= 64 && name.bytes().all(upper))
}

/// Returns the byte ranges of `text` that may be shown. `table` was read from `text`. `broken` says whether `text` is
/// not valid TOML.
pub(super) fn ranges(text: &str, table: &DeTable<'_>, broken: bool) -> Vec<Range<usize>> {
    let mut shown = Shown { text, broken, ranges: Vec::new(), names: BTreeSet::new() };
    shown.table(&ROOT, table);
    known_words(&ROOT, &mut shown.names);
    shown.headlines();
    shown.ranges
}

/// Returns the text, with a star for every character outside the ranges. Line breaks are kept, so that lines and
/// columns stay the same.
pub(super) fn masked(text: &str, shown: &[Range<usize>]) -> String {
    let visible = visible(text, shown);
    text.char_indices().map(|(at, c)| if visible[at] { c } else { '*' }).collect()
}

/// Returns which byte of the masked text stands for byte `at` of `text`. The two numbers differ if a hidden character
/// of several bytes stands before `at`, since a star has only one byte.
pub(super) fn masked_offset(text: &str, shown: &[Range<usize>], at: usize) -> usize {
    let visible = visible(text, shown);
    text.char_indices()
        .take_while(|(start, _)| *start < at)
        .map(|(start, c)| if visible[start] { c.len_utf8() } else { 1 })
        .sum()
}

/// Returns one entry for each byte of the text. The entry for the first byte of a character says whether that character
/// is shown. Blanks, and the marks that TOML is made of, are always shown.
fn visible(text: &str, shown: &[Range<usize>]) -> Vec<bool> {
    let mut visible = vec![false; text.len()];
    for range in shown {
        visible[range.start.min(text.len())..range.end.min(text.len())].fill(true);
    }
    for (at, c) in text.char_indices() {
        visible[at] |= c.is_whitespace() || "[]{}=,\"'#.".contains(c);
    }
    visible
}

fn known_words(spec: &'static Spec, words: &mut BTreeSet<String>) {
    for key in spec.keys() {
        words.insert(key.name.to_owned());
        if let Kind::Table(inner) | Kind::Tables(inner) | Kind::Named(inner) = key.kind {
            known_words(inner, words);
        }
    }
}

struct Shown<'t> {
    text: &'t str,
    broken: bool,
    ranges: Vec<Range<usize>>,
    /// The words that a headline (`[dependency.pay]`) may show.
    names: BTreeSet<String>,
}

impl Shown<'_> {
    fn table(&mut self, spec: &'static Spec, table: &DeTable<'_>) {
        for (name, value) in table {
            let Some(key) = spec.key(name.get_ref()) else {
                if tellable(name.get_ref(), spec.names()) {
                    self.name(name.get_ref(), name.span());
                }
                continue;
            };
            self.ranges.push(name.span());
            match (&key.kind, value.get_ref()) {
                (Kind::Table(inner), DeValue::Table(table)) => self.table(inner, table),
                (Kind::Tables(inner), DeValue::Array(items)) => {
                    items.iter().filter_map(|item| item.get_ref().as_table()).for_each(|table| {
                        self.table(inner, table);
                    });
                }
                (Kind::Named(inner), DeValue::Table(tables)) => self.named(inner, tables),
                (kind, _) => {
                    let before = self.ranges.len();
                    self.value(kind, value);
                    if self.broken {
                        self.keep_to_the_line_of(name.span(), before);
                    }
                }
            }
        }
    }

    /// `ranges` are the parts of the file's text that may be shown. This function drops the ranges from index `first`
    /// on, but keeps those on the line of `key`. It is called for a file with a bracket that is never closed: the
    /// parser takes the lines after the bracket for a part of the value, so the ranges in these lines may be wrong.
    fn keep_to_the_line_of(&mut self, key: Range<usize>, first: usize) {
        let end = self.text[key.end..].find('\n').map_or(self.text.len(), |n| key.end + n);
        let mut at = 0;
        self.ranges.retain(|range| {
            at += 1;
            at <= first || (range.start >= key.start && range.end <= end)
        });
    }

    fn name(&mut self, name: &str, span: Range<usize>) {
        self.names.insert(name.to_owned());
        self.ranges.push(span);
    }

    /// Marks the names of dependencies as text that a report may show. They are not secrets, since a dependency's name
    /// is the first segment of the paths that callers use.
    fn named(&mut self, spec: &'static Spec, tables: &DeTable<'_>) {
        for (name, value) in tables {
            let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
            let written = name.get_ref();
            let Some(table) = value.get_ref().as_table() else { continue };
            if is_word(written) || (written.len() <= 64 && written.bytes().all(fine)) {
                self.name(written, name.span());
            }
            self.table(spec, table);
        }
    }

    fn value(&mut self, kind: &Kind, value: &Value<'_>) {
        match (kind, value.get_ref()) {
            (Kind::Headers, DeValue::Table(headers)) => {
                for (name, value) in headers {
                    if is_header(name.get_ref()) {
                        self.ranges.push(name.span());
                    }
                    self.holes(value);
                }
            }
            (Kind::HeaderTemplates(_), DeValue::Table(headers)) => {
                for (name, value) in headers {
                    if is_header(name.get_ref()) {
                        self.ranges.push(name.span());
                    }
                    self.json(value);
                }
            }
            (Kind::Json(_) | Kind::Form(_), _) => self.json(value),
            (Kind::EndpointUrl | Kind::ProxyUrl, DeValue::String(_)) => self.url(value, false),
            (Kind::LedgerUrl, DeValue::String(_)) => self.url(value, true),
            (Kind::Request(_), DeValue::String(_)) => self.request(value),
            (Kind::Predicates, _) => self.all(value),
            (Kind::HostNames | Kind::Statuses | Kind::Texts, DeValue::Array(items)) => {
                items.iter().for_each(|item| self.scalar(item));
            }
            (
                Kind::Headers
                | Kind::HeaderTemplates(_)
                | Kind::EndpointUrl
                | Kind::ProxyUrl
                | Kind::LedgerUrl,
                _,
            )
            | (Kind::Table(_) | Kind::Tables(_) | Kind::Named(_), _) => {}
            (Kind::Pattern | Kind::Pointer | Kind::File, _) => self.scalar(value),
            // A long text that is not valid for this key is not shown. It probably belongs to another key, and may be a
            // secret.
            _ if value.get_ref().as_str().is_some_and(|text| text.len() > LONGEST_WORD)
                && !judge(kind, value).is_empty() => {}
            _ => self.scalar(value),
        }
    }

    /// Shows a value on one line that is neither a list nor a table.
    fn scalar(&mut self, value: &Value<'_>) {
        let span = value.span();
        let short = span.len() <= LONGEST_VALUE;
        let one_line = self.text.get(span.clone()).is_some_and(|written| !written.contains('\n'));
        if short && one_line && !matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) {
            self.ranges.push(span);
        }
    }

    /// Shows a value with all values and names in it.
    fn all(&mut self, value: &Value<'_>) {
        match value.get_ref() {
            DeValue::Array(items) => items.iter().for_each(|item| self.all(item)),
            DeValue::Table(table) => {
                for (name, value) in table {
                    if is_word(name.get_ref()) || name.get_ref().starts_with('/') {
                        self.ranges.push(name.span());
                    }
                    self.all(value);
                }
            }
            _ => self.scalar(value),
        }
    }

    /// Marks the names and the holes (such as `{key}`) in a body as text that a report may show. Everything else in a
    /// body is sent to the provider as it is, and may be a credential.
    fn json(&mut self, value: &Value<'_>) {
        match value.get_ref() {
            DeValue::Array(items) => items.iter().for_each(|item| self.json(item)),
            DeValue::Table(table) => {
                for (name, value) in table {
                    if is_word(name.get_ref()) {
                        self.ranges.push(name.span());
                    }
                    self.json(value);
                }
            }
            DeValue::String(_) => {
                let inner = inner_of(self.text, value.span());
                self.placeholders(inner);
            }
            _ => {}
        }
    }

    /// Marks a request's method, its path, and the holes in its query (such as `{key}`) as text that a report may show.
    /// Everything else in the query may be a credential.
    fn request(&mut self, value: &Value<'_>) {
        let inner = inner_of(self.text, value.span());
        let written = &self.text[inner.clone()];
        if written.contains('\n') || written.len() > LONGEST_VALUE {
            return;
        }
        let path = written.find('?').unwrap_or(written.len());
        self.ranges.push(inner.start..inner.start + path);
        self.placeholders(inner.start + path..inner.end);
    }

    /// Shows each `{…}` that holds a name or a pointer.
    fn placeholders(&mut self, within: Range<usize>) {
        let written = &self.text[within.clone()];
        let mut at = 0;
        while let Some(open) = written[at..].find('{').map(|n| at + n) {
            let Some(close) = written[open..].find('}').map(|n| open + n) else { return };
            let inner = &written[open + 1..close];
            let name = inner.split_once(':').map_or(inner, |(name, _)| name);
            if is_word(name) && inner.len() <= 2 * LONGEST_WORD {
                self.ranges.push(within.start + open..within.start + close + 1);
            }
            at = close + 1;
        }
    }

    /// Shows a URL without its user, password, query and fragment. If `filled_in` is true, the URL may contain
    /// `${env:NAME}` and `${file:PATH}`, which are shown too.
    fn url(&mut self, value: &Value<'_>, filled_in: bool) {
        let inner = inner_of(self.text, value.span());
        let written = &self.text[inner.clone()];
        if written.contains('\n') || written.len() > LONGEST_VALUE {
            return;
        }
        if filled_in {
            self.holes(value);
        }
        let scheme = written.find(':').filter(|end| is_word(&written[..*end]));
        if filled_in && scheme.is_none() {
            return;
        }
        let scheme = scheme.map_or(0, |end| end + 1);
        let slashes = written[scheme..].len() - written[scheme..].trim_start_matches('/').len();
        let scheme = scheme + slashes.min(2);
        // A text without a scheme may be anything, also a secret. So it is taken for a host only if it has a dot or a
        // port.
        let behind = match written.find("://") {
            Some(at) => at + 3,
            None if written.contains(['.', ':']) => scheme,
            None => return,
        };
        let start = written.rfind('@').map_or(behind, |at| at + 1);
        let end = written[start..].find(['?', '#', '$']).map_or(written.len(), |n| start + n);
        self.ranges.push(inner.start..inner.start + scheme);
        self.ranges.push(inner.start + start..inner.start + end);
    }

    /// Shows `${env:NAME}` and `${file:PATH}` in a text that is hidden otherwise.
    fn holes(&mut self, value: &Value<'_>) {
        if !value.get_ref().is_str() {
            return;
        }
        let inner = inner_of(self.text, value.span());
        let written = &self.text[inner.clone()];
        let mut at = 0;
        while let Some(open) = written[at..].find("${").map(|n| at + n) {
            let Some(close) = written[open..].find('}').map(|n| open + n) else { return };
            let harmless = match written[open + 2..close].split_once(':') {
                Some(("env", name)) => is_variable(name),
                Some(("file", path)) => {
                    path.len() <= LONGEST_VALUE && !path.contains(['$', '{', ' ', '\t', '\n'])
                }
                Some(_) | None => false,
            };
            if harmless && !written[..open].ends_with('$') {
                self.ranges.push(inner.start + open..inner.start + close + 1);
            }
            at = close + 1;
        }
    }

    /// Looks at each headline of the file, such as `[dependency.pay]`, and marks the names of tables in it as text that
    /// a report may show. Only the names that the parser has found as names of tables are marked. A name may stand in
    /// several headlines, for example also in `[dependency.pay.retry]`. The parser tells the place of only one of them,
    /// so this function looks for the names in all headlines of the text.
    fn headlines(&mut self) {
        let mut start = 0;
        for line in self.text.split_inclusive('\n') {
            if line.trim_start().starts_with('[') {
                let name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                let mut at = 0;
                for word in line.split(|c| !name(c)) {
                    if self.names.contains(word) {
                        self.ranges.push(start + at..start + at + word.len());
                    }
                    at += word.len() + line[at + word.len()..].chars().next().map_or(0, char::len_utf8);
                }
            }
            start += line.len();
        }
    }
}

/// Returns whether this may be the name of a header field: its parts are short and have few digits, as in
/// `x-amz-content-sha256`.
fn is_header(name: &str) -> bool {
    let part = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        part.len() <= 12 && digits <= 3 && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    is_word(name) || (name.contains('-') && name.len() <= 40 && name.split('-').all(part))
}

/// Returns the place of a string without its quotes.
fn inner_of(text: &str, span: Range<usize>) -> Range<usize> {
    let written = text.get(span.clone()).unwrap_or_default();
    let quotes = written.len() - written.trim_start_matches(['"', '\'']).len();
    let close = written.len() - written.trim_end_matches(['"', '\'']).len();
    let start = span.start + quotes.min(written.len());
    start..(span.start + written.len() - close).max(start)
}
