//! Checks that the steps of a durable operation fit into two windows: the time until which its provider can be asked
//! (`confirm.until`), and the time until which it takes cancels (`cancel.until`).
//!
//! Both windows count from the first send of an action. The check takes the latest possible time of each step, because
//! an action whose step comes too late is left to a person. If a window is too short for every action, for example one
//! hour, that is an error. The window `same-day` is too short only for actions that are sent shortly before midnight.
//! That is a note, which says for which actions the window is too short.

use std::time::Duration;

use seawall_ledger::{OnUnknown, Rules, SettleBy, Window};
use seawall_policy::{Problem, Wrong, show_time};

use crate::declared::{Cancel, Confirm, Declared};

/// A thing that has to be finished before a window ends, such as asking the provider or cancelling the effect.
struct Plan {
    /// The longest time that may pass from the first send of an action until this thing is finished.
    needs: Duration,
    /// What may come too late, in words that follow "ends before" in the message of the problem, such as `the cancel
    /// has arrived`.
    what: &'static str,
    /// The help of the problem: which times must fit into the window.
    help: &'static str,
    /// The settings from which `needs` follows.
    with: &'static [&'static str],
}

/// Adds a problem for each question or cancel that may come after the end of its declared window: `confirm.until` for
/// questions, and `cancel.until` for cancels.
pub(crate) fn check(declared: &Declared<'_>, rules: &Rules, problems: &mut Vec<Problem>) {
    // A missing total timeout has been reported already.
    let Some(total) = declared.total else { return };
    if let Some((confirm, window)) = declared.confirm.and_then(|it| Some((it, it.until.as_ref()?))) {
        let asked = asked(confirm, rules, total);
        let settled = settled(declared, rules, total);
        for plan in [Some(asked), settled].into_iter().flatten() {
            problems.extend(plan.into("confirm.until", window));
        }
    }
    if let Some((cancel, window)) = declared.cancel.and_then(|it| Some((it, it.until.as_ref()?))) {
        problems.extend(cancelled(declared, cancel, rules, total).into("cancel.until", window));
    }
}

/// Returns how long it may take until a question about an unknown effect is answered. If the provider can answer "not
/// found", the time lasts until that answer can be believed.
fn asked(confirm: &Confirm, rules: &Rules, total: Duration) -> Plan {
    let answered = total.saturating_add(total).saturating_add(rules.pause);
    if confirm.absent.is_empty() {
        return Plan {
            needs: answered.saturating_add(confirm.after),
            what: "the first question is answered",
            help: "twice the total timeout, `confirm.after` and `pause` must fit into it",
            with: &["timeout.total", "confirm.after", "pause"],
        };
    }
    let quiet = rules.quiet.saturating_mul(confirm.absences_wanted().max(1));
    Plan {
        needs: answered.saturating_add(quiet),
        what: "\"not found\" can be believed",
        help: "`quiet`, twice the total timeout and `pause` must fit into it",
        with: &["quiet", "timeout.total", "pause", "confirm.absent"],
    }
}

/// If an action is not settled in time, its effect is cancelled. Some cancels need the answer to a question first.
/// Returns how long it may take until that question is answered. Returns `None` if the action is settled by the
/// provider's answer, or if the cancel needs no question.
fn settled(declared: &Declared<'_>, rules: &Rules, total: Duration) -> Option<Plan> {
    let SettleBy::Explicit(within) = rules.settle else { return None };
    declared.cancel.filter(|cancel| cancel.needs_confirm()).map(|_| Plan {
        needs: within.saturating_add(total).saturating_add(rules.pause),
        what: "what is not settled in time can be asked about",
        help: "`settle_within`, the total timeout and `pause` must fit into it, since the cancel needs the answer",
        with: &["settle_within", "timeout.total", "pause", "cancel"],
    })
}

/// Returns how long it may take until the last cancel that may be needed has arrived.
fn cancelled(declared: &Declared<'_>, cancel: &Cancel, rules: &Rules, total: Duration) -> Plan {
    const TRAVEL: [&str; 5] = ["timeout.total", "network", "pause", "cancel.after", "cancel"];
    let travel = total.saturating_add(rules.network).saturating_add(rules.pause);
    let quiet = rules.quiet.saturating_mul(cancel.absences_wanted().max(1));
    match (rules.settle, rules.on_unknown) {
        (SettleBy::Explicit(within), _) => Plan {
            needs: within.saturating_add(cancel.after).saturating_add(travel),
            what: "the cancel of what is not settled in time has arrived",
            help: "`settle_within`, `cancel.after`, the total timeout, `network` and `pause` must fit into it",
            with: &["settle_within", "timeout.total", "network", "pause", "cancel.after"],
        },
        // Without a confirm, only the cancel's answer can say that there is nothing to undo. This answer is believed
        // only if the cancel was sent after the quiet time, when the action itself can no longer arrive. So the last
        // cancel has to wait until then.
        (SettleBy::Reply, OnUnknown::Cancel)
            if declared.confirm.is_none() && !cancel.not_found.is_empty() =>
        {
            Plan {
                needs: total.saturating_add(quiet.max(cancel.after)).saturating_add(travel),
                what: "the last cancel, after the quiet time, has arrived",
                help: "`quiet`, twice the total timeout, `network` and `pause` must fit into it",
                with: &["quiet", "timeout.total", "network", "pause", "cancel.after", "cancel.not_found"],
            }
        }
        (SettleBy::Reply, OnUnknown::Cancel) => Plan {
            needs: total.saturating_add(cancel.after).saturating_add(travel),
            what: "the cancel has arrived",
            help: "twice the total timeout, `cancel.after`, `network` and `pause` must fit into it",
            with: &TRAVEL,
        },
        (SettleBy::Reply, OnUnknown::Repeat | OnUnknown::Confirm | OnUnknown::Hold) => Plan {
            needs: cancel.after.saturating_add(travel),
            what: "the first cancel has arrived",
            help: "`cancel.after`, the total timeout, `network` and `pause` must fit into it",
            with: &TRAVEL,
        },
    }
}

impl Plan {
    /// Returns the problem of the setting `setting` if the window may end before this plan is carried out. Returns
    /// `None` if the plan is always carried out in time.
    fn into(self, setting: &'static str, window: &Window) -> Option<Problem> {
        let needs = show_time(self.needs);
        let what = self.what;
        if let Window::Days { days: 0, zone } = window {
            let message = format!(
                "the day ends before {what}, for an action that is first sent less than {needs} before midnight {zone}: \
                 if that is needed, it ends with a person"
            );
            return Some(Problem::note(setting, Wrong::new(message)).with(self.with));
        }
        if self.needs <= window.shortest() {
            return None;
        }
        let message = format!("`until` {window} ends before {what} ({needs} after the first send)");
        Some(Problem::error(setting, Wrong::new(message).help(self.help)).with(self.with))
    }
}
