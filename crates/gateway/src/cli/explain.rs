//! `seawall explain`: prints the page of a reason.
//!
//! The pages are `docs/reasons/WORD.md` and `docs/words/WORD.md`. They are built into the program, so that they can be
//! read without a network and always describe this version.

use std::fmt::Write;

use http::StatusCode;
use seawall_policy::Reason;

use super::failure::Failure;
use super::terminal;
use crate::problem::reasons;

macro_rules! pages {
    ($folder:literal: $($word:literal,)*) => {
        &[$(($word, include_str!(concat!("../../../../docs/", $folder, "/", $word, ".md"))),)*]
    };
}

/// The pages of `docs/reasons`, each with its word. There is a page for each reason, for each word for why a call was
/// not repeated, and for `truncated`: an answer whose body broke off.
const PAGES: &[(&str, &str)] = pages!["reasons":
    "breaker-open",
    "concurrency-limit",
    "queue-full",
    "queue-timeout",
    "cooling-down",
    "no-time-left",
    "dns-failure",
    "connect-refused",
    "tls-failure",
    "connect-timeout",
    "out-of-descriptors",
    "read-timeout",
    "total-timeout",
    "connection-lost",
    "bad-answer",
    "unknown-dependency",
    "bad-request",
    "body-too-large",
    "caller-stalled",
    "caller-refused",
    "connection-held",
    "ledger-unavailable",
    "outcome-not-recorded",
    "key-conflict",
    "in-progress",
    "answer-not-kept",
    "cancelled",
    "not-found",
    "too-late",
    "not-known",
    "failed",
    "settled",
    "draining",
    "truncated",
    "budget",
    "attempts",
    "deadline",
    "not-repeatable",
    "body",
    "breaker",
    "limit",
    "cooling",
    "slow",
    "caller",
];

/// Words that have a page but are not reasons: the effects, and "callers left". A breaker shows "callers left" if
/// callers gave up before there was an answer.
const NOTIONS: &[(&str, &str)] = pages!["words": "applied", "not-applied", "unknown", "callers-left",];

/// All pages.
fn pages() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    PAGES.iter().chain(NOTIONS)
}

/// Prints the page of one word, or the reasons that belong to an HTTP status. Without any word, prints the list of all
/// words. `words` are the parts of one word: `callers left` means `callers-left`. Fails if there is no such word.
pub(super) fn run(words: &[String]) -> Result<(), Failure> {
    let word = words.join(" ");
    let asked = word.trim().to_lowercase().replace(['_', ' '], "-");
    if asked.is_empty() {
        return terminal::print(&list());
    }
    if let Some(status) = asked.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()) {
        return terminal::print(&of_status(status));
    }
    match pages().find(|(known, _)| *known == asked) {
        Some((_, page)) => terminal::print(page),
        None => Err(Failure::misuse(unknown(&word, &asked))),
    }
}

/// Returns a text that lists the reasons for which Seawall itself answers with this status. If there are none, the text
/// says so.
fn of_status(status: StatusCode) -> String {
    let reasons = Reason::ALL.iter().filter(|reason| reasons::status(**reason) == status);
    let lines: Vec<String> = reasons
        .filter_map(|reason| {
            let (word, page) = PAGES.iter().find(|(word, _)| *word == reason.as_str())?;
            Some(format!("{word:<20} {}\n", gist(page)))
        })
        .collect();
    let passed =
        "An answer without the header `seawall-reason` is the dependency's own, whatever its status.";
    if lines.is_empty() {
        return format!("No answer of Seawall's own has status {}.\n{passed}\n", status.as_str());
    }
    format!(
        "Answers of Seawall's own with status {}, by the word in the header `seawall-reason`:\n\n{}\n{passed}\n",
        status.as_str(),
        lines.concat()
    )
}

/// Returns all words, each with the first paragraph of its page.
fn list() -> String {
    pages().fold(String::new(), |mut out, (word, page)| {
        let _ = writeln!(out, "{word:<20} {}", gist(page));
        out
    })
}

/// Returns the first paragraph of a page after its title, as one line.
fn gist(page: &str) -> String {
    let paragraph = page.split("\n\n").nth(1).unwrap_or_default();
    paragraph.lines().collect::<Vec<_>>().join(" ")
}

