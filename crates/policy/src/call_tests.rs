use super::*;
use crate::breaker::Evidence;
use crate::budget::{Budget, BudgetSettings};
use crate::ending::{Health, Lost, Rules};
use crate::guards::{DependencyGuards, GuardSettings, Keys};
use crate::idempotency::Idempotency;
use crate::limit::LimitSettings;
use crate::queue::QueueSettings;
use proptest::prelude::*;

/// Guards that record what they are asked and told.
pub(super) struct Diary {
    pub(super) budget: Budget,
    pub(super) refuse: Vec<(usize, Reason)>,
    pub(super) out: i32,
    pub(super) evidence: Vec<(usize, Option<Health>)>,
    /// How long each call waited that its caller gave up.
    pub(super) waited: Vec<Duration>,
    pub(super) asked: Vec<&'static str>,
    /// The number of callers that may wait in a queue. `turns` says how their waits end; the last entry is used first.
    pub(super) room: u32,
    pub(super) turns: Vec<Result<(), Reason>>,
    /// The overload answers that were reported, and how long an endpoint cools after each of them.
    pub(super) overloaded: Vec<(usize, Overload)>,
    pub(super) cools: Option<Duration>,
}

impl Diary {
    pub(super) fn new() -> Diary {
        let rich = BudgetSettings { initial_milli: 10_000, ..BudgetSettings::default() };
        Diary {
            budget: Budget::new(rich),
            refuse: vec![],
            out: 0,
            evidence: vec![],
            waited: vec![],
            asked: vec![],
            room: 0,
            turns: vec![],
            overloaded: vec![],
            cools: None,
        }
    }
}

/// Returns guards whose limit has one slot, which the first attempt takes. The tests take permits and tickets from
/// these guards, because nothing else can make a permit or a ticket.
fn stock() -> DependencyGuards {
    let queue = QueueSettings { length: 1, wait: Duration::from_secs(1) };
    DependencyGuards::new(
        GuardSettings { limit: LimitSettings::fixed(1), queue, ..GuardSettings::default() },
        4,
    )
}

impl Guards for Diary {
    fn admit(&mut self, endpoint: usize, now: Time) -> Result<Permit, Refusal> {
        self.asked.push("admit");
        match self.refuse.iter().find(|(e, _)| *e == endpoint) {
            Some((_, reason)) => {
                let until = now.saturating_add(Duration::from_secs(1 + endpoint as u64));
                Err(Refusal::until(*reason, Some(until)))
            }
            None => {
                self.out += 1;
                stock().admit(endpoint, &Keys::NONE, now)
            }
        }
    }

    fn join(&mut self, endpoint: usize, now: Time) -> Result<(Ticket, Time), Refusal> {
        self.asked.push("join");
        if self.room == 0 {
            return Err(Refusal::of(Reason::QueueFull));
        }
        self.room -= 1;
        let mut full = stock();
        let _taken = full.admit(endpoint, &Keys::NONE, now)?;
        let (ticket, _) = full.join(endpoint, &Keys::NONE, now)?;
        Ok((ticket, now.saturating_add(MS * 100)))
    }

    fn take_turn(&mut self, ticket: Ticket, now: Time) -> QueueTurn {
        match self.turns.pop() {
            Some(Ok(())) => {
                self.room += 1;
                self.out += 1;
                QueueTurn::Yours(stock().admit(ticket.endpoint(), &Keys::NONE, now).expect("it is free"))
            }
            Some(Err(reason)) => {
                self.room += 1;
                QueueTurn::Refused(Refusal::of(reason))
            }
            None => QueueTurn::Waits(ticket, now.saturating_add(MS)),
        }
    }

    fn leave(&mut self, _: Ticket, _: Time) {
        self.asked.push("leave");
        self.room += 1;
    }

    fn overloaded(&mut self, permit: &Permit, told: Overload, now: Time) -> Option<Time> {
        self.overloaded.push((permit.endpoint(), told));
        self.cools.map(|wait| now.saturating_add(wait))
    }

    fn refuses(&mut self, endpoint: usize, _: Time) -> Option<Stopped> {
        let (_, reason) = self.refuse.iter().find(|(at, _)| *at == endpoint)?;
        Some(if *reason == Reason::BreakerOpen { Stopped::Breaker } else { Stopped::Limit })
    }

