//! Decodes bytes into a scenario: what is asked, what is answered, and when.
//!
//! Any bytes make a scenario. Each choice takes one byte, and zero always means the ordinary choice. When all bytes are
//! used, all further choices are the ordinary ones. So a few bytes are enough for a scenario with a single unusual
//! choice.

use std::fmt;

use super::ask::Ask;
use super::frames::Frames;
use super::lines::Lines;

/// Yields choices from bytes, and zeros after their end.
pub(crate) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    pub(crate) fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// What comes between two pieces of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// No pause: the pieces are written one after the other, and are mostly read together.
    None,
    /// A number of turns of the runtime. Meanwhile the gateway may or may not have read the first piece.
    Turns(u8),
    /// A wait until no party has anything left to do.
    Rest,
    /// A wait longer than the read timeout.
    Long,
}

impl Pause {
    pub(crate) fn choose(cursor: &mut Cursor<'_>) -> Pause {
        match cursor.byte() {
            0..=63 => Pause::Rest,
            64..=127 => Pause::None,
            byte @ 128..=247 => Pause::Turns(byte % 8 + 1),
            248.. => Pause::Long,
        }
    }
}

/// The positions at which bytes are cut, and the pauses between the pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cuts(pub(crate) Vec<(usize, Pause)>);

impl Cuts {
    /// `head` is where the head ends.
    pub(crate) fn choose(cursor: &mut Cursor<'_>, length: usize, head: usize) -> Cuts {
        let mut cuts = match cursor.below(8) {
            0..=2 => Vec::new(),
            3 => vec![(head, Pause::choose(cursor))],
            // There are at most a hundred. With more small frames on a stream that the caller over HTTP/2 has left, the
            // caller would treat them as an attack.
            4 => (1..length.min(100)).map(|at| (at, Pause::Turns(1))).collect(),
            5 => vec![(length.saturating_sub(1), Pause::choose(cursor))],
            many => (5..many).map(|_| (cursor.place(length), Pause::choose(cursor))).collect(),
        };
        cuts.retain(|(at, _)| *at < length);
        cuts.sort_by_key(|(at, _)| *at);
        Cuts(cuts)
    }

    pub(crate) fn is_long(&self) -> bool {
        self.0.iter().any(|(_, pause)| *pause == Pause::Long)
    }

    /// The pieces, each with the pause before it.
    pub(crate) fn pieces<'a>(&self, bytes: &'a [u8]) -> Vec<(Pause, &'a [u8])> {
        let mut pieces = Vec::new();
        let (mut from, mut before) = (0, Pause::None);
        for (at, pause) in &self.0 {
            pieces.push((before, &bytes[from..*at]));
            (from, before) = (*at, *pause);
        }
        pieces.push((before, &bytes[from..]));
        pieces
    }
}

impl Cursor<'_> {
    /// A place in `length` bytes.
    pub(crate) fn place(&mut self, length: usize) -> usize {
        (self.below(256) * 256 + self.below(256)) % (length + 1)
    }
}

/// A whole scenario: exchanges one after the other. The caller uses one connection as long as this stays open.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) caller: Protocol,
    pub(crate) exchanges: Vec<Exchange>,
}

#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) dependency: Protocol,
    pub(crate) ask: Ask,
    /// The answers of the dependency: the first one for the first delivery of the request, the second one for all
    /// further deliveries.
    pub(crate) answers: [Answer; 2],
    /// The number of milliseconds without any event before the next exchange.
    pub(crate) quiet: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Lines(Lines),
    Frames(Frames),
}

impl Scenario {
    pub(crate) fn decode(bytes: &[u8]) -> Scenario {
        let mut cursor = Cursor::new(bytes);
        let shape = cursor.below(12);
        let caller = if shape.is_multiple_of(2) { Protocol::Http1 } else { Protocol::Http2 };
        let exchanges = (0..1 + shape / 2 % 3).map(|number| Exchange::decode(&mut cursor, caller, number));
        Scenario { caller, exchanges: exchanges.collect() }
    }
}

impl Exchange {
    fn decode(cursor: &mut Cursor<'_>, caller: Protocol, number: usize) -> Exchange {
        let dependency = cursor.of(&[Protocol::Http1, Protocol::Http1, Protocol::Http2]);
        let ask = Ask::decode(cursor, caller, number);
        let answer = |cursor: &mut Cursor<'_>, delivery| match dependency {
            Protocol::Http1 => Answer::Lines(Lines::decode(cursor, &ask, number, delivery)),
            Protocol::Http2 => Answer::Frames(Frames::decode(cursor, &ask, number, delivery)),
        };
        let first = answer(cursor, 0);
        let quiet = cursor.of(&[0, 1, 30, 300]);
        let second = answer(&mut Cursor::new(&[]), 1);
        let second = if cursor.below(4) == 3 { answer(cursor, 1) } else { second };
        Exchange { dependency, ask, answers: [first, second], quiet }
    }
}

/// A text that is a part of one answer's bytes and of no other answer's.
pub(crate) fn mark(number: usize, delivery: usize) -> String {
    format!("<{number}:{delivery}>")
}

/// Bytes in a readable form. The middle of a long text is left out.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ENDS: usize = 150;
        match self.0.len().checked_sub(2 * ENDS).filter(|left_out| *left_out > 20) {
            None => write!(f, "\"{}\"", self.0.escape_ascii()),
            Some(left_out) => {
                let (first, last) = (&self.0[..ENDS], &self.0[self.0.len() - ENDS..]);
                let (first, last) = (first.escape_ascii(), last.escape_ascii());
                write!(f, "\"{first}\" and {left_out} bytes and \"{last}\"")
            }
        }
    }
}

impl fmt::Display for Cuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0 => f.write_str("in one piece"),
            1..=8 => write!(f, "cut at {:?}", self.0),
            _ => f.write_str("byte by byte"),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "a caller over {:?}", self.caller)?;
        for (number, exchange) in self.exchanges.iter().enumerate() {
            writeln!(f, "{number}. asks {}", exchange.ask)?;
            for (delivery, answer) in exchange.answers.iter().enumerate() {
                write!(f, "   {:?} answers delivery {delivery}: ", exchange.dependency)?;
                match answer {
                    Answer::Lines(lines) => writeln!(f, "{lines}")?,
                    Answer::Frames(frames) => writeln!(f, "{frames}")?,
                }
            }
            writeln!(f, "   and is quiet for {} ms", exchange.quiet)?;
        }
        Ok(())
    }
}
