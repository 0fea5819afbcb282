//! The results of a run: named figures, each with its uncertainty.
//!
//! Every number carries the half width of its 95 % confidence interval (Student's t over the seeds), and the table
//! prints it. Without this, a mean over several seeds can make noise look like a result.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Value as Json, json};

/// A mean over seeds, with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Half the width of the mean's 95 % confidence interval; zero if there is only one seed.
    pub half: f64,
    /// The largest value of any seed.
    pub worst: f64,
}

impl Estimate {
    /// Returns an estimate for a number that is known exactly; its interval has no width.
    #[must_use]
    pub fn exact(value: f64) -> Estimate {
        Estimate { mean: value, half: 0.0, worst: value }
    }

    /// Returns the mean of these numbers, one for each seed, with its confidence interval.
    #[must_use]
    pub fn of(values: &[f64]) -> Estimate {
        let n = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        let worst = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if values.len() < 2 {
            return Estimate { mean, half: 0.0, worst };
        }
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Estimate { mean, half: student(values.len() - 1) * (variance / n).sqrt(), worst }
    }
}

/// Returns the 97.5 % quantile of Student's t for this number of degrees of freedom.
fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    match TABLE.get(freedom.saturating_sub(1)) {
        Some(quantile) => *quantile,
        // The first term of the expansion of Cornish and Fisher. Its error is 1 % at eleven degrees of freedom, and
        // smaller at more.
        None => 1.960 + 2.4 / freedom as f64,
    }
}

/// The value of a figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One number.
    Number(Estimate),
    /// Several numbers, in a fixed order.
    List(Vec<Estimate>),
    /// Whether a statement holds.
    Holds(bool),
    /// A result that is not a number, such as "not within 90 s".
    Said(String),
}

/// A named result.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The name of the figure, in the form `study/case`: the study that it belongs to, and the case within this study.
    pub name: String,
    /// The value that the run found.
    pub value: Value,
}

impl Figure {
    /// Creates a figure with this name and value.
    #[must_use]
    pub fn new(name: impl Into<String>, value: Value) -> Figure {
        Figure { name: name.into(), value }
    }

    /// Creates a figure with one estimate for each column. Each of the `rows` has the values of one seed. The value of
    /// the figure is a list or, if there is only one column, a single number.
    #[must_use]
    pub fn columns(name: impl Into<String>, rows: &[Vec<f64>]) -> Figure {
        let width = rows.first().map_or(0, Vec::len);
        let column = |index: usize| rows.iter().map(|row| row[index]).collect::<Vec<f64>>();
        let all: Vec<Estimate> = (0..width).map(|index| Estimate::of(&column(index))).collect();
        let value = match all.as_slice() {
            [one] => Value::Number(*one),
            _ => Value::List(all),
        };
        Figure::new(name, value)
    }

    /// Returns the numbers of the figure. The slice is empty if the value is not a number or a list.
    #[must_use]
    pub fn numbers(&self) -> &[Estimate] {
        match &self.value {
            Value::Number(one) => std::slice::from_ref(one),
            Value::List(all) => all,
            Value::Holds(_) | Value::Said(_) => &[],
        }
    }
}

/// Names and values that are serialised in the order in which they were added. A JSON map would sort them.
#[derive(Clone, Debug, Default)]
pub struct Ordered(pub Vec<(String, Json)>);

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Returns two lists. The first has the name and the value of each figure. The second has its name and the half width
/// of its confidence interval. A figure without numbers ([`Value::Holds`], [`Value::Said`]) is only in the first.
#[must_use]
pub fn to_json(figures: &[Figure]) -> (Ordered, Ordered) {
    let (mut means, mut halves) = (Ordered::default(), Ordered::default());
    for figure in figures {
        let (mean, half) = match &figure.value {
            Value::Number(one) => (number(one.mean), Some(number(one.half))),
            Value::List(all) => (
                all.iter().map(|one| number(one.mean)).collect(),
                Some(all.iter().map(|one| number(one.half)).collect()),
            ),
            Value::Holds(holds) => (json!(holds), None),
            Value::Said(text) => (json!(text), None),
        };
        means.0.push((figure.name.clone(), mean));
        halves.0.extend(half.map(|half| (figure.name.clone(), half)));
    }
    (means, halves)
}

/// Returns the number rounded to six significant digits, since further digits are noise. A number that is not finite
/// gives null.
fn number(value: f64) -> Json {
    if value == 0.0 || !value.is_finite() {
        return json!(if value == 0.0 { Some(0.0) } else { None });
    }
    let digits = 5 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits.clamp(0, 12));
    json!((value * scale).round() / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_narrows_with_seeds() {
        let few = Estimate::of(&[1.0, 3.0]);
        let many = Estimate::of(&[1.0, 3.0, 1.0, 3.0, 1.0, 3.0]);
        assert_eq!((few.mean, many.mean, few.worst), (2.0, 2.0, 3.0));
        assert!((few.half - 12.706).abs() < 0.01, "{}", few.half);
        assert!(many.half < few.half / 5.0);
        assert_eq!(Estimate::of(&[4.0]).half, 0.0);
    }

    #[test]
    fn json_keeps_order_and_drops_noise() {
        let figures = [
            Figure::columns("b/one", &[vec![0.123_456_789], vec![0.123_456_789]]),
            Figure::columns("a/two", &[vec![1.0, 2500.0]]),
            Figure::new("a/said", Value::Said("not within 90 s".into())),
        ];
        let (means, halves) = to_json(&figures);
        let text = |ordered| serde_json::to_string(ordered).expect("numbers and names");
        assert_eq!(text(&means), r#"{"b/one":0.123457,"a/two":[1.0,2500.0],"a/said":"not within 90 s"}"#);
        assert_eq!(text(&halves), r#"{"b/one":0.0,"a/two":[0.0,0.0]}"#);
    }
}
