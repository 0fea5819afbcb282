//! Finds each bracket and quote that is never closed, and closes it at the end of its line. So the report names only
//! the bracket or quote that was left open, and the rest of the file is judged as it was meant.
//!
//! Without this repair, the parser takes the lines after an open bracket or quote for a part of the value. It reports
//! each of these lines, but not the one line that is wrong.

use std::ops::Range;

use super::values::Wrong;

/// A text whose open marks have been closed.
pub(super) struct Repaired {
    /// The text with all closing characters added. It is parsed in place of the original text.
    pub(super) text: String,
    /// The brackets and quotes that were never closed, each with its place in the original text.
    open: Vec<(usize, char)>,
    /// The places in the original text at which a character was added, in order. Each of these characters has one byte.
    added: Vec<usize>,
}

impl Repaired {
    /// Returns the text in which each open bracket and quote is closed; `None` if none is open.
    pub(super) fn of(text: &str) -> Option<Repaired> {
        let open = open_marks(text);
        if open.is_empty() {
            return None;
        }
        let mut repaired =
            Repaired { text: String::with_capacity(text.len() + open.len()), open, added: Vec::new() };
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let content = line.trim_end_matches(['\n', '\r']);
            let end = start + code_of(content).len();
            repaired.text.push_str(&text[start..end]);
            for (_, mark) in repaired.open.iter().rev().filter(|(at, _)| (start..end).contains(at)) {
                repaired.text.push(closing(*mark));
                repaired.added.push(end);
            }
            repaired.text.push_str(&text[end..start + line.len()]);
            start += line.len();
        }
        Some(repaired)
    }

    /// Returns the mistakes to report, one for each open mark.
    pub(super) fn mistakes(&self) -> impl Iterator<Item = (Range<usize>, Wrong)> {
        self.open.iter().map(|(at, mark)| (*at..at + 1, Wrong::new(format!("this `{mark}` is not closed"))))
    }

    /// Returns the byte of the original text that belongs to byte `at` of the repaired text.
    pub(super) fn original(&self, at: usize) -> usize {
        let before = self.added.iter().enumerate().take_while(|(index, place)| *place + index < at).count();
        at - before
    }
}

fn closing(mark: char) -> char {
    match mark {
        '{' => '}',
        '[' => ']',
        quote => quote,
    }
}

/// Returns a line without its comment, and without the spaces before that comment.
fn code_of(line: &str) -> &str {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '#' => return line[..at].trim_end(),
            None if c == '"' || c == '\'' => quote = Some(c),
            None => {}
        }
    }
    line.trim_end()
}

/// Returns the marks that are never closed, each with its place. They are the brackets that are open at the end of the
/// text, and the quotes that are open at the end of their line.
fn open_marks(text: &str) -> Vec<(usize, char)> {
    let mut brackets: Vec<(usize, char)> = Vec::new();
    let mut quotes = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        match c {
            '#' => at += rest.find('\n').unwrap_or(rest.len()),
            '"' | '\'' => {
                let (length, closed) = string_length(rest, c);
                if !closed {
                    quotes.push((at, c));
                }
                at += length;
            }
            '{' | '[' => {
                brackets.push((at, c));
                at += 1;
            }
            '}' | ']' => {
                if brackets.last().is_some_and(|(_, open)| closing(*open) == c) {
                    brackets.pop();
                }
                at += 1;
            }
            other => at += other.len_utf8(),
        }
    }
    brackets.append(&mut quotes);
    brackets.sort_unstable();
    brackets
}

/// Returns the length of the string at the beginning of `text`, in bytes, and whether the string is closed. A string of
/// several lines always counts as closed, since nobody knows where an open one was meant to end.
fn string_length(text: &str, quote: char) -> (usize, bool) {
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    if let Some(inner) = text.strip_prefix(&triple) {
        return (inner.find(&triple).map_or(text.len(), |end| end + 6), true);
    }
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return (at, false),
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            _ if c == quote => return (at + 1, true),
            _ => {}
        }
    }
    (text.len(), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_marks_are_closed_at_the_end_of_their_line() {
        for (given, expected) in [
            ("a = { b = 1 # c\nd = 2\n", "a = { b = 1} # c\nd = 2\n"),
            ("a = \"x\r\nb = 1", "a = \"x\"\r\nb = 1"),
            ("a = { b = [ \"x # y\nc = 1", "a = { b = [ \"x # y\"]}\nc = 1"),
            ("[a\nb = 1", "[a]\nb = 1"),
        ] {
            assert_eq!(Repaired::of(given).unwrap().text, expected);
        }
        for fine in ["a = [\n 1, # ]\n 2\n]\n", "a = '''\n{ [ \"\n'''\n", "a = \"\\\"{\"", "# don't {\n", ""]
        {
            assert!(Repaired::of(fine).is_none(), "{fine}");
        }
    }

    #[test]
    fn places_are_those_of_the_original() {
        let given = "ä = { b = [ 1\nnext = \"x\nlast = 1\n";
        let repaired = Repaired::of(given).unwrap();
        for word in ["b =", "next", "last", "= 1\n"] {
            assert_eq!(
                repaired.original(repaired.text.find(word).unwrap()),
                given.find(word).unwrap(),
                "{word}"
            );
        }
        let places: Vec<usize> = repaired.mistakes().map(|(span, _)| span.start).collect();
        assert_eq!(places, [5, 11, 22]);
    }
}
