//! What happens to one request at the provider: drawn from the seed, the key, and the number of the request.

use std::time::Duration;

use crate::declared::{ATTEMPT, WORK};
use crate::provider::Ask;
use crate::schedule::Phase;

/// How the program is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// What the provider has to say.
    Told,
    /// A failure, as the status 500.
    Error,
    /// The connection is closed without an answer.
    Closed,
    /// The connection is reset without an answer.
    Reset,
    /// The connection stays open without an answer.
    Never,
}

/// The course of one request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Course {
    /// The name under which the fault is counted; empty if nothing goes wrong.
    pub(crate) kind: &'static str,
    /// How long the provider works before the effect.
    pub(crate) delay: Duration,
    /// Whether the provider does what it is asked for.
    pub(crate) effect: bool,
    /// Whether the provider refuses.
    pub(crate) refused: bool,
    /// Whether the effect comes after the program has stopped waiting.
    pub(crate) is_slow: bool,
    /// Whether a phase, and not the draw of this request, is the cause.
    pub(crate) is_phase: bool,
    /// What the program is told in place of what the provider has to say.
    pub(crate) told: Option<&'static str>,
    pub(crate) answer: Answer,
}

/// The faults that every run has to reach, as they are counted. A short run has to reach the first [`FREQUENT`] only.
pub(crate) const KINDS: [&str; 17] = [
    "perform: answer lost after the effect",
    "perform: request lost",
    "perform: never answered, no effect",
    "perform: 5xx before the effect",
    "perform: 5xx after the effect",
    "perform: slow beyond the deadline",
    "perform: reset before the effect",
    "perform: refused",
    "confirm: request lost",
    "perform: reset after the effect",
    "perform: repeated by a proxy",
    "cancel: answer lost after the effect",
    "cancel: 5xx before the effect",
    "cancel: 5xx after the effect",
    "cancel: slow beyond the deadline",
    "cancel: reset after the effect",
    "confirm: 5xx before the effect",
];

pub(crate) const FREQUENT: usize = 9;

impl Course {
    /// The course of a request with which nothing goes wrong.
    pub(crate) fn honest() -> Course {
        Course {
            kind: "",
            delay: Duration::ZERO,
            effect: true,
            refused: false,
            is_slow: false,
            is_phase: false,
            told: None,
            answer: Answer::Told,
        }
    }

    /// Draws the course of the request with this number under its key.
    pub(crate) fn draw(seed: u64, ask: &Ask, number: u32, phases: &[Phase]) -> Course {
        let mut random = fastrand::Rng::with_seed(mixed(seed, ask, number));
        let base = Course::honest();
        if ask.verb == "cancel" && phases.contains(&Phase::CancelsFail) {
            let (kind, told) = ("fails for a while", random.bool().then_some("refused"));
            let answer = if told.is_some() { Answer::Told } else { Answer::Error };
            return Course { kind, effect: false, is_phase: true, told, answer, ..base };
        }
        let refuses = phases.contains(&Phase::Refuses) && random.bool();
        if ask.verb == "perform" && (refuses || random.u32(..100) < 4) {
            return Course { kind: "refused", refused: true, is_phase: refuses, ..base };
        }
        let lost = |kind, effect, answer| Course { kind, effect, answer, ..base.clone() };
        let after = |draw: u32| match draw {
            0..6 => lost("answer lost after the effect", true, Answer::Closed),
            6..11 => lost("5xx after the effect", true, Answer::Error),
            11..14 => lost("reset after the effect", true, Answer::Reset),
            _ => lost("request lost", false, Answer::Closed),
        };
        let draw = random.u32(..100);
        match draw {
            0..50 => base,
            50..58 => Course { delay: Duration::from_millis(random.u64(30..600)), ..base },
            58..72 if ask.verb != "confirm" => after(draw - 58),
            72..77 => lost("request lost", false, Answer::Closed),
            77..82 => lost("5xx before the effect", false, Answer::Error),
            82..85 => lost("reset before the effect", false, Answer::Reset),
            85..88 => lost("never answered, no effect", false, Answer::Never),
            88..94 if ask.verb != "confirm" => {
                let late = ATTEMPT + Duration::from_millis(50)..WORK - Duration::from_millis(200);
                let millis = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                let delay = Duration::from_millis(random.u64(millis(late.start)..millis(late.end)));
                let (kind, is_slow) = ("slow beyond the deadline", true);
                Course { kind, delay, is_slow, answer: Answer::Told, ..base }
            }
            // The program is told of the second copy of its request only.
            94..100 if ask.verb == "perform" && ask.dependency == "strict" => {
                Course { kind: "repeated by a proxy", told: Some("duplicate"), ..base }
            }
            _ => base,
        }
    }
}

/// Mixes the seed with what names the request.
fn mixed(seed: u64, ask: &Ask, number: u32) -> u64 {
    let number = number.to_string();
    let texts = [&ask.verb, &ask.dependency, &ask.key, &number];
    let bytes = texts.into_iter().flat_map(|text| text.bytes().chain([0]));
    bytes.fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
