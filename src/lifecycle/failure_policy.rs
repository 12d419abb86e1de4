//! Which failures are worth a further attempt: the user's rules first, then the operator's own table. They are asked for
//! each task that caused the failure, never for the life-cycle state `INTERNAL_ERROR`, which says nothing about whose fault
//! it was.

use super::cause::culprits;
use super::verdict::termination;
use crate::api::run_control::{FailurePolicy, FailurePolicyAction, FailurePolicyRule, SetOperator};
use crate::databricks::model::{ResultState, Run, RunState, RunStatus, RunTask, TerminationCode};

/// One row of the operator's own table.
#[derive(Debug, Clone, Copy)]
pub struct Default {
    /// Databricks' termination code.
    pub code: &'static str,
    /// What is done.
    pub action: FailurePolicyAction,
    /// Why.
    pub why: &'static str,
}

const fn retry(code: &'static str, why: &'static str) -> Default {
    Default { code, action: FailurePolicyAction::Retry, why }
}

const fn fail(code: &'static str, why: &'static str) -> Default {
    Default { code, action: FailurePolicyAction::Fail, why }
}

/// The operator's own table, in the order of the documentation. A code that is not here fails.
pub const DEFAULTS: &[Default] = &[
    retry("CLOUD_FAILURE", "the cloud provider failed"),
    retry("INTERNAL_ERROR", "the Databricks platform failed"),
    retry("DRIVER_ERROR", "the Spark driver failed"),
    retry("CLUSTER_ERROR", "the cluster failed"),
    retry("CLUSTER_TERMINATED_BY_USER", "somebody ended the shared cluster"),
    retry("STORAGE_ACCESS_ERROR", "storage could not be reached"),
    retry("REPOSITORY_CHECKOUT_FAILED", "the Git repository could not be reached"),
    retry("MAX_CONCURRENT_RUNS_EXCEEDED", "too many runs of the job at once"),
    retry("MAX_JOB_QUEUE_SIZE_EXCEEDED", "the job's queue was full"),
    retry("WORKSPACE_RUN_LIMIT_EXCEEDED", "too many runs in the workspace at once"),
    retry("CLUSTER_REQUEST_LIMIT_EXCEEDED", "too many requests for clusters at once"),
    retry("MAX_SPARK_CONTEXTS_EXCEEDED", "the shared cluster was full"),
    fail("SUCCESS", "it is no failure"),
    fail("SUCCESS_WITH_FAILURES", "it is no failure of the run"),
    fail("RUN_EXECUTION_ERROR", "user code failed, and would again"),
    fail("USER_CANCELED", "a person wanted its end"),
    fail("CANCELED", "a time limit or the platform ended it, and would again"),
    fail("SKIPPED", "a condition left it out"),
    fail("DISABLED", "it is switched off"),
    fail("BREAKING_CHANGE", "Databricks itself tries it again"),
    fail("INVALID_CLUSTER_REQUEST", "the cluster's specification is wrong"),
    fail("INVALID_RUN_CONFIGURATION", "the run's configuration is wrong"),
    fail("RESOURCE_NOT_FOUND", "something it names does not exist"),
    fail("UNAUTHORIZED_ERROR", "its identity lacks a right"),
    fail("LIBRARY_INSTALLATION_ERROR", "a library cannot be installed"),
    fail("FEATURE_DISABLED", "the feature is off in the workspace"),
    fail("BUDGET_POLICY_LIMIT_EXCEEDED", "the budget is used up"),
];

/// What caused a failure, as rules see it.
struct Failure<'a> {
    task_key: Option<&'a str>,
    code: Option<&'a str>,
    result: Option<&'a str>,
}

