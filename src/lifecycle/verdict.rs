//! Where a run is, by one total function over the two descriptions Databricks gives of it. Both are optional, either may
//! be newer than this program: what it does not know never ends a run. The table in the tests is the specification.

use crate::api::conditions::{Reason, State};
use crate::databricks::model::{
    LifeCycleState, ResultState, Run, RunState, RunStatus, StatusState, TerminationCode, TerminationDetails,
};

/// What one look at a run tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It has not ended.
    Active(Activity),
    /// It has ended, and how is known.
    Ended(Verdict),
    /// The two descriptions disagree on whether it has ended. Ask again; if they still do after a while, believe
    /// `status`: this is what it then means.
    Disagreeing(Box<Look>),
    /// It has ended with neither a result nor a termination code. Ask again; then it counts as failed.
    ResultMissing,
}

/// What a run that has not ended is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    /// Waits for capacity.
    Queued,
    /// Its compute is being prepared, or it waits for something else before it executes.
    Pending,
    /// Executes.
    Running,
    /// Its work is done and being cleaned up; not yet final.
    Terminating,
    /// Something new; shown as running under Databricks' own word.
    Unknown(String),
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The word for people.
    pub state: State,
    /// The reason in the conditions.
    pub reason: Reason,
}

impl Verdict {
    const SUCCEEDED: Self = Self { state: State::Succeeded, reason: Reason::RunSucceeded };
    const SUCCEEDED_WITH_FAILURES: Self = Self { state: State::Succeeded, reason: Reason::RunSucceededWithFailures };
    const FAILED: Self = Self { state: State::Failed, reason: Reason::RunFailed };
    const TIMED_OUT: Self = Self { state: State::TimedOut, reason: Reason::RunTimedOut };
    const SKIPPED: Self = Self { state: State::Skipped, reason: Reason::RunSkipped };
    /// Ended without a result, even after asking again.
    pub const RESULT_MISSING: Self = Self { state: State::Failed, reason: Reason::ResultMissing };
    /// No task executed in time.
    pub const STARTING_DEADLINE: Self = Self { state: State::TimedOut, reason: Reason::StartingDeadlineExceeded };
    /// The request took too long.
    pub const ACTIVE_DEADLINE: Self = Self { state: State::TimedOut, reason: Reason::DeadlineExceeded };
    /// It was cancelled.
    pub const CANCELED: Self = Self { state: State::Canceled, reason: Reason::RunCanceled };
    /// Databricks no longer knows the run.
    pub const NOT_FOUND: Self = Self { state: State::Failed, reason: Reason::RunNotFound };

    /// A request that was refused.
    #[must_use]
    pub const fn rejected(reason: Reason) -> Self {
        Self { state: State::Rejected, reason }
    }

    /// Whether it is a success.
    #[must_use]
    pub fn succeeded(self) -> bool {
        self.state == State::Succeeded
    }
}

/// Reads the two descriptions.
#[must_use]
pub fn look(state: Option<&RunState>, status: Option<&RunStatus>) -> Look {
    let by_state = state.and_then(|state| state.life_cycle_state.as_ref()).map(|life| (life, has_ended(life)));
    let by_status = status.and_then(|status| status.state.as_ref());
    match (by_state, by_status) {
        (Some((_, ended)), Some(newer)) if ended != (*newer == StatusState::Terminated) => {
            let believed = if ended { Look::Active(activity_of_status(newer)) } else { end(state, status) };
            Look::Disagreeing(Box::new(believed))
        }
        (Some((_, true)), _) | (None, Some(StatusState::Terminated)) => end(state, status),
        (Some((life, false)), newer) => Look::Active(activity(life, newer)),
        (None, Some(newer)) => Look::Active(activity_of_status(newer)),
        (None, None) => Look::Active(Activity::Unknown("no state given".to_owned())),
    }
}

/// Whether an answer has to be asked for again before it counts.
#[must_use]
pub fn is_doubtful(run: &Run) -> bool {
    matches!(look(run.state.as_ref(), run.status.as_ref()), Look::Disagreeing(_) | Look::ResultMissing)
}

