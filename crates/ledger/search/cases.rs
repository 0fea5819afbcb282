//! The kinds of providers, and what is declared for each.

use std::time::Duration;

use seawall_ledger_search::calendar::Lifetime;
use seawall_ledger_search::machine::{
    CancelKind, CancelRules, ConfirmRules, Limits, OnUnknown, Rules, SettleBy,
};
use seawall_policy::Idempotency;

use crate::obvious::Obvious;
use crate::provider::Traits;
use crate::world::{Also, AppKind, Case, TICK, in_ticks};

pub(crate) const CONFIRM: ConfirmRules = ConfirmRules { after: Duration::ZERO, absences: 1, until: None };
/// A cancel is a refund without a key, and a second refund pays out once more. The refund names the charge by an id
/// from the provider's answer to the perform or to a question. These are the ledger's cautious default rules.
pub(crate) const REFUND: CancelRules = CancelRules {
    kind: CancelKind::Additive,
    keyed: false,
    tombstone: false,
    by_key: false,
    after: Duration::ZERO,
    absences: 1,
    until: None,
    asks_first: false,
};
pub(crate) const VOID: CancelRules = CancelRules { kind: CancelKind::State, by_key: true, ..REFUND };

/// Makes a case in which the provider behaves as it is declared.
pub(crate) fn case(
    name: &'static str,
    idempotency: Idempotency,
    with: impl FnOnce(&mut Rules, &mut Traits),
) -> Case {
    let mut rules = in_ticks(Rules::of(idempotency).remembered(Lifetime::For(TICK)));
    let keyed = idempotency == Idempotency::Keyed;
    let mut traits = Traits {
        keyed: keyed.then_some(u8::MAX),
        idempotent: idempotency == Idempotency::Idempotent,
        refuses: true,
        fails_after: true,
        ..Traits::default()
    };
    with(&mut rules, &mut traits);
    if let Some(cancel) = &rules.cancel {
        traits.additive = cancel.kind == CancelKind::Additive;
        traits.keyed_cancel = cancel.keyed;
        traits.by_key = cancel.by_key;
        traits.tombstone = cancel.tombstone;
    }
    if rules.confirm.is_some() {
        traits.lag = 1;
    }
    let rules = in_ticks_but(rules);
    Case {
        name,
        rules,
        traits,
        app: AppKind::Reply,
        scope: 1,
        network: 1,
        faults: 2,
        cancels: 1,
        retries: 0,
        also: Also::default(),
    }
}

/// Replaces the times of the rules by times in ticks, as [`in_ticks`] does. The limits and the times that a case sets
/// by itself stay as they are.
fn in_ticks_but(rules: Rules) -> Rules {
    let kept = (rules.limits, rules.quiet, rules.key_lifetime.clone(), rules.give_up, rules.audit_after);
    let mut rules = in_ticks(rules);
    (rules.limits, rules.quiet, rules.key_lifetime, rules.give_up, rules.audit_after) = kept;
    rules
}

impl Case {
    pub(crate) fn explicit(self, name: &'static str) -> Case {
        let rules = Rules { settle: SettleBy::Explicit(TICK * 5), ..self.rules };
        Case { name, rules, app: AppKind::Transaction, ..self }
    }

    pub(crate) fn over_http(self, name: &'static str, app: AppKind) -> Case {
        Case { app, ..self.explicit(name) }
    }

    pub(crate) fn scope_of_two(self, name: &'static str) -> Case {
        let mut case = Case { name, scope: 2, faults: 1, cancels: 0, ..self };
        case.rules.limits = Limits { perform: 1, cancel: Some(1), confirm: Some(2) };
        case.traits.fails_after = false;
        case
    }

    pub(crate) fn slow_network(self, name: &'static str) -> Case {
        Case { name, network: 5, rules: Rules { audit_after: TICK * 7, ..self.rules }, ..self }
    }

    pub(crate) fn with_people(self, name: &'static str) -> Case {
        Case { name, retries: 1, ..self }
    }

    /// Changes the case so that the number of questions and cancels has no limit. Only `stuck_after` limits them, and
    /// it is over after two ticks.
    pub(crate) fn by_time(self, name: &'static str) -> Case {
        let mut case = Case { name, ..self };
        (case.rules.limits.cancel, case.rules.limits.confirm) = (None, None);
        case.rules.stuck_after = TICK * 2;
        case
    }

    /// Changes the case so that a shorter quiet time was declared when the attempts were recorded. A reload has
    /// declared a longer one since.
    pub(crate) fn with_longer_quiet(self, name: &'static str) -> Case {
        let also = Also { shorter_quiet: Some(TICK), ..self.also };
        Case { name, also, ..self }
    }

