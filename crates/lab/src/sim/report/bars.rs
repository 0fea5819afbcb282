//! Draws one bar with its confidence interval.

use crate::sim::figures::Estimate;

/// Returns a horizontal bar for the estimate as SVG, on a scale from zero to `most`. Returns an empty text if `most` is
/// not above zero, or if the mean is not finite.
pub(super) fn bar(one: &Estimate, most: f64) -> String {
    if most <= 0.0 || !one.mean.is_finite() {
        return String::new();
    }
    let x = |value: f64| (value / most).clamp(0.0, 1.0) * 216.0 + 1.0;
    let (low, high) = (x(one.mean - one.half), x(one.mean + one.half));
    format!(
        "<svg viewBox=\"0 0 220 14\" style=\"width:220px\" role=\"img\" aria-label=\"{:.4}\">\
         <rect class=\"bar\" x=\"1\" y=\"3\" width=\"{:.1}\" height=\"8\" rx=\"1\"/>\
         <path class=\"whisker\" d=\"M{low:.1} 7H{high:.1}M{low:.1} 4V10M{high:.1} 4V10\"/></svg>",
        one.mean,
        x(one.mean) - 1.0
    )
}