    fn settle(&mut self, permit: Permit, report: &Report, after: After, now: Time) -> Option<HeldPass> {
        self.out -= 1;
        if after == After::Ends && report.is_success() {
            self.asked.push("earn");
            self.budget.earn();
        }
        let pass = permit.hold();
        if after == After::RepeatsHere {
            return Some(pass);
        }
        self.witness(pass, report, now);
        None
    }

    fn witness(&mut self, pass: HeldPass, report: &Report, _: Time) {
        if let Evidence::Abandoned { waited, .. } = report.health {
            self.waited.push(waited);
        }
        let health = match report.health {
            Evidence::Success { .. } => Some(Health::Success),
            Evidence::Failure { .. } => Some(Health::Failure),
            Evidence::Neutral => Some(Health::Silent),
            Evidence::Abandoned { .. } | Evidence::Nothing => None,
        };
        self.evidence.push((pass.endpoint(), health));
    }

    fn pay(&mut self, _: &Permit, _: bool, _: Time) -> Result<(), Stopped> {
        self.asked.push("pay");
        if self.budget.spend() { Ok(()) } else { Err(Stopped::Budget) }
    }
}

pub(super) fn status(status: u16) -> Ending {
    Ending::Answered(Answer::of_status(status))
}

/// Runs a call whose attempts end with `endings`, each `took` after its start. Time is a variable, so waits take no
/// real time. Returns the call's finish, the time of the finish, and the attempts that were made.
pub(super) fn run(
    plan: &Plan,
    guards: &mut Diary,
    endings: &[Ending],
    took: Duration,
) -> (Finish, Time, Vec<Attempt>) {
    let mut now = Time::from_millis(1_000);
    let (mut call, mut step) = Call::begin(plan, Wish::default(), guards, now);
    let mut endings = endings.iter();
    let mut sent = Vec::new();
    loop {
        step = match step {
            Step::Send(attempt) => {
                sent.push(attempt);
                now = now.saturating_add(took).min(attempt.end_by);
                let ending = *endings.next().expect("the call makes no more attempts than it was told of");
                call.ended(plan, guards, Ended::of(ending), || Draw::new(u64::MAX), now)
            }
            Step::Wait(until) => {
                assert!(until > now);
                now = until;
                call.waited(plan, guards, now)
            }
            Step::Queue(until) => {
                assert!(until > now);
                now = until;
                call.turn(plan, guards, now)
            }
            Step::Finish(finish) => return (finish, now, sent),
        }
    }
}

pub(super) fn plan(idempotency: Idempotency) -> Plan {
    Plan::new(Rules::of(idempotency), 1)
}

pub(super) const MS: Duration = Duration::from_millis(1);

#[test]
fn a_success_is_one_attempt_and_earns() {
    let mut guards = Diary::new();
    let (finish, _, sent) = run(&plan(Idempotency::None), &mut guards, &[status(200)], MS);
    assert_eq!((finish.effect, finish.attempts, finish.stopped), (Effect::Applied, 1, None));
    assert_eq!(guards.asked, ["admit", "earn"]);
    assert_eq!(guards.evidence, [(0, Some(Health::Success))]);
    assert_eq!(sent[0].connect_by, Time::from_millis(4_000));
    assert_eq!(sent[0].end_by, Time::from_millis(31_000));
    assert!(!sent[0].callers_deadline);
}

#[test]
fn a_hung_read_is_repeated_once_and_a_hung_charge_never() {
    let hung = Ending::Lost(Lost::ReadTimeout);
    let mut guards = Diary::new();
    let (finish, ..) = run(&plan(Idempotency::Safe), &mut guards, &[hung, hung], MS * 10_000);
    assert_eq!((finish.effect, finish.attempts), (Effect::NotApplied, 2));
    assert_eq!(finish.stopped, Some(Stopped::Attempts));
    let (finish, ..) = run(&plan(Idempotency::None), &mut guards, &[hung], MS * 10_000);
    assert_eq!((finish.effect, finish.attempts), (Effect::Unknown, 1));
    assert_eq!(finish.stopped, Some(Stopped::NotRepeatable));
}

