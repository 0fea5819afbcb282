//! Reads a page of a provider's list in JSON, as most providers send it.
//!
//! JSON pointers say where the values are, and lists of words say what the provider's states mean. Numbers are read
//! from their digits, because as floats `9007199254740993` and `9007199254740992` would be equal amounts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::str::FromStr;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Amount, Listed, ListedState, NoPage, Page};
use crate::machine::Stamp;

/// Says where the values are in a page of a provider's list, and what its states mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JsonList {
    /// The JSON pointer (RFC 6901) to the array of items in a page. It is empty if the page itself is the array.
    pub items: String,
    /// The JSON pointer to the cursor of the next page; `None` if the list has only one page. If the cursor is missing,
    /// null, empty or `false`, the page is the last one.
    pub next: Option<String>,
    /// The JSON pointer to the idempotency key in an item: the key that was sent with the request. An item may have no
    /// key.
    pub key: String,
    /// The JSON pointer to the provider's own name for an item. If the pointer is `None`, items are identified by their
    /// key, and items without a key by their JSON text. In that case, two effects with the same key look like one
    /// effect.
    pub id: Option<String>,
    /// The JSON pointer to the amount in an item: a number, or a number in a string. `None` means that amounts are not
    /// read.
    pub amount: Option<String>,
    /// The power of ten by which the provider's amounts are multiplied to get our unit. It is 2 if the list says 10.50
    /// and we say 1050.
    pub shift: i8,
    /// The JSON pointer to the state in an item.
    pub state: String,
    /// The provider's words for states that mean "it took effect".
    pub applied: Vec<String>,
    /// The provider's words for the state "it was undone".
    pub cancelled: Vec<String>,
    /// The JSON pointer to the time at which the item was made, as RFC 3339. If the pointer is `None`, the time is not
    /// read. The time is only shown to people.
    pub at: Option<String>,
}

impl JsonList {
    /// Returns the records and the next cursor of a page.
    ///
    /// # Errors
    /// [`NoPage::Unreadable`] if the page is not JSON, if its items are missing, if an item has no state, or if an
    /// amount is no exact number. No item is skipped.
    pub fn page(&self, body: &[u8]) -> Result<Page, NoPage> {
        let unreadable = |why: &str| NoPage::Unreadable(why.to_owned());
        let whole = whole(body).ok_or_else(|| unreadable("it is not JSON"))?;
        let items = find(whole, &self.items).ok_or_else(|| unreadable("there are no items"))?;
        let items: Vec<&RawValue> =
            serde_json::from_str(items.get()).map_err(|_| unreadable("its items are no array"))?;
        let next = match &self.next {
            Some(pointer) => match find(whole, pointer).map(cursor) {
                None => None,
                Some(read) => read.map_err(|()| unreadable("its cursor is neither text nor number"))?,
            },
            None => None,
        };
        let records = items.into_iter().map(|item| self.record(item)).collect::<Result<_, _>>();
        Ok(Page { records: records.map_err(unreadable)?, next })
    }

    fn record(&self, item: &RawValue) -> Result<Listed, &'static str> {
        let named = |pointer: &String| find(item, pointer).and_then(text).filter(|text| !text.is_empty());
        let key = named(&self.key);
        let own = self.id.as_ref().and_then(named);
        let id =
            own.or_else(|| key.is_none().then(|| format!("{:032x}", fingerprint(item.get().as_bytes()))));
        let state = find(item, &self.state).and_then(text).ok_or("an item has no state")?;
        let amount = match self.amount.as_ref().and_then(|pointer| find(item, pointer)) {
            Some(raw) if raw.get() != "null" => {
                let read = text(raw).and_then(|text| Amount::from_str(&text).ok());
                let shifted = read.and_then(|amount| amount.shifted(self.shift));
                Some(shifted.ok_or("an item's amount is not an exact number")?)
            }
            Some(_) | None => None,
        };
        let at = self.at.as_ref().and_then(|pointer| find(item, pointer)).and_then(text);
        let at = at.and_then(|text| text.parse::<jiff::Timestamp>().ok());
        Ok(Listed {
            key,
            id,
            amount,
            state: self.meaning(&state),
            at: at.map(|at| Stamp::from_micros(at.as_microsecond())),
        })
    }

    fn meaning(&self, state: &str) -> ListedState {
        let among = |words: &[String]| words.iter().any(|word| word == state);
        if among(&self.applied) {
            ListedState::Applied
        } else if among(&self.cancelled) {
            ListedState::Cancelled
        } else {
            ListedState::Other
        }
    }
}

