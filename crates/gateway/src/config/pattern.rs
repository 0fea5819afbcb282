//! Reads patterns such as `match = "POST /v1/charges/{id}"`, which say which requests belong to an operation.
//!
//! One pattern is narrower than another if it matches only a part of the paths that the other matches. If two patterns
//! match one path, the narrower one wins, whatever their order in the file. If neither is narrower, as with `/a/{x}`
//! and `/{y}/b`, the file is refused. If it were accepted, the order in which the patterns happen to be compared would
//! decide whether a charge is repeated.
//!
//! Text in a pattern matches every path that servers read as the same text, however it is encoded. [`crate::paths`]
//! says how a path is read.

use std::fmt;

use http::Method;
use seawall_actions::nearest::advice;

use super::values::Wrong;
use crate::paths;

/// A method and a path with variable parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// The method, matched exactly.
    pub method: Method,
    /// The parts of the path between slashes. The path `/` has none. If the path ends in a slash, the last segment is
    /// an empty literal.
    pub segments: Vec<Segment>,
    /// Whether the pattern ends with `{/}`. If it does, a slash at the end of a request's path is optional.
    pub slash: bool,
}

/// One part of a pattern's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Exactly this text.
    Literal(String),
    /// `{name}`: any single segment that is not empty.
    One(String),
    /// `{*name}`: the rest of the path, with at least one character. It is always the last segment.
    Rest(String),
}

/// The methods that a pattern may name. CONNECT is missing, because it is never passed on.
pub(super) const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];

/// Returns the method with this name. The error for an unknown name suggests the nearest valid name.
pub(super) fn method(written: &str) -> Result<Method, Wrong> {
    if METHODS.contains(&written) {
        return Method::from_bytes(written.as_bytes()).map_err(|_| Wrong::new("this is not a method"));
    }
    Err(Wrong::new(format!("`{written}` is not a method that is passed on")).help(advice(written, METHODS)))
}

impl Pattern {
    pub(super) fn parse(written: &str) -> Result<Pattern, Wrong> {
        let (name, path) = written.split_once(' ').ok_or_else(|| {
            Wrong::new("a pattern is a method and a path").help("for example \"POST /v1/charges\"")
        })?;
        let method = method(name)?;
        let Some(inner) = path.strip_prefix('/') else {
            return Err(Wrong::new("the path of a pattern begins with `/`"));
        };
        if path.contains(['?', '#']) {
            return Err(Wrong::new("a pattern matches the path only, and has no query or fragment"));
        }
        let (inner, slash) = match inner.strip_suffix("{/}") {
            Some("") => {
                return Err(Wrong::new("the path of a pattern begins with a slash that is always there"));
            }
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        let parts: Vec<&str> = if inner.is_empty() { Vec::new() } else { inner.split('/').collect() };
        let mut segments = Vec::with_capacity(parts.len());
        for (index, part) in parts.iter().enumerate() {
            let last = index + 1 == parts.len();
            let segment = Segment::parse(part, last)?;
            if let Some(name) = segment.name()
                && segments.iter().any(|earlier: &Segment| earlier.name() == Some(name))
            {
                return Err(Wrong::new(format!("`{{{name}}}` stands twice in this pattern")));
            }
            segments.push(segment);
        }
        let wide = matches!(segments.last(), Some(Segment::Rest(_)));
        if slash && (wide || inner.ends_with('/')) {
            return Err(Wrong::new("`{/}` stands behind a segment that ends without a slash")
                .help("as in \"POST /v1/charges{/}\"; {*rest} takes a slash at the end by itself"));
        }
        Ok(Pattern { method, segments, slash })
    }

    /// Returns the path without the method, as it is written.
    #[must_use]
    pub fn path(&self) -> String {
        let parts: Vec<String> = self.segments.iter().map(Segment::to_string).collect();
        format!("/{}{}", parts.join("/"), if self.slash { "{/}" } else { "" })
    }

    /// Returns whether the pattern matches one path only.
    pub(crate) fn is_one_path(&self) -> bool {
        !self.slash && self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)))
    }

    /// Returns the paths to give to the router, in the router's syntax, each path once. The first is the pattern as it
    /// is written. The second has its text in normal form: for example, `%7E` becomes `~`. If a slash at the end is
    /// optional, each of them is also returned with that slash.
    pub(crate) fn routes(&self) -> Vec<String> {
        let mut routes = Vec::new();
        for segments in self.forms() {
            let written: Vec<String> = segments.iter().map(Segment::to_string).collect();
            let normal: Vec<String> = segments.iter().map(Segment::normal).collect();
            for parts in [written, normal] {
                let route = format!("/{}", parts.join("/"));
                if !routes.contains(&route) {
                    routes.push(route);
                }
            }
        }
        routes
    }

    /// Returns whether this pattern covers one of the two forms of `other`: all its paths with a slash at the end, or
    /// all its paths without one. For example, `/a` covers one form of `/a{/}`. Requests of that form then belong to
    /// this pattern, and that is no mistake in the file. It is so under three conditions:
    ///
    /// - Both patterns have the same method.
    /// - The slash at the end is optional in `other`, but not in this pattern.
    /// - This pattern matches exactly the paths of that form.
    pub(crate) fn takes_a_form_of(&self, other: &Pattern) -> bool {
        let same = |form: &Vec<Segment>| covers(&self.segments, form) && covers(form, &self.segments);
        !self.slash && other.slash && self.method == other.method && other.forms().iter().any(same)
    }

    /// Returns the segments of each form of the path. If a slash at the end is optional, there are two forms, and the
    /// second ends in that slash.
    fn forms(&self) -> Vec<Vec<Segment>> {
        let mut forms = vec![self.segments.clone()];
        if self.slash {
            let mut open = self.segments.clone();
            open.push(Segment::Literal(String::new()));
            forms.push(open);
        }
        forms
    }

    /// Returns the names of the variable parts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::name)
    }

    /// Returns whether some request matches both patterns and neither pattern is the narrower one.
    pub(super) fn is_ambiguous_with(&self, other: &Pattern) -> bool {
        let (mine, others) = (self.forms(), other.forms());
        let meet = mine.iter().any(|one| others.iter().any(|two| overlap(one, two)));
        let all = |wide: &[Vec<Segment>], narrow: &[Vec<Segment>]| {
            narrow.iter().all(|narrow| wide.iter().any(|wide| covers(wide, narrow)))
        };
        self.method == other.method && meet && all(&mine, &others) == all(&others, &mine)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path())
    }
}