    pub(crate) fn faults(self, faults: u8) -> Case {
        Case { faults, ..self }
    }
}

pub(crate) fn keyed() -> Case {
    case("keys, no lookup, refunds add up", Idempotency::Keyed, |rules, _| rules.cancel = Some(REFUND))
}

pub(crate) fn keyed_and_lookup() -> Case {
    case("keys and lookup, refunds add up", Idempotency::Keyed, |rules, _| {
        rules.cancel = Some(REFUND);
        rules.confirm = Some(CONFIRM);
    })
}

pub(crate) fn keyed_slow() -> Case {
    case("keys, 409 while in progress", Idempotency::Keyed, |rules, traits| {
        rules.cancel = Some(VOID);
        traits.slow = true;
        traits.fails_after = false;
    })
}

pub(crate) fn keyed_forgets() -> Case {
    case("keys that are forgotten, three attempts", Idempotency::Keyed, |rules, traits| {
        rules.cancel = Some(REFUND);
        rules.limits.perform = 3;
        rules.key_lifetime = Some(Lifetime::For(TICK * 8));
        traits.keyed = Some(8);
        traits.refuses = false;
        traits.fails_after = false;
    })
}

pub(crate) fn keyed_saves_failures() -> Case {
    case("keys, saved failures, keyed refunds", Idempotency::Keyed, |rules, traits| {
        rules.cancel = Some(CancelRules { keyed: true, ..REFUND });
        rules.confirm = Some(CONFIRM);
        rules.limits.cancel = Some(4);
        traits.saves_failures = true;
        traits.refuses = false;
    })
}

pub(crate) fn keyed_saves_refusals() -> Case {
    case("keys, saved refusals", Idempotency::Keyed, |rules, traits| {
        rules.cancel = Some(REFUND);
        rules.saves_refusals = true;
        traits.saves_refusals = true;
        traits.doorman = true;
    })
}

pub(crate) fn keyed_binding_refusals() -> Case {
    case("keys, refusals that bind, and a doorman", Idempotency::Keyed, |rules, traits| {
        rules.cancel = Some(REFUND);
        rules.refusal_binds = vec![402];
        traits.doorman = true;
    })
}

pub(crate) fn lookup() -> Case {
    case("lookup only, refunds add up", Idempotency::None, |rules, _| {
        rules.on_unknown = OnUnknown::Confirm;
        rules.confirm = Some(CONFIRM);
        rules.cancel = Some(REFUND);
    })
}

pub(crate) fn lookup_void() -> Case {
    case("lookup only, cancel by our key sets a state", Idempotency::None, |rules, _| {
        rules.on_unknown = OnUnknown::Confirm;
        rules.confirm = Some(CONFIRM);
        rules.cancel = Some(VOID);
    })
}

pub(crate) fn lookup_keyed_refund() -> Case {
    case("lookup only, keyed refunds", Idempotency::None, |rules, _| {
        rules.on_unknown = OnUnknown::Confirm;
        rules.confirm = Some(CONFIRM);
        rules.cancel = Some(CancelRules { keyed: true, ..REFUND });
    })
}

pub(crate) fn lookup_twice() -> Case {
    case("lookup, two absences", Idempotency::None, |rules, _| {
        rules.on_unknown = OnUnknown::Confirm;
        rules.confirm = Some(ConfirmRules { absences: 2, ..CONFIRM });
        rules.cancel = Some(REFUND);
    })
}

pub(crate) fn lookup_resends() -> Case {
    case("lookup, what is absent is sent again", Idempotency::None, |rules, _| {
        rules.on_unknown = OnUnknown::Confirm;
        rules.confirm = Some(CONFIRM);
        rules.cancel = Some(REFUND);
        rules.resend_absent = true;
    })
}

pub(crate) fn neither() -> Case {
    case("neither keys nor lookup: a person looks", Idempotency::None, |rules, _| {
        rules.cancel = Some(REFUND);
        rules.give_up = TICK * 4;
    })
}

pub(crate) fn net_cancel() -> Case {
    case("neither, net cancel sets a state", Idempotency::None, |rules, _| {
        rules.on_unknown = OnUnknown::Cancel;
        rules.cancel = Some(VOID);
    })
}

pub(crate) fn net_cancel_keyed() -> Case {
    case("neither, keyed net cancel adds up", Idempotency::None, |rules, _| {
        rules.on_unknown = OnUnknown::Cancel;
        rules.cancel = Some(CancelRules { kind: CancelKind::Additive, keyed: true, ..VOID });
    })
}

