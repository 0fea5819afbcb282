//! Collects all mistakes of a file in one report, each at its place.
//!
//! Mistakes are sorted by place, and shown with file, line, column and the line itself. What may be a secret is never
//! shown ([`super::shown`]): its characters are replaced by stars before the report is made into text, so a report may
//! go into a log. If only the first mistake were reported, a person with ten mistakes would have to start the program
//! ten times.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::shown::{masked, masked_offset};
use super::values::Wrong;

/// A line and a column of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl Place {
    /// Returns the place of byte `at` of `text`. If `at` is beyond the end, this is the place of the end.
    #[must_use]
    pub fn of(text: &str, at: usize) -> Place {
        let mut at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A remark on an accepted file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The place in the file, if the remark has one.
    pub place: Option<Place>,
    /// The remark, in words.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => write!(f, "line {}: {}", place.line, self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// One mistake: its place, what is wrong, and how to repair it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where the mistake begins. `None` if the file itself could not be read.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// How to repair the mistake: the nearest valid name, the list of valid names, or what to write instead. `None` if
    /// there is no such advice.
    pub help: Option<String>,
    pub(super) span: Range<usize>,
}

impl Mistake {
    pub(super) fn at(span: Range<usize>, wrong: Wrong) -> Mistake {
        Mistake { place: None, message: wrong.message, help: wrong.help, span }
    }
}

/// All mistakes of one file. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    name: String,
    /// The text of the file, with a star in place of every character that may be secret.
    text: String,
    mistakes: Vec<Mistake>,
}

impl Report {
    /// Makes a report on `text`, sorted by place and without mistakes that are there twice. `shown` are the byte ranges
    /// of `text` that may be shown. Stars replace all other characters.
    pub(super) fn new(name: &str, text: &str, shown: &[Range<usize>], mut mistakes: Vec<Mistake>) -> Report {
        mistakes.sort_by(|a, b| (a.span.start, &a.message).cmp(&(b.span.start, &b.message)));
        mistakes.dedup_by(|a, b| a.span.start == b.span.start && a.message == b.message);
        for mistake in &mut mistakes {
            mistake.place = Some(Place::of(text, mistake.span.start));
            mistake.span = masked_offset(text, shown, mistake.span.start)
                ..masked_offset(text, shown, line_bound(text, &mistake.span));
        }
        Report { name: name.to_owned(), text: masked(text, shown), mistakes }
    }

    /// Makes a report on a file that could not be read at all.
    pub(super) fn unreadable(name: &str, message: String, help: Option<String>) -> Report {
        let mistake = Mistake { place: None, message, help, span: 0..0 };
        Report { name: name.to_owned(), text: String::new(), mistakes: vec![mistake] }
    }

    /// Returns the mistakes, in the order of the file.
    #[must_use]
    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// Returns the name of the file, as it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns one line for each mistake, `FILE:LINE:COLUMN: message`, for logs.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.mistakes.iter().map(|mistake| {
            let place = mistake.place.map(|place| format!(":{place}")).unwrap_or_default();
            let help = mistake.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            format!("{}{place}: {}{help}", self.name, mistake.message)
        })
    }

    /// Returns the whole report for a person: each mistake with its line, and the number of mistakes at the end.
    /// `colour` says whether to use colour.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(WIDTH);
        let mut out = String::new();
        for mistake in &self.mistakes {
            out.push_str(&self.render_one(&renderer, mistake));
            out.push_str("\n\n");
        }
        let count = self.mistakes.len();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        out.push_str(&format!("{}: {count} {noun}\n", self.name));
        out
    }

    fn render_one(&self, renderer: &Renderer, mistake: &Mistake) -> String {
        let title = Level::ERROR.primary_title(mistake.message.as_str());
        let group = if mistake.place.is_none() {
            title.element(annotate_snippets::Origin::path(self.name.as_str()))
        } else {
            let mark = AnnotationKind::Primary.span(mistake.span.clone());
            title.element(Snippet::source(self.text.as_str()).path(self.name.as_str()).annotation(mark))
        };
        let group = match &mistake.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        };
        renderer.render(&[group])
    }
}

/// The maximum width of a shown line, in columns. A longer line is shortened. The width is large, since a person wants
/// to see the line itself.
const WIDTH: usize = 400;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

/// Returns the byte of the text at which `span` ends. If `span` goes on beyond the line on which it begins, returns the
/// end of that line.
fn line_bound(text: &str, span: &Range<usize>) -> usize {
    let start = span.start.min(text.len());
    let line_end =
        text.get(start..).and_then(|rest| rest.find(['\n', '\r'])).map_or(text.len(), |n| start + n);
    span.end.clamp(start, line_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(span: Range<usize>, message: &str) -> Mistake {
        Mistake { place: None, message: message.into(), help: None, span }
    }

    #[test]
    fn columns_count_characters() {
        let text = "a = 1\nö = \"日本\" x\n";
        let at = text.find('x').unwrap();
        assert_eq!(Place::of(text, at), Place { line: 2, column: 10 });
        assert_eq!(Place::of(text, 0), Place { line: 1, column: 1 });
        assert_eq!(Place::of(text, 10_000), Place { line: 3, column: 1 });
        assert_eq!(Place::of("é", 1), Place { line: 1, column: 1 }, "a byte within a character");
    }

    #[test]
    fn a_masked_secret_is_not_shown_and_moves_nothing() {
        let text = "k = \"sécret\" oops\nnext = 1\n";
        let oops = text.find("oops").unwrap();
        let shown = [0..1, oops..oops + 4];
        let report = Report::new("f.toml", text, &shown, vec![mistake(oops..oops + 4, "stray word")]);
        let shown = report.render(false);
        assert!(!shown.contains("cret"), "{shown}");
        assert!(shown.contains("k = \"******\" oops"), "{shown}");
        assert!(shown.contains("f.toml:1:14"), "{shown}");
        assert_eq!(report.mistakes()[0].place, Some(Place { line: 1, column: 14 }));
    }

    #[test]
    fn the_same_mistake_is_told_once_and_all_are_in_order() {
        let text = "one\ntwo\n";
        let all = vec![mistake(4..7, "b"), mistake(0..3, "a"), mistake(4..7, "b")];
        let report = Report::new("f", text, &[], all);
        assert_eq!(report.lines().collect::<Vec<_>>(), ["f:1:1: a", "f:2:1: b"]);
        assert!(report.render(true).contains('\u{1b}') && !report.render(false).contains('\u{1b}'));
    }
}
