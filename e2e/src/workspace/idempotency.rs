//! What became of the idempotency tokens.
//!
//! The body is never compared: a token that is known answers with its run, whatever is asked this time. What happens to
//! the token of a deleted run is documented as an error; older text and other readings exist, so there are modes.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::errors::ApiError;

/// Longer tokens are refused.
const MAX_LENGTH: usize = 64;

/// How long a token stands for its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdempotencyMode {
    /// For ever; once its run is deleted the token is an error. As documented.
    #[default]
    Remembered,
    /// As long as the run is active; then the token starts another.
    OnlyActive,
    /// As long as the run exists; then the token starts another.
    ForgottenOnDeletion,
}

/// Every token ever used, with the run it started last.
#[derive(Debug, Default)]
pub(super) struct Ledger(HashMap<String, i64>);

/// What a run that a token points at is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Active,
    Ended,
    Gone,
}

impl Ledger {
    /// The run to answer with, or none when a new one is to be started.
    pub(super) fn existing(
        &self,
        token: &str,
        mode: IdempotencyMode,
        standing: impl FnOnce(i64) -> Standing,
    ) -> Result<Option<i64>, ApiError> {
        if token.chars().count() > MAX_LENGTH {
            return Err(ApiError::invalid(format!("idempotency_token must be at most {MAX_LENGTH} characters long.")));
        }
        let Some(run) = self.0.get(token).copied() else {
            return Ok(None);
        };
        match (mode, standing(run)) {
            (_, Standing::Active)
            | (IdempotencyMode::Remembered | IdempotencyMode::ForgottenOnDeletion, Standing::Ended) => Ok(Some(run)),
            (IdempotencyMode::Remembered, Standing::Gone) => Err(ApiError::invalid(format!(
                "The run {run} that was started with this idempotency_token has been deleted."
            ))),
            (IdempotencyMode::OnlyActive, _) | (IdempotencyMode::ForgottenOnDeletion, Standing::Gone) => Ok(None),
        }
    }

    pub(super) fn remember(&mut self, token: &str, run: i64) {
        self.0.insert(token.to_owned(), run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the token of a run in each standing answers with the run, starts anew or is refused.
    #[test]
    fn each_mode_treats_the_token_of_an_ended_and_of_a_deleted_run_in_its_own_way() {
        let mut ledger = Ledger::default();
        ledger.remember("token", 7);
        let table = [
            (IdempotencyMode::Remembered, Standing::Active, "run"),
            (IdempotencyMode::Remembered, Standing::Ended, "run"),
            (IdempotencyMode::Remembered, Standing::Gone, "error"),
            (IdempotencyMode::OnlyActive, Standing::Active, "run"),
            (IdempotencyMode::OnlyActive, Standing::Ended, "new"),
            (IdempotencyMode::OnlyActive, Standing::Gone, "new"),
            (IdempotencyMode::ForgottenOnDeletion, Standing::Active, "run"),
            (IdempotencyMode::ForgottenOnDeletion, Standing::Ended, "run"),
            (IdempotencyMode::ForgottenOnDeletion, Standing::Gone, "new"),
        ];
        for (mode, standing, expected) in table {
            let answer = match ledger.existing("token", mode, |_| standing) {
                Ok(Some(7)) => "run",
                Ok(_) => "new",
                Err(_) => "error",
            };
            assert_eq!(answer, expected, "{mode:?} {standing:?}");
        }
    }

    #[test]
    fn a_token_of_65_characters_is_refused_and_one_of_64_is_not() {
        let ledger = Ledger::default();
        let ask = |length: usize| ledger.existing(&"x".repeat(length), IdempotencyMode::Remembered, |_| Standing::Gone);
        assert!(ask(64).is_ok());
        assert!(ask(65).is_err());
    }
}