pub(crate) fn net_cancel_adds_up() -> Case {
    case("neither, net cancel adds up", Idempotency::None, |rules, _| {
        rules.on_unknown = OnUnknown::Cancel;
        rules.cancel = Some(CancelRules { kind: CancelKind::Additive, ..VOID });
    })
}

pub(crate) fn tombstones() -> Case {
    case("tombstones, no lookup", Idempotency::None, |rules, _| {
        rules.on_unknown = OnUnknown::Cancel;
        rules.cancel = Some(CancelRules { tombstone: true, ..VOID });
    })
}

pub(crate) fn tombstones_and_lookup() -> Case {
    case("keys, lookup and tombstones", Idempotency::Keyed, |rules, _| {
        rules.confirm = Some(CONFIRM);
        rules.cancel = Some(CancelRules { tombstone: true, ..VOID });
    })
}

pub(crate) fn idempotent() -> Case {
    case("idempotent, no lookup", Idempotency::Idempotent, |rules, _| rules.cancel = Some(VOID))
}

pub(crate) fn idempotent_and_lookup() -> Case {
    case("idempotent, lookup", Idempotency::Idempotent, |rules, _| {
        rules.confirm = Some(CONFIRM);
        rules.cancel = Some(VOID);
    })
}

pub(crate) fn no_cancel() -> Case {
    case("lookup, and no way back", Idempotency::None, |rules, _| {
        rules.on_unknown = OnUnknown::Confirm;
        rules.confirm = Some(CONFIRM);
    })
}

/// Returns all cases whose provider honours keys. In none of them may a search find a run that ends badly.
pub(crate) fn with_keys() -> Vec<Case> {
    vec![
        keyed(),
        keyed_and_lookup(),
        keyed_slow(),
        keyed_forgets(),
        keyed_saves_failures().faults(1),
        keyed_saves_refusals(),
        keyed_binding_refusals(),
        tombstones_and_lookup().faults(1),
        keyed_and_lookup().by_time("keys and lookup, tried by time").faults(1),
        keyed_binding_refusals().with_longer_quiet("keys, a doorman, quiet time made longer").faults(1),
    ]
}

pub(crate) fn without_keys() -> Vec<Case> {
    vec![
        lookup(),
        lookup_void(),
        lookup_keyed_refund(),
        lookup_twice(),
        lookup_resends(),
        neither(),
        net_cancel(),
        net_cancel_keyed(),
        net_cancel_adds_up(),
        tombstones(),
        idempotent(),
        idempotent_and_lookup(),
        no_cancel(),
        lookup().by_time("lookup, tried by time").faults(1),
        net_cancel().by_time("net cancel, tried by time").faults(1),
        lookup().with_longer_quiet("lookup, quiet time made longer"),
        lookup_resends().with_longer_quiet("lookup, sent again, quiet time made longer").faults(1),
        lookup_keyed_refund().with_longer_quiet("lookup, keyed refunds, quiet time made longer").faults(1),
        net_cancel().with_longer_quiet("net cancel, quiet time made longer").faults(1),
    ]
}

pub(crate) fn settled_by_us() -> Vec<Case> {
    vec![
        keyed().explicit("keys, settled in a transaction"),
        lookup().explicit("lookup, settled in a transaction"),
        net_cancel().explicit("net cancel, settled in a transaction"),
        tombstones_and_lookup().explicit("keys, lookup and tombstones, settled in a transaction").faults(1),
        keyed().over_http("keys, settled over HTTP", AppKind::Confirming).faults(1),
        lookup().over_http("lookup, settled over HTTP", AppKind::Confirming).faults(1),
    ]
}

pub(crate) fn scopes_people_and_slow_networks() -> Vec<Case> {
    vec![
        keyed().scope_of_two("keys, a scope of two"),
        keyed().explicit("").scope_of_two("keys, a scope of two settled in a transaction").faults(0),
        keyed_and_lookup().slow_network("keys and lookup, a network slower than declared").faults(1),
        lookup().slow_network("lookup, a network slower than declared"),
        keyed().with_people("keys, with people and webhooks").faults(1),
        keyed_binding_refusals().with_people("keys and a doorman, with people and webhooks").faults(1),
        lookup()
            .explicit("")
            .with_people("lookup, settled in a transaction, with people and webhooks")
            .faults(1),
        lookup().with_people("lookup, with people and webhooks"),
        net_cancel().with_people("net cancel, with people and webhooks").faults(1),
        neither().with_people("neither, with people and webhooks"),
    ]
}

