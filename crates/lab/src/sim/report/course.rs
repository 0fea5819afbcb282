//! How the arms of a run went, second by second: what is drawn.

/// How one arm went, second by second.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Its name.
    pub arm: String,
    /// The seconds between which something was wrong.
    pub trouble: (f32, f32),
    /// What was seen, as means over the seeds.
    pub lines: Vec<Line>,
}

/// One measure of an arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What.
    pub measure: &'static str,
    /// For each second.
    pub points: Vec<f32>,
}

/// Text as HTML takes it.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
