//! The guards of one dependency, joined: breaker, limit and budget, and what each ending says to each of them.
//!
//! One ending means different things to different guards. 503 is a failure to the breaker and overload to the limit;
//! 429 is neither good nor bad to the breaker and overload to the limit; a refused connection is a failure to the
//! breaker and nothing to the limit, since no load reached the other side. Breaker and limit are kept for each
//! endpoint, the budget for the dependency, since a repeat at a second endpoint is a repeat all the same.

use crate::{
    AttemptEnd, Breaker, BreakerSettings, BreakerState, Budget, BudgetSettings, Counted, Draw, Ending,
    Evidence, FailureKind, Health, Limit, LimitSettings, Lost, Pass, Reason, Refusal, Report, Settled, Slot,
    Stopped, Time,
};

/// How the guards of one dependency decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardSettings {
    /// Each endpoint's breaker.
    pub breaker: BreakerSettings,
    /// Each endpoint's limit.
    pub limit: LimitSettings,
    /// The dependency's retry budget.
    pub budget: BudgetSettings,
    /// How many copies of this caller run. Default 1; above 100, slow failures are repeated only on evidence.
    pub instances: u32,
}

impl Default for GuardSettings {
    fn default() -> Self {
        GuardSettings {
            breaker: BreakerSettings::default(),
            limit: LimitSettings::default(),
            budget: BudgetSettings::default(),
            instances: 1,
        }
    }
}

/// Breaker and limit of one endpoint.
#[derive(Clone, Debug)]
pub struct EndpointGuards {
    /// Its breaker.
    pub breaker: Breaker,
    /// Its limit.
    pub limit: Limit,
}

/// A place in an endpoint's limit, with what its attempt will have said of the load when it is given back.
#[derive(Debug)]
#[must_use = "it is given back in `release`"]
pub struct LimitSlot {
    slot: Slot,
    end: AttemptEnd,
}

/// All guards of one dependency.
#[derive(Clone, Debug)]
pub struct DependencyGuards {
    endpoints: Vec<EndpointGuards>,
    budget: Budget,
    instances: u32,
}

/// A window with fewer calls says little about a share.
const FEW_CALLS: u32 = 20;
/// Slow failures are repeated while they are at most one in so many.
const SLOW_SHARE: u64 = 5;
/// A fleet of more callers than this cannot afford repeats without evidence.
const LARGE_FLEET: u32 = 100;

impl DependencyGuards {
    /// Closed breakers and open limits for so many endpoints.
    #[must_use]
    pub fn new(settings: GuardSettings, endpoints: usize) -> DependencyGuards {
        let guards =
            EndpointGuards { breaker: Breaker::new(settings.breaker), limit: Limit::new(settings.limit) };
        DependencyGuards {
            endpoints: vec![guards; endpoints.max(1)],
            budget: Budget::new(settings.budget),
            instances: settings.instances,
        }
    }

    /// Breaker first, then the limit: an open breaker holds no place in the limit.
    ///
    /// # Errors
    /// The guard that said no, and until when where it knows.
    #[inline]
    pub fn admit(&mut self, endpoint: usize, now: Time, draw: Draw) -> Result<(Pass, LimitSlot), Refusal> {
        let EndpointGuards { breaker, limit } = &mut self.endpoints[endpoint];
        let pass =
            breaker.admit(now).map_err(|no| Refusal { reason: Reason::BreakerOpen, until: no.until })?;
        match limit.admit(pass.is_probe()) {
            Ok(slot) => Ok((pass, LimitSlot { slot, end: AttemptEnd::Nothing })),
            Err(_) => {
                let _unused = breaker.settle(now, pass, Evidence::Unused, draw);
                Err(Refusal { reason: Reason::ConcurrencyLimit, until: None })
            }
        }
    }

    /// Takes the load's share of a report: what the limit will learn when the slot is released.
    pub fn mark(&self, slot: &mut LimitSlot, report: &Report) {
        slot.end = match &report.outcome {
            None => AttemptEnd::Nothing,
            Some((_, verdict)) if verdict.overload => AttemptEnd::Overload,
            Some((_, verdict)) => match verdict.health {
                Health::Success => AttemptEnd::Success,
                Health::Failure => AttemptEnd::Other,
                Health::Busy => AttemptEnd::Overload,
                Health::Silent => AttemptEnd::Nothing,
            },
        };
    }

    /// Gives evidence to the endpoint's breaker, and tells its limit where that closes. Returns whether a call that
    /// was given up counted as bad: then it is overload, too.
    #[inline]
    pub fn witness(
        &mut self,
        endpoint: usize,
        pass: Pass,
        report: &Report,
        now: Time,
        draw: Draw,
    ) -> Settled {
        let EndpointGuards { breaker, limit } = &mut self.endpoints[endpoint];
        let settled = breaker.settle(now, pass, evidence(report), draw);
        if settled.change == Some(BreakerState::Closed) {
            limit.breaker_closed();
        }
        settled
    }