/// Returns the same cases, but in each of them one thing more may go wrong (a piece of bad luck). These searches take
/// too long to run every day. A case that holds only if at most one thing goes wrong stays as it is.
pub(crate) fn larger(cases: Vec<Case>) -> Vec<Case> {
    // Two answers 404 to a cancel are believed. So where a load balancer may answer 404, a second piece of bad luck
    // would make the ledger believe it wrongly.
    let more = |case: &Case| u8::from(!case.also.prompt && !case.traits.balanced_cancels);
    cases.into_iter().map(|case| Case { faults: case.faults + more(&case), ..case }).collect()
}

/// Returns a list with three things in each entry: an obvious rule, a case in which this rule is wrong, and the message
/// of the check that fails. The rule is `None` if the case itself declares something obvious and wrong.
pub(crate) fn mistakes() -> Vec<(Option<Obvious>, Case, &'static str)> {
    let late = |mut case: Case| {
        case.name = "lookup, believed one tick after the last possible send";
        case.rules.quiet = TICK;
        case
    };
    vec![
        (Some(Obvious::NoIsTheOutcome), keyed(), "live, and known as not applied"),
        (Some(Obvious::EveryRefusalIsDefinite), keyed_binding_refusals(), "live, and known as not applied"),
        (Some(Obvious::OneCancelKey), net_cancel_keyed(), "live, and known as not applied"),
        (Some(Obvious::NetCancelBelieves), net_cancel(), "may still be applied, and known as not applied"),
        (Some(Obvious::QuietWhenWritten), lookup(), "live, and known as not applied"),
        (
            Some(Obvious::QuietOfTheRecord),
            lookup().with_longer_quiet("lookup, quiet time made longer"),
            "live, and known as not applied",
        ),
        (Some(Obvious::QuietFromRecord), lookup(), "live, and known as not applied"),
        (Some(Obvious::SendsLate), lookup(), "may still be applied, and known as not applied"),
        (Some(Obvious::AskTwice), lookup(), "live, and known as not applied"),
        (Some(Obvious::SettleReturnsFalse), keyed().explicit("keys, explicit"), "paid, and not settled"),
        (
            Some(Obvious::DeadlineReadsThenWrites),
            keyed().explicit("keys, explicit"),
            "paid after a cancel was accepted",
        ),
        (
            None,
            keyed().over_http("HTTP, commits first", AppKind::CommitsFirst),
            "an order is paid without a charge",
        ),
        (None, keyed().over_http("HTTP, settles first", AppKind::SettlesFirst), "a charge without an order"),
        (Some(Obvious::OutcomeSettlesAnyGoal), keyed(), "paid after a cancel was accepted"),
        (Some(Obvious::RecordTestsOnlyFence), keyed(), "sent after a cancel"),
        (
            Some(Obvious::DeadlineOnlyOnceApplied),
            keyed().explicit("keys, explicit"),
            "sent with no time left to settle",
        ),
        (Some(Obvious::ResendUntilKeyEnds), keyed_forgets(), "charged twice"),
        (Some(Obvious::PlanAndGuardDiffer), keyed_forgets(), "for ever"),
        (Some(Obvious::RefundSentAgain), lookup(), "refunded twice"),
        (Some(Obvious::RetryPerforms), keyed().with_people("keys, with people"), "the goal went back"),
        (Some(Obvious::AbsentSendsAgain), lookup().slow_network("lookup, slow network"), "charged twice"),
        (
            Some(Obvious::NothingAfterTheEnd),
            lookup().slow_network("lookup, slow network"),
            "failed, with a live charge",
        ),
        (Some(Obvious::CancelByLostId), neither(), "live, and known as not applied"),
        (
            Some(Obvious::ScopeSettlesApart),
            keyed().scope_of_two("keys, a scope"),
            "a part of a scope is settled",
        ),
        (Some(Obvious::ScopeIsNotTold), keyed().scope_of_two("keys, a scope"), "for ever"),
        (Some(Obvious::AuditRightAfterACancel), keyed_saves_failures().faults(1), "refunded twice"),
        (
            Some(Obvious::LateYesAsksAtOnce),
            lookup().slow_network("lookup, slow network"),
            "failed, with a live charge",
        ),
        (Some(Obvious::UndoesWhatMayReturn), idempotent(), "may still be applied, and known as not applied"),
        (None, late(lookup()), "live, and known as not applied"),
    ]
}