#[test]
fn a_later_refusal_leaves_the_doubt() {
    for second in [Ending::Unsent(Unsent::Refused), status(404), status(422), Ending::Unprocessed] {
        let endings = [Ending::Lost(Lost::ReadTimeout), second];
        let (finish, ..) = run(&plan(Idempotency::Keyed), &mut Diary::new(), &endings, MS);
        assert_eq!((finish.effect, finish.attempts), (Effect::Unknown, 2), "{second:?}");
    }
}

#[test]
fn the_budget_is_asked_before_the_wait() {
    let mut guards = Diary::new();
    guards.budget = Budget::new(BudgetSettings { initial_milli: 0, ..BudgetSettings::default() });
    let (finish, now, _) = run(&plan(Idempotency::Safe), &mut guards, &[status(500)], MS);
    assert_eq!(finish.stopped, Some(Stopped::Budget));
    assert_eq!(now, Time::from_millis(1_001), "nobody waited for the no");
    let mut guards = Diary::new();
    run(&plan(Idempotency::Safe), &mut guards, &[status(500), status(200)], MS);
    assert_eq!(guards.asked, ["admit", "pay", "admit", "earn"]);
}

#[test]
fn a_free_no_costs_no_token() {
    let mut guards = Diary::new();
    run(&plan(Idempotency::None), &mut guards, &[status(500)], MS);
    run(&plan(Idempotency::Safe), &mut guards, &[status(404)], MS);
    let one = Plan { attempts: 1, ..plan(Idempotency::Safe) };
    run(&one, &mut guards, &[status(500)], MS);
    assert!(!guards.asked.contains(&"pay"));
}

#[test]
fn retry_after_is_waited_for_or_the_answer_is_passed_at_once() {
    let busy = |secs| {
        let retry_after = Some(Duration::from_secs(secs));
        Ending::Answered(Answer { retry_after, ..Answer::of_status(503) })
    };
    let (finish, now, _) = run(&plan(Idempotency::Safe), &mut Diary::new(), &[busy(5), status(200)], MS);
    assert_eq!(finish.effect, Effect::Applied);
    assert!(
        now > Time::from_millis(7_251) && now < Time::from_millis(7_252),
        "and a quarter, the highest draw: {now:?}"
    );
    let (finish, now, _) = run(&plan(Idempotency::Safe), &mut Diary::new(), &[busy(60)], MS);
    assert_eq!((finish.stopped, now), (Some(Stopped::Deadline), Time::from_millis(1_001)));
}

#[test]
fn a_refusal_before_anything_was_sent_is_not_applied() {
    let mut guards = Diary::new();
    guards.refuse = vec![(0, Reason::BreakerOpen), (1, Reason::ConcurrencyLimit)];
    let two = Plan { endpoints: 2, ..plan(Idempotency::None) };
    let (finish, ..) = run(&two, &mut guards, &[], MS);
    let refusal = finish.refusal.expect("refused");
    assert_eq!((finish.effect, finish.attempts, finish.endpoint), (Effect::NotApplied, 0, 0));
    assert_eq!(refusal.reason, Reason::BreakerOpen, "the preferred endpoint's word");
    assert_eq!(refusal.until, Some(Time::from_millis(2_000)), "the first moment anything may change");
}

#[test]
fn a_guard_that_closes_during_the_wait_leaves_the_real_outcome() {
    let now = Time::from_millis(1_000);
    let (plan, mut guards) = (plan(Idempotency::Safe), Diary::new());
    let (mut call, _) = Call::begin(&plan, Wish::default(), &mut guards, now);
    let ended = Ended::of(status(503));
    let Step::Wait(until) = call.ended(&plan, &mut guards, ended, || Draw::new(u64::MAX), now) else {
        panic!("it waits")
    };
    assert_eq!(guards.evidence, [], "the call's last result at the endpoint is not known yet");
    guards.refuse = vec![(0, Reason::BreakerOpen)];
    let Step::Finish(finish) = call.waited(&plan, &mut guards, until) else { panic!("it ends") };
    assert_eq!((finish.refusal, finish.stopped), (None, Some(Stopped::Breaker)));
    assert_eq!(guards.evidence, [(0, Some(Health::Failure))]);
}