/// Reads the exact amount at a JSON pointer in the body of a recorded request. `request` is the JSON body alone, or a
/// whole HTTP request with its request line and header fields. Returns `None` if there is no amount at the pointer.
#[must_use]
pub fn amount_at(request: &[u8], pointer: &str) -> Option<Amount> {
    // The first byte shows which of the two forms the request has: every HTTP request line begins with a capital
    // letter, and no JSON text does.
    let headed = request.first().is_some_and(u8::is_ascii_uppercase);
    let body = if headed {
        let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        &request[end + 4..]
    } else {
        request
    };
    text(find(whole(body)?, pointer)?)?.parse().ok()
}

/// Returns a whole JSON text unchanged, but without a byte order mark at its beginning; `None` if it is not JSON.
#[must_use]
pub fn whole(text: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)).ok()
}

/// Returns the value at a JSON pointer (RFC 6901) as it is written; `None` if there is no value.
#[must_use]
pub fn find<'a>(whole: &'a RawValue, pointer: &str) -> Option<&'a RawValue> {
    let mut here = whole;
    if pointer.is_empty() {
        return Some(here);
    }
    for step in pointer.strip_prefix('/')?.split('/') {
        let step = step.replace("~1", "/").replace("~0", "~");
        here = match here.get().as_bytes().first()? {
            b'{' => {
                let fields: HashMap<Name<'a>, &'a RawValue> = serde_json::from_str(here.get()).ok()?;
                fields.get(step.as_str()).copied()?
            }
            b'[' => {
                let items: Vec<&'a RawValue> = serde_json::from_str(here.get()).ok()?;
                items.get(step.parse::<usize>().ok()?).copied()?
            }
            _ => return None,
        };
    }
    Some(here)
}

/// The name of a field. The text is borrowed, unless it contains escapes.
#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::borrow::Borrow<str> for Name<'_> {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Returns a single JSON value as text: the content of a string, the digits of a number, `true` or `false`. Returns
/// `None` for `null`, an array or an object.
#[must_use]
pub fn text(raw: &RawValue) -> Option<String> {
    match raw.get().as_bytes().first()? {
        b'"' => serde_json::from_str(raw.get()).ok(),
        b'{' | b'[' | b'n' => None,
        _ => Some(raw.get().to_owned()),
    }
}

fn cursor(raw: &RawValue) -> Result<Option<String>, ()> {
    match raw.get() {
        "null" | "false" | "\"\"" => Ok(None),
        "true" => Err(()),
        _ => text(raw).map(Some).ok_or(()),
    }
}

