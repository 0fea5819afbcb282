//! Further cases, from what real payment partners do: their providers behave in ways that those of
//! [`cases`](crate::cases) do not.

use seawall_ledger_search::calendar::{Lifetime, Window};
use seawall_ledger_search::machine::{CancelKind, CancelRules, ConfirmRules, OnUnknown, Rules};
use seawall_policy::Idempotency;

use crate::cases::{
    CONFIRM, REFUND, VOID, case, keyed, keyed_and_lookup, keyed_forgets, lookup, lookup_resends, neither,
    net_cancel,
};
use crate::obvious::Obvious;
use crate::provider::Traits;
use crate::world::{Also, Case, TICK};

/// For how many ticks after the first send these providers remember a key, can be asked, or take a cancel.
const WINDOW: u8 = 8;

fn window() -> Option<Window> {
    Some(Window::For(TICK * u32::from(WINDOW)))
}

fn lifetime() -> Option<Lifetime> {
    Some(Lifetime::For(TICK * u32::from(WINDOW)))
}

impl Case {
    fn also(self, name: &'static str, also: Also) -> Case {
        Case { name, also, ..self }
    }
}

// ---- a provider that answers "duplicate" to a key that it has already ----

fn duplicates() -> Case {
    case("keys that are answered by duplicate, no lookup", Idempotency::Keyed, |rules, traits| {
        rules.cancel = Some(REFUND);
        traits.duplicates = true;
    })
}

fn duplicates_and_lookup() -> Case {
    case("keys that are answered by duplicate, lookup", Idempotency::Keyed, |rules, traits| {
        rules.cancel = Some(REFUND);
        rules.confirm = Some(CONFIRM);
        traits.duplicates = true;
    })
}

fn duplicates_saved_refusals() -> Case {
    case("keys that are answered by duplicate, saved refusals", Idempotency::Keyed, |rules, traits| {
        rules.cancel = Some(REFUND);
        rules.saves_refusals = true;
        traits.saves_refusals = true;
        traits.duplicates = true;
    })
}

/// The status index (what the provider's answers to questions are read from) lags longer than declared. So the first
/// "not found" is believed wrongly. Once the provider has said "duplicate", no "not found" is believed any more.
/// Besides that, only one answer or request is lost.
fn duplicates_lag() -> Case {
    let name = "keys that are answered by duplicate, a slower index than declared";
    let mut case = duplicates_and_lookup().also(name, Also { prompt: true, ..Also::default() }).faults(1);
    case.cancels = 0;
    case.traits.lag = 13;
    case.traits.fails_after = false;
    case.rules.limits.confirm = Some(20);
    case
}

// ---- keys that are forgotten ----

fn forgotten_and_lookup() -> Case {
    case("keys that are forgotten, lookup", Idempotency::Keyed, |rules, traits| {
        rules.cancel = Some(REFUND);
        rules.confirm = Some(CONFIRM);
        rules.key_lifetime = lifetime();
        traits.keyed = Some(WINDOW);
    })
}

fn midnight() -> Case {
    let rules = |rules: &mut Rules, _: &mut Traits| rules.cancel = Some(REFUND);
    case("", Idempotency::Keyed, rules)
        .also("keys that are forgotten at midnight", Also { midnight: Some(6), ..Also::default() })
}

fn midnight_and_lookup() -> Case {
    let rules = |rules: &mut Rules, _: &mut Traits| {
        rules.cancel = Some(CancelRules { keyed: true, ..REFUND });
        rules.confirm = Some(CONFIRM);
    };
    case("", Idempotency::Keyed, rules)
        .also("keys that are forgotten at midnight, lookup", Also { midnight: Some(7), ..Also::default() })
        .faults(1)
}

/// It is not declared how long the provider remembers a key, so the provider may forget it at any time.
fn no_lifetime() -> Case {
    case("keys without a declared lifetime, no lookup", Idempotency::Keyed, |rules, traits| {
        rules.cancel = Some(REFUND);
        rules.key_lifetime = None;
        traits.forgets = true;
    })
}

fn no_lifetime_and_lookup() -> Case {
    case("keys without a declared lifetime, lookup", Idempotency::Keyed, |rules, traits| {
        rules.cancel = Some(CancelRules { keyed: true, ..REFUND });
        rules.confirm = Some(CONFIRM);
        rules.key_lifetime = None;
        traits.forgets = true;
    })
}