#[test]
fn what_was_never_sent_moves_to_the_second_endpoint_at_once() {
    let two = Plan { endpoints: 2, ..plan(Idempotency::None) };
    let endings = [Ending::Unsent(Unsent::Refused), status(200)];
    let mut guards = Diary::new();
    let (finish, now, sent) = run(&two, &mut guards, &endings, MS);
    assert_eq!((finish.effect, finish.endpoint, finish.attempts), (Effect::Applied, 1, 2));
    assert_eq!((sent[1].endpoint, now), (1, Time::from_millis(1_002)));
    assert_eq!(guards.evidence, [(0, Some(Health::Failure)), (1, Some(Health::Success))]);
    let (finish, _, sent) = run(&two, &mut Diary::new(), &[Ending::Lost(Lost::ConnectionLost)], MS);
    assert_eq!((finish.effect, sent.len()), (Effect::Unknown, 1), "what may have happened stays there");
}

#[test]
fn moving_on_with_what_was_never_sent_costs_nothing() {
    let poor = || BudgetSettings { initial_milli: 0, ..BudgetSettings::default() };
    let two = Plan { endpoints: 2, ..plan(Idempotency::Keyed) };
    for (first, moves) in [
        (Ending::Unsent(Unsent::Refused), true),
        (Ending::Unsent(Unsent::ConnectTimeout), true),
        (Ending::Unprocessed, false),
        (status(503), false),
        (Ending::Lost(Lost::ConnectionLost), false),
    ] {
        let mut guards = Diary::new();
        guards.budget = Budget::new(poor());
        let (finish, _, sent) = run(&two, &mut guards, &[first, status(200)], MS);
        assert_eq!(sent.len() == 2, moves, "{first:?}");
        assert_eq!(finish.stopped, (!moves).then_some(Stopped::Budget), "{first:?}");
    }
    // An attempt that goes back to an endpoint that was tried before is a repeat like any other.
    let three = Plan { attempts: 3, ..two };
    let mut guards = Diary::new();
    guards.budget = Budget::new(poor());
    let (finish, ..) = run(&three, &mut guards, &[Ending::Unsent(Unsent::Refused); 2], MS);
    assert_eq!((finish.attempts, finish.stopped), (2, Some(Stopped::Budget)));
}

#[test]
fn without_descriptors_a_call_ends_immediately_and_says_nothing_of_the_endpoint() {
    for idempotency in [Idempotency::Safe, Idempotency::None] {
        let two = Plan { endpoints: 2, attempts: 5, ..plan(idempotency) };
        let mut guards = Diary::new();
        let (finish, _, sent) = run(&two, &mut guards, &[Ending::Unsent(Unsent::OutOfDescriptors)], MS);
        assert_eq!((finish.effect, finish.stopped, sent.len()), (Effect::NotApplied, None, 1));
        assert_eq!((guards.evidence, guards.asked), (vec![(0, None)], vec!["admit"]));
    }
    // The first attempt may have been applied. A later attempt that was not sent does not change that: the effect stays
    // unknown.
    let endings = [Ending::Lost(Lost::ConnectionLost), Ending::Unsent(Unsent::OutOfDescriptors)];
    let mut guards = Diary::new();
    let (finish, _, sent) = run(&plan(Idempotency::Keyed), &mut guards, &endings, MS);
    assert_eq!((finish.effect, finish.stopped, sent.len()), (Effect::Unknown, None, 2));
    assert_eq!(guards.evidence, [(0, Some(Health::Failure)), (0, None)], "the first did reach the endpoint");
}

