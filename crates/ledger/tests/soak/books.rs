//! What the provider knows of one key, and what each request does to it.

use std::time::Instant;

use crate::declared::LAG;
use crate::provider::Ask;

/// What the provider knows of one key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// When each effect was made.
    pub(crate) effects: Vec<Instant>,
    /// When each effect was undone. An effect that is undone twice stands here twice.
    pub(crate) undone: Vec<Instant>,
    /// The bytes of the first request.
    pub(crate) bytes: Option<String>,
    /// The number of requests whose bytes differed from the first, or that named an id that the provider never gave.
    pub(crate) wrong: u32,
    /// Whether a request with this key is being worked on, at a provider that honours keys.
    pub(crate) pending: bool,
    /// What happened, for people.
    pub(crate) story: Vec<String>,
    refused: bool,
    tombstone: bool,
    /// The answers that are saved under the keys of cancels.
    saved: Vec<(String, String)>,
    counts: [u32; 3],
}

/// What is answered, and whether the request did what it asked for.
pub(crate) struct Told {
    pub(crate) text: Option<String>,
    pub(crate) effective: bool,
}

impl Told {
    fn new(text: impl Into<String>, effective: bool) -> Told {
        Told { text: Some(text.into()), effective }
    }
}

/// Whether the provider honours keys.
fn honours_keys(dependency: &str) -> bool {
    matches!(dependency, "points" | "strict")
}

impl Entry {
    /// The number of effects that are not undone. It is below zero if one was undone twice.
    pub(crate) fn live(&self) -> i64 {
        let count = |all: &Vec<Instant>| i64::try_from(all.len()).unwrap_or(i64::MAX);
        count(&self.effects) - count(&self.undone)
    }

    /// Counts a request. Returns the number of earlier requests of this kind.
    pub(crate) fn count(&mut self, verb: &str) -> u32 {
        let slot = match verb {
            "perform" => 0,
            "confirm" => 1,
            _ => 2,
        };
        self.counts[slot] += 1;
        self.counts[slot] - 1
    }

    /// Looks at a request as it arrives. Returns the answer if the request changes nothing.
    pub(crate) fn enter(&mut self, ask: &Ask) -> Option<String> {
        let first = self.bytes.get_or_insert_with(|| ask.bytes.clone());
        self.wrong += u32::from(*first != ask.bytes);
        if ask.verb != "perform" || !honours_keys(&ask.dependency) {
            return None;
        }
        if self.pending {
            return Some("pending".to_owned());
        }
        if self.refused {
            return Some("no".to_owned());
        }
        if !self.effects.is_empty() {
            let replayed = format!("yes id-{}", ask.key);
            return Some(if ask.dependency == "strict" { "duplicate".to_owned() } else { replayed });
        }
        self.pending = true;
        None
    }

    /// Refuses a request to perform.
    pub(crate) fn refuse(&mut self, ask: &Ask) -> Told {
        self.pending = false;
        self.refused = honours_keys(&ask.dependency);
        Told::new("no", true)
    }

    /// Does what the request asks for. If `lags`, a question is answered from an older state.
    pub(crate) fn take(&mut self, ask: &Ask, lags: bool) -> Told {
        match ask.verb.as_str() {
            "perform" => self.perform(ask),
            "confirm" => self.confirm(ask, lags),
            _ => self.cancel(ask),
        }
    }

    fn perform(&mut self, ask: &Ask) -> Told {
        self.pending = false;
        if self.tombstone {
            return Told::new("no", false);
        }
        self.effects.push(Instant::now());
        Told::new(format!("yes id-{}", ask.key), true)
    }

    fn confirm(&self, ask: &Ask, lags: bool) -> Told {
        let of = |effects: usize, undone: usize| match (effects, undone) {
            (0, _) => "absent".to_owned(),
            (effects, undone) if effects > undone => format!("applied id-{}", ask.key),
            _ => "cancelled".to_owned(),
        };
        let now = of(self.effects.len(), self.undone.len());
        if !lags {
            return Told::new(now, true);
        }
        let seen = |all: &[Instant]| all.iter().filter(|at| at.elapsed() >= LAG).count();
        let old = of(seen(&self.effects), seen(&self.undone));
        let differs = old != now;
        Told::new(old, !differs)
    }

    fn cancel(&mut self, ask: &Ask) -> Told {
        let now = Instant::now();
        match ask.dependency.as_str() {
            "points" => {
                let saved = self.saved.iter().find(|(key, _)| *key == ask.cancel_key);
                if let Some((_, answer)) = saved {
                    return Told::new(answer.clone(), true);
                }
                let answer = if self.effects.is_empty() { "none" } else { "undone" };
                self.undone.extend((!self.effects.is_empty()).then_some(now));
                self.saved.push((ask.cancel_key.clone(), answer.to_owned()));
                Told::new(answer, true)
            }
            "bank" => {
                self.wrong += u32::from(ask.id != format!("id-{}", ask.key));
                if self.effects.is_empty() {
                    return Told::new("none", false);
                }
                self.undone.push(now);
                Told::new("undone", true)
            }
            "hotel" => {
                self.tombstone = true;
                self.undone.resize(self.effects.len(), now);
                Told::new("undone", true)
            }
            _ => {
                let known = !self.effects.is_empty();
                self.undone.resize(self.effects.len(), now);
                Told::new(if known { "undone" } else { "none" }, known)
            }
        }
    }
}