/// Whether a life-cycle state is an end; an unknown one is not.
fn has_ended(life: &LifeCycleState) -> bool {
    matches!(life, LifeCycleState::Terminated | LifeCycleState::Skipped | LifeCycleState::InternalError)
}

/// How it ended: by the result, else by the termination code, else by the kind of end.
fn end(state: Option<&RunState>, status: Option<&RunStatus>) -> Look {
    let life = state.and_then(|state| state.life_cycle_state.as_ref());
    let result = state.and_then(|state| state.result_state.as_ref());
    let code = status.and_then(|status| status.termination_details.as_ref()).and_then(|details| details.code.as_ref());
    if let Some(result) = result {
        return Look::Ended(by_result(result, code));
    }
    if life == Some(&LifeCycleState::Skipped) {
        return Look::Ended(Verdict::SKIPPED);
    }
    match code {
        Some(code) => Look::Ended(by_code(code)),
        None if life == Some(&LifeCycleState::InternalError) => Look::Ended(Verdict::FAILED),
        None => Look::ResultMissing,
    }
}

fn by_result(result: &ResultState, code: Option<&TerminationCode>) -> Verdict {
    match result {
        ResultState::Success => Verdict::SUCCEEDED,
        ResultState::SuccessWithFailures => Verdict::SUCCEEDED_WITH_FAILURES,
        ResultState::TimedOut => Verdict::TIMED_OUT,
        ResultState::Canceled | ResultState::UpstreamCanceled => Verdict::CANCELED,
        ResultState::MaximumConcurrentRunsReached | ResultState::Excluded | ResultState::Disabled => Verdict::SKIPPED,
        ResultState::Failed | ResultState::UpstreamFailed => Verdict::FAILED,
        // A result nobody knows is an end, but never a success on its own word: a known code tells, else it failed.
        ResultState::Other(_) => code.map_or(Verdict::FAILED, by_code),
    }
}

fn by_code(code: &TerminationCode) -> Verdict {
    match code {
        TerminationCode::Success => Verdict::SUCCEEDED,
        TerminationCode::SuccessWithFailures => Verdict::SUCCEEDED_WITH_FAILURES,
        TerminationCode::UserCanceled | TerminationCode::Canceled => Verdict::CANCELED,
        TerminationCode::Skipped | TerminationCode::Disabled | TerminationCode::MaxConcurrentRunsExceeded => {
            Verdict::SKIPPED
        }
        _ => Verdict::FAILED,
    }
}

fn activity(life: &LifeCycleState, newer: Option<&StatusState>) -> Activity {
    match life {
        LifeCycleState::Queued => Activity::Queued,
        LifeCycleState::Pending | LifeCycleState::Blocked => Activity::Pending,
        LifeCycleState::Running | LifeCycleState::WaitingForRetry => Activity::Running,
        LifeCycleState::Other(word) => match newer.map(activity_of_status) {
            Some(Activity::Unknown(_)) | None => Activity::Unknown(word.to_string()),
            Some(known) => known,
        },
        // Ends are no activities; `look` never brings them here.
        LifeCycleState::Terminating
        | LifeCycleState::Terminated
        | LifeCycleState::Skipped
        | LifeCycleState::InternalError => Activity::Terminating,
    }
}

fn activity_of_status(newer: &StatusState) -> Activity {
    match newer {
        StatusState::Queued => Activity::Queued,
        StatusState::Pending | StatusState::Blocked => Activity::Pending,
        StatusState::Running | StatusState::Waiting => Activity::Running,
        StatusState::Terminating | StatusState::Terminated => Activity::Terminating,
        StatusState::Other(word) => Activity::Unknown(word.to_string()),
    }
}