fn no_lifetime_net_cancel() -> Case {
    case("neither, net cancel under a key without a lifetime", Idempotency::None, |rules, traits| {
        rules.on_unknown = OnUnknown::Cancel;
        rules.cancel = Some(CancelRules { kind: CancelKind::Additive, keyed: true, ..VOID });
        rules.key_lifetime = None;
        traits.forgets = true;
    })
}

fn forgotten_refunds() -> Case {
    case("lookup only, refunds under a key that is forgotten", Idempotency::None, |rules, traits| {
        rules.on_unknown = OnUnknown::Confirm;
        rules.confirm = Some(CONFIRM);
        rules.cancel = Some(CancelRules { keyed: true, ..REFUND });
        rules.key_lifetime = lifetime();
        rules.limits.cancel = Some(3);
        traits.cancel_memory = Some(WINDOW);
    })
}

fn forgotten_net_cancel() -> Case {
    case("neither, net cancel under a key that is forgotten", Idempotency::None, |rules, traits| {
        rules.on_unknown = OnUnknown::Cancel;
        rules.cancel = Some(CancelRules { kind: CancelKind::Additive, keyed: true, ..VOID });
        rules.key_lifetime = lifetime();
        rules.limits.cancel = Some(3);
        traits.cancel_memory = Some(WINDOW);
    })
}

// ---- look-ups and cancels that have an end ----

fn asked_until() -> Case {
    case("lookup that has an end, with people", Idempotency::None, |rules, traits| {
        rules.on_unknown = OnUnknown::Confirm;
        rules.confirm = Some(ConfirmRules { until: window(), ..CONFIRM });
        rules.cancel = Some(REFUND);
        traits.asked_until = Some(WINDOW);
    })
    .with_people("lookup that has an end, with people")
    .faults(1)
}

fn asked_until_under_keys() -> Case {
    case("keys and a lookup that has an end", Idempotency::Keyed, |rules, traits| {
        rules.confirm = Some(ConfirmRules { until: window(), ..CONFIRM });
        rules.cancel = Some(CancelRules { until: window(), ..REFUND });
        traits.asked_until = Some(WINDOW);
        traits.cancelled_until = Some(WINDOW);
    })
    .faults(1)
}

fn cancelled_until() -> Case {
    case("net cancel that has an end, with people", Idempotency::None, |rules, traits| {
        rules.on_unknown = OnUnknown::Cancel;
        rules.cancel = Some(CancelRules { until: window(), ..VOID });
        traits.cancelled_until = Some(WINDOW);
    })
    .with_people("net cancel that has an end, with people")
    .faults(1)
}

fn all_until() -> Case {
    case("lookup and cancel that have an end, with people", Idempotency::None, |rules, traits| {
        rules.on_unknown = OnUnknown::Confirm;
        rules.confirm = Some(ConfirmRules { until: window(), ..CONFIRM });
        rules.cancel = Some(CancelRules { until: window(), ..VOID });
        traits.asked_until = Some(WINDOW);
        traits.cancelled_until = Some(WINDOW);
    })
    .with_people("lookup and cancel that have an end, with people")
    .faults(1)
}

// ---- cancels that are refused ----

fn refused_refunds() -> Case {
    case("lookup only, refunds that may be refused", Idempotency::None, |rules, traits| {
        rules.on_unknown = OnUnknown::Confirm;
        rules.confirm = Some(CONFIRM);
        rules.cancel = Some(REFUND);
        rules.limits.cancel = Some(3);
        traits.refuses_cancels = true;
        traits.says_never = true;
    })
}

fn refused_keyed_refunds() -> Case {
    case("keys, refunds whose refusal is saved", Idempotency::Keyed, |rules, traits| {
        rules.confirm = Some(CONFIRM);
        rules.cancel = Some(CancelRules { keyed: true, ..REFUND });
        rules.limits.cancel = Some(3);
        traits.refuses_cancels = true;
        traits.saves_refused_cancels = true;
        traits.says_never = true;
        traits.fails_after = false;
        traits.refuses = false;
    })
}

fn refused_net_cancel() -> Case {
    case("neither, net cancel that may be refused", Idempotency::None, |rules, traits| {
        rules.on_unknown = OnUnknown::Cancel;
        rules.cancel = Some(VOID);
        rules.limits.cancel = Some(3);
        traits.refuses_cancels = true;
    })
}