#[test]
fn a_call_waits_in_the_queue_of_a_full_limit_and_holds_nothing_meanwhile() {
    let (plan, now) = (plan(Idempotency::Safe), Time::from_millis(1_000));
    let waiting = |room, reason| Diary { room, refuse: vec![(0, reason)], ..Diary::new() };
    let mut guards = waiting(1, Reason::ConcurrencyLimit);
    let (mut call, step) = Call::begin(&plan, Wish::default(), &mut guards, now);
    assert_eq!(step, Step::Queue(Time::from_millis(1_100)));
    assert_eq!((guards.out, guards.room), (0, 0));
    assert_eq!(call.turn(&plan, &mut guards, now), Step::Queue(Time::from_millis(1_001)), "not yet");
    guards.turns = vec![Ok(())];
    assert!(matches!(call.turn(&plan, &mut guards, now), Step::Send(Attempt { number: 1, .. })));
    assert_eq!((guards.out, guards.room), (1, 1));

    let mut guards = waiting(0, Reason::ConcurrencyLimit);
    let (_, step) = Call::begin(&plan, Wish::default(), &mut guards, now);
    let Step::Finish(finish) = step else { panic!("{step:?}") };
    assert_eq!(finish.refusal.map(|no| no.reason), Some(Reason::QueueFull));

    let mut guards = waiting(1, Reason::BreakerOpen);
    let (_, step) = Call::begin(&plan, Wish::default(), &mut guards, now);
    assert!(matches!(step, Step::Finish(_)), "nobody queues before an open breaker: {step:?}");
}

#[test]
fn who_queues_too_long_is_told_so_and_who_goes_away_leaves() {
    let (plan, now) = (plan(Idempotency::Safe), Time::from_millis(1_000));
    let begin = |wish| {
        let mut guards = Diary { room: 1, refuse: vec![(0, Reason::ConcurrencyLimit)], ..Diary::new() };
        let (call, step) = Call::begin(&plan, wish, &mut guards, now);
        (guards, call, step)
    };
    let (mut guards, mut call, _) = begin(Wish::default());
    guards.turns = vec![Err(Reason::QueueTimeout)];
    let step = call.turn(&plan, &mut guards, Time::from_millis(1_100));
    let Step::Finish(finish) = step else { panic!("{step:?}") };
    assert_eq!(finish.refusal.map(|no| no.reason), Some(Reason::QueueTimeout));

    // The caller's deadline is earlier than the end of the wait in the queue.
    let (mut guards, mut call, step) = begin(Wish { within: Some(MS * 30), ..Wish::default() });
    assert_eq!(step, Step::Queue(Time::from_millis(1_030)));
    let step = call.turn(&plan, &mut guards, Time::from_millis(1_030));
    let Step::Finish(finish) = step else { panic!("{step:?}") };
    assert_eq!(finish.refusal.map(|no| no.reason), Some(Reason::NoTimeLeft));
    assert_eq!(guards.room, 1, "it left");

    let (mut guards, mut call, _) = begin(Wish::default());
    call.abandon(&plan, &mut guards, now);
    assert_eq!((guards.room, guards.out), (1, 0));
}

#[test]
fn the_callers_deadline_is_told_from_ours() {
    let (plan, mut guards, now) = (plan(Idempotency::Safe), Diary::new(), Time::from_millis(1_000));
    let wish = Wish { within: Some(MS * 200), ..Wish::default() };
    let (_, step) = Call::begin(&plan, wish, &mut guards, now);
    let Step::Send(attempt) = step else { panic!("it sends") };
    assert!(attempt.callers_deadline);
    assert_eq!((attempt.end_by, attempt.connect_by), (Time::from_millis(1_200), Time::from_millis(1_200)));
    let by = Wish { by: Some(Time::from_millis(1_100)), ..wish };
    let (call, _) = Call::begin(&plan, by, &mut guards, now);
    assert_eq!(call.end_by(), Time::from_millis(1_100), "the earlier of the two");
    let none = Wish { within: Some(Duration::ZERO), ..Wish::default() };
    let (_, step) = Call::begin(&plan, none, &mut guards, now);
    let Step::Finish(finish) = step else { panic!("refused") };
    assert_eq!(finish.refusal.map(|r| r.reason), Some(Reason::NoTimeLeft));
}

#[test]
fn seawall_retry_off_means_one_attempt() {
    let (plan, mut guards, now) = (plan(Idempotency::Safe), Diary::new(), Time::ZERO);
    let (mut call, _) = Call::begin(&plan, Wish { no_repeats: true, ..Wish::default() }, &mut guards, now);
    let step = call.ended(&plan, &mut guards, Ended::of(status(500)), || Draw::new(0), now);
    let Step::Finish(finish) = step else { panic!("it ends") };
    assert_eq!(finish.stopped, Some(Stopped::Caller));
}

