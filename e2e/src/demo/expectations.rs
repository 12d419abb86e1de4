//! What the demo promises of what it shows. A promise that was broken is told at the end and in the exit code.

use std::fmt::Debug;

/// The promises so far.
#[derive(Debug, Default)]
pub(super) struct Expectations {
    kept: usize,
    broken: Vec<String>,
}

impl Expectations {
    /// `what` is as it should be.
    pub(super) fn equal<T: PartialEq + Debug>(&mut self, what: &str, is: &T, should_be: &T) {
        self.that(is == should_be, || format!("{what} should be {should_be:?} but is {is:?}"));
    }

    /// A text says this.
    pub(super) fn says(&mut self, what: &str, text: &str, part: &str) {
        self.that(text.contains(part), || format!("{what} should say {part:?} but says {text:?}"));
    }

    /// Something came in time.
    pub(super) fn came(&mut self, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => self.kept += 1,
            Err(why_not) => self.broken.push(why_not),
        }
    }

    fn that(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.came(if holds { Ok(()) } else { Err(otherwise()) });
    }

    pub(super) fn kept(&self) -> usize {
        self.kept
    }

    pub(super) fn broken(&self) -> &[String] {
        &self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_promise_tells_both_sides() {
        let mut expectations = Expectations::default();
        expectations.equal("state", &"Succeeded", &"Succeeded");
        expectations.equal("state", &"Failed", &"Succeeded");
        assert_eq!(expectations.kept(), 1);
        assert_eq!(expectations.broken(), [r#"state should be "Succeeded" but is "Failed""#]);
    }
}