/// What is done about a run that has failed.
#[must_use]
pub fn action(policy: Option<&FailurePolicy>, run: &Run) -> FailurePolicyAction {
    let actions: Vec<_> = failures(run).iter().map(|failure| action_for(policy, failure)).collect();
    let any = |wanted| actions.contains(&wanted);
    match () {
        () if any(FailurePolicyAction::Fail) || actions.is_empty() => FailurePolicyAction::Fail,
        () if any(FailurePolicyAction::Retry) => FailurePolicyAction::Retry,
        () => FailurePolicyAction::Repair,
    }
}

/// The tasks that are to blame; the run itself where none is.
fn failures(run: &Run) -> Vec<Failure<'_>> {
    let code_of_run = code(run.status.as_ref());
    let tasks = culprits(run);
    if tasks.is_empty() {
        return vec![Failure { task_key: None, code: code_of_run, result: result(run.state.as_ref()) }];
    }
    tasks.into_iter().map(|task| failure_of(task, code_of_run)).collect()
}

fn failure_of<'a>(task: &'a RunTask, code_of_run: Option<&'a str>) -> Failure<'a> {
    Failure {
        task_key: Some(&task.task_key),
        code: code(task.status.as_ref()).or(code_of_run),
        result: result(task.state.as_ref()),
    }
}

fn code(status: Option<&RunStatus>) -> Option<&str> {
    termination(status).and_then(|details| details.code.as_ref()).map(TerminationCode::as_str)
}

fn result(state: Option<&RunState>) -> Option<&str> {
    state.and_then(|state| state.result_state.as_ref()).map(ResultState::as_str)
}

fn action_for(policy: Option<&FailurePolicy>, failure: &Failure<'_>) -> FailurePolicyAction {
    let rules = policy.map_or(&[][..], |policy| &policy.rules);
    let by_user = rules.iter().find(|rule| matches(rule, failure)).map(|rule| rule.action);
    let by_table = || DEFAULTS.iter().find(|row| failure.code == Some(row.code)).map(|row| row.action);
    by_user.or_else(by_table).unwrap_or_default()
}