#[test]
fn no_repeat_outlives_the_key() {
    let began = Time::from_millis(1_000);
    let repeat_by = |millis| Wish { repeat_by: Some(Time::from_millis(millis)), ..Wish::default() };
    // The call begins at 1 s and must be over 30 s later, at 31 s.
    for (kind, wish, ending, again) in [
        (Idempotency::Keyed, repeat_by(31_001), status(500), true),
        (Idempotency::Keyed, repeat_by(31_000), status(500), false),
        (Idempotency::Keyed, repeat_by(31_000), Ending::Lost(Lost::ReadTimeout), false),
        (Idempotency::Keyed, Wish::default(), status(500), true),
        // Nothing was sent, so there is no key to be forgotten.
        (Idempotency::Keyed, repeat_by(0), Ending::Unsent(Unsent::Refused), true),
        (Idempotency::Keyed, repeat_by(0), Ending::Unprocessed, true),
    ] {
        let (plan, mut guards) = (plan(kind), Diary::new());
        let (mut call, _) = Call::begin(&plan, wish, &mut guards, began);
        let step = call.ended(&plan, &mut guards, Ended::of(ending), || Draw::new(0), began);
        match step {
            Step::Finish(finish) => {
                assert!(!again, "{wish:?} {ending:?}");
                assert_eq!(finish.stopped, Some(Stopped::NotRepeatable), "{wish:?} {ending:?}");
            }
            Step::Send(_) | Step::Wait(_) | Step::Queue(_) => assert!(again, "{wish:?} {ending:?}"),
        }
    }
    let endless =
        Plan { timeouts: Timeouts { total: None, ..Timeouts::default() }, ..plan(Idempotency::Keyed) };
    let mut guards = Diary::new();
    let (mut call, _) = Call::begin(&endless, repeat_by(90_000), &mut guards, began);
    let step = call.ended(&endless, &mut guards, Ended::of(status(500)), || Draw::new(0), began);
    assert!(matches!(step, Step::Finish(_)), "nothing bounds when it would arrive: {step:?}");
}

#[test]
fn an_abandoned_call_gives_its_permit_back_as_dont_know() {
    let (plan, mut guards) = (plan(Idempotency::Safe), Diary::new());
    let (mut call, _) = Call::begin(&plan, Wish::default(), &mut guards, Time::ZERO);
    assert_eq!(guards.out, 1);
    call.abandon(&plan, &mut guards, Time::from_millis(5));
    call.abandon(&plan, &mut guards, Time::from_millis(6));
    assert_eq!((guards.out, guards.evidence.as_slice()), (0, [(0, None)].as_slice()));
}

fn endings() -> impl Strategy<Value = Ending> {
    prop_oneof![
        prop::sample::select(vec![200_u16, 202, 301, 307, 404, 409, 422, 429, 500, 503, 504])
            .prop_map(status),
        prop::sample::select(vec![Unsent::Dns, Unsent::Refused, Unsent::ConnectTimeout, Unsent::Tls])
            .prop_map(Ending::Unsent),
        prop::sample::select(vec![Lost::ReadTimeout, Lost::ConnectionLost, Lost::BadAnswer])
            .prop_map(Ending::Lost),
        Just(Ending::Unprocessed),
    ]
}

