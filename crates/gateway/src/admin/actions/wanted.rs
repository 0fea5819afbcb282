//! The query of a list of actions: which actions are wanted.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use seawall_ledger::store::Standing;
use seawall_ledger::{ActionId, Search, StuckReason};

use crate::config::length_of_time;

/// The number of actions in a page, if the query does not say it.
const LIMIT: u32 = 100;
/// The maximum number of actions in a page.
const MOST: u32 = 1000;

/// Which actions are wanted.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    state: Option<Option<Standing>>,
    pub(super) dependency: Option<String>,
    operation: Option<String>,
    cause: Option<StuckReason>,
    older: Option<Duration>,
    newer: Option<Duration>,
    pub(super) key: Option<String>,
    /// Where the list goes on: the index of the standing, and the last action of the page before.
    pub(super) after: Option<(usize, Option<ActionId>)>,
    pub(super) limit: u32,
}

impl Wanted {
    /// Reads a query. The error says what is wrong with it.
    pub(super) fn read(query: &str) -> Result<Wanted, String> {
        let mut wanted = Wanted { limit: LIMIT, ..Wanted::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value).decode_utf8().map_err(|_| "the query is not UTF-8")?;
            if !value.is_empty() {
                wanted.set(name, value.into_owned())?;
            }
        }
        if wanted.key.is_some() && wanted.dependency.is_none() {
            return Err("`key` needs `dependency`, since a key is unique within its dependency".to_owned());
        }
        if wanted.cause.is_some() && wanted.state.is_none() {
            wanted.state = Some(Some(Standing::Stuck));
        }
        Ok(wanted)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "state" => self.state = Some(state(&value)?),
            "dependency" => self.dependency = Some(value),
            "operation" => self.operation = Some(value),
            "cause" => self.cause = Some(cause(&value)?),
            "older" => self.older = Some(length_of_time(&value).map_err(|why| format!("`older`: {why}"))?),
            "newer" => self.newer = Some(length_of_time(&value).map_err(|why| format!("`newer`: {why}"))?),
            "key" => self.key = Some(value),
            "after" => self.after = Some(after(&value).ok_or("`after` is not the `next` of a page")?),
            "limit" => match value.parse() {
                Ok(limit @ 1..=MOST) => self.limit = limit,
                _ => return Err(format!("`limit` is a number from 1 to {MOST}")),
            },
            other => return Err(format!("`{other}` is no filter of actions; `GET /` lists them")),
        }
        Ok(())
    }

    /// Returns the standings to list, one after the other. `None` stands for all of them together.
    pub(super) fn standings(&self) -> Vec<Option<Standing>> {
        match self.state {
            Some(state) => vec![state],
            None => [Standing::Stuck, Standing::Unknown, Standing::Open].map(Some).to_vec(),
        }
    }

    /// Returns the search for the actions with this standing.
    pub(super) fn search(&self, standing: Option<Standing>) -> Search {
        let mut search = Search::default();
        if let Some(standing) = standing {
            search = search.standing(standing);
        }
        if let Some(dependency) = &self.dependency {
            search = search.of(dependency);
        }
        if let Some(operation) = &self.operation {
            search = search.operation(operation);
        }
        if let Some(cause) = self.cause {
            search = search.reason(cause);
        }
        if let Some(age) = self.older {
            search = search.older_than(age);
        }
        if let Some(age) = self.newer {
            search = search.newer_than(age);
        }
        search
    }
}

fn state(word: &str) -> Result<Option<Standing>, String> {
    if word == "all" {
        return Ok(None);
    }
    let all = || Standing::ALL.map(Standing::as_str).join(", ");
    Standing::named(word).map(Some).ok_or_else(|| format!("`state` is one of {}, all", all()))
}

fn cause(word: &str) -> Result<StuckReason, String> {
    let all = || StuckReason::ALL.map(StuckReason::as_str).join(", ");
    StuckReason::named(word).ok_or_else(|| format!("`cause` is one of {}", all()))
}

/// Reads where a list goes on: `INDEX:ID`, `INDEX:`, or an id alone.
fn after(text: &str) -> Option<(usize, Option<ActionId>)> {
    match text.split_once(':') {
        None => Some((0, Some(ActionId::parse(text)?))),
        Some((index, "")) => Some((index.parse().ok()?, None)),
        Some((index, id)) => Some((index.parse().ok()?, Some(ActionId::parse(id)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_or_refused_in_words() {
        let wanted = Wanted::read("state=all&dependency=pay&key=a%20b+c&older=1h&limit=7").unwrap();
        assert_eq!(wanted.standings(), [None]);
        assert_eq!((wanted.key.as_deref(), wanted.limit), (Some("a b c"), 7));
        assert_eq!(wanted.older, Some(Duration::from_secs(3600)));
        let plain = Wanted::read("").unwrap();
        assert_eq!(plain.standings(), [Standing::Stuck, Standing::Unknown, Standing::Open].map(Some));
        assert_eq!(Wanted::read("cause=no-way").unwrap().standings(), [Some(Standing::Stuck)]);
        let id = ActionId::new();
        assert_eq!(Wanted::read(&format!("after={id}")).unwrap().after, Some((0, Some(id))));
        assert_eq!(Wanted::read(&format!("after=2:{id}")).unwrap().after, Some((2, Some(id))));
        assert_eq!(Wanted::read("after=1:").unwrap().after, Some((1, None)));
        for (wrong, part) in [
            ("state=stick", "stuck, done"),
            ("cause=why", "unanswered"),
            ("older=1", "length of time"),
            ("key=k", "`dependency`"),
            ("after=x", "`next`"),
            ("limit=0", "1 to 1000"),
            ("limit=1001", "1 to 1000"),
            ("satte=stuck", "`satte`"),
        ] {
            let said = Wanted::read(wrong).unwrap_err();
            assert!(said.contains(part), "{wrong}: {said}");
        }
    }
}
