//! Writes a run as one HTML page: its figures and, side by side, what happened second by second in each variant ("arm")
//! that it compares.
//!
//! The page needs no other file: no script, no font, no picture. It has many small plots. All plots of one measure have
//! the same scale, so that arms can be compared by eye. Everything that is shown by a colour is also shown by words or
//! lines.

mod bars;
mod course;
mod plot;

use std::fmt::Write as _;

use self::course::escaped;
pub use self::course::{Course, Line};
use super::figures::{Estimate, Figure, Value};
use super::scenarios::{Findings, Scenario};

const STYLE: &str = "
:root { --ink:#1a1c1f; --quiet:#5d646d; --paper:#fcfcfb; --rule:#d4d7da; --line:#0b5c8a; --area:#0b5c8a1f; --wrong:#b4530926; --edge:#b45309; }
@media (prefers-color-scheme: dark) {
  :root { --ink:#e6e7e9; --quiet:#9aa2ab; --paper:#14171a; --rule:#343a41; --line:#6fc0ee; --area:#6fc0ee26; --wrong:#f59e0b26; --edge:#f59e0b; }
}
* { box-sizing:border-box }
body { margin:0 auto; max-width:1180px; padding:2rem 1.25rem 4rem; background:var(--paper); color:var(--ink); font:15px/1.5 system-ui,sans-serif }
h1 { font-size:1.6rem; margin:0 } h2 { font-size:1.1rem; margin:2.4rem 0 .2rem } p { margin:.3rem 0; max-width:70ch }
.quiet { color:var(--quiet); font-size:.88rem }
table { border-collapse:collapse; margin-top:.6rem; width:100% } th,td { text-align:left; padding:.28rem .9rem .28rem 0; border-bottom:1px solid var(--rule); vertical-align:middle }
td.n { font-variant-numeric:tabular-nums; white-space:nowrap } th { font-weight:600; font-size:.85rem; color:var(--quiet) }
.grid { display:grid; grid-template-columns:repeat(auto-fill,minmax(262px,1fr)); gap:1rem 1.3rem; margin-top:.7rem }
figure { margin:0 } figcaption { font-size:.8rem; line-height:1.3; min-height:2.1em; overflow-wrap:anywhere }
svg { display:block; width:100%; height:auto } svg text { fill:var(--quiet); font:10px system-ui,sans-serif }
.axis { stroke:var(--rule); stroke-width:1 } .line { fill:none; stroke:var(--line); stroke-width:1.5; stroke-linejoin:round }
.area { fill:var(--area) } .wrong { fill:var(--wrong) } .edge { stroke:var(--edge); stroke-width:1; stroke-dasharray:3 3 }
.bar { fill:var(--line) } .whisker { stroke:var(--ink); stroke-width:1.2 }
";

/// The names of the measures, each with its explanation.
const MEASURES: [(&str, &str); 6] = [
    ("goodput", "Goodput: the share of the calls begun in a second that ended well"),
    ("load on the provider", "Load on the provider: attempts that reached it, in each second"),
    ("waiting at the provider", "Waiting at the provider: attempts in its queue"),
    (
        "breakers not closed",
        "Breakers not closed: the share of the callers whose breaker is open or half-open",
    ),
    ("limit", "Concurrency limit: the mean over the callers"),
    ("in flight", "In flight: the most attempts of all callers under way at the same time"),
];

/// Returns the page as HTML.
#[must_use]
pub fn page(scenario: &Scenario, about: &str, findings: &Findings) -> String {
    let mut out = String::with_capacity(64 * 1024);
    let name = escaped(scenario.name);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>seawall: {name}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{name}</h1>\n<p>{}</p>\n<p class=\"quiet\">{}<br>{}</p>\n",
        escaped(scenario.question),
        escaped(scenario.source),
        escaped(about),
    );
    figures(&mut out, findings);
    for (measure, told) in MEASURES {
        courses(&mut out, measure, told, &findings.courses);
    }
    out.push_str("</body></html>\n");
    out
}

fn figures(out: &mut String, findings: &Findings) {
    out.push_str("<h2>Figures</h2>\n<p class=\"quiet\">Means over the seeds; whiskers and ± are 95 % confidence intervals.");
    if !findings.columns.is_empty() {
        let _ = write!(out, " Lists are: {}.", escaped(&findings.columns.join(" · ")));
    }
    out.push_str("</p>\n<table><tr><th>figure</th><th>value</th><th>first value</th></tr>\n");
    let study = |figure: &Figure| figure.name.split('/').next().unwrap_or_default().to_owned();
    for figure in &findings.figures {
        let same = findings.figures.iter().filter(|other| study(other) == study(figure));
        let most = same.filter_map(|other| other.numbers().first()).map(|one| one.mean + one.half);
        let most = most.fold(0.0, f64::max);
        let bar = figure.numbers().first().map_or(String::new(), |one| bars::bar(one, most));
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td class=\"n\">{}</td><td>{bar}</td></tr>",
            escaped(&figure.name),
            escaped(&in_words(figure))
        );
    }
    out.push_str("</table>\n");
}