/// The termination details of a status, if there are any.
#[must_use]
pub fn termination(status: Option<&RunStatus>) -> Option<&TerminationDetails> {
    status.and_then(|status| status.termination_details.as_deref())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONE: &str = "";

    fn state(life: &str, result: &str) -> Option<RunState> {
        (!life.is_empty() || !result.is_empty()).then(|| RunState {
            life_cycle_state: (!life.is_empty()).then(|| life.into()),
            result_state: (!result.is_empty()).then(|| result.into()),
            ..RunState::default()
        })
    }

    fn status(newer: &str, code: &str) -> Option<RunStatus> {
        (!newer.is_empty() || !code.is_empty()).then(|| RunStatus {
            state: (!newer.is_empty()).then(|| newer.into()),
            termination_details: (!code.is_empty())
                .then(|| TerminationDetails { code: Some(code.into()), ..TerminationDetails::default() }.into()),
            ..RunStatus::default()
        })
    }

    fn read(life: &str, result: &str, newer: &str, code: &str) -> String {
        fn word(look: &Look) -> String {
            match look {
                Look::Active(Activity::Unknown(word)) => format!("active {word}"),
                Look::Active(activity) => format!("active {activity:?}"),
                Look::Ended(verdict) => format!("{} {}", verdict.state.as_str(), verdict.reason.as_str()),
                Look::Disagreeing(believed) => format!("ask again, then {}", word(believed)),
                Look::ResultMissing => "ask again, then Failed ResultMissing".to_owned(),
            }
        }
        word(&look(state(life, result).as_ref(), status(newer, code).as_ref()))
    }

    /// life cycle, result, status, termination code → what it means.
    const TABLE: &[(&str, &str, &str, &str, &str)] = &[
        ("QUEUED", NONE, "QUEUED", NONE, "active Queued"),
        ("PENDING", NONE, "PENDING", NONE, "active Pending"),
        ("BLOCKED", NONE, "BLOCKED", NONE, "active Pending"),
        ("RUNNING", NONE, "RUNNING", NONE, "active Running"),
        ("WAITING_FOR_RETRY", NONE, "WAITING", NONE, "active Running"),
        ("TERMINATING", "SUCCESS", "TERMINATING", "SUCCESS", "active Terminating"),
        ("TERMINATED", "SUCCESS", "TERMINATED", "SUCCESS", "Succeeded RunSucceeded"),
        ("TERMINATED", "SUCCESS", NONE, NONE, "Succeeded RunSucceeded"),
        (NONE, NONE, "TERMINATED", "SUCCESS", "Succeeded RunSucceeded"),
        ("TERMINATED", NONE, "TERMINATED", "SUCCESS", "Succeeded RunSucceeded"),
        ("TERMINATED", "SUCCESS_WITH_FAILURES", NONE, NONE, "Succeeded RunSucceededWithFailures"),
        (NONE, NONE, "TERMINATED", "SUCCESS_WITH_FAILURES", "Succeeded RunSucceededWithFailures"),
        ("TERMINATED", "FAILED", "TERMINATED", "RUN_EXECUTION_ERROR", "Failed RunFailed"),
        ("INTERNAL_ERROR", "FAILED", "TERMINATED", "RUN_EXECUTION_ERROR", "Failed RunFailed"),
        ("INTERNAL_ERROR", NONE, NONE, NONE, "Failed RunFailed"),
        ("INTERNAL_ERROR", NONE, "TERMINATED", "CLOUD_FAILURE", "Failed RunFailed"),
        ("INTERNAL_ERROR", "TIMEDOUT", "TERMINATED", "CANCELED", "TimedOut RunTimedOut"),
        ("TERMINATED", "TIMEDOUT", "TERMINATED", "CANCELED", "TimedOut RunTimedOut"),
        ("TERMINATED", "CANCELED", "TERMINATED", "USER_CANCELED", "Canceled RunCanceled"),
        ("TERMINATED", "CANCELED", NONE, NONE, "Canceled RunCanceled"),
        (NONE, NONE, "TERMINATED", "USER_CANCELED", "Canceled RunCanceled"),
        ("TERMINATED", "UPSTREAM_CANCELED", NONE, NONE, "Canceled RunCanceled"),
        ("TERMINATED", "UPSTREAM_FAILED", NONE, NONE, "Failed RunFailed"),
        ("SKIPPED", NONE, "TERMINATED", "SKIPPED", "Skipped RunSkipped"),
        ("SKIPPED", NONE, NONE, NONE, "Skipped RunSkipped"),
        ("SKIPPED", "MAXIMUM_CONCURRENT_RUNS_REACHED", NONE, NONE, "Skipped RunSkipped"),
        ("TERMINATED", "MAXIMUM_CONCURRENT_RUNS_REACHED", NONE, NONE, "Skipped RunSkipped"),
        (NONE, NONE, "TERMINATED", "MAX_CONCURRENT_RUNS_EXCEEDED", "Skipped RunSkipped"),
        ("TERMINATED", "EXCLUDED", NONE, NONE, "Skipped RunSkipped"),
        ("TERMINATED", "DISABLED", "TERMINATED", "DISABLED", "Skipped RunSkipped"),
        ("TERMINATED", "NEW_RESULT", NONE, NONE, "Failed RunFailed"),
        ("TERMINATED", "NEW_RESULT", "TERMINATED", "SUCCESS", "Succeeded RunSucceeded"),
        ("TERMINATED", NONE, "TERMINATED", "NEW_CODE", "Failed RunFailed"),
        ("TERMINATED", NONE, "TERMINATED", NONE, "ask again, then Failed ResultMissing"),
        (NONE, NONE, "TERMINATED", NONE, "ask again, then Failed ResultMissing"),
        ("TERMINATED", "SUCCESS", "RUNNING", NONE, "ask again, then active Running"),
        ("INTERNAL_ERROR", "FAILED", "TERMINATING", "RUN_EXECUTION_ERROR", "ask again, then active Terminating"),
        ("RUNNING", NONE, "TERMINATED", "SUCCESS", "ask again, then Succeeded RunSucceeded"),
        ("RUNNING", NONE, "TERMINATED", NONE, "ask again, then ask again, then Failed ResultMissing"),
        ("NEW_STATE", NONE, NONE, NONE, "active NEW_STATE"),
        ("NEW_STATE", "SUCCESS", "NEW_STATUS", NONE, "active NEW_STATE"),
        ("NEW_STATE", NONE, "RUNNING", NONE, "active Running"),
        ("NEW_STATE", NONE, "TERMINATED", "SUCCESS", "ask again, then Succeeded RunSucceeded"),
        ("TERMINATED", "SUCCESS", "NEW_STATUS", NONE, "ask again, then active NEW_STATUS"),
        (NONE, NONE, "NEW_STATUS", NONE, "active NEW_STATUS"),
        (NONE, "SUCCESS", NONE, NONE, "active no state given"),
        (NONE, NONE, NONE, NONE, "active no state given"),
    ];

    #[test]
    fn every_row_of_the_table_holds() {
        for &(life, result, newer, code, expected) in TABLE {
            assert_eq!(read(life, result, newer, code), expected, "{life} {result} {newer} {code}");
        }
    }

    fn word(known: Vec<String>) -> impl Strategy<Value = String> {
        prop_oneof![3 => prop::sample::select(known), 1 => Just(String::new()), 1 => "[A-Z_]{1,12}"]
    }

    fn words<T: ToString>(known: &[T]) -> Vec<String> {
        known.iter().map(ToString::to_string).collect()
    }

    proptest! {
        #[test]
        fn an_unknown_state_never_ends_a_run(unknown in "X[A-Z_]{1,12}", result in word(words(ResultState::KNOWN))) {
            prop_assert!(matches!(look(state(&unknown, &result).as_ref(), None), Look::Active(_)));
            prop_assert!(matches!(look(None, status(&unknown, "SUCCESS").as_ref()), Look::Active(_)));
        }

        #[test]
        fn success_needs_databricks_own_word_for_it(
            life in word(words(LifeCycleState::KNOWN)), result in word(words(ResultState::KNOWN)),
            newer in word(words(StatusState::KNOWN)), code in word(words(TerminationCode::KNOWN)),
        ) {
            if let Look::Ended(verdict) = look(state(&life, &result).as_ref(), status(&newer, &code).as_ref())
                && verdict.succeeded()
            {
                prop_assert!(result.starts_with("SUCCESS") || code.starts_with("SUCCESS"));
            }
        }
    }
}
