//! Reads what a request under `/-/actions` wants.

use std::borrow::Cow;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use seawall_ledger::{ActionId, By, Observed};
use serde::Deserialize;
use serde_json::Value;

use crate::request::headers::duration;

/// The path of all actions.
const ACTIONS: &str = "/-/actions";
/// All paths, with `ID` where the id of an action stands.
pub(crate) const PATHS: [&str; 5] =
    [ACTIONS, "/-/actions/ID", "/-/actions/ID/settle", "/-/actions/ID/cancel", "/-/actions/ID/observe"];
/// The longest time for which a caller may wait until an action is decided. A longer `wait` counts as this time.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a request under `/-/actions` wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Show an action. With `wait`, the caller wants the answer when the action is decided, or after this time.
    Show { which: Which, wait: Option<Duration> },
    /// Change an action.
    Change { id: ActionId, how: Change },
}

/// How a request names an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Id(ActionId),
    /// By its dependency and the key that the caller gave it.
    Key {
        dependency: String,
        key: String,
    },
}

/// A change of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Settle,
    Cancel,
    Observe,
}

/// Why a request under `/-/actions` cannot be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unwanted {
    /// There is no such path.
    Path,
    /// The path has no id of an action in the place of the id. So there is no such action.
    Action,
    /// The path does not take this method. The text names the methods that it takes.
    Method(&'static str),
    /// The text says what is wrong.
    Wrong(String),
}

impl Wanted {
    /// Reads the method and the target of a request. Returns `None` if the path is neither [`ACTIONS`] nor below it.
    /// Returns an [`Unwanted`] if the path is there but nothing can be done: for example, the method or a parameter is
    /// wrong.
    pub(crate) fn of(method: &Method, target: &PathAndQuery) -> Option<Result<Wanted, Unwanted>> {
        let rest = target.path().strip_prefix(ACTIONS)?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        Some(Wanted::below(method, rest, target.query().unwrap_or_default()))
    }

    fn below(method: &Method, rest: &str, query: &str) -> Result<Wanted, Unwanted> {
        let mut query = Query::of(query)?;
        let Some(rest) = rest.strip_prefix('/') else {
            shows(method)?;
            let wait = query.wait()?;
            let which = Which::Key { dependency: query.needed("dependency")?, key: query.needed("key")? };
            query.is_read("`dependency`, `key` and `wait`")?;
            return Ok(Wanted::Show { which, wait });
        };
        let (id, change) = match rest.split_once('/') {
            None => (rest, None),
            Some((id, "settle")) => (id, Some(Change::Settle)),
            Some((id, "cancel")) => (id, Some(Change::Cancel)),
            Some((id, "observe")) => (id, Some(Change::Observe)),
            Some(_) => return Err(Unwanted::Path),
        };
        let id = ActionId::parse(id).ok_or(Unwanted::Action)?;
        match change {
            None => {
                shows(method)?;
                let wait = query.wait()?;
                query.is_read("`wait`")?;
                Ok(Wanted::Show { which: Which::Id(id), wait })
            }
            Some(_) if method != Method::POST => Err(Unwanted::Method("POST")),
            Some(how) => {
                query.is_read("no parameters")?;
                Ok(Wanted::Change { id, how })
            }
        }
    }
}

fn shows(method: &Method) -> Result<(), Unwanted> {
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(Unwanted::Method("GET, HEAD")),
    }
}

/// The names and values of those parameters of a query that were not read yet.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(query: &str) -> Result<Query, Unwanted> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded(name)?, decoded(value)?);
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(Unwanted::Wrong(format!("the parameter `{name}` is given twice")));
            }
            pairs.push((name, value));
        }
        Ok(Query(pairs))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    fn needed(&mut self, name: &str) -> Result<String, Unwanted> {
        self.take(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            let form = "/-/actions?dependency=NAME&key=KEY, or /-/actions/ID";
            Unwanted::Wrong(format!("the parameter `{name}` is missing: an action is asked about by {form}"))
        })
    }

    fn wait(&mut self) -> Result<Option<Duration>, Unwanted> {
        let Some(text) = self.take("wait") else { return Ok(None) };
        let wait = duration(&text).ok_or_else(|| {
            Unwanted::Wrong(
                "`wait` is a time such as 500ms, 10s or 1m, and counts as 60s if it is longer".to_owned(),
            )
        })?;
        Ok(Some(wait.min(LONGEST_WAIT)))
    }

    /// Fails if the query has a parameter that was not read. `known` names the parameters that this path takes; the
    /// error shows them.
    fn is_read(&self, known: &str) -> Result<(), Unwanted> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                Err(Unwanted::Wrong(format!("there is no parameter `{name}` here: there are {known}")))
            }
        }
    }
}

