use crate::answers::{Otherwise, Predicate};

use super::*;
use Decision::{Definite, NoMeans, Open, Unprocessed};
use Effect::{Applied, NotApplied, Unknown};
use Health::{Busy, Failure, Silent, Success, Timeout};

fn answered(status: u16) -> Ending {
    Ending::Answered(Answer::of_status(status))
}

fn charge() -> Rules {
    Rules::of(Idempotency::None)
}

/// Each row of the table has an ending and what is concluded from it: the effect, the health, whether it counts as
/// overload, and whether a repeat is wanted.
#[test]
fn every_ending_has_its_row() {
    let rows: &[(Ending, Effect, Health, bool, bool)] = &[
        (Ending::Unsent(Unsent::Dns), NotApplied, Failure, false, true),
        (Ending::Unsent(Unsent::Refused), NotApplied, Failure, false, true),
        (Ending::Unsent(Unsent::ConnectTimeout), NotApplied, Timeout, false, true),
        (Ending::Unsent(Unsent::Tls), NotApplied, Failure, false, true),
        (Ending::Unsent(Unsent::ConnectionLost), NotApplied, Failure, false, true),
        (Ending::Unsent(Unsent::OutOfDescriptors), NotApplied, Silent, false, false),
        (Ending::Unprocessed, NotApplied, Silent, false, true),
        (answered(200), Applied, Success, false, false),
        (answered(201), Applied, Success, false, false),
        (answered(202), Applied, Success, false, false),
        (answered(204), Applied, Success, false, false),
        (answered(303), Applied, Success, false, false),
        (answered(304), Applied, Success, false, false),
        (answered(301), Unknown, Failure, false, true),
        (answered(302), Unknown, Failure, false, true),
        (answered(307), NotApplied, Success, false, false),
        (answered(308), NotApplied, Success, false, false),
        (answered(400), NotApplied, Success, false, false),
        (answered(401), NotApplied, Success, false, false),
        (answered(404), NotApplied, Success, false, false),
        (answered(422), NotApplied, Success, false, false),
        (answered(408), Unknown, Success, false, true),
        (answered(409), Unknown, Success, false, true),
        (answered(425), Unknown, Success, false, true),
        (answered(429), Unknown, Busy, true, true),
        (answered(500), Unknown, Failure, false, true),
        (answered(501), Unknown, Failure, false, true),
        (answered(502), Unknown, Failure, false, true),
        (answered(503), Unknown, Failure, true, true),
        (answered(504), Unknown, Timeout, false, true),
        (answered(599), Unknown, Failure, false, true),
        (answered(999), Unknown, Failure, false, true),
        (Ending::Lost(Lost::ReadTimeout), Unknown, Timeout, true, true),
        (Ending::Lost(Lost::TotalTimeout), Unknown, Timeout, true, true),
        (Ending::Lost(Lost::ConnectionLost), Unknown, Failure, false, true),
        (Ending::Lost(Lost::BadAnswer), Unknown, Failure, false, true),
        (Ending::CallerDeadline, Unknown, Silent, false, false),
        (Ending::CallerStalled { sent: true }, Unknown, Silent, false, false),
        (Ending::CallerStalled { sent: false }, NotApplied, Silent, false, false),
        (Ending::CallerLeft { sent: true }, Unknown, Silent, false, false),
        (Ending::CallerLeft { sent: false }, NotApplied, Silent, false, false),
    ];
    for (ending, effect, health, overload, wanted) in rows {
        let verdict = charge().judge(ending);
        assert_eq!(verdict.effect, *effect, "{ending:?}");
        assert_eq!(verdict.health, *health, "{ending:?}");
        assert_eq!(verdict.load == AttemptEnd::Overload, *overload, "{ending:?}");
        let repeat = matches!(verdict.decision, Unprocessed | Open);
        assert_eq!(repeat, *wanted, "{ending:?}");
    }
}