fn refused_keyed_net_cancel() -> Case {
    case("neither, keyed net cancel whose refusal is saved", Idempotency::None, |rules, traits| {
        rules.on_unknown = OnUnknown::Cancel;
        rules.cancel = Some(CancelRules { kind: CancelKind::Additive, keyed: true, ..VOID });
        rules.limits.cancel = Some(3);
        traits.refuses_cancels = true;
        traits.saves_refused_cancels = true;
    })
}

/// The only thing that can go wrong with the refund is that it is refused once. So it must succeed in the end.
fn refused_once() -> Case {
    let mut case = refused_keyed_refunds();
    case.traits.says_never = false;
    case.also("keys, a refund that is refused once", Also { prompt: true, ..Also::default() }).faults(1)
}

// ---- a full cancel beside partial refunds ----

// The wait before the cancel is longer than the lag of the status index. Otherwise the index could name the amount that
// was left before the last partial refund.

fn parts() -> Case {
    let rules = |rules: &mut Rules, _: &mut Traits| {
        rules.on_unknown = OnUnknown::Confirm;
        rules.confirm = Some(CONFIRM);
        rules.cancel = Some(CancelRules { asks_first: true, after: TICK * 2, ..REFUND });
        rules.limits.cancel = Some(3);
    };
    case("", Idempotency::None, rules)
        .also("lookup, a full cancel beside partial refunds", Also { parts: 1, ..Also::default() })
}

fn parts_with_keys() -> Case {
    let rules = |rules: &mut Rules, _: &mut Traits| {
        rules.confirm = Some(CONFIRM);
        rules.cancel = Some(CancelRules { asks_first: true, keyed: true, after: TICK * 2, ..REFUND });
        rules.limits.cancel = Some(3);
    };
    case("", Idempotency::Keyed, rules)
        .also("keys, a full keyed cancel beside partial refunds", Also { parts: 1, ..Also::default() })
        .faults(1)
}

fn parts_at_any_time() -> Case {
    let mut case = parts().also(
        "lookup, partial refunds at any time, amounts are checked",
        Also { parts: 1, ..Also::default() },
    );
    case.traits.checks_amounts = true;
    case
}

// ---- a load balancer before the provider that answers 404 by mistake ----

fn balancer() -> Case {
    let rules = |rules: &mut Rules, _: &mut Traits| {
        rules.on_unknown = OnUnknown::Confirm;
        rules.confirm = Some(ConfirmRules { absences: 2, ..CONFIRM });
        rules.cancel = Some(REFUND);
        rules.limits.confirm = Some(4);
    };
    case("", Idempotency::None, rules)
        .also("lookup, two absences, a load balancer's 404", Also { balancer: 1, ..Also::default() })
}

/// The provider cannot be asked, so a cancel is sent whether the charge exists or not.
fn balanced_net_cancel() -> Case {
    case("a net cancel believes two absences, a load balancer's 404", Idempotency::None, |rules, traits| {
        rules.on_unknown = OnUnknown::Cancel;
        rules.cancel = Some(CancelRules { absences: 2, ..VOID });
        rules.limits.cancel = Some(4);
        traits.balanced_cancels = true;
    })
    .faults(1)
}

fn balancer_resends() -> Case {
    let mut case = balancer();
    case.rules.resend_absent = true;
    case.also(
        "lookup, what is absent is sent again, a load balancer's 404",
        Also { balancer: 1, ..Also::default() },
    )
    .faults(1)
}

// ---- two actions, callers, handlers, and plain SQL ----

fn clash() -> Case {
    keyed()
        .scope_of_two("")
        .also("keys, two actions whose keys clash", Also { clash: true, sql: true, ..Also::default() })
}

fn caller(case: Case, name: &'static str) -> Case {
    let mut case = case.also(name, Also { caller: true, anew: 1, ..Also::default() });
    case.rules.give_up = TICK * 4;
    case.faults(1)
}

fn handlers(case: Case, name: &'static str) -> Case {
    case.also(name, Also { handlers: 2, ..Also::default() }).faults(1)
}

fn sql(case: Case, name: &'static str) -> Case {
    let mut case = case.also(name, Also { sql: true, ..Also::default() });
    case.rules.give_up = TICK * 4;
    case.faults(1)
}

