//! The conditions: one contract with `kubectl wait`, Flux, Argo CD and Helm, kept in one place. `Ready`, `Succeeded` and
//! `Finished` are always there; `Reconciling` and `Stalled` only while True, and never both.

use super::bounds::one_line;
use super::observed::Now;
use crate::api::conditions::{self, Reason, set_condition};
use crate::api::status::DatabricksRunStatus;

/// Bytes of a message: the conditions and an event about the same fact can hold it uncut, and four conditions leave room
/// in the status for what people came for.
pub const MAX_MESSAGE: usize = 1000;

/// The five things the conditions can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not ended: waiting, queued, running, retrying.
    Reconciling,
    /// Ended well.
    Succeeded,
    /// Ended otherwise.
    Failed,
    /// Not ended and not going on by itself: a person has to do something.
    Stuck,
    /// Not started, as the spec asks: suspended. As right as a suspended Job.
    Held,
}

/// One row of the contract: Ready, Succeeded, Finished, Reconciling, Stalled ("" is absent).
fn row(standing: Standing) -> [&'static str; 5] {
    match standing {
        Standing::Reconciling => ["Unknown", "Unknown", "False", "True", ""],
        Standing::Succeeded => ["True", "True", "True", "", ""],
        Standing::Failed => ["False", "False", "True", "", "True"],
        Standing::Stuck => ["False", "Unknown", "False", "", "True"],
        Standing::Held => ["True", "Unknown", "False", "", ""],
    }
}

/// Writes the conditions, the observed generation and, at the end, the completion time.
pub fn report(
    status: &mut DatabricksRunStatus,
    standing: Standing,
    reason: Reason,
    message: &str,
    generation: i64,
    now: Now,
) {
    let message = one_line(message, MAX_MESSAGE);
    for (kind, value) in conditions::RUN_TYPES.iter().zip(row(standing)) {
        if value.is_empty() {
            status.conditions.retain(|condition| condition.type_ != *kind);
        } else {
            set_condition(&mut status.conditions, kind, value, reason, &message, generation, now.stamp().0);
        }
    }
    status.observed_generation = Some(generation);
    match standing {
        Standing::Succeeded | Standing::Failed => {
            status.completion_time.get_or_insert(now.stamp());
        }
        Standing::Reconciling | Standing::Stuck | Standing::Held => status.completion_time = None,
    }
}

/// The reason that `Ready` gives now.
#[must_use]
pub fn current_reason(status: &DatabricksRunStatus) -> Option<&str> {
    ready(status).map(|condition| condition.reason.as_str())
}

/// The message that `Ready` gives now.
#[must_use]
pub fn current_message(status: &DatabricksRunStatus) -> Option<&str> {
    ready(status).map(|condition| condition.message.as_str())
}

fn ready(status: &DatabricksRunStatus) -> Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    status.conditions.iter().find(|condition| condition.type_ == "Ready")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::fixtures::now;

    fn said(status: &DatabricksRunStatus) -> Vec<String> {
        status.conditions.iter().map(|condition| format!("{}={}", condition.type_, condition.status)).collect()
    }

    #[test]
    fn a_message_is_one_line_whatever_was_quoted_in_it() {
        let mut status = DatabricksRunStatus::default();
        let message = "task `a\n\u{1b}[31mb` depends on `c\u{7}`";
        report(&mut status, Standing::Failed, Reason::SubmitRejected, message, 1, now(0));
        assert_eq!(current_message(&status), Some("task `a b` depends on `c`"));
    }

    #[test]
    fn what_is_said_now_is_what_ready_says() {
        let mut status = DatabricksRunStatus::default();
        report(&mut status, Standing::Reconciling, Reason::Running, "running", 1, now(0));
        for condition in status.conditions.iter_mut().filter(|condition| condition.type_ != "Ready") {
            condition.reason = "Other".to_owned();
        }
        assert_eq!(current_reason(&status), Some("Running"));
    }

    #[test]
    fn every_standing_says_what_the_contract_says() {
        let mut status = DatabricksRunStatus::default();
        for (standing, expected) in [
            (Standing::Reconciling, vec!["Ready=Unknown", "Succeeded=Unknown", "Finished=False", "Reconciling=True"]),
            (Standing::Stuck, vec!["Ready=False", "Succeeded=Unknown", "Finished=False", "Stalled=True"]),
            (Standing::Held, vec!["Ready=True", "Succeeded=Unknown", "Finished=False"]),
            (Standing::Succeeded, vec!["Ready=True", "Succeeded=True", "Finished=True"]),
            (Standing::Failed, vec!["Ready=False", "Succeeded=False", "Finished=True", "Stalled=True"]),
        ] {
            report(&mut status, standing, Reason::Running, "text", 3, now(0));
            assert_eq!(said(&status), expected);
            assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(3)));
            let ended = matches!(standing, Standing::Succeeded | Standing::Failed);
            assert_eq!(
                status.completion_time.is_some(),
                ended,
                "completionTime is there exactly when Succeeded is known"
            );
        }
    }
}
