//! Properties that hold for every change of a row, whatever happens and in whatever order. The tests assume nothing
//! about the provider, the network or the application.

use std::time::Duration;

use proptest::prelude::*;
use seawall_policy::{Backoff, Idempotency};

use super::bench::{DAY, origin};
use super::walk::{Start, World};
use super::{CancelKind, CancelRules, ConfirmRules, OnUnknown, Rules, SettleBy, State};
use crate::calendar::{Lifetime, Window};

fn seconds(choices: &[u64]) -> impl Strategy<Value = Duration> + use<> {
    prop::sample::select(choices.iter().map(|s| Duration::from_secs(*s)).collect::<Vec<_>>())
}

fn windows() -> impl Strategy<Value = Option<Window>> {
    prop::option::of(seconds(&[100, 600, 100_000]).prop_map(Window::For))
}

fn confirms() -> impl Strategy<Value = ConfirmRules> {
    (1_u32..3, windows()).prop_map(|(absences, until)| ConfirmRules {
        after: Duration::from_secs(2),
        absences,
        until,
    })
}

fn cancels() -> impl Strategy<Value = CancelRules> {
    let flags = prop::array::uniform5(any::<bool>());
    (flags, seconds(&[0, 0, 40]), windows()).prop_map(|(flags, after, until)| {
        let [adds_up, keyed, tombstone, by_key, asks_first] = flags;
        CancelRules {
            kind: if adds_up { CancelKind::Additive } else { CancelKind::State },
            keyed,
            tombstone,
            by_key,
            after,
            absences: 1 + u32::from(keyed),
            until,
            asks_first,
        }
    })
}

pub(super) fn rules() -> impl Strategy<Value = Rules> {
    let idempotency = prop::sample::select(Idempotency::ALL.to_vec());
    let unknown =
        prop::sample::select(vec![OnUnknown::Repeat, OnUnknown::Confirm, OnUnknown::Cancel, OnUnknown::Hold]);
    let confirm = prop::option::of(confirms());
    let cancel = prop::option::of(cancels());
    let lifetime = prop::option::of(seconds(&[100, 600]).prop_map(Lifetime::For));
    let flags = prop::array::uniform4(any::<bool>());
    (idempotency, unknown, confirm, cancel, lifetime, flags).prop_map(
        |(idempotency, on_unknown, confirm, cancel, key_lifetime, [explicit, saves, resend, binds])| Rules {
            on_unknown,
            settle: if explicit { SettleBy::Explicit(Duration::from_secs(300)) } else { SettleBy::Reply },
            confirm,
            cancel,
            key_lifetime,
            saves_refusals: saves,
            resend_absent: resend,
            refusal_binds: if binds { vec![402] } else { Vec::new() },
            audit_after: DAY,
            backoff: Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(60) },
            ..Rules::of(idempotency)
        },
    )
}

/// Generates a list of events. Each event is two numbers that select what happens, and the seconds that pass before it.
pub(super) fn moves() -> impl Strategy<Value = Vec<(u8, u8, u64)>> {
    let wait = prop::sample::select(vec![0, 0, 0, 1, 5, 31, 121, 151, 90_000]);
    prop::collection::vec((any::<u8>(), any::<u8>(), wait), 1..80)
}

pub(super) fn starts() -> impl Strategy<Value = Start> {
    prop::sample::select(vec![Start::Recorded, Start::Sent, Start::BySql])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// `World` is one row and all that happens to it. Each time that the row changes, `World` checks the rules that
    /// hold for every change (`invariants`), and panics if one is broken. So this test needs no checks of its own.
    #[test]
    fn every_change_keeps_the_rules(
        rules in rules(), start in starts(), scoped: bool, moves in moves(),
    ) {
        let mut world = World::new(rules, super::Origin { scoped, ..origin() }, start);
        for (what, detail, wait) in moves {
            world.happens(what, detail, wait);
        }
    }

    #[test]
    fn a_row_is_read_as_it_was_written(
        rules in rules(), start in starts(), scoped: bool, moves in moves(),
    ) {
        let mut world = World::new(rules, super::Origin { scoped, ..origin() }, start);
        for (what, detail, wait) in moves {
            world.happens(what, detail, wait);
            prop_assert_eq!(State::of_row(world.row.row()), Ok(world.row.clone()));
        }
    }
}
