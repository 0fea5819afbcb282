//! A table of the results of all cases, for people to read.

use std::collections::BTreeMap;
use std::fmt;

use super::case::Case;
use super::oracle::{Fault, Kind};

/// The number of faults of one case that are shown in full.
const SHOWN: usize = 3;

/// One line of the table.
pub struct Row {
    id: String,
    sentence: &'static str,
    input: String,
    runs: usize,
    outcomes: BTreeMap<String, usize>,
    faults: Vec<(String, Fault)>,
}

impl Row {
    pub fn of(case: &Case) -> Row {
        let (id, sentence, input) = (case.id.clone(), case.sentence, case.input());
        Row { id, sentence, input, runs: 0, outcomes: BTreeMap::new(), faults: Vec::new() }
    }

    /// Adds a run: how it was made, what the caller learned, and what was wrong.
    pub fn add(&mut self, run: &str, outcome: String, faults: Vec<Fault>) {
        self.runs += 1;
        *self.outcomes.entry(outcome).or_default() += 1;
        self.faults.extend(faults.into_iter().map(|fault| (run.to_owned(), fault)));
    }

    pub fn runs(&self) -> usize {
        self.runs
    }

    /// The number of faults of this kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.faults.iter().filter(|(_, fault)| fault.kind == kind).count()
    }

    pub fn is_good(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcomes: Vec<String> =
            self.outcomes.iter().map(|(outcome, times)| format!("{times} {outcome}")).collect();
        let sign = if self.is_good() { "ok  " } else { "FAIL" };
        let Row { id, sentence, input, .. } = self;
        writeln!(f, "{sign} {id} | {sentence} | {input} | {}", outcomes.join(", "))?;
        let mut shown: BTreeMap<(Kind, &str), Vec<&str>> = BTreeMap::new();
        for (run, fault) in &self.faults {
            shown.entry((fault.kind, &fault.text)).or_default().push(run);
        }
        for ((kind, text), runs) in shown.iter().take(SHOWN) {
            let some: Vec<&str> = runs.iter().take(4).copied().collect();
            writeln!(f, "       {kind:?}: {text} ({} runs: {})", runs.len(), some.join("; "))?;
        }
        if shown.len() > SHOWN {
            writeln!(f, "       and {} more kinds", shown.len() - SHOWN)?;
        }
        Ok(())
    }
}
