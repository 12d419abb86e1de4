//! How runs and tasks end: one row per kind of end, with the words the real service uses for it.
//!
//! The same end is told twice in an answer, as the older `state` and the newer `status`, and a task's end is told
//! differently from its run's: [`Ending::of_run`] is that translation.

/// The end of a task or of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// `state.life_cycle_state`.
    pub life_cycle_state: String,
    /// `state.result_state`; some ends have none.
    pub result_state: Option<String>,
    /// `status.termination_details.code`.
    pub code: Option<String>,
    /// `status.termination_details.type`.
    pub kind: Option<String>,
    /// `state.state_message` and `status.termination_details.message`.
    pub message: String,
    /// `state.user_cancelled_or_timedout`.
    pub stopped: bool,
    /// `error` of get-output.
    pub error: Option<String>,
    /// `error_trace` of get-output.
    pub error_trace: Option<String>,
}

impl Ending {
    fn new(life_cycle_state: &str, result_state: Option<&str>, code: &str, kind: &str, message: &str) -> Self {
        Self {
            life_cycle_state: life_cycle_state.to_owned(),
            result_state: result_state.map(str::to_owned),
            code: Some(code.to_owned()),
            kind: Some(kind.to_owned()),
            message: message.to_owned(),
            stopped: false,
            error: None,
            error_trace: None,
        }
    }

    /// Everything went well.
    #[must_use]
    pub fn success() -> Self {
        Self::new("TERMINATED", Some("SUCCESS"), "SUCCESS", "SUCCESS", "")
    }

    /// The user's code raised. The cause is in the task's output; the messages carry none of it, as on serverless compute.
    #[must_use]
    pub fn exception(error: &str, trace: &str) -> Self {
        Self {
            error: Some(error.to_owned()),
            error_trace: Some(trace.to_owned()),
            ..Self::new(
                "TERMINATED",
                Some("FAILED"),
                "RUN_EXECUTION_ERROR",
                "CLIENT_ERROR",
                "Workload failed, see run output for details",
            )
        }
    }

    /// A person cancelled it.
    #[must_use]
    pub fn canceled() -> Self {
        Self {
            stopped: true,
            ..Self::new("TERMINATED", Some("CANCELED"), "USER_CANCELED", "CLIENT_ERROR", "Run cancelled.")
        }
    }

    /// `timeout_seconds` ran out.
    #[must_use]
    pub fn timed_out() -> Self {
        Self {
            stopped: true,
            ..Self::new("TERMINATED", Some("TIMEDOUT"), "CANCELED", "CLIENT_ERROR", "Run timed out.")
        }
    }

    /// Never started, because of a condition.
    #[must_use]
    pub fn skipped() -> Self {
        Self::new("SKIPPED", None, "SKIPPED", "CLIENT_ERROR", "Run was skipped.")
    }

    /// Never started, because the job already had `max_concurrent_runs` of them.
    #[must_use]
    pub fn max_concurrent_runs() -> Self {
        Self::new(
            "SKIPPED",
            None,
            "MAX_CONCURRENT_RUNS_EXCEEDED",
            "CLIENT_ERROR",
            "Skipping this run because the limit of maximum concurrent runs has been reached.",
        )
    }

    /// The last tasks succeeded, others failed.
    #[must_use]
    pub fn success_with_failures() -> Self {
        Self::new(
            "TERMINATED",
            Some("SUCCESS_WITH_FAILURES"),
            "SUCCESS_WITH_FAILURES",
            "SUCCESS",
            "Some tasks failed, but all leaf tasks succeeded.",
        )
    }

    /// `INTERNAL_ERROR` without any `result_state`, as for a notebook that is not there.
    #[must_use]
    pub fn internal_error_without_result(message: &str) -> Self {
        Self::new("INTERNAL_ERROR", None, "INTERNAL_ERROR", "INTERNAL_ERROR", message)
    }

    /// Not run because a task it depends on failed.
    #[must_use]
    pub fn upstream_failed() -> Self {
        Self::new("TERMINATED", Some("UPSTREAM_FAILED"), "SKIPPED", "CLIENT_ERROR", "Upstream task failed.")
    }

    /// Not run because a task it depends on was cancelled.
    #[must_use]
    pub fn upstream_canceled() -> Self {
        Self::new("TERMINATED", Some("UPSTREAM_CANCELED"), "SKIPPED", "CLIENT_ERROR", "Upstream task was canceled.")
    }

    /// Not run because `run_if` or a condition's outcome said so.
    #[must_use]
    pub fn excluded() -> Self {
        Self::new(
            "TERMINATED",
            Some("EXCLUDED"),
            "SKIPPED",
            "CLIENT_ERROR",
            "Task was excluded because its run condition was not met.",
        )
    }