/// Returns the hash FNV-1a of 128 bits. It identifies an item that has neither id nor key. So it must be the same for
/// the same bytes on every machine and in every version.
fn fingerprint(bytes: &[u8]) -> u128 {
    let start = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128;
    bytes
        .iter()
        .fold(start, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> JsonList {
        JsonList {
            items: "/data".into(),
            next: Some("/next".into()),
            key: "/metadata/key".into(),
            id: Some("/id".into()),
            amount: Some("/amount".into()),
            state: "/status".into(),
            applied: vec!["succeeded".into()],
            cancelled: vec!["refunded".into()],
            at: Some("/created".into()),
            shift: 0,
        }
    }

    fn why(list: &JsonList, body: &str) -> String {
        list.page(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_byte_order_mark_before_a_page_or_a_recorded_body_is_passed_over() {
        let page = list().page("\u{feff}{\"data\": []}".as_bytes()).unwrap();
        assert!(page.records.is_empty());
        assert_eq!(amount_at("\u{feff}{\"amount\": 7}".as_bytes(), "/amount"), "7".parse().ok());
    }

    #[test]
    fn a_page_is_read_with_exact_amounts_and_mapped_states() {
        let body = br#"{"data": [
            {"id": "a", "metadata": {"key": "k/1"}, "amount": 9007199254740993, "status": "succeeded", "created": "2026-11-26T00:00:01Z"},
            {"id": "b", "metadata": {"key": 7}, "amount": "10.50", "status": "refunded"},
            {"id": "c", "metadata": {}, "amount": null, "status": "odd"}], "next": "c2"}"#;
        let page = list().page(body).unwrap();
        assert_eq!(page.next.as_deref(), Some("c2"));
        let [a, b, c] = page.records.try_into().unwrap();
        assert_eq!(
            (a.key.as_deref(), a.id.as_deref(), a.state),
            (Some("k/1"), Some("a"), ListedState::Applied)
        );
        assert_eq!(a.amount.unwrap().to_string(), "9007199254740993");
        assert_eq!(a.at, Some(Stamp::from_micros(1_795_651_201_000_000)));
        assert_eq!((b.key.as_deref(), b.state), (Some("7"), ListedState::Cancelled));
        assert_eq!(b.amount, Some("10.5".parse().unwrap()));
        assert_eq!((c.key, c.amount, c.state), (None, None, ListedState::Other));
    }

    #[test]
    fn a_shift_brings_their_unit_to_ours() {
        let list = JsonList { shift: 2, ..list() };
        let page = list.page(br#"{"data":[{"id":"a","status":"x","amount":10.5}]}"#).unwrap();
        assert_eq!(page.records[0].amount, Some(Amount::from(1050)));
    }

    #[test]
    fn an_end_of_the_list_may_be_said_in_four_ways() {
        for end in [r#""next": null"#, r#""next": """#, r#""next": false"#, r#""more": 1"#] {
            assert_eq!(
                list().page(format!(r#"{{"data": [], {end}}}"#).as_bytes()).unwrap().next,
                None,
                "{end}"
            );
        }
        assert_eq!(list().page(br#"{"data":[],"next":17}"#).unwrap().next.as_deref(), Some("17"));
    }

    #[test]
    fn what_is_not_understood_is_no_page() {
        assert!(why(&list(), "<html>").contains("not JSON"));
        assert!(why(&list(), r#"{"data": [{"id": "a", "st"#).contains("not JSON"));
        assert!(why(&list(), r#"{"error": "late"}"#).contains("no items"));
        assert!(why(&list(), r#"{"data": {"id": "a"}}"#).contains("no array"));
        assert!(why(&list(), r#"{"data": [{"id": "a"}]}"#).contains("no state"));
        assert!(why(&list(), r#"{"data": [{"id": "a", "status": "x", "amount": "ten"}]}"#).contains("exact"));
        assert!(why(&list(), r#"{"data": [], "next": {"page": 2}}"#).contains("cursor"));
        assert!(why(&list(), r#"{"data": [], "next": true}"#).contains("cursor"));
    }

    #[test]
    fn items_without_any_name_are_told_apart_by_their_bytes() {
        let list = JsonList { id: None, ..list() };
        let body =
            br#"{"data":[{"status":"x","amount":1},{"status":"x","amount":2},{"status":"x","amount":1}]}"#;
        let records = list.page(body).unwrap().records;
        let names: Vec<_> = records.iter().map(Listed::identity).collect();
        assert_eq!((names[0] == names[2], names[0] == names[1]), (true, false));
    }

    #[test]
    fn our_amount_stands_in_the_body_with_or_without_a_head_before_it() {
        let head = b"POST /v1/charges HTTP/1.1\r\ncontent-type: application/json\r\n\r\n{\"amount\": 9007199254740993}";
        assert_eq!(amount_at(head, "/amount"), Some(Amount::from(9_007_199_254_740_993)));
        assert_eq!(amount_at(b"{\"amount\": \"12.50\"}", "/amount"), Some("12.5".parse().unwrap()));
        for none in [&b""[..], b"POST /v1/charges HTTP/1.1\r\n", b"{\"amount\": null}", b"amount=5"] {
            assert_eq!(amount_at(none, "/amount"), None);
        }
    }

    #[test]
    fn pointers_reach_into_arrays_and_escaped_names() {
        let body = br#"{"a/b": [{"m~n": {"\u0078": "1.50"}}]}"#;
        assert_eq!(amount_at(body, "/a~1b/0/m~0n/x").unwrap().to_string(), "1.5");
        assert_eq!(amount_at(body, "/a~1b/1"), None);
        assert_eq!(amount_at(body, "/a~1b/0"), None);
    }
}