#[test]
fn a_read_has_no_effect_to_be_unsure_of() {
    let read = Rules::of(Idempotency::Safe);
    for ending in [answered(500), answered(409), Ending::Lost(Lost::ReadTimeout), Ending::CallerDeadline] {
        assert_eq!(read.judge(&ending).effect, NotApplied, "{ending:?}");
        assert_eq!(charge().judge(&ending).effect, Unknown, "{ending:?}");
    }
    assert_eq!(read.judge(&answered(200)).effect, Applied);
}

#[test]
fn accepted_is_not_done_where_a_confirm_is_declared() {
    let rules = Rules { confirm: true, ..charge() };
    let verdict = rules.judge(&answered(202));
    assert_eq!((verdict.effect, verdict.health, verdict.decision), (Unknown, Success, Definite));
    assert_eq!(rules.judge(&answered(200)).effect, Applied);
}

#[test]
fn without_a_descriptor_nothing_was_processed_and_nothing_is_repeated() {
    let verdict = charge().judge(&Ending::Unsent(Unsent::OutOfDescriptors));
    assert_eq!((verdict.decision, verdict.is_unprocessed()), (NoMeans, true));
}

#[test]
fn a_declared_refusal_was_not_processed() {
    let rules = Rules { refuses: vec![429, 503], ..charge() };
    for (status, health) in [(429, Busy), (503, Failure)] {
        let verdict = rules.judge(&answered(status));
        assert_eq!(verdict.effect, NotApplied);
        assert_eq!(verdict.health, health, "its health stays what it was");
        assert_eq!((verdict.decision, verdict.load), (Unprocessed, AttemptEnd::Overload));
    }
    assert!(!rules.judge(&answered(500)).is_unprocessed());
}

#[test]
fn the_declared_meaning_beats_the_status_and_leaves_the_health() {
    let declined = Ending::Answered(Answer { declared: Some(NotApplied), ..Answer::of_status(200) });
    let verdict = charge().judge(&declined);
    assert_eq!((verdict.effect, verdict.health, verdict.decision), (NotApplied, Success, Definite));
    let doubtful = Ending::Answered(Answer { declared: Some(Unknown), ..Answer::of_status(200) });
    let verdict = charge().judge(&doubtful);
    assert_eq!((verdict.effect, verdict.decision), (Unknown, Open));
    let failed_yet_done = Ending::Answered(Answer { declared: Some(Applied), ..Answer::of_status(500) });
    let verdict = charge().judge(&failed_yet_done);
    assert_eq!((verdict.effect, verdict.health, verdict.decision), (Applied, Failure, Definite));
}

#[test]
fn timeouts_are_told_from_quick_failures() {
    for (ending, late) in [
        (Ending::Lost(Lost::ReadTimeout), true),
        (Ending::Lost(Lost::TotalTimeout), true),
        (Ending::Unsent(Unsent::ConnectTimeout), true),
        (answered(504), true),
        (answered(503), false),
        (Ending::Lost(Lost::ConnectionLost), false),
        (Ending::Unsent(Unsent::Refused), false),
    ] {
        assert_eq!(charge().judge(&ending).health == Timeout, late, "{ending:?}");
    }
}

#[test]
fn only_a_declared_answer_says_more_of_a_promise_than_that_it_is_one() {
    let unread = KnownBody::UNREAD;
    for otherwise in [None, Some(Otherwise::Applied), Some(Otherwise::Unknown)] {
        let answers = Answers { otherwise, ..Answers::default() };
        let rules = Rules { confirm: true, answers, ..charge() };
        assert_eq!(rules.declared(202, &unread), None, "the table: unknown, and not sent again");
        assert_eq!(rules.declared(200, &unread), rules.answers.judge(200, &unread));
        let plain = Rules { confirm: false, ..rules.clone() };
        assert_eq!(plain.declared(202, &unread), plain.answers.judge(202, &unread));
        let done = vec![Predicate { statuses: vec![202], fields: vec![] }];
        let answers = Answers { applied: done, ..rules.answers.clone() };
        assert_eq!(Rules { answers, ..rules }.declared(202, &unread), Some(Applied), "declared itself");
    }
}
