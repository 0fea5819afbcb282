//! How each arm of a run went, second by second. The plots show this.

/// How one arm went, second by second.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Its name.
    pub arm: String,
    /// The seconds at which the trouble began and ended.
    pub trouble: (f32, f32),
    /// What was seen, as means over the seeds.
    pub lines: Vec<Line>,
}

/// One measure of an arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// What is measured.
    pub measure: &'static str,
    /// The value for each second.
    pub points: Vec<f32>,
}

/// Text, escaped for HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