fn unknown(word: &str, asked: &str) -> String {
    let near = pages()
        .map(|(known, _)| (strsim::damerau_levenshtein(asked, known), *known))
        .filter(|(distance, known)| *distance <= (asked.len().max(known.len()) / 3).max(1))
        .min();
    let near = near.map(|(_, known)| format!("; did you mean `{known}`?")).unwrap_or_default();
    let all: Vec<&str> = pages().map(|(known, _)| *known).collect();
    format!("`{word}` is not a reason{near}\nThere are: {}, and statuses such as 503", all.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use seawall_policy::{Effect, Stopped};

    use super::*;

    fn page(word: &str) -> &'static str {
        PAGES
            .iter()
            .find(|(known, _)| *known == word)
            .map(|(_, page)| *page)
            .unwrap_or_else(|| panic!("{word}"))
    }

    #[test]
    fn table_files_and_words_are_the_same() {
        let words: BTreeSet<String> = Reason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .chain(Stopped::ALL.iter().map(|stopped| stopped.as_str()))
            .chain(["truncated"])
            .map(str::to_owned)
            .collect();
        let table: BTreeSet<String> = PAGES.iter().map(|(word, _)| (*word).to_owned()).collect();
        assert_eq!(table, words);
        assert_eq!(PAGES.len(), words.len(), "one twice");
        for effect in [Effect::Applied, Effect::NotApplied, Effect::Unknown] {
            assert!(NOTIONS.iter().any(|(word, _)| *word == effect.as_str()), "{effect}");
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reasons");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.strip_suffix(".md").unwrap_or_else(|| panic!("{name}")).to_owned())
            .collect();
        assert_eq!(files, words);
    }

    #[test]
    fn a_page_states_what_the_caller_sees() {
        // `connection-held` is left out here. Only programs that use the library see this reason, and callers of the
        // gateway never do.
        for reason in Reason::ALL.iter().filter(|reason| **reason != Reason::ConnectionHeld) {
            let page = page(reason.as_str());
            let status = reasons::status(*reason).as_u16();
            let origin = reason.origin().as_str();
            let seen = page.split("\n\n").find(|part| part.starts_with("Seen as: "));
            let line = seen.unwrap_or_else(|| panic!("{reason}")).replace('\n', " ");
            assert!(line.contains(&format!("status {status}")), "{reason}: {line}");
            assert!(line.contains(&format!("origin `{origin}`")), "{reason}: {line}");
            assert!(line.contains("effect `"), "{reason}: {line}");
        }
        for stopped in Stopped::ALL {
            let header = format!("`seawall-retry-stopped: {stopped}`");
            assert!(page(stopped.as_str()).contains(&header), "{stopped}");
        }
    }

    #[test]
    fn a_page_is_short_and_whole() {
        for (word, page) in pages() {
            assert!(page.starts_with(&format!("# {word}\n\n")), "{word}");
            assert!((10..=30).contains(&page.lines().count()), "{word}: {} lines", page.lines().count());
            for part in ["Why it happens", "What to do", "Settings"] {
                assert!(
                    page.contains(&format!("\n{part}: ")) || page.contains(&format!("\n{part}:\n")),
                    "{word}: {part}"
                );
            }
            assert!(!gist(page).is_empty() && gist(page).chars().count() < 200, "{word}: {}", gist(page));
        }
    }

    #[test]
    fn status_lists_its_reasons() {
        let shown = of_status(StatusCode::SERVICE_UNAVAILABLE);
        for (word, listed) in [("breaker-open", true), ("draining", true), ("read-timeout", false)] {
            assert_eq!(shown.contains(&format!("{word} ")), listed, "{word}\n{shown}");
        }
        let all: Vec<u16> = Reason::ALL.iter().map(|reason| reasons::status(*reason).as_u16()).collect();
        for status in all {
            assert!(of_status(StatusCode::from_u16(status).unwrap()).contains("Answers of Seawall's own"));
        }
        assert!(of_status(StatusCode::IM_A_TEAPOT).contains("No answer of Seawall's own has status 418"));
    }

    #[test]
    fn a_typo_finds_its_word() {
        for (typo, word) in
            [("breaker-opne", "breaker-open"), ("budgte", "budget"), ("readtimeout", "read-timeout")]
        {
            assert!(unknown(typo, typo).contains(&format!("did you mean `{word}`?")), "{typo}");
        }
        assert!(!unknown("zzzzzzzz", "zzzzzzzz").contains("did you mean"));
    }
}