    /// Gives a place in the limit back.
    #[inline]
    pub fn release(&mut self, endpoint: usize, slot: LimitSlot) {
        self.endpoints[endpoint].limit.release(slot.slot, slot.end);
    }

    /// An abandoned call that counted as bad is overload to the limit.
    pub fn weigh_abandoned(&self, slot: &mut LimitSlot, settled: &Settled, report: &Report) {
        let abandoned = matches!(evidence(report), Evidence::Abandoned { .. });
        if abandoned && settled.counted == Counted::Bad {
            slot.end = AttemptEnd::Overload;
        }
    }

    /// Whether one more repeat can be afforded after a failure at `endpoint`; pays for it.
    ///
    /// A slow failure is repeated only while such failures are rare, and the breaker closed: its work may still burn
    /// capacity on the other side, and a repeat would burn it twice.
    ///
    /// # Errors
    /// Why not: `breaker`, `slow` or `budget`.
    pub fn pay(&mut self, endpoint: usize, slow: bool, now: Time) -> Result<(), Stopped> {
        if slow {
            let breaker = &mut self.endpoints[endpoint].breaker;
            if !breaker.is_closed() {
                return Err(Stopped::Breaker);
            }
            let counts = breaker.counts(now);
            let bad = u64::from(counts.bad) + 1;
            let total = u64::from(counts.ok) + bad;
            let few = total < u64::from(FEW_CALLS);
            let common = !few && bad * SLOW_SHARE > total;
            if common || (few && self.instances > LARGE_FLEET) {
                return Err(Stopped::Slow);
            }
        }
        if self.budget.spend() { Ok(()) } else { Err(Stopped::Budget) }
    }

    /// A call succeeded.
    pub fn earn(&mut self) {
        self.budget.earn();
    }

    /// Thousandths of a retry token that are left.
    #[must_use]
    pub fn tokens_milli(&self) -> u32 {
        self.budget.tokens_milli()
    }

    /// Takes new settings for the same endpoints and keeps what was learned, so that a reload neither opens nor closes
    /// anything.
    pub fn adopt(&mut self, settings: GuardSettings, now: Time) {
        for EndpointGuards { breaker, limit } in &mut self.endpoints {
            breaker.adopt(now, settings.breaker);
            limit.adopt(settings.limit);
        }
        self.budget.adopt(settings.budget);
        self.instances = settings.instances;
    }

    /// How many endpoints there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Never: there is at least one endpoint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// One endpoint's guards; `None` where there is no such endpoint.
    pub fn endpoint(&mut self, endpoint: usize) -> Option<&mut EndpointGuards> {
        self.endpoints.get_mut(endpoint)
    }
}

/// What a report says of the endpoint's health.
fn evidence(report: &Report) -> Evidence {
    let Some((ending, verdict)) = &report.outcome else {
        return Evidence::Abandoned { waited: report.took };
    };
    match ending {
        Ending::CallerDeadline => return Evidence::Abandoned { waited: report.took },
        // Its body broke or stood still: it was not the endpoint that anybody waited for.
        Ending::CallerLeft { .. } => return Evidence::Neutral,
        Ending::Unsent(_) | Ending::Unprocessed | Ending::Answered(_) | Ending::Lost(_) => {}
    }
    match verdict.health {
        Health::Success => Evidence::Success { took: report.took },
        Health::Failure => Evidence::Failure { kind: failure_kind(ending), slow: report.slow },
        Health::Busy | Health::Silent => Evidence::Neutral,
    }
}

