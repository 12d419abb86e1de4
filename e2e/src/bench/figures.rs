//! Figures, and what they are made of. A figure that could not be taken is none: never a zero, which would be a good one.

use std::collections::BTreeMap;

use serde::Serialize;

use super::subject::Kind;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// `s`, `ms`, `MiB`, `/s` or nothing.
    pub unit: &'static str,
    /// None: it could not be taken, for nothing of the kind happened.
    pub value: Option<f64>,
    /// What is promised of the operator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
}

impl Figure {
    /// Whether it is within what is promised; a figure that could not be taken is not.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.at_most.is_none_or(|bound| self.value.is_some_and(|value| value <= bound))
    }
}

/// The figures of one scenario with one subject.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// What was done, with the rates it allows.
    pub about: String,
    /// Who was measured.
    pub subject: Kind,
    /// Live runs, where the scenario is about a number of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<usize>,
    /// The figures, in the order in which they are told.
    pub figures: Vec<Figure>,
}

impl Outcome {
    pub(super) fn new(scenario: &str, about: String, subject: Kind) -> Self {
        Self { scenario: scenario.to_owned(), about, subject, live: None, figures: Vec::new() }
    }

    /// Adds a figure.
    pub(super) fn tell(&mut self, name: impl Into<String>, unit: &'static str, value: impl Into<Option<f64>>) {
        self.figures.push(Figure { name: name.into(), unit, value: value.into(), at_most: None });
    }

    /// Adds a figure of which something is promised.
    pub(super) fn promise(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        value: impl Into<Option<f64>>,
        at_most: f64,
    ) {
        // What is promised is promised of the operator.
        let at_most = Some(at_most).filter(|_| self.subject == Kind::Operator);
        self.figures.push(Figure { name: name.into(), unit, value: value.into(), at_most });
    }

    /// Adds median, 95th and 99th percentile.
    pub(super) fn tell_spread(&mut self, name: &str, unit: &'static str, spread: &Spread) {
        for (share, suffix) in [(0.5, "p50"), (0.95, "p95"), (0.99, "p99")] {
            self.tell(format!("{name} {suffix}"), unit, spread.at(share));
        }
    }

    /// The figure of this name.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// Those that are not within what is promised.
    pub fn broken(&self) -> impl Iterator<Item = &Figure> {
        self.figures.iter().filter(|figure| !figure.is_kept())
    }
}

/// Samples, in order.
#[derive(Debug, Default)]
pub(super) struct Spread(Vec<f64>);

impl Spread {
    /// The sample that this share of all does not pass.
    pub(super) fn at(&self, share: f64) -> Option<f64> {
        let count = u32::try_from(self.0.len()).ok()?;
        let rank = (share * f64::from(count)).ceil().max(1.0);
        let index = (1..=self.0.len()).find(|index| f64::from(u32::try_from(*index).unwrap_or(u32::MAX)) >= rank)?;
        self.0.get(index - 1).copied()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<f64> for Spread {
    fn from_iter<T: IntoIterator<Item = f64>>(samples: T) -> Self {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        Self(samples)
    }
}

/// Counts by what they count.
pub(super) type Counts = BTreeMap<String, usize>;

/// A count as a figure: those here are small enough to be exact.
pub(super) fn number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

/// A span of the fake's clock, in milliseconds.
pub(super) fn millis(span: i64) -> f64 {
    i32::try_from(span).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_sample_that_so_many_do_not_pass() {
        let spread: Spread = (1..=100).map(f64::from).rev().collect();
        assert_eq!(
            [0.5, 0.95, 0.99, 1.0].map(|share| spread.at(share)),
            [Some(50.0), Some(95.0), Some(99.0), Some(100.0)]
        );
        assert_eq!(Spread::default().at(0.5), None);
        assert_eq!([7.0].into_iter().collect::<Spread>().at(0.01), Some(7.0));
    }
}
