//! All figures, as tables for people and as JSON for programs. Nothing is left out: what was promised and not kept stands there
//! as such.

use std::fmt;

use serde::Serialize;

use super::figures::{Figure, Outcome};
use super::subject::Kind;

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The figures.
    pub outcomes: Vec<Outcome>,
    /// Scenarios that could not be played to their end, and why.
    pub failures: Vec<String>,
}

impl Report {
    /// Promises that were not kept, in words.
    #[must_use]
    pub fn broken(&self) -> Vec<String> {
        let told = |outcome: &Outcome, figure: &Figure| format!("{}: {}", outcome.scenario, figure.name);
        self.outcomes.iter().flat_map(|outcome| outcome.broken().map(move |figure| told(outcome, figure))).collect()
    }

    fn baseline_of(&self, outcome: &Outcome) -> Option<&Outcome> {
        self.outcomes.iter().find(|other| other.subject == Kind::Baseline && other.scenario == outcome.scenario)
    }
}

/// A number with three digits that count.
fn short(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 0.1 => format!("{value:.2}"),
        Some(value) => format!("{value:.4}"),
    }
}

fn promise(figure: &Figure) -> String {
    figure.at_most.map_or_else(String::new, |bound| {
        let verdict = if figure.is_kept() { "kept" } else { "BROKEN" };
        format!("at most {}: {verdict}", if bound == 0.0 { "0".to_owned() } else { bound.to_string() })
    })
}

/// Markdown, so that it can be put into a document as it is.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for outcome in &self.outcomes {
            let baseline = self.baseline_of(outcome).filter(|_| outcome.subject == Kind::Operator);
            if outcome.subject == Kind::Baseline && self.has_operator(outcome) {
                continue;
            }
            writeln!(f, "### {}\n\n{}.\n", outcome.scenario, outcome.about)?;
            let value = |figure: &Figure| format!("{} {}", short(figure.value), figure.unit).trim_end().to_owned();
            match baseline {
                None => {
                    writeln!(f, "| figure | {:?} | promised |\n| --- | ---: | --- |", outcome.subject)?;
                    for figure in &outcome.figures {
                        writeln!(f, "| {} | {} | {} |", figure.name, value(figure), promise(figure))?;
                    }
                }
                Some(baseline) => {
                    writeln!(
                        f,
                        "| figure | operator | baseline | ratio | promised |\n| --- | ---: | ---: | ---: | --- |"
                    )?;
                    for figure in &outcome.figures {
                        let other = baseline.figure(&figure.name);
                        let ratio = ratio(figure.value, other.and_then(|other| other.value));
                        let other = other.map_or_else(|| "-".to_owned(), value);
                        writeln!(
                            f,
                            "| {} | {} | {other} | {ratio} | {} |",
                            figure.name,
                            value(figure),
                            promise(figure)
                        )?;
                    }
                    for figure in baseline.figures.iter().filter(|other| outcome.figure(&other.name).is_none()) {
                        writeln!(f, "| {} | - | {} | | |", figure.name, value(figure))?;
                    }
                }
            }
            writeln!(f)?;
        }
        for failure in &self.failures {
            writeln!(f, "Could not be played: {failure}")?;
        }
        Ok(())
    }
}

impl Report {
    fn has_operator(&self, outcome: &Outcome) -> bool {
        self.outcomes.iter().any(|other| other.subject == Kind::Operator && other.scenario == outcome.scenario)
    }
}

/// The operator's figure as a part of the baseline's.
fn ratio(ours: Option<f64>, theirs: Option<f64>) -> String {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if theirs > 0.0 => short(Some(ours / theirs)),
        _ => String::new(),
    }
}