fn failure_kind(ending: &Ending) -> FailureKind {
    match ending {
        Ending::Unsent(_) | Ending::Unprocessed => FailureKind::Unreachable,
        Ending::Answered(answer) => FailureKind::of_status(answer.status),
        Ending::Lost(Lost::ReadTimeout | Lost::TotalTimeout) => FailureKind::Timeout,
        Ending::Lost(Lost::ConnectionLost) => FailureKind::Lost,
        Ending::Lost(Lost::BadAnswer) => FailureKind::BadAnswer,
        Ending::CallerDeadline | Ending::CallerLeft { .. } => FailureKind::Abandoned,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Answer, Idempotency, Rules, Unsent};

    const DRAW: Draw = Draw::new(0);

    fn report(ending: Ending, slow: bool) -> Report {
        let verdict = Rules::of(Idempotency::None).judge(&ending);
        Report { outcome: Some((ending, verdict)), slow, took: Duration::from_millis(10) }
    }

    fn end(guards: &mut DependencyGuards, ending: Ending, slow: bool, at: Time) {
        let (pass, mut slot) = guards.admit(0, at, DRAW).expect("admitted");
        let report = report(ending, slow);
        guards.mark(&mut slot, &report);
        let settled = guards.witness(0, pass, &report, at, DRAW);
        guards.weigh_abandoned(&mut slot, &settled, &report);
        guards.release(0, slot);
    }

    fn status(status: u16) -> Ending {
        Ending::Answered(Answer::of_status(status))
    }

    fn counts(guards: &mut DependencyGuards, at: Time) -> (u32, u32) {
        let counts = guards.endpoint(0).expect("it is there").breaker.counts(at);
        (counts.ok, counts.bad)
    }

    #[test]
    fn each_guard_reads_an_ending_in_its_own_way() {
        let at = Time::from_millis(1);
        let rows: &[(Ending, (u32, u32), AttemptEnd)] = &[
            (status(200), (1, 0), AttemptEnd::Success),
            (status(404), (1, 0), AttemptEnd::Success),
            (status(429), (0, 0), AttemptEnd::Overload),
            (status(500), (0, 1), AttemptEnd::Other),
            (status(503), (0, 1), AttemptEnd::Overload),
            (status(504), (0, 1), AttemptEnd::Other),
            (Ending::Unsent(Unsent::Refused), (0, 1), AttemptEnd::Other),
            (Ending::Unprocessed, (0, 0), AttemptEnd::Nothing),
            (Ending::Lost(Lost::ReadTimeout), (0, 1), AttemptEnd::Overload),
            (Ending::Lost(Lost::ConnectionLost), (0, 1), AttemptEnd::Other),
            (Ending::CallerLeft { sent: true }, (0, 0), AttemptEnd::Nothing),
            (Ending::CallerLeft { sent: false }, (0, 0), AttemptEnd::Nothing),
        ];
        for (ending, window, load) in rows {
            let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
            let (pass, mut slot) = guards.admit(0, at, DRAW).expect("admitted");
            let report = report(*ending, false);
            guards.mark(&mut slot, &report);
            assert_eq!(slot.end, *load, "{ending:?}");
            let _ = guards.witness(0, pass, &report, at, DRAW);
            guards.release(0, slot);
            assert_eq!(counts(&mut guards, at), *window, "{ending:?}");
        }
    }

    #[test]
    fn a_local_refusal_is_no_evidence_and_holds_nothing() {
        let at = Time::from_millis(1);
        let settings = GuardSettings { limit: LimitSettings::fixed(1), ..GuardSettings::default() };
        let mut guards = DependencyGuards::new(settings, 1);
        let held = guards.admit(0, at, DRAW).expect("the first");
        for _ in 0..100 {
            let refusal = guards.admit(0, at, DRAW).expect_err("the second");
            assert_eq!(refusal.reason, Reason::ConcurrencyLimit);
        }
        assert_eq!(counts(&mut guards, at), (0, 0));
        let limit = &guards.endpoint(0).expect("it is there").limit;
        assert_eq!(limit.in_flight(), 1);
        guards.release(0, held.1);
    }

    #[test]
    fn slow_failures_are_repeated_only_while_rare() {
        let at = Time::from_millis(1);
        let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
        for _ in 0..80 {
            end(&mut guards, status(200), false, at);
            guards.earn();
        }
        assert_eq!(guards.pay(0, true, at), Ok(()));
        for _ in 0..20 {
            end(&mut guards, status(503), false, at);
        }
        assert_eq!(guards.pay(0, true, at), Err(Stopped::Slow), "21 of 101");
        assert_eq!(guards.pay(0, false, at), Ok(()), "a quick failure costs the other side little");
    }

    #[test]
    fn a_large_fleet_repeats_slow_failures_only_on_evidence() {
        let at = Time::from_millis(1);
        let settings = GuardSettings { instances: 101, ..GuardSettings::default() };
        let mut guards = DependencyGuards::new(settings, 1);
        assert_eq!(guards.pay(0, true, at), Err(Stopped::Slow));
        assert_eq!(guards.pay(0, false, at), Ok(()));
    }

    #[test]
    fn an_open_breaker_refuses_and_says_until_when() {
        let at = Time::from_millis(1);
        let mut guards = DependencyGuards::new(GuardSettings::default(), 1);
        end(&mut guards, Ending::Lost(Lost::ReadTimeout), true, at);
        end(&mut guards, Ending::Lost(Lost::ReadTimeout), true, at);
        let refusal = guards.admit(0, at, DRAW).expect_err("silence opened it");
        assert_eq!(refusal.reason, Reason::BreakerOpen);
        assert_eq!(refusal.until, Some(Time::from_millis(2_401)));
        assert_eq!(guards.pay(0, true, at), Err(Stopped::Breaker));
    }
}