/// Writes the plots of one measure, one for each variant ("arm") of the simulation, all on one scale. `told` is the
/// heading above them. Writes nothing if no variant has a value above zero.
fn courses(out: &mut String, measure: &str, told: &str, courses: &[Course]) {
    let lines: Vec<(&Course, &Line)> = courses
        .iter()
        .filter_map(|course| Some((course, course.lines.iter().find(|line| line.measure == measure)?)))
        .collect();
    let most = lines.iter().flat_map(|(_, line)| &line.points).copied().fold(0.0, f32::max);
    if lines.is_empty() || most <= 0.0 {
        return;
    }
    let _ = write!(
        out,
        "<h2>{}</h2>\n<p class=\"quiet\">The shaded time, between the dashed lines, is when something was wrong. \
         All plots have one scale.</p>\n<div class=\"grid\">\n",
        escaped(told)
    );
    for (course, line) in lines {
        let _ = writeln!(
            out,
            "<figure><figcaption>{}</figcaption>{}</figure>",
            escaped(&course.arm),
            plot::plot(line, course.trouble, most, &format!("{measure}, {}", course.arm))
        );
    }
    out.push_str("</div>\n");
}

/// Returns the value of a figure in words, as a table shows it.
#[must_use]
pub fn in_words(figure: &Figure) -> String {
    match &figure.value {
        Value::Number(one) => estimate(one),
        Value::List(all) => all.iter().map(estimate).collect::<Vec<_>>().join(" · "),
        Value::Holds(true) => "holds".into(),
        Value::Holds(false) => "does not hold".into(),
        Value::Said(text) => text.clone(),
    }
}

fn estimate(one: &Estimate) -> String {
    let digits = match one.mean.abs() {
        large if large >= 1000.0 => 0,
        middle if middle >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 4,
    };
    if one.half == 0.0 {
        return format!("{:.digits$}", one.mean);
    }
    format!("{:.digits$} ± {:.digits$}", one.mean, one.half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::scenarios::find;

    #[test]
    fn the_page_is_whole_needs_nothing_else_and_escapes_names() {
        let line = Line { measure: "goodput", points: vec![1.0, 0.5, 1.0] };
        let findings = Findings {
            figures: vec![Figure::columns("study/a<b>", &[vec![1.0], vec![2.0]])],
            courses: vec![Course { arm: "<script>".into(), trouble: (1.0, 2.0), lines: vec![line] }],
            ..Findings::default()
        };
        let page = page(find("metastable").expect("listed"), "seeds 1 to 2", &findings);
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        for foreign in ["http://", "https://", "<script", "@import", "src=", "href="] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("study/a&lt;b&gt;") && page.contains("&lt;script&gt;"));
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(page.contains("prefers-color-scheme: dark"));
    }
}
