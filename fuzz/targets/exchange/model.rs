//! The model: what may be answered. It judges by the scenario, by what reached the dependency, and by what the caller
//! received.

use super::ask::{Ask, Kind, Leaves};
use super::caller::{Ended, Heard};
use super::dependency::Delivery;
use super::reader::{Reading, Whole};
use super::scenario::{Protocol, Scenario, mark};
use super::stage::{ATTEMPTS, Record};

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule that it breaks.
    pub kind: String,
    /// What was seen.
    pub seen: String,
}

impl Finding {
    /// Whether a segment that came late could have caused the finding.
    pub(crate) fn may_be_late(&self) -> bool {
        const LATE: [&str; 9] = [
            "silence",
            "nothing was",
            "not believed",
            "in part",
            "not refused",
            "another reason",
            "was broken",
            "had ended",
            "a stale byte",
        ];
        LATE.iter().any(|late| self.kind.contains(late))
    }
}

/// Everything that happened although it must not happen.
pub(crate) fn judge(scenario: &Scenario, record: &Record) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for wrong in &record.wrong {
        let kind = wrong.split(": \"").next().unwrap_or_default().to_owned();
        findings.push(Finding { kind, seen: format!("{wrong}; {record:?}") });
    }
    for (number, (exchange, heard)) in scenario.exchanges.iter().zip(&record.heard).enumerate() {
        let here = record.deliveries.iter().filter(|delivery| delivery.number == number).collect::<Vec<_>>();
        let too_long = exchange.ask.long && exchange.dependency == Protocol::Http2;
        let case = Case { ask: &exchange.ask, heard, deliveries: &here, number, too_long };
        if let Err(kind) = case.judge() {
            let deliveries: Vec<_> = here.iter().map(|delivery| format!("{delivery:?}")).collect();
            let seen =
                format!("exchange {number}: heard {heard:?}\n   delivered: {}", deliveries.join("\n   "));
            findings.push(Finding { kind, seen });
        }
    }
    findings
}

struct Case<'a> {
    ask: &'a Ask,
    heard: &'a Heard,
    deliveries: &'a [&'a Delivery],
    number: usize,
    /// Whether the target is too long for any request to this dependency.
    too_long: bool,
}

/// The reason why it is wrong.
type Judged = Result<(), String>;