/// All conditions of a rule must hold; of the values in one, any.
fn matches(rule: &FailurePolicyRule, failure: &Failure<'_>) -> bool {
    let listed = |list: &[String], value: Option<&str>| {
        list.is_empty() || value.is_some_and(|value| list.iter().any(|listed| listed == value))
    };
    let terminated = rule.on_termination.as_ref().is_none_or(|wanted| {
        failure.code.is_some_and(|code| {
            wanted.codes.iter().any(|listed| listed == code) == (wanted.operator == SetOperator::In)
        })
    });
    let says_something =
        rule.on_termination.is_some() || !rule.on_task_keys.is_empty() || !rule.on_result_states.is_empty();
    says_something
        && terminated
        && listed(&rule.on_task_keys, failure.task_key)
        && listed(&rule.on_result_states, failure.result)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::lifecycle::fixtures::{run, task};

    fn failed(code: &str) -> Run {
        run(7).ended("INTERNAL_ERROR", "FAILED").with([task("load", 71).failed_with(code)])
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn policy(rules: Value) -> FailurePolicy {
        serde_json::from_value(json!({"rules": rules})).unwrap()
    }

    #[test]
    fn the_table_has_a_row_for_every_code_there_is() {
        for code in TerminationCode::KNOWN {
            let rows = DEFAULTS.iter().filter(|row| row.code == code.as_str()).count();
            assert_eq!(rows, 1, "{code}");
        }
        assert_eq!(DEFAULTS.len(), TerminationCode::KNOWN.len());
    }

    #[test]
    fn the_documentation_shows_the_table() {
        let page = include_str!("../../docs/run-lifecycle.md");
        for Default { code, action, why } in DEFAULTS {
            let line = format!("| `{code}` | {action:?} | {why} |");
            assert!(page.lines().any(|it| it == line), "docs/run-lifecycle.md lacks the row\n{line}");
        }
    }

    #[test]
    fn failures_of_the_platform_are_tried_again_and_those_of_the_user_are_not() {
        assert_eq!(action(None, &failed("CLOUD_FAILURE")), FailurePolicyAction::Retry);
        for code in ["RUN_EXECUTION_ERROR", "USER_CANCELED", "INVALID_RUN_CONFIGURATION", "TOMORROWS_CODE"] {
            assert_eq!(action(None, &failed(code)), FailurePolicyAction::Fail, "{code}");
        }
        let without_code = run(7).ended("INTERNAL_ERROR", "FAILED").with([task("a", 1).ended("TERMINATED", "FAILED")]);
        assert_eq!(action(None, &without_code), FailurePolicyAction::Fail);
    }

    #[test]
    fn the_user_s_rules_come_first_and_the_first_that_matches_decides() {
        let rules = policy(json!([
            {"action": "Fail", "onTaskKeys": ["report"]},
            {"action": "Repair", "onTermination": {"operator": "In", "codes": ["RUN_EXECUTION_ERROR"]}},
            {"action": "Fail", "onTermination": {"operator": "NotIn", "codes": ["INTERNAL_ERROR"]}},
        ]));
        assert_eq!(action(Some(&rules), &failed("RUN_EXECUTION_ERROR")), FailurePolicyAction::Repair);
        assert_eq!(action(Some(&rules), &failed("CLOUD_FAILURE")), FailurePolicyAction::Fail);
        assert_eq!(action(Some(&rules), &failed("INTERNAL_ERROR")), FailurePolicyAction::Retry, "the table's");
        let report =
            run(7).ended("INTERNAL_ERROR", "FAILED").with([task("report", 1).failed_with("RUN_EXECUTION_ERROR")]);
        assert_eq!(action(Some(&rules), &report), FailurePolicyAction::Fail);
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold_and_any_value_of_one() {
        let rules = policy(json!([{"action": "Retry", "onTaskKeys": ["extract", "load"], "onResultStates": ["FAILED"],
            "onTermination": {"operator": "In", "codes": ["RUN_EXECUTION_ERROR"]}}]));
        assert_eq!(action(Some(&rules), &failed("RUN_EXECUTION_ERROR")), FailurePolicyAction::Retry);
        assert_eq!(action(Some(&rules), &failed("UNAUTHORIZED_ERROR")), FailurePolicyAction::Fail);
        let other = run(7).ended("INTERNAL_ERROR", "FAILED").with([task("x", 1).failed_with("RUN_EXECUTION_ERROR")]);
        assert_eq!(action(Some(&rules), &other), FailurePolicyAction::Fail);
        let matches_nothing = policy(json!([{"action": "Retry"}]));
        assert_eq!(action(Some(&matches_nothing), &failed("RUN_EXECUTION_ERROR")), FailurePolicyAction::Fail);
    }

    #[test]
    fn one_task_that_fails_for_good_fails_the_run_and_one_retry_outweighs_repairs() {
        let two = |a: &str, b: &str| {
            run(7).ended("INTERNAL_ERROR", "FAILED").with([task("a", 1).failed_with(a), task("b", 2).failed_with(b)])
        };
        assert_eq!(action(None, &two("CLOUD_FAILURE", "CLUSTER_ERROR")), FailurePolicyAction::Retry);
        assert_eq!(action(None, &two("CLOUD_FAILURE", "RUN_EXECUTION_ERROR")), FailurePolicyAction::Fail);
        let repair = policy(json!([{"action": "Repair", "onTaskKeys": ["b"]}]));
        assert_eq!(action(Some(&repair), &two("CLOUD_FAILURE", "CLOUD_FAILURE")), FailurePolicyAction::Retry);
    }

    #[test]
    fn a_run_without_a_task_to_blame_is_judged_by_itself() {
        let mut skipped: Run = run(7).ended("SKIPPED", "").into();
        skipped.status = Some(crate::lifecycle::fixtures::terminated_with("MAX_CONCURRENT_RUNS_EXCEEDED"));
        assert_eq!(action(None, &skipped), FailurePolicyAction::Retry);
    }
}
