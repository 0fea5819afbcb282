use proptest::prelude::*;

use super::*;
use Effect::{Applied, NotApplied, Unknown};

fn text(s: &str) -> Scalar {
    Scalar::Text(s.into())
}

fn code(values: &[Scalar], statuses: &[u16]) -> Predicate {
    let field = Field { pointer: "/code".into(), any_of: values.to_vec() };
    Predicate { statuses: statuses.to_vec(), fields: vec![field] }
}

fn status(statuses: &[u16]) -> Predicate {
    Predicate { statuses: statuses.to_vec(), fields: vec![] }
}

fn body(code: Scalar) -> KnownBody<impl Fn(&str) -> Option<Scalar>> {
    KnownBody::Json(move |pointer: &str| (pointer == "/code").then(|| code.clone()))
}

const UNREAD: KnownBody<fn(&str) -> Option<Scalar>> = KnownBody::UNREAD;
const NOT_JSON: KnownBody<fn(&str) -> Option<Scalar>> = KnownBody::NotJson;

#[test]
fn the_first_match_wins_and_unknown_comes_last() {
    let answers = Answers {
        applied: vec![code(&[text("OK")], &[200])],
        not_applied: vec![code(&[text("DECLINED"), Scalar::Integer(7)], &[200])],
        unknown: vec![status(&[200])],
        ..Answers::default()
    };
    assert_eq!(answers.judge(200, &body(text("OK"))), Some(Applied));
    assert_eq!(answers.judge(200, &body(text("DECLINED"))), Some(NotApplied));
    assert_eq!(answers.judge(200, &body(Scalar::Integer(7))), Some(NotApplied));
    assert_eq!(answers.judge(200, &body(text("7"))), Some(Unknown), "a string is not a number");
    assert_eq!(answers.judge(201, &body(text("OK"))), None);
    assert_eq!(answers.judge(200, &KnownBody::Json(|_: &str| None)), Some(Unknown));
}

#[test]
fn a_body_is_needed_only_where_a_field_could_decide() {
    let answers = Answers { not_applied: vec![code(&[text("NO")], &[200])], ..Answers::default() };
    assert!(answers.need_body(200) && answers.read_bodies());
    assert!(!answers.need_body(500));
    let any = Answers { not_applied: vec![code(&[text("NO")], &[])], ..Answers::default() };
    assert!(any.need_body(500));
    assert!(!any.need_body(204), "there is none");
    assert!(!Answers::default().need_body(200));
    let decided = Answers { applied: vec![status(&[200])], ..any };
    assert!(!decided.need_body(200), "the status alone decides before a field is asked");
    assert!(decided.need_body(201));
}

#[test]
fn a_duplicate_is_never_a_no_and_is_tried_first() {
    let answers = Answers {
        duplicate: vec![code(&[text("DUPLICATE")], &[400, 200])],
        applied: vec![code(&[text("OK"), text("DUPLICATE")], &[200])],
        not_applied: vec![status(&[400])],
        ..Answers::default()
    };
    let alone = Answers { duplicate: answers.duplicate.clone(), ..Answers::default() };
    for (status, known, all, alone_says) in [
        (400, "DUPLICATE", Some(Unknown), Some(Unknown)),
        (200, "DUPLICATE", Some(Unknown), Some(Unknown)),
        (400, "else", Some(NotApplied), None),
        (200, "OK", Some(Applied), None),
        (400, "unread", Some(Unknown), Some(Unknown)),
        (400, "not json", Some(Unknown), Some(Unknown)),
        (200, "not json", Some(Unknown), Some(Unknown)),
        (422, "not json", None, None),
    ] {
        let judge = |answers: &Answers| match known {
            "unread" => answers.judge(status, &UNREAD),
            "not json" => answers.judge(status, &NOT_JSON),
            code => answers.judge(status, &body(text(code))),
        };
        assert_eq!((judge(&answers), judge(&alone)), (all, alone_says), "{status} {known}");
    }
    let plain = Answers { otherwise: Some(Otherwise::Applied), ..alone };
    assert_eq!(plain.judge(200, &NOT_JSON), Some(Applied), "a plain OK");
}