impl Segment {
    fn parse(part: &str, last: bool) -> Result<Segment, Wrong> {
        if part.is_empty() && !last {
            return Err(Wrong::new("this path has an empty segment (`//`)"));
        }
        if let Some(inner) = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            let (name, rest) = match inner.strip_prefix('*') {
                Some(name) => (name, true),
                None => (inner, false),
            };
            let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if name.is_empty() || !name.bytes().all(fine) {
                return Err(Wrong::new(format!("`{part}` needs a name of letters, digits and _"))
                    .help("{name} matches one segment, {*rest} the rest of the path"));
            }
            return match (rest, last) {
                (true, false) => {
                    Err(Wrong::new(format!("`{part}` takes the rest of the path, so it comes last")))
                }
                (true, true) => Ok(Segment::Rest(name.to_owned())),
                (false, _) => Ok(Segment::One(name.to_owned())),
            };
        }
        if part.contains(['{', '}', '*']) {
            return Err(Wrong::new(format!("`{part}` mixes text and a variable part")).help(
                "{name} stands for a whole segment between slashes, {*rest} for the rest of the path",
            ));
        }
        if part == "."
            || part == ".."
            || !part.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`|".contains(&b))
        {
            return Err(Wrong::new("this path has a character that no path carries")
                .help("percent-encode it, as in %20"));
        }
        if matches!(paths::segment(part).as_ref(), "." | "..") {
            return Err(Wrong::new("servers read this segment as a step to another folder, not as a name"));
        }
        Ok(Segment::Literal(part.to_owned()))
    }

    /// Returns the segment as it is written, but with literal text in its normal form: for example, `%7E` becomes `~`.
    fn normal(&self) -> String {
        match self {
            Segment::Literal(text) => paths::segment(text).into_owned(),
            Segment::One(_) | Segment::Rest(_) => self.to_string(),
        }
    }

    /// Returns the name of a variable part; `None` for a literal text.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Segment::Literal(_) => None,
            Segment::One(name) | Segment::Rest(name) => Some(name),
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Segment::Literal(text) => f.write_str(text),
            Segment::One(name) => write!(f, "{{{name}}}"),
            Segment::Rest(name) => write!(f, "{{*{name}}}"),
        }
    }
}

/// Returns whether some path matches both lists of segments.
fn overlap(a: &[Segment], b: &[Segment]) -> bool {
    match (a, b) {
        ([], []) => true,
        ([Segment::Rest(_)], rest) | (rest, [Segment::Rest(_)]) => takes_something(rest),
        ([], [_, ..]) | ([_, ..], []) => false,
        ([x, a @ ..], [y, b @ ..]) => segments_meet(x, y) && overlap(a, b),
    }
}

/// Returns whether `{*rest}` can match these last segments of a path. `{*rest}` matches only text of at least one
/// character. So this is `false` if there are no segments, or if the only segment is an empty literal.
fn takes_something(rest: &[Segment]) -> bool {
    match rest {
        [] => false,
        [Segment::Literal(text)] => !text.is_empty(),
        _ => true,
    }
}

fn segments_meet(x: &Segment, y: &Segment) -> bool {
    match (x, y) {
        (Segment::Literal(x), Segment::Literal(y)) => same_text(x, y),
        (Segment::Literal(text), _) | (_, Segment::Literal(text)) => !text.is_empty(),
        (_, _) => true,
    }
}

fn same_text(x: &str, y: &str) -> bool {
    x == y || paths::segment(x) == paths::segment(y)
}

/// Returns whether `wide` matches every path that `narrow` matches.
fn covers(wide: &[Segment], narrow: &[Segment]) -> bool {
    match (wide, narrow) {
        ([], []) => true,
        ([Segment::Rest(_)], rest) => takes_something(rest),
        ([], [_, ..]) | ([_, ..], []) => false,
        ([Segment::Literal(x), wide @ ..], [Segment::Literal(y), narrow @ ..]) => {
            same_text(x, y) && covers(wide, narrow)
        }
        ([Segment::One(_), wide @ ..], [Segment::Literal(text), narrow @ ..]) => {
            !text.is_empty() && covers(wide, narrow)
        }
        ([Segment::One(_), wide @ ..], [Segment::One(_), narrow @ ..]) => covers(wide, narrow),
        ([_, ..], [_, ..]) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(written: &str) -> Pattern {
        Pattern::parse(written).unwrap()
    }

    #[test]
    fn a_pattern_reads_back_as_written() {
        for written in [
            "GET /",
            "POST /v1/charges",
            "PUT /v1/{id}/x",
            "GET /files/{*rest}",
            "GET /v1/",
            "POST /v1/charges{/}",
            "GET /v1/{id}{/}",
            "DELETE /a.b/%20",
        ] {
            assert_eq!(pattern(written).to_string(), written);
        }
    }

    #[test]
    fn wrong_patterns_are_refused() {
        for bad in [
            "/v1/charges",
            "POST v1",
            "PSOT /v1",
            "post /v1",
            "CONNECT /",
            "GET /a//b",
            "GET /{",
            "GET /{}",
            "GET /{a-b}",
            "GET /{*r}/x",
            "GET /x{a}",
            "GET /{a}/{a}",
            "GET /a?b=1",
            "GET /a b",
            "GET  /a",
            "GET /../x",
            "GET /é",
            "GET /{/}",
            "GET /a/{/}",
            "GET /{*r}{/}",
            "GET /a{/}/b",
            "GET /a{/}{/}",
            "GET /%2e%2E/x",
            "",
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Pattern::parse("PSOT /").unwrap_err().help.unwrap(), "did you mean `POST`?");
    }

    #[test]
    fn only_patterns_of_which_neither_is_narrower_are_ambiguous() {
        let cases = [
            ("GET /a/{x}", "GET /a/{y}", true),
            ("GET /a/b", "GET /a/b", true),
            ("GET /a/{x}", "GET /{y}/b", true),
            ("GET /{x}/b/{*r}", "GET /a/{*r}", true),
            ("GET /{*r}", "GET /{*s}", true),
            ("GET /a/{x}", "GET /a/b", false),
            ("GET /{x}/{y}", "GET /a/{y}", false),
            ("GET /{*r}", "GET /{x}/b", false),
            ("GET /a/{*r}", "GET /a/{x}", false),
            ("GET /a/{*r}", "GET /a/", false),
            ("GET /a/{x}", "GET /a/", false),
            ("GET /a/{x}", "POST /a/{x}", false),
            ("GET /a/{x}/c", "GET /{y}/b/d", false),
            ("GET /a/{x}", "GET /a", false),
            ("GET /%61", "GET /a", true),
            ("GET /a%2fb", "GET /a%2Fb", true),
            ("GET /a{/}", "GET /a{/}", true),
            ("GET /a{/}", "GET /a", false),
            ("GET /a{/}", "GET /a/", false),
            ("GET /a{/}", "GET /{x}{/}", false),
            ("GET /a{/}", "GET /{x}", true),
            ("GET /a{/}", "GET /a/{*r}", false),
            ("GET /a{/}", "GET /{*r}", false),
        ];
        for (one, two, expected) in cases {
            assert_eq!(pattern(one).is_ambiguous_with(&pattern(two)), expected, "{one} | {two}");
            assert_eq!(pattern(two).is_ambiguous_with(&pattern(one)), expected, "{two} | {one}");
        }
    }
}