proptest! {
    /// Compares the machine with a naive model, which looks at the whole list of endings.
    #[test]
    fn a_call_keeps_its_promises(
        kind in prop::sample::select(Idempotency::ALL.to_vec()),
        attempts in 1_u32..5,
        endpoints in 1_usize..4,
        tokens in 0_u32..4,
        took_ms in 0_u64..12_000,
        script in prop::collection::vec(endings(), 5),
    ) {
        let plan = Plan { attempts, endpoints, ..plan(kind) };
        let mut guards = Diary::new();
        let settings = BudgetSettings { initial_milli: tokens * 1_000, ..BudgetSettings::default() };
        guards.budget = Budget::new(settings);
        let (finish, now, sent) = run(&plan, &mut guards, &script, MS * took_ms as u32);
        let n = sent.len();
        let seen = &script[..n];

        prop_assert!(n >= 1 && n as u32 <= attempts && n as u32 == finish.attempts);
        // If nothing of an attempt was sent, the call moves on to the next endpoint without paying a token.
        let free = (0..n - 1).filter(|i| i + 1 < endpoints && matches!(seen[*i], Ending::Unsent(_))).count();
        prop_assert!((n - 1 - free) as u32 <= tokens, "every other repeat was paid for");
        prop_assert!(now <= Time::from_millis(31_000), "never past the deadline");
        prop_assert!(sent.iter().all(|a| a.end_by == Time::from_millis(31_000)));
        prop_assert_eq!(guards.out, 0, "permits are settled once");
        let touched: std::collections::BTreeSet<usize> = sent.iter().map(|a| a.endpoint).collect();
        prop_assert!(guards.evidence.len() >= touched.len());

        let doubtful = |e: &Ending| match e {
            Ending::Lost(_) => true,
            Ending::Answered(a) => matches!(a.status, 301 | 409 | 429 | 500 | 503 | 504),
            _ => false,
        };
        let applied = |e: &Ending| matches!(e, Ending::Answered(a) if matches!(a.status, 200 | 202));
        for earlier in &seen[..n - 1] {
            prop_assert!(!applied(earlier), "nothing follows a yes");
            prop_assert!(kind != Idempotency::None || !doubtful(earlier), "a doubtful charge is never resent");
        }
        let expected = if seen.iter().any(applied) {
            Effect::Applied
        } else if kind != Idempotency::Safe && seen.iter().any(doubtful) {
            Effect::Unknown
        } else {
            Effect::NotApplied
        };
        prop_assert_eq!(finish.effect, expected);
        let pays = guards.asked.iter().filter(|a| **a == "pay").count();
        let admits = guards.asked.iter().filter(|a| **a == "admit").count();
        prop_assert_eq!(admits, n);
        prop_assert!(pays >= n - 1 - free && pays <= n);
    }
}

#[test]
fn what_a_stale_connection_lost_is_repeated_at_once_and_free() {
    let lost = Ending::Lost(Lost::ConnectionLost);
    for (idempotency, ending, repeated) in [
        (Idempotency::Safe, lost, true),
        (Idempotency::Keyed, lost, true),
        (Idempotency::None, lost, false),
        (Idempotency::None, Ending::Unprocessed, true),
    ] {
        let plan = Plan::new(Rules::of(idempotency), 2);
        let mut guards = Diary::new();
        let now = Time::from_millis(1_000);
        let (mut call, _) = Call::begin(&plan, Wish::default(), &mut guards, now);
        let stale = Ended { stale: true, ..Ended::of(ending) };
        let step = call.ended(&plan, &mut guards, stale, || Draw::new(u64::MAX), now);
        let at_once = matches!(step, Step::Send(Attempt { number: 2, endpoint: 0, .. }));
        assert_eq!(at_once, repeated, "{idempotency} {ending:?} {step:?}");
        assert!(!guards.asked.contains(&"pay"), "{idempotency}");
        if repeated {
            // The repeat has cost no token, but it counts as an attempt, so no third one is made. An effect that was
            // unknown stays unknown.
            let refused = Ended { ending: Ending::Unsent(Unsent::Refused), ..stale };
            let step = call.ended(&plan, &mut guards, refused, || Draw::new(u64::MAX), now);
            let Step::Finish(finish) = step else { panic!("{step:?}") };
            assert_eq!(finish.stopped, Some(Stopped::Attempts));
            let doubt = idempotency == Idempotency::Keyed;
            assert_eq!(finish.effect, if doubt { Effect::Unknown } else { Effect::NotApplied });
        }
    }
    let plan = Plan { attempts: 1, ..Plan::new(Rules::of(Idempotency::Safe), 1) };
    let mut guards = Diary::new();
    let now = Time::from_millis(1_000);
    let (mut call, _) = Call::begin(&plan, Wish::default(), &mut guards, now);
    let stale = Ended { stale: true, ..Ended::of(lost) };
    let step = call.ended(&plan, &mut guards, stale, || Draw::new(u64::MAX), now);
    assert!(matches!(step, Step::Finish(_)), "one attempt is one attempt");
}
