//! Tests that reading any text as a configuration never panics, and that every report can be shown. If a test fails,
//! proptest prints the failing case and its seed.

use proptest::prelude::*;

use super::super::*;
use super::{CONTRACT, EVERYTHING, env};

/// Reads a text, and shows the settings or the report.
fn survive(text: &str) {
    match parse("seawall.toml", text, &env) {
        Ok(loaded) => assert!(effective(&loaded.settings).ends_with('\n')),
        Err(report) => {
            assert!(!report.mistakes().is_empty());
            let lines = text.matches('\n').count() + 1;
            for mistake in report.mistakes() {
                let place = mistake.place.unwrap();
                assert!(place.line >= 1 && place.line <= lines && place.column >= 1, "{place} in {text:?}");
                assert!(!mistake.message.is_empty());
            }
            assert!(!report.render(true).is_empty());
            let shown = report.render(false);
            assert!(!shown.contains("S3CRET"), "{shown}");
        }
    }
}

/// Makes pieces of text that are likely to break a file.
fn splinter() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("\"".to_owned()),
        Just("'''".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[[".to_owned()),
        Just("]".to_owned()),
        Just("= ".to_owned()),
        Just("\r\n".to_owned()),
        Just("\n".to_owned()),
        Just("ö日\u{301}".to_owned()),
        Just("${env:".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("-0.0e400".to_owned()),
        Just("\u{0}".to_owned()),
        "\\PC{0,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_is_read_or_reported(text in "\\PC{0,200}") {
        survive(&text);
    }

    #[test]
    fn lines_of_toml_are_read_or_reported(lines in prop::collection::vec(
        ("[a-z_]{1,8}(\\.[a-z_]{1,8})?", prop_oneof![
            "[0-9]{1,4}", "\"[ -~]{0,12}\"", "\\[\\]", "\\{ [a-z]{1,5} = 1 \\}", "true",
        ]), 0..12), section in prop_oneof![
            Just("gateway"), Just("ledger"), Just("defaults"), Just("dependency.a"), Just("[dependency.a.operation]"),
        ]) {
        let body: String = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        survive(&format!("[{section}]\n{body}"));
    }

    #[test]
    fn mutated_files_are_read_or_reported(
        everything in any::<bool>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, splinter()), 1..6),
    ) {
        let mut text: Vec<char> = if everything { EVERYTHING } else { CONTRACT }.chars().collect();
        for (at, length, splinter) in cuts {
            let start = at.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, splinter.chars());
        }
        survive(&text.into_iter().collect::<String>());
    }

    /// A secret in a header stays hidden, whatever happens to the file around it. The secret counts as shown if a
    /// report contains sixteen successive characters of it.
    #[test]
    fn a_secret_in_a_broken_file_is_not_shown(
        everything in any::<bool>(),
        cuts in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), 0_usize..12, splinter()), 1..4),
    ) {
        const SECRET: &str = "sk_live_4eC39HqLyjWDarjtT1zdp7dc";
        let text = if everything { EVERYTHING } else { CONTRACT };
        let text = text.replace("${env:PAY_KEY}", SECRET);
        assert!(text.contains(SECRET));
        let mut text: Vec<char> = text.chars().collect();
        for (near, at, length, splinter) in cuts {
            let line = text.windows(4).position(|it| it == ['s', 'k', '_', 'l']).unwrap_or(0);
            let start = if near { line.saturating_sub(60) + at.index(120) } else { at.index(text.len()) };
            let start = start.min(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, splinter.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(report) = parse("seawall.toml", &text, &env) {
            let shown = format!("{}{:?}", report.render(false), report.lines().collect::<Vec<_>>());
            for at in 0..SECRET.len() - 16 {
                assert!(!shown.contains(&SECRET[at..at + 16]), "{text}\n{shown}");
            }
        }
    }

    /// The value of one key is put under another key, so that every kind of value stands in every kind of place.
    #[test]
    fn swapped_values_are_read_or_reported(from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let lines: Vec<&str> = EVERYTHING.lines().collect();
        let assignments: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains(" = ")).collect();
        let (from, to) = (assignments[from.index(assignments.len())], assignments[to.index(assignments.len())]);
        let value = lines[from].split_once(" = ").unwrap().1;
        let key = lines[to].split_once(" = ").unwrap().0;
        let changed = format!("{key} = {value}");
        let text: Vec<&str> = (0..lines.len()).map(|at| if at == to { changed.as_str() } else { lines[at] }).collect();
        survive(&text.join("\n"));
    }
}
