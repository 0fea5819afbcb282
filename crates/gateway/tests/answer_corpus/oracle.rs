//! Decides what a caller may see of an answer, and what it must not see.

use super::caller::{End, Seen};
use super::case::{Case, Expect};

/// What is wrong with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A broken answer looked complete to its caller.
    CompleteThoughBroken,
    /// A caller got bytes that do not belong to its own answer.
    MixedUp,
    /// There was no status; or the end was neither complete nor visibly broken; or the log had no line about it.
    Silent,
    /// The status, the effect, the reason, the fields or the number of requests are wrong.
    Misjudged,
}

#[derive(Clone, Debug)]
pub struct Fault {
    pub kind: Kind,
    pub text: String,
}

/// The other facts of a run.
pub struct Facts<'a> {
    pub method: &'a str,
    /// Whether the operation declares what `DECLINED` means.
    pub judged: bool,
    /// The number of requests that reached the dependency.
    pub requests: usize,
    /// The number of broken answers that the log reports, in lines and in counts.
    pub noted: u64,
}

/// Fields that describe the message, the caller or the gateway. They must not come as trailers.
const NEVER_BEHIND: [&str; 8] = [
    "seawall-effect",
    "seawall-reason",
    "seawall-attempts",
    "content-length",
    "transfer-encoding",
    "authorization",
    "connection",
    "host",
];

/// What the caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    Whole,
    /// A 502 of the gateway.
    Refused,
    /// A head, and a body that broke.
    Cut,
    Nothing,
}

/// What the caller learned, also as one word for the table.
pub fn told(seen: &Seen) -> (Told, String) {
    let reason = seen.field("seawall-reason");
    match &seen.end {
        End::Complete if reason.is_some() && seen.status == 502 => {
            (Told::Refused, reason.unwrap_or_default().to_owned())
        }
        End::Complete if reason.is_some() => (Told::Nothing, format!("{} {reason:?}", seen.status)),
        End::Complete => (Told::Whole, format!("whole {}", seen.status)),
        End::Cut(_) if seen.status != 0 => (Told::Cut, "cut".to_owned()),
        End::Cut(how) => (Told::Nothing, format!("nothing, {how}")),
        End::Unreadable(why) => (Told::Nothing, format!("unreadable: {why}")),
        End::Never => (Told::Nothing, "no end".to_owned()),
    }
}

struct Judge<'a> {
    case: &'a Case,
    seen: &'a Seen,
    facts: &'a Facts<'a>,
    faults: Vec<Fault>,
}

/// All faults in what a caller has seen of a case's answer.
pub fn judge(case: &Case, seen: &Seen, facts: &Facts<'_>) -> Vec<Fault> {
    let mut judge = Judge { case, seen, facts, faults: Vec::new() };
    judge.always();
    let (told, words) = told(seen);
    match (&case.expect, told) {
        (_, Told::Nothing) => judge.fault(Kind::Silent, words),
        (Expect::Whole(status, body) | Expect::Either(status, body), Told::Whole) => {
            judge.whole(*status, body);
        }
        (Expect::Behind(status, body), Told::Whole) if !facts.judged => judge.whole(*status, body),
        (Expect::Whole(..), Told::Refused | Told::Cut) => {
            judge.fault(Kind::Misjudged, format!("a good answer was not believed: {words}"));
        }
        (Expect::Broken | Expect::BadAnswer | Expect::Behind(..), Told::Whole) => {
            let body = String::from_utf8_lossy(&seen.body).into_owned();
            let effect = seen.field("seawall-effect");
            let text = format!("complete: {} {body:?}, effect {effect:?}", seen.status);
            judge.fault(Kind::CompleteThoughBroken, text);
        }
        (_, Told::Refused) => judge.refused(),
        (_, Told::Cut) => judge.cut(),
    }
    judge.faults
}

/// All faults in the answer to a good call after a case.
pub fn judge_good(seen: &Seen, body: &str) -> Vec<Fault> {
    let fault = |kind, text| vec![Fault { kind, text }];
    let (told, words) = told(seen);
    let found = String::from_utf8_lossy(&seen.body);
    match told {
        Told::Whole if seen.status == 200 && found == body && seen.left == 0 => Vec::new(),
        Told::Whole => fault(Kind::MixedUp, format!("the next call: {} {found:?}", seen.status)),
        Told::Refused | Told::Cut => fault(Kind::MixedUp, format!("the next call: {words} {found}")),
        Told::Nothing => fault(Kind::Silent, format!("the next call: {words}")),
    }
}

