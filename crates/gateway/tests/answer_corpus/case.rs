//! A case: one answer of a dependency, the sentence of the specification that it is about, and what must become of it.

use super::one;
use super::two;

/// A body with a code which says that nothing was done. If `answers` declares that code, the effect depends on it.
pub const DECLINED: &str = r#"{"code":"DECLINED"}"#;

/// The same body with spaces after it. It has 26 bytes, so its length has a letter when it is written in hexadecimal digits.
pub const PADDED: &str = r#"{"code":"DECLINED"}       "#;

/// One answer, and what must become of it.
#[derive(Clone)]
pub struct Case {
    /// The section of the RFC and a name.
    pub id: String,
    /// What the specification demands, or what we decided.
    pub sentence: &'static str,
    pub answer: Answer,
    pub expect: Expect,
    pub methods: &'static [&'static str],
    /// Fields that the caller must not see, neither in the head nor in the trailers.
    pub absent: &'static [&'static str],
}

/// The bytes of an answer, and what the dependency does after them.
#[derive(Clone)]
pub enum Answer {
    One(one::Script),
    Two(two::Script),
}

/// What must become of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The caller gets exactly this status and this body.
    Whole(u16, String),
    /// The caller gets a 502, or it gets the head and a body that visibly breaks.
    Broken,
    /// The caller gets a 502 whose reason is `bad-answer`.
    BadAnswer,
    /// Either [`Expect::Whole`] or [`Expect::Broken`]. The specification leaves the choice, and neither can mislead a caller.
    Either(u16, String),
    /// The mistake comes after all bytes that the head announced. If the head was sent to the caller, the caller has a
    /// complete answer before the mistake can be known. If the body is judged first, nothing is passed on, as with
    /// [`Expect::Broken`].
    Behind(u16, String),
}

/// What the dependency does with the connection after it has written the answer.
#[derive(Clone, Debug)]
pub enum After {
    /// It waits for the next request.
    Keep,
    Close,
    Reset,
    /// It writes these bytes after the caller has got the answer, and waits for the next request.
    Late(Vec<u8>),
    /// It writes these bytes after the caller has got the answer, and closes the connection.
    LateClose(Vec<u8>),
}

impl Case {
    /// An answer over HTTP/1.1 in two parts. It counts as broken unless the case says something else.
    pub fn one(id: &str, sentence: &'static str, head: impl AsRef<[u8]>, rest: impl AsRef<[u8]>) -> Case {
        let (head, rest) = (head.as_ref().to_vec(), rest.as_ref().to_vec());
        Case::new(id, sentence, Answer::One(one::Script { head, rest, after: After::Keep }))
    }

    /// An answer over HTTP/2, frame by frame. It counts as broken unless the case says something else.
    pub fn two(id: &str, sentence: &'static str, frames: impl IntoIterator<Item = two::Frame>) -> Case {
        let frames = frames.into_iter().collect();
        Case::new(id, sentence, Answer::Two(two::Script { frames, after: After::Keep }))
    }

    fn new(id: &str, sentence: &'static str, answer: Answer) -> Case {
        let (id, expect, methods) = (id.to_owned(), Expect::Broken, &["GET", "POST"]);
        Case { id, sentence, answer, expect, methods, absent: &[] }
    }

    /// The answer is a 200 with [`DECLINED`].
    pub fn whole(self) -> Case {
        self.is(200, DECLINED)
    }

    pub fn is(self, status: u16, body: &str) -> Case {
        Case { expect: Expect::Whole(status, body.to_owned()), ..self }
    }

    pub fn either(self, status: u16, body: &str) -> Case {
        Case { expect: Expect::Either(status, body.to_owned()), ..self }
    }

    /// Marks an answer that is malformed, but of which the crate `h2` drops or passes on the malformed part without an error.
    /// All readers agree on where such an answer ends, so a whole answer is accepted as well.
    pub fn passed_by_h2(mut self, body: &str) -> Case {
        self.id.push_str(" (passed by h2)");
        self.either(200, body)
    }

    pub fn behind(self, status: u16, body: &str) -> Case {
        Case { expect: Expect::Behind(status, body.to_owned()), ..self }
    }

    pub fn bad_answer(self) -> Case {
        Case { expect: Expect::BadAnswer, ..self }
    }

    /// The case is the answer to a HEAD.
    pub fn for_head(self) -> Case {
        Case { methods: &["HEAD"], ..self }
    }

    pub fn without(self, absent: &'static [&'static str]) -> Case {
        Case { absent, ..self }
    }

    pub fn closing(self) -> Case {
        self.after(After::Close)
    }

    pub fn resetting(self) -> Case {
        self.after(After::Reset)
    }

    pub fn after(mut self, after: After) -> Case {
        match &mut self.answer {
            Answer::One(script) => script.after = after,
            Answer::Two(script) => script.after = after,
        }
        self
    }

    /// Whether the dependency ends the connection.
    pub fn ends_connection(&self) -> bool {
        let after = match &self.answer {
            Answer::One(script) => &script.after,
            Answer::Two(script) => &script.after,
        };
        matches!(after, After::Close | After::Reset | After::LateClose(_))
    }

    /// The ways in which the answer's bytes can be divided into writes.
    pub fn splits(&self) -> &'static [Split] {
        match &self.answer {
            // A reset discards bytes that are still in the socket. With many small segments, some may be.
            Answer::One(script) if script.long() || matches!(script.after, After::Reset) => {
                &[Split::Together, Split::Apart]
            }
            Answer::One(_) => &[Split::Together, Split::Apart, Split::Bytes],
            Answer::Two(script) if script.frames.len() < 2 => &[Split::Together],
            Answer::Two(_) => &[Split::Together, Split::Apart],
        }
    }

    /// The bytes that are sent, in a form that people can read.
    pub fn input(&self) -> String {
        let (text, after) = match &self.answer {
            Answer::One(script) => {
                let all = [&script.head[..], b"|", &script.rest].concat();
                let length = all.len();
                let shown = all[..length.min(160)].escape_ascii().to_string();
                let more = if length > 160 { format!("... {length} bytes") } else { String::new() };
                (format!("{shown}{more}"), &script.after)
            }
            Answer::Two(script) => {
                let frames: Vec<String> = script.frames.iter().map(ToString::to_string).collect();
                (frames.join(" "), &script.after)
            }
        };
        match after {
            After::Keep => text,
            After::Close => format!("{text} FIN"),
            After::Reset => format!("{text} RST"),
            After::Late(late) => format!("{text} later {}", late.escape_ascii()),
            After::LateClose(late) => format!("{text} later {} FIN", late.escape_ascii()),
        }
    }
}

/// How the bytes of an answer are divided into writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// All of it in one write.
    Together,
    /// The head (or the first frame) in one write, and the rest in another.
    Apart,
    /// Each byte in a write of its own.
    Bytes,
}