/// Each row has the status, what is known of the body, and the three effects that are expected: without `otherwise`,
/// with `Otherwise::Unknown`, and with `Otherwise::Applied`.
#[test]
fn what_fits_no_declared_answer_has_its_row() {
    let coded = Answers {
        applied: vec![code(&[text("OK")], &[200, 202])],
        not_applied: vec![code(&[text("NO")], &[])],
        ..Answers::default()
    };
    let rows = [
        (200, "unread", Some(Unknown), Some(Unknown), Some(Unknown)),
        (200, "not json", Some(Unknown), Some(Unknown), Some(Applied)),
        (200, "new code", None, Some(Unknown), Some(Applied)),
        (202, "not json", Some(Unknown), Some(Unknown), Some(Applied)),
        (204, "not json", None, Some(Unknown), Some(Applied)),
        (204, "unread", None, Some(Unknown), Some(Applied)),
        (299, "not json", Some(Unknown), Some(Unknown), Some(Applied)),
        (302, "not json", None, None, None),
        (400, "not json", None, None, None),
        (400, "new code", None, None, None),
        (400, "unread", Some(Unknown), Some(Unknown), Some(Unknown)),
        (502, "not json", None, None, None),
        (502, "unread", Some(Unknown), Some(Unknown), Some(Unknown)),
    ];
    for (code, known, absent, unknown, applied) in rows {
        let forms =
            [(None, absent), (Some(Otherwise::Unknown), unknown), (Some(Otherwise::Applied), applied)];
        for (otherwise, expected) in forms {
            let answers = Answers { otherwise, ..coded.clone() };
            let said = match known {
                "unread" => answers.judge(code, &UNREAD),
                "not json" => answers.judge(code, &NOT_JSON),
                _ => answers.judge(code, &body(text("REVIEW"))),
            };
            assert_eq!(said, expected, "{code} {known} {otherwise:?}");
        }
    }
}

#[test]
fn a_status_decides_after_an_undecided_field_only_where_both_say_the_same() {
    let refusals =
        Answers { not_applied: vec![code(&[text("NO")], &[200]), status(&[200, 409])], ..Answers::default() };
    let mixed = Answers { applied: vec![code(&[text("OK")], &[200])], ..refusals.clone() };
    let doubt = Answers {
        applied: vec![code(&[text("OK")], &[])],
        unknown: vec![status(&[500])],
        otherwise: Some(Otherwise::Applied),
        ..Answers::default()
    };
    for known in [UNREAD, NOT_JSON] {
        assert_eq!(refusals.judge(200, &known), Some(NotApplied));
        assert_eq!(refusals.judge(409, &known), Some(NotApplied));
        assert_eq!(mixed.judge(200, &known), Some(Unknown));
        assert_eq!(mixed.judge(409, &known), Some(NotApplied), "no field is asked of a 409");
        assert_eq!(doubt.judge(500, &known), Some(Unknown));
    }
    assert_eq!(mixed.judge(200, &body(text("REVIEW"))), Some(NotApplied), "a body that was read decides");
}

#[test]
fn a_condition_without_a_status_says_nothing_of_a_refusal_that_is_no_json() {
    let asked = [(Applied, code(&[text("OK")], &[])), (NotApplied, status(&[404]))];
    let list = || asked.iter().map(|(meaning, predicate)| (*meaning, predicate));
    assert_eq!(first_match(list(), 404, &NOT_JSON), Said::Matched(NotApplied));
    assert_eq!(first_match(list(), 404, &UNREAD), Said::Contradicted, "nobody has seen what it says");
    assert_eq!(first_match(list(), 200, &NOT_JSON), Said::Undecided);
}

#[test]
fn two_undecided_fields_that_differ_leave_every_later_status_in_doubt() {
    for meaning in ["a", "b"] {
        let (a, b, any) = (code(&[text("A")], &[]), code(&[text("B")], &[]), status(&[]));
        let list = [("a", &a), ("b", &b), (meaning, &any)];
        assert_eq!(first_match(list, 200, &UNREAD), Said::Contradicted);
        assert_eq!(first_match(list, 204, &UNREAD), Said::Matched(meaning), "there is no body");
        assert_eq!(first_match(list[..2].iter().copied(), 200, &UNREAD), Said::Undecided);
        assert_eq!(first_match(list, 200, &body(text("B"))), Said::Matched("b"));
    }
}