impl Judge<'_> {
    fn fault(&mut self, kind: Kind, text: impl Into<String>) {
        self.faults.push(Fault { kind, text: text.into() });
    }

    /// Checks what holds for every answer.
    fn always(&mut self) {
        if self.seen.left > 0 {
            self.fault(Kind::MixedUp, format!("{} bytes behind the answer", self.seen.left));
        }
        if self.seen.interim > 0 {
            self.fault(Kind::Misjudged, "an interim answer was passed on");
        }
        if self.seen.status == 0 {
            return;
        }
        if self.seen.foreign_version {
            self.fault(Kind::Misjudged, "the version is not the gateway's");
        }
        let effects = self.seen.fields.iter().filter(|(name, _)| name == "seawall-effect").count();
        if effects != 1 {
            self.fault(Kind::Misjudged, format!("{effects} times seawall-effect"));
        }
        for (name, _) in &self.seen.trailers {
            if NEVER_BEHIND.contains(&name.as_str()) || self.case.absent.contains(&name.as_str()) {
                self.fault(Kind::Misjudged, format!("trailer {name} was passed on"));
            }
        }
        for absent in self.case.absent {
            if self.seen.field(absent).is_some() {
                self.fault(Kind::Misjudged, format!("field {absent} was passed on"));
            }
        }
    }

    fn whole(&mut self, status: u16, body: &str) {
        let found = String::from_utf8_lossy(&self.seen.body).into_owned();
        if (self.seen.status, found.as_str()) != (status, body) {
            self.fault(
                Kind::MixedUp,
                format!("{} {found:?} in place of {status} {body:?}", self.seen.status),
            );
        }
        let effect = self.effect_of(status, body);
        let said = self.seen.field("seawall-effect").unwrap_or_default().to_owned();
        if effect.is_some_and(|effect| effect != said) {
            self.fault(Kind::Misjudged, format!("effect {said}, not {effect:?}"));
        }
        // A GET may be repeated if the answer was a failure, or if its body should decide the effect but does not.
        let doubtful = status >= 500 || (self.facts.judged && !body.contains("code"));
        let most = if self.facts.method != "POST" && doubtful { 2 } else { 1 };
        if !(1..=most).contains(&self.facts.requests) {
            self.fault(Kind::Misjudged, format!("{} requests for a whole answer", self.facts.requests));
        }
    }

    fn refused(&mut self) {
        let reason = self.seen.field("seawall-reason").unwrap_or_default().to_owned();
        let bad = reason == "bad-answer";
        if !bad && (reason != "connection-lost" || self.case.expect == Expect::BadAnswer) {
            self.fault(Kind::Misjudged, format!("reason {reason}"));
        }
        let wanted = if self.facts.method == "POST" { "unknown" } else { "not-applied" };
        let effect = self.seen.field("seawall-effect").unwrap_or_default().to_owned();
        if effect != wanted {
            self.fault(Kind::Misjudged, format!("effect {effect} of a 502"));
        }
        self.broken();
    }

    fn cut(&mut self) {
        let effect = self.seen.field("seawall-effect").unwrap_or_default();
        if self.facts.judged && self.seen.status == 200 && effect == "applied" {
            self.fault(Kind::Misjudged, "applied, by a body that could not be judged");
        }
        self.broken();
    }

    /// Checks what holds for every broken answer.
    fn broken(&mut self) {
        if self.facts.noted == 0 {
            self.fault(Kind::Silent, "no log line");
        }
        if self.facts.method == "POST" && self.facts.requests != 1 {
            self.fault(Kind::Misjudged, format!("{} requests", self.facts.requests));
        }
    }

    /// The effect of a whole answer. `None` if it depends on a body that cannot be judged.
    fn effect_of(&self, status: u16, body: &str) -> Option<&'static str> {
        let reads = self.facts.method != "POST";
        Some(match status {
            200 if self.facts.judged && body.contains("DECLINED") => "not-applied",
            200 if self.facts.judged => return None,
            200..=299 | 303 | 304 => "applied",
            408 | 409 | 425 | 429 if !reads => "unknown",
            400..=499 => "not-applied",
            _ if reads => "not-applied",
            _ => "unknown",
        })
    }
}