impl Case<'_> {
    fn judge(&self) -> Judged {
        self.request()?;
        self.marks()?;
        self.manners()?;
        let Case { ask, heard, .. } = *self;
        // If the dependency answered before the whole request had reached it, this answer may have been passed on.
        let early = self.deliveries.iter().any(|delivery| !delivery.whole && delivery.answer.is_some());
        if early && (ask.flaw.is_some() || ask.leaves.is_some()) {
            return Ok(());
        }
        // If a caller takes this long to send its request, it may get an error for this, or its connection may be
        // closed.
        if ask.cuts.is_long() && (self.problem().is_some() || heard.status.is_none()) {
            return Ok(());
        }
        if ask.flaw.is_some() {
            let refused = heard.status == Some(400) && heard.ended == Ended::Whole;
            return if refused { Ok(()) } else { wrong("a request that is malformed was not refused") };
        }
        if ask.leaves == Some(Leaves::Stalls) {
            // The gateway notices a target that is too long when it sends the request. If it has to read the whole body
            // first, it never sends the request.
            return if self.too_long && self.refused_as_too_long() { Ok(()) } else { self.stalled() };
        }
        if ask.leaves.is_some() {
            let done = heard.ended == Ended::Whole && self.problem().is_none();
            return if done { wrong("half an upload was answered") } else { Ok(()) };
        }
        if self.too_long {
            let refused = self.refused_as_too_long();
            return if refused { Ok(()) } else { wrong("a target that is too long was not refused") };
        }
        match self.deliveries.last().map(|delivery| delivery.answer.as_ref()) {
            None if self.problem().is_some() => wrong("nothing was sent on"),
            None => wrong(format!("answered, and nothing was delivered: {:?}", heard.ended)),
            Some(None) => wrong("a whole request was sent on in part"),
            Some(Some(reading)) => self.answer(reading),
        }
    }

    fn refused_as_too_long(&self) -> bool {
        let Case { heard, deliveries, .. } = *self;
        let whole = heard.status == Some(400) && heard.ended == Ended::Whole;
        whole && self.effect() == "not-applied" && deliveries.is_empty()
    }

    /// Judges the case that the caller waits before it has sent the whole body.
    fn stalled(&self) -> Judged {
        let heard = self.heard;
        match &heard.ended {
            Ended::Nothing(why) if why == "silence" => return wrong("silence: a stalled body"),
            Ended::Nothing(_) => return wrong("nothing was answered to a stalled body"),
            Ended::Broken(_) => return wrong("a problem that is not told whole"),
            Ended::Whole => {}
        }
        if (heard.status, self.problem()) != (Some(408), Some("caller-stalled")) {
            return wrong(format!("a stalled body has another reason: {:?}", self.problem()));
        }
        let sent = !self.deliveries.is_empty() && !self.ask.kind.is_safe();
        let effect = if sent { "unknown" } else { "not-applied" };
        if self.effect() != effect {
            return wrong(format!("a stalled body has the effect {}", self.effect()));
        }
        Ok(())
    }

    /// What the dependency received.
    fn request(&self) -> Judged {
        let Case { ask, deliveries, .. } = *self;
        for delivery in deliveries.iter().filter(|delivery| delivery.whole) {
            if ask.flaw.is_some() {
                return wrong("a request that is malformed was delivered");
            }
            match ask.leaves {
                Some(Leaves::Code(0)) => {
                    return wrong("half an upload, ended with NO_ERROR, was delivered whole");
                }
                Some(_) => return wrong("half an upload was delivered whole"),
                None if delivery.body != ask.body => return wrong("another body was delivered"),
                None => {}
            }
        }
        let counted = deliveries.iter().filter(|delivery| !delivery.refused).count();
        if counted > 1 && !ask.kind.may_be_repeated() {
            return wrong("what must not be sent twice was delivered twice");
        }
        if deliveries.len() > ATTEMPTS + 1 {
            return wrong("delivered more often than allowed");
        }
        Ok(())
    }

    /// Bytes of one answer must not be in another.
    fn marks(&self) -> Judged {
        let own = match self.deliveries.last().and_then(|delivery| delivery.answer.as_ref()) {
            Some(Reading::Whole(whole)) => &whole.body[..],
            Some(Reading::Broken(broken)) => &broken.body,
            Some(Reading::Refused | Reading::Open) | None => &[],
        };
        let last = self.deliveries.len().saturating_sub(1).min(1);
        let (heard, own) = (String::from_utf8_lossy(&self.heard.body), String::from_utf8_lossy(own));
        let others = (0..3).flat_map(|number| (0..2).map(move |delivery| (number, delivery)));
        // A change of a byte may have turned the mark of one answer into the mark of another.
        let mut others = others.filter(|other| *other != (self.number, last)).map(|(n, d)| mark(n, d));
        match others.find(|other| heard.contains(other) && !own.contains(other)) {
            Some(_) => wrong("bytes of another answer"),
            None => Ok(()),
        }
    }

    /// What holds for every answer.
    fn manners(&self) -> Judged {
        let heard = self.heard;
        if let Some(why) = &heard.wrong {
            return wrong(why.split(':').next().unwrap_or_default());
        }
        if heard.trailers.iter().any(|(name, _)| name.starts_with("seawall-")) {
            return wrong("a trailer in Seawall's name");
        }
        // Bytes that are not a request at all are refused before Seawall can add its fields.
        let misread = self.ask.flaw.is_some() && heard.status == Some(400);
        if heard.status.is_some() && !misread && heard.field("seawall-effect").len() != 1 {
            return wrong("not exactly one effect");
        }
        if heard.field("content-length").len() > 1
            || heard.field("content-length").iter().any(|v| v.contains(','))
        {
            return wrong("two lengths were passed on");
        }
        Ok(())
    }

    /// The reason, if the gateway itself made the answer.
    fn problem(&self) -> Option<&str> {
        self.heard.field("seawall-reason").first().copied()
    }

    fn effect(&self) -> &str {
        self.heard.field("seawall-effect").first().copied().unwrap_or_default()
    }

    fn answer(&self, reading: &Reading) -> Judged {
        let Case { ask, heard, .. } = *self;
        if let Ended::Nothing(why) = &heard.ended {
            let cause = match reading {
                Reading::Broken(broken) => broken.why,
                Reading::Whole(_) => "a whole answer",
                Reading::Refused | Reading::Open => "no answer",
            };
            let why = if why == "silence" { "silence" } else { "the caller heard nothing" };
            return wrong(format!("{why}: {cause}"));
        }
        match (reading, self.problem()) {
            (Reading::Open, _) => Ok(()),
            (Reading::Refused, Some(_)) => self.own_word(&["connection-lost"], "not-applied"),
            (Reading::Refused, None) => wrong("complete though refused"),
            (Reading::Whole(whole), Some(_)) if whole.sure => wrong("a whole answer was not believed"),
            (Reading::Whole(_), Some(_)) => self.broke(),
            (Reading::Whole(whole), None) => self.passed(whole),
            (Reading::Broken(_), Some(_)) => self.broke(),
            (Reading::Broken(broken), None) => match heard.ended {
                Ended::Whole if ask.kind == Kind::Head => Ok(()),
                Ended::Whole => wrong(format!("complete though broken: {}", broken.why)),
                Ended::Broken(_) | Ended::Nothing(_) => Ok(()),
            },
        }
    }

    /// Judges the case that the call failed and the gateway says so.
    fn broke(&self) -> Judged {
        let effect = if self.ask.kind.is_safe() { "not-applied" } else { "unknown" };
        self.own_word(&["connection-lost", "bad-answer", "read-timeout", "total-timeout"], effect)
    }

    fn own_word(&self, reasons: &[&str], effect: &str) -> Judged {
        let reason = self.problem().unwrap_or_default();
        if !reasons.contains(&reason) {
            return wrong(format!("another reason: {reason}"));
        }
        let status = if reason.ends_with("timeout") { 504 } else { 502 };
        if self.heard.status != Some(status) || self.heard.ended != Ended::Whole {
            return wrong("a problem that is not told whole");
        }
        // After an earlier attempt the effect may already be unknown.
        let doubt = self.deliveries.len() > 1 && self.effect() == "unknown";
        if self.effect() != effect && !doubt {
            return wrong(format!("{reason} has the effect {}", self.effect()));
        }
        Ok(())
    }

    /// The dependency's answer was passed on.
    fn passed(&self, whole: &Whole) -> Judged {
        let heard = self.heard;
        if heard.status != Some(whole.status) {
            return wrong("another status");
        }
        match &heard.ended {
            Ended::Whole if heard.body != whole.body => return wrong("another body"),
            Ended::Whole => {}
            _ if whole.sure => return wrong("a whole answer was broken"),
            _ => {}
        }
        let means = meaning(self.ask.kind, whole);
        let doubt = self.deliveries.len() > 1 && self.effect() == "unknown";
        if self.effect() != means && !doubt {
            return wrong(format!("an answer that means {means} has the effect {}", self.effect()));
        }
        Ok(())
    }
}

fn wrong(why: impl Into<String>) -> Judged {
    Err(why.into())
}

/// The effect that an answer proves.
fn meaning(kind: Kind, whole: &Whole) -> &'static str {
    let json: Option<serde_json::Value> = serde_json::from_slice(&whole.body).ok();
    let declined = |json: &serde_json::Value| json["code"] == "DECLINED";
    match whole.status {
        200 if kind == Kind::Judged && json.as_ref().is_some_and(declined) => "not-applied",
        // The body was read, and no rule gives it another meaning.
        200 if kind == Kind::Judged && json.is_some() => "applied",
        // The body has to decide, but it cannot be read.
        200 if kind == Kind::Judged => "unknown",
        200..=299 | 303 | 304 => "applied",
        307 | 308 | 400..=407 | 410..=424 | 426..=428 | 430..=499 => "not-applied",
        _ if kind.is_safe() => "not-applied",
        _ => "unknown",
    }
}
