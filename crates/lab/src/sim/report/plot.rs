//! Draws one small line plot.

use std::fmt::Write as _;

use super::course::{Line, escaped};

const WIDTH: f32 = 280.0;
const HEIGHT: f32 = 120.0;
const LEFT: f32 = 34.0;
const BOTTOM: f32 = 16.0;
const TOP: f32 = 6.0;

/// Returns a plot of the line as SVG, with the seconds of the run from left to right. The scale begins at zero and ends
/// at `most`, rounded up to a round number. The time between the two seconds in `trouble` is shaded. `label` describes
/// the plot for screen readers.
pub(super) fn plot(line: &Line, trouble: (f32, f32), most: f32, label: &str) -> String {
    let seconds = line.points.len().max(2) as f32 - 1.0;
    let ceiling = round_up(most);
    let x = |second: f32| LEFT + (WIDTH - LEFT - 4.0) * (second / seconds).clamp(0.0, 1.0);
    let y = |value: f32| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - (value / ceiling).clamp(0.0, 1.0));
    let (floor, roof) = (y(0.0), y(ceiling));
    let (from, to) = (x(trouble.0), x(trouble.1));
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\
         <rect class=\"wrong\" x=\"{from:.1}\" y=\"{roof:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
        escaped(label),
        to - from,
        floor - roof
    );
    for edge in [from, to] {
        let _ = write!(out, "<path class=\"edge\" d=\"M{edge:.1} {roof:.1}V{floor:.1}\"/>");
    }
    let _ = write!(
        out,
        "<path class=\"axis\" fill=\"none\" d=\"M{LEFT} {roof:.1}V{floor:.1}H{:.1}\"/>",
        WIDTH - 4.0
    );
    let mut path = String::new();
    for (second, value) in line.points.iter().enumerate() {
        let _ =
            write!(path, "{}{:.1} {:.1}", if second == 0 { "M" } else { "L" }, x(second as f32), y(*value));
    }
    let _ = write!(
        out,
        "<path class=\"area\" d=\"{path}L{:.1} {floor:.1}L{LEFT} {floor:.1}Z\"/><path class=\"line\" d=\"{path}\"/>",
        x(seconds)
    );
    for (value, at) in [(ceiling, roof + 8.0), (ceiling / 2.0, y(ceiling / 2.0) + 3.0), (0.0, floor)] {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{at:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 4.0,
            short(value)
        );
    }
    for (second, anchor) in [(0.0, "start"), (trouble.1, "middle"), (seconds, "end")] {
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{second:.0} s</text>",
            x(second),
            HEIGHT - 4.0
        );
    }
    out.push_str("</svg>");
    out
}

/// Returns the smallest number that is at least `most` and is 1, 2, 2.5 or 5 times a power of ten.
fn round_up(most: f32) -> f32 {
    let power = 10_f32.powf(most.max(1e-6).log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| most <= step * 1.0001).unwrap_or(most)
}

fn short(value: f32) -> String {
    match value {
        large if large >= 10_000.0 => format!("{:.0}k", large / 1000.0),
        middle if middle >= 10.0 || middle == middle.trunc() => format!("{middle:.0}"),
        small => format!("{small:.2}").trim_end_matches('0').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_numbers() {
        for (most, ceiling) in [(0.97, 1.0), (1.0, 1.0), (350.0, 500.0), (21_000.0, 25_000.0)] {
            assert!((round_up(most) / ceiling - 1.0).abs() < 1e-3, "{most}: {}", round_up(most));
        }
        assert_eq!([0.5, 1.0, 500.0, 25_000.0].map(short), ["0.5", "1", "500", "25k"]);
    }

    #[test]
    fn every_point_lies_within_the_plot() {
        let line = Line { measure: "goodput", points: vec![0.0, 9.0, f32::INFINITY, -3.0] };
        let drawn = plot(&line, (0.0, 99.0), 10.0, "a & b");
        assert!(!drawn.contains("NaN") && !drawn.contains("inf") && drawn.contains("a &amp; b"));
    }
}