fn chores(case: Case, name: &'static str) -> Case {
    case.with_people(name).also(name, Also { chores: true, ..Also::default() }).faults(1)
}

pub(crate) fn keys_that_end() -> Vec<Case> {
    vec![
        duplicates(),
        duplicates_and_lookup(),
        duplicates_saved_refusals(),
        duplicates_lag(),
        forgotten_and_lookup(),
        midnight(),
        midnight_and_lookup(),
        no_lifetime(),
        no_lifetime_and_lookup(),
        no_lifetime_net_cancel(),
        forgotten_refunds(),
        forgotten_net_cancel(),
    ]
}

pub(crate) fn windows_and_cancels() -> Vec<Case> {
    vec![
        asked_until(),
        asked_until_under_keys(),
        cancelled_until(),
        all_until(),
        refused_refunds(),
        refused_keyed_refunds(),
        refused_net_cancel(),
        refused_keyed_net_cancel(),
        refused_once(),
        parts(),
        parts_with_keys(),
        parts_at_any_time(),
        balancer(),
        balancer_resends(),
        balanced_net_cancel(),
    ]
}

pub(crate) fn callers_handlers_and_sql() -> Vec<Case> {
    vec![
        clash(),
        caller(keyed(), "keys, a caller that waits"),
        caller(lookup(), "lookup, a caller that waits"),
        caller(lookup_resends(), "lookup, what is absent is sent again, a caller that waits"),
        caller(neither(), "neither, a caller that waits"),
        handlers(keyed(), "keys, handlers that fail"),
        handlers(lookup(), "lookup, handlers that fail"),
        handlers(net_cancel(), "net cancel, handlers that fail"),
        handlers(keyed().scope_of_two(""), "keys, a scope of two, handlers that fail"),
        sql(keyed(), "keys, recorded by SQL"),
        sql(keyed().explicit(""), "keys, recorded by SQL, settled in a transaction"),
        sql(keyed_and_lookup(), "keys and lookup, recorded by SQL"),
        chores(lookup(), "lookup, notes, and workers that put the row aside"),
    ]
}

/// Returns the same as [`mistakes`](crate::cases::mistakes) of `cases.rs`, for the rules that these cases need.
pub(crate) fn mistakes() -> Vec<(Option<Obvious>, Case, &'static str)> {
    let once = |mut case: Case| {
        case.name = "a load balancer's 404, believed once";
        case.rules.confirm = Some(CONFIRM);
        case
    };
    let balanced = |mut case: Case| {
        case.name = "a load balancer's 404 to a net cancel";
        case.traits.balanced_cancels = true;
        case
    };
    let repeats = |mut case: Case| {
        case.rules.on_unknown = OnUnknown::Repeat;
        case
    };
    vec![
        (Some(Obvious::KeysMayClash), clash(), "not there, and known as applied"),
        (Some(Obvious::KeysLiveForEver), repeats(no_lifetime()), "charged twice"),
        (Some(Obvious::KeysLiveForEver), no_lifetime_net_cancel(), "refunded twice"),
        (Some(Obvious::KeysLiveForEver), midnight(), "charged twice"),
        (Some(Obvious::KeyLivesFromTheAnswer), keyed_forgets(), "charged twice"),
        (Some(Obvious::KeyLivesFromTheAnswer), forgotten_net_cancel(), "refunded twice"),
        (Some(Obvious::DuplicateIsANo), duplicates_saved_refusals(), "live, and known as not applied"),
        (Some(Obvious::AbsentAfterDuplicate), duplicates_lag(), "failed, with a live charge"),
        (Some(Obvious::WindowsNeverEnd), asked_until(), "live, and known as not applied"),
        (Some(Obvious::WindowsNeverEnd), cancelled_until(), "live, and known as not applied"),
        (Some(Obvious::RefusedIsUndone), refused_refunds(), "live, and known as not applied"),
        (Some(Obvious::RefusedUnderTheSameKey), refused_once(), "stuck, although another try would do"),
        (None, once(balancer()), "live, and known as not applied"),
        (None, balanced(net_cancel()), "live, and known as not applied"),
        (Some(Obvious::CancelsWithoutAsking), parts(), "refunded twice"),
        (
            Some(Obvious::UnsentIsTriedAgain),
            caller(keyed(), "keys, a caller that waits"),
            "an effect, although the caller was told that there is none",
        ),
    ]
}