    /// Not run because the task is disabled.
    #[must_use]
    pub fn disabled() -> Self {
        Self::new("TERMINATED", Some("DISABLED"), "DISABLED", "CLIENT_ERROR", "Task is disabled.")
    }

    /// The end a termination code stands for. Codes without an end of their own are failures outside the user's code;
    /// a code nobody knows is allowed, for clients must bear with it.
    #[must_use]
    pub fn of_code(code: &str) -> Self {
        match code {
            "SUCCESS" => Self::success(),
            "SUCCESS_WITH_FAILURES" => Self::success_with_failures(),
            "RUN_EXECUTION_ERROR" => {
                Self::exception("Exception: asked to fail", &trace_of("Exception", "asked to fail"))
            }
            "USER_CANCELED" => Self::canceled(),
            "CANCELED" | "TIMEDOUT" => Self::timed_out(),
            "SKIPPED" => Self::skipped(),
            "DISABLED" => Self::disabled(),
            "MAX_CONCURRENT_RUNS_EXCEEDED" => Self::max_concurrent_runs(),
            other => Self::new(
                "INTERNAL_ERROR",
                Some("FAILED"),
                other,
                kind_of(other),
                &format!("The run ended with {other}."),
            ),
        }
    }

    /// The same end with other words for people.
    #[must_use]
    pub fn saying(mut self, message: &str) -> Self {
        message.clone_into(&mut self.message);
        self
    }

    /// True when the end counts as a failure for the tasks that depend on it.
    pub(super) fn is_failure(&self) -> bool {
        let harmless = ["SUCCESS", "SUCCESS_WITH_FAILURES", "EXCLUDED", "DISABLED"];
        match self.result_state.as_deref() {
            Some(result) => !harmless.contains(&result),
            None => self.life_cycle_state != "SKIPPED",
        }
    }

    pub(super) fn has_result(&self, result: &str) -> bool {
        self.result_state.as_deref() == Some(result)
    }

    /// How a run tells that its task `key` ended this way: a failed task makes the *run* `INTERNAL_ERROR` with `FAILED`,
    /// although nothing broke but the user's code.
    pub(super) fn of_run(&self, key: &str) -> Self {
        let mut told = self.clone();
        told.error = None;
        told.error_trace = None;
        if self.has_result("FAILED") {
            "INTERNAL_ERROR".clone_into(&mut told.life_cycle_state);
            told.message = format!("Task {key} failed with message: {}.", self.message.trim_end_matches('.'));
        }
        told
    }
}

/// Who is at fault, per termination code.
fn kind_of(code: &str) -> &'static str {
    match code {
        "CLOUD_FAILURE" => "CLOUD_FAILURE",
        "INTERNAL_ERROR" | "DRIVER_ERROR" | "CLUSTER_ERROR" | "BREAKING_CHANGE" => "INTERNAL_ERROR",
        _ => "CLIENT_ERROR",
    }
}

/// A Python traceback as a notebook leaves it, colour codes included.
pub(super) fn trace_of(class: &str, message: &str) -> String {
    format!(
        "\u{1b}[0;31m---------------------------------------------------------------------------\u{1b}[0m\n\
         \u{1b}[0;31m{class}\u{1b}[0m                                 Traceback (most recent call last)\n\
         File \u{1b}[0;32m<command-1>, line 3\u{1b}[0m\n\
         \u{1b}[1;32m      2\u{1b}[0m rows = load(day)\n\
         \u{1b}[0;32m----> 3\u{1b}[0m raise {class}({message:?})\n\n\
         \u{1b}[0;31m{class}\u{1b}[0m: {message}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_whose_code_raised_is_an_internal_error_while_its_task_is_terminated() {
        let task = Ending::exception("ValueError: no rows", "…");
        let run = task.of_run("main");
        assert_eq!((task.life_cycle_state.as_str(), run.life_cycle_state.as_str()), ("TERMINATED", "INTERNAL_ERROR"));
        assert_eq!(run.result_state.as_deref(), Some("FAILED"));
        assert_eq!(run.code.as_deref(), Some("RUN_EXECUTION_ERROR"));
        assert_eq!(run.message, "Task main failed with message: Workload failed, see run output for details.");
    }

    #[test]
    fn a_code_nobody_knows_is_still_an_end() {
        let ending = Ending::of_code("MOON_PHASE");
        assert_eq!(ending.code.as_deref(), Some("MOON_PHASE"));
        assert!(ending.is_failure());
    }

    #[test]
    fn what_was_skipped_or_excluded_is_no_failure() {
        assert!(!Ending::skipped().is_failure());
        assert!(!Ending::excluded().is_failure());
        assert!(Ending::upstream_failed().is_failure());
        assert!(Ending::internal_error_without_result("gone").is_failure());
    }
}
