//! Whether a workspace tells us of its runs, as the polls see it. A run's status says nothing of a refusal that all runs
//! share (a token that is not accepted any more), so these are gathered here for the workspace object: one condition, not
//! thousands. Outages are not seen here: the client knows of them, from all its calls ([`crate::databricks::health`]).

use std::time::Duration;

use super::Now;
use crate::databricks::error::Error;
use crate::databricks::health::{Says, says};

/// So many refusals in a row, with no answer for [`PATIENCE`], concern all runs; anything less may be a single run the
/// identity may not see.
const FAILURES: u32 = 3;

/// How long there must have been no answer before refusals concern all runs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the workspace tells of its runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Health {
    /// Nothing has been asked yet.
    #[default]
    Unknown,
    /// The last question got an answer, or not yet enough of them failed.
    Answering,
    /// Questions are refused.
    Failing {
        /// What the newest change of reason came with.
        error: Error,
        /// When the first of these failures was learned of.
        since: Now,
    },
}

/// Tells what concerns all runs from what concerns one.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    failures: u32,
    since: Option<Now>,
    answered: Option<Duration>,
}

impl Watchdog {
    /// Takes in one result; the new health if it differs from `health`.
    pub(super) fn learn(&mut self, result: Result<(), &Error>, health: &Health, now: Now) -> Option<Health> {
        match result {
            // An answer about the run is an answer of the workspace; the rate limit is ours and says nothing of it.
            Ok(()) | Err(Error::NotFound(_) | Error::Rejected(_)) => {
                *self = Self { answered: Some(now.monotonic), ..Self::default() };
                (*health != Health::Answering).then_some(Health::Answering)
            }
            Err(error) if says(Err(error)) != Says::Answers => None,
            Err(error) => self.failed(error, health, now),
        }
    }

    fn failed(&mut self, error: &Error, health: &Health, now: Now) -> Option<Health> {
        self.failures = self.failures.saturating_add(1);
        let since = *self.since.get_or_insert(now);
        let patient = self.failures < FAILURES
            || self.answered.is_some_and(|answered| now.monotonic.saturating_sub(answered) < PATIENCE);
        match health {
            Health::Failing { error: known, .. } if known.reason() == error.reason() => None,
            Health::Unknown | Health::Answering if patient && !concerns_all_runs(error) => None,
            _ => Some(Health::Failing { error: error.clone(), since }),
        }
    }
}

/// Whether the next run's get is bound to fail like this one's, so that one failure says it all.
fn concerns_all_runs(error: &Error) -> bool {
    match error {
        Error::Unauthenticated(_)
        | Error::Credentials(_)
        | Error::WrongHost(_)
        | Error::HostNotAllowed(_)
        | Error::NoSuchRoute(_) => true,
        Error::NoToken(no) => concerns_all_runs(&no.cause),
        Error::NotFound(_)
        | Error::Rejected(_)
        | Error::Forbidden(_)
        | Error::Throttled { .. }
        | Error::QuotaExceeded(_)
        | Error::Unavailable(_)
        | Error::Transport(_)
        | Error::NotNow(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::databricks::error::ApiError;

    fn at(seconds: u64) -> Now {
        Now { monotonic: Duration::from_secs(seconds), wall: SystemTime::UNIX_EPOCH }
    }

    fn unavailable() -> Error {
        Error::Unavailable(ApiError { http_status: 503, ..ApiError::default() })
    }

    fn forbidden() -> Error {
        Error::Forbidden(ApiError { http_status: 403, ..ApiError::default() })
    }

    /// The health after each result, one letter each: `?` unknown, `a` answering, `F` failing.
    fn story(results: &[(u64, Result<(), Error>)]) -> String {
        let (mut watchdog, mut health) = (Watchdog::default(), Health::Unknown);
        let mut letters = String::new();
        for (seconds, result) in results {
            if let Some(new) = watchdog.learn(result.as_ref().copied(), &health, at(*seconds)) {
                assert_ne!(new, health, "only a change is told");
                health = new;
            }
            letters.push(match health {
                Health::Unknown => '?',
                Health::Answering => 'a',
                Health::Failing { .. } => 'F',
            });
        }
        letters
    }

    #[test]
    fn a_refusal_concerns_all_runs_with_the_third_and_until_the_first_answer() {
        let refused = || Err(forbidden());
        assert_eq!(story(&[(0, Ok(())), (20, refused()), (40, refused()), (60, refused()), (80, Ok(()))]), "aaaFa");
    }

    #[test]
    fn refusals_among_answers_concern_single_runs() {
        let refused = || Err(forbidden());
        assert_eq!(story(&[(0, Ok(())), (1, refused()), (2, refused()), (3, refused()), (4, Ok(()))]), "aaaaa");
    }

    #[test]
    fn an_outage_changes_nothing_here() {
        let down = || Err(unavailable());
        let refused = || Err(Error::Unauthenticated(ApiError::default()));
        assert_eq!(story(&[(0, Ok(())), (20, down()), (40, down()), (60, down()), (80, down())]), "aaaaa");
        assert_eq!(story(&[(0, refused()), (20, down()), (40, down()), (60, Ok(()))]), "FFFa");
    }

    #[test]
    fn refused_credentials_are_told_at_once() {
        assert_eq!(story(&[(0, Ok(())), (1, Err(Error::Unauthenticated(ApiError::default())))]), "aF");
    }

    #[test]
    fn a_missing_run_is_an_answer_and_the_rate_limit_is_none() {
        assert_eq!(story(&[(0, Err(Error::NotFound(ApiError::default())))]), "a");
        assert_eq!(story(&[(0, Err(Error::NotNow(Duration::from_secs(1))))]), "?");
    }

    #[test]
    fn another_reason_is_told_and_the_same_one_is_not_told_again() {
        let (mut watchdog, down) = (Watchdog::default(), forbidden());
        let failing = Health::Failing { error: down.clone(), since: at(0) };
        assert_eq!(watchdog.learn(Err(&down), &failing, at(1)), None);
        let refused = Error::Unauthenticated(ApiError::default());
        let told = watchdog.learn(Err(&refused), &failing, at(2));
        assert_eq!(told, Some(Health::Failing { error: refused, since: at(1) }));
    }
}