/// The naive model of an answer whose body is not known: it tries all possible bodies. Returns one of these:
///
/// - `Some(Some(effect))`: with every body, a predicate matches and gives the answer this effect.
/// - `Some(None)`: with every body, no predicate matches. So the usual meaning of the status holds.
/// - `None`: the answer means different things with different bodies.
fn of_all_bodies(answers: &Answers, status: u16) -> Option<Option<Effect>> {
    let silent = Answers { otherwise: None, ..answers.clone() };
    let any = ["A", "B", "C", "else"].map(|code| silent.judge(status, &body(text(code))));
    any.iter().all(|said| *said == any[0]).then_some(any[0])
}

fn predicate() -> impl Strategy<Value = Predicate> {
    let statuses = prop::sample::subsequence(vec![200, 204, 400, 500], 0..3);
    let fields = prop::option::of(prop::sample::select(vec!["A", "B", "C"]));
    (statuses, fields).prop_map(|(statuses, field)| match field {
        Some(value) => code(&[text(value)], &statuses),
        None => Predicate { statuses, fields: vec![] },
    })
}

fn declared() -> impl Strategy<Value = Answers> {
    let list = || prop::collection::vec(predicate(), 0..3);
    let otherwise = prop::sample::select(vec![None, Some(Otherwise::Applied), Some(Otherwise::Unknown)]);
    (list(), list(), list(), list(), otherwise).prop_map(
        |(duplicate, applied, not_applied, unknown, otherwise)| Answers {
            duplicate,
            applied,
            not_applied,
            unknown,
            otherwise,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// If the body is not known, the effect may be known only if every possible body would give the answer this effect.
    /// If possible bodies give different effects, the effect must be unknown.
    #[test]
    fn no_unknown_body_is_taken_for_more_than_every_body_would_mean(
        answers in declared(),
        status in prop::sample::select(vec![200_u16, 400, 500]),
    ) {
        let model = of_all_bodies(&answers, status);
        let silent = Answers { otherwise: None, ..answers.clone() };
        for known in [UNREAD, NOT_JSON] {
            match (silent.judge(status, &known), model) {
                (Some(Unknown), _) => {}
                (Some(_), Some(_)) if status != 200 && known == NOT_JSON => {}
                (Some(effect), Some(all)) => prop_assert_eq!(Some(effect), all),
                // A predicate without a status is not used for an answer that is neither a success nor JSON.
                (Some(_), None) if status != 200 && known == NOT_JSON => {}
                (Some(effect), None) => prop_assert!(false, "{effect:?} of a body that may say something else"),
                // `None` means that no predicate matches, so the usual meaning of the status holds. This is correct
                // only if no possible body matches a predicate, or if the answer is neither a success nor JSON.
                (None, model) => prop_assert!(
                    model == Some(None) || (status != 200 && known == NOT_JSON),
                    "{model:?}"
                ),
            }
        }
    }

    /// Checks that `otherwise` changes the effect of an answer only if its status is 2xx and no predicate decides.
    #[test]
    fn otherwise_speaks_only_of_successes_that_nothing_else_decides(
        answers in declared(),
        status in prop::sample::select(vec![200_u16, 204, 400, 500]),
        value in prop::sample::select(vec!["A", "B", "else"]),
    ) {
        let silent = Answers { otherwise: None, ..answers.clone() };
        let chosen = answers.otherwise.map(Otherwise::effect);
        let read = body(text(value));
        match silent.judge(status, &read) {
            None if status < 300 => prop_assert_eq!(answers.judge(status, &read), chosen),
            said => prop_assert_eq!(answers.judge(status, &read), said),
        }
        if answers.need_body(status) {
            prop_assert_eq!(answers.judge(status, &UNREAD), silent.judge(status, &UNREAD));
        } else {
            prop_assert_eq!(answers.judge(status, &UNREAD), answers.judge(status, &read), "none was needed");
        }
    }
}