/// Returns the text without its percent-encoding.
fn decoded(text: &str) -> Result<String, Unwanted> {
    if text.contains('+') {
        // Some programs read a `+` in a query as a plus sign, and others as a space. So a `+` is refused and not
        // guessed: after a wrong guess no action would be found, as if the action had never been recorded.
        return Err(Unwanted::Wrong("write a plus sign as %2B, and a space as %20".to_owned()));
    }
    let is_whole = |part: &str| part.len() >= 2 && part.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit);
    let decoded = percent_decode_str(text).decode_utf8().map(Cow::into_owned).ok();
    decoded
        .filter(|_| text.split('%').skip(1).all(is_whole))
        .ok_or_else(|| Unwanted::Wrong("a parameter has a malformed percent-encoding".to_owned()))
}

/// The body of a request with which a caller reports what it has observed of an action.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    effect: Reported,
    #[serde(default)]
    evidence: Value,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Reported {
    Applied,
    NotApplied,
    Unknown,
}

/// Reads a report about an action from a request's body: what was observed, and the evidence as it is kept. `caller` is
/// the name of the caller, if it has one.
///
/// The evidence is kept for people to read. No value from it is put into a later request, since it may not have the
/// form of the provider's own answer.
///
/// # Errors
/// What is wrong with the body, in words.
pub(crate) fn report(
    headers: &HeaderMap,
    body: &[u8],
    caller: Option<&str>,
) -> Result<(Observed, By), String> {
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/json") {
        return Err("a report is sent with `content-type: application/json`".to_owned());
    }
    let form = r#"{"effect": "applied" | "not-applied" | "unknown", "evidence": {…} or "text"}"#;
    let wrong = |why: &dyn std::fmt::Display| format!("a report has the form {form}: {why}");
    let report: Report = serde_json::from_slice(body).map_err(|error| wrong(&error))?;
    let (observed, word) = match report.effect {
        Reported::Applied => (Observed::Applied(None), "applied"),
        Reported::NotApplied => (Observed::Otherwise, "not-applied"),
        Reported::Unknown => (Observed::Otherwise, "unknown"),
    };
    let why = match report.evidence {
        Value::Null => word.to_owned(),
        Value::String(text) if text.contains('\0') => {
            return Err(wrong(&"the evidence has a NUL character"));
        }
        Value::String(text) => format!("{word}: {text}"),
        Value::Object(fields) => format!("{word}: {}", Value::Object(fields)),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            return Err(wrong(&"the evidence is an object or a text"));
        }
    };
    Ok((observed, By::new(caller.unwrap_or("caller"), why)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(method: Method, target: &'static str) -> Option<Result<Wanted, Unwanted>> {
        Wanted::of(&method, &PathAndQuery::from_static(target))
    }

    const ID: &str = "0192a0b4-0000-7000-8000-000000000001";

    #[test]
    fn paths_say_what_is_wanted() {
        let id = ActionId::parse(ID).unwrap();
        let at = |rest: &str| format!("/-/actions/{ID}{rest}");
        let read = |method: Method, target: &str| Wanted::of(&method, &target.parse().unwrap()).unwrap();
        let show = |wait| Ok(Wanted::Show { which: Which::Id(id), wait });
        assert_eq!(read(Method::GET, &at("")), show(None));
        assert_eq!(read(Method::HEAD, &at("?wait=500ms")), show(Some(Duration::from_millis(500))));
        assert_eq!(read(Method::GET, &at("?wait=2h")), show(Some(LONGEST_WAIT)));
        let change = |how| Ok(Wanted::Change { id, how });
        assert_eq!(read(Method::POST, &at("/settle")), change(Change::Settle));
        assert_eq!(read(Method::POST, &at("/cancel?")), change(Change::Cancel));
        assert_eq!(read(Method::POST, &at("/observe")), change(Change::Observe));
        assert_eq!(read(Method::GET, &at("/settle")), Err(Unwanted::Method("POST")));
        assert_eq!(read(Method::POST, &at("")), Err(Unwanted::Method("GET, HEAD")));
        assert_eq!(read(Method::DELETE, "/-/actions?x=1"), Err(Unwanted::Method("GET, HEAD")));
        for other in ["/", "/undo", "/settle/", "//settle"] {
            assert_eq!(read(Method::POST, &at(other)), Err(Unwanted::Path), "{other}");
        }
        for no_id in ["/-/actions/", "/-/actions/7", "/-/actions/7/settle"] {
            assert_eq!(read(Method::GET, no_id), Err(Unwanted::Action), "{no_id}");
        }
        for foreign in ["/-/actionsx", "/-/other", "/pay/-/actions", "/-", "/"] {
            assert_eq!(wanted(Method::GET, foreign), None, "{foreign}");
        }
    }

    #[test]
    fn an_action_is_named_by_its_key() {
        let which = |query: &str| {
            let target = format!("/-/actions?{query}").parse().unwrap();
            match Wanted::of(&Method::GET, &target).unwrap() {
                Ok(Wanted::Show { which: Which::Key { dependency, key }, .. }) => Ok((dependency, key)),
                Ok(other) => panic!("{other:?}"),
                Err(Unwanted::Wrong(why)) => Err(why),
                Err(other) => panic!("{other:?}"),
            }
        };
        let named = |key: &str| Ok(("pay".to_owned(), key.to_owned()));
        assert_eq!(which("dependency=pay&key=order-7"), named("order-7"));
        assert_eq!(which("key=a%20b%2B%C3%A9%26&dependency=pay&wait=1s"), named("a b+é&"));
        for (query, says) in [
            ("dependency=pay", "`key` is missing"),
            ("key=a", "`dependency` is missing"),
            ("dependency=pay&key=", "`key` is missing"),
            ("dependency=pay&key=a&key=b", "given twice"),
            ("dependency=pay&key=a+b", "%2B"),
            ("dependency=pay&key=%FF", "percent-encoding"),
            ("dependency=pay&key=%4", "percent-encoding"),
            ("dependency=pay&key=%zz", "percent-encoding"),
            ("dependency=pay&key=a&state=open", "no parameter `state`"),
            ("dependency=pay&key=a&wait=soon", "500ms, 10s"),
            ("dependency=pay&key=a&wait=-1s", "500ms, 10s"),
            ("dependency=pay&key=a&wait=10", "500ms, 10s"),
        ] {
            let why = which(query).unwrap_err();
            assert!(why.contains(says), "{query}: {why}");
        }
    }

    #[test]
    fn reports_are_read_strictly() {
        let json = HeaderMap::from_iter([(CONTENT_TYPE, "Application/JSON; charset=utf-8".parse().unwrap())]);
        let read = |body: &str| report(&json, body.as_bytes(), Some("ana"));
        let kept = |body: &str| read(body).map(|(observed, by)| (observed, by.why));
        let applied = Observed::Applied(None);
        assert_eq!(kept(r#"{"effect":"applied"}"#), Ok((applied.clone(), "applied".to_owned())));
        let text = r#"{"effect":"applied","evidence":"evt_7"}"#;
        assert_eq!(kept(text), Ok((applied.clone(), "applied: evt_7".to_owned())));
        let object = r#"{"effect":"applied","evidence":{"id":"\u0000"}}"#;
        assert_eq!(kept(object), Ok((applied, r#"applied: {"id":"\u0000"}"#.to_owned())));
        for (word, why) in [("not-applied", "not-applied"), ("unknown", "unknown")] {
            let body = format!(r#"{{"effect":"{word}"}}"#);
            assert_eq!(kept(&body), Ok((Observed::Otherwise, why.to_owned())));
        }
        assert_eq!(read(r#"{"effect":"applied"}"#).unwrap().1.who, "ana");
        for wrong in [
            "",
            "{}",
            "[]",
            r#"{"effect":"paid"}"#,
            r#"{"effect":"applied","evidence":7}"#,
            r#"{"effect":"applied","evidence":"\u0000"}"#,
            r#"{"effect":"applied","note":"x"}"#,
            r#"{"effect":"applied"}x"#,
        ] {
            assert!(read(wrong).unwrap_err().contains("has the form"), "{wrong}");
        }
        let plain = report(&HeaderMap::new(), br#"{"effect":"applied"}"#, None);
        assert!(plain.unwrap_err().contains("application/json"));
    }
}
