//! The measures of one variant ("arm") of a simulation, second by second. The plots show them.

/// The course of one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// The name of the arm.
    pub arm: String,
    /// The seconds at which the trouble began and ended. Both are zero if there was no trouble.
    pub trouble: (f32, f32),
    /// The measures of the arm, as means over the seeds.
    pub lines: Vec<Line>,
}

/// One measure of an arm, second by second.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The name of the measure.
    pub measure: &'static str,
    /// The value for each second.
    pub points: Vec<f32>,
}

/// Returns the text escaped for HTML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
