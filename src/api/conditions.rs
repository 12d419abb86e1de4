//! The words of the status: condition types, reasons, states. Reasons are API: scripts and alerts match on them, so the
//! table below only ever grows, and the API reference is made from it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// True once the run has succeeded, or the workspace can be used; False when a person has to look; Unknown before.
pub const READY: &str = "Ready";
/// Whether the newest request succeeded; Unknown until it has ended.
pub const SUCCEEDED: &str = "Succeeded";
/// True once the newest request has ended, however it ended: what scripts wait for.
pub const FINISHED: &str = "Finished";
/// There, and True, only while something is going on or is waited for.
pub const RECONCILING: &str = "Reconciling";
/// There, and True, only when nothing more will happen by itself and it did not end well.
pub const STALLED: &str = "Stalled";

/// The condition types of a run, in the order in which they are listed.
pub const RUN_TYPES: [&str; 5] = [READY, SUCCEEDED, FINISHED, RECONCILING, STALLED];

/// The condition types of a workspace, in the order in which they are listed.
pub const WORKSPACE_TYPES: [&str; 3] = [READY, RECONCILING, STALLED];

/// Bytes of a condition's message that are kept.
pub const MAX_MESSAGE: usize = 1024;

/// One enum of words, its text and what each means, from one table.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($word:ident => $meaning:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $meaning] $word,)+
        }

        impl $name {
            /// Every word, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$word),+];

            /// The word itself.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => stringify!($word),)+
                }
            }

            /// What it means, in one sentence.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$word => $meaning,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Why a condition is as it is. Frozen: words may be added, never renamed or removed.
    Reason {
        Pending => "The operator has not seen the object yet, or Databricks has not begun with the run.",
        Queued => "The run waits in Databricks' queue.",
        Running => "The run is being executed, its cluster's start included.",
        Canceling => "The run is being cancelled.",
        Suspended => "The object is suspended: nothing starts until `spec.suspend` is false.",
        ProgressingWithRetry => "A call failed in a way that passes by itself, or the run failed and is tried again; nothing is declared failed.",
        RunSucceeded => "The run ended with success.",
        RunSucceededWithFailures => "The run ended with success although some of its tasks failed.",
        RunFailed => "The run failed; the message gives the cause and status.outputs the trace.",
        RunCanceled => "The run was cancelled, in Databricks or through the operator.",
        RunTimedOut => "The run was stopped by a timeout set in Databricks.",
        StartingDeadlineExceeded => "No task had begun to execute within `startingDeadlineSeconds`; the run was cancelled, or never started.",
        DeadlineExceeded => "The request took longer than `activeDeadlineSeconds`; its run was cancelled.",
        BackoffLimitExceeded => "The run failed, and all the attempts that `backoffLimit` allows have been made.",
        RunSkipped => "Databricks skipped the run, as it does when too many runs of the job are live and queueing is off.",
        RunNotFound => "Databricks no longer knows the run, and said so repeatedly; it is never started again by itself.",
        ResultMissing => "The run has ended and Databricks does not tell how.",
        SubmitRejected => "The request was refused, by Databricks or before it was sent; correct the spec.",
        ContinuousJob => "The job is continuous: Databricks restarts it and names no run that could be followed.",
        JobNotFound => "The workspace has no job with this name, or the identity may not see it.",
        JobNameAmbiguous => "More than one job has this name; use `runNow.job_id`.",
        SubmitUnresolved => "A start may have been executed although Databricks then refused it; the operator looks for the run and starts no other meanwhile.",
        IntentExpired => "A start was left unfinished for more than a day and will not be repeated; ask for a re-run.",
        Restored => "The object was restored or copied from another one and starts nothing; ask for a re-run.",
        RunKeyVersionUnknown => "A newer operator recorded this run; this one follows, cancels and releases it, but starts nothing.",
        WorkspaceNotFound => "There is no workspace object of this kind and name.",
        WorkspaceNotReady => "The workspace object cannot be used now; its own condition Ready says why.",
        WorkspaceNotAllowed => "The ClusterDatabricksWorkspace does not admit this namespace: nothing new is started, what is under way is followed and cancelled.",
        WorkspaceChanged => "The workspace object now points elsewhere than when the run was started: nothing is sent for it.",
        WorkspaceReady => "A token could be had and the workspace's API answers.",
        CredentialsNotFound => "The Secret, ConfigMap or ServiceAccount, or the key in it, is not there or is empty.",
        CredentialsUnusable => "The Secret, ConfigMap or ServiceAccount is there but cannot be read or used.",
        HostNotAllowed => "The administrator of the operator does not allow this host, its address or the proxy to it (--allowed-host, --allowed-address, --allowed-proxy).",
        Unauthorized => "Databricks does not accept the credentials.",
        Forbidden => "The identity lacks a right in Databricks.",
        Unreachable => "The workspace cannot be reached, or whoever answers there is no Databricks API.",
        Throttled => "Databricks asks for fewer requests; they go on later.",
        QuotaExceeded => "A quota of the workspace is used up, such as its number of live runs; it is tried again later.",
        SpecUnreadable => "The spec cannot be read by this version of the operator; nothing is started.",
    }
}

words! {
    /// Where a run is, in one word, for people (`status.state`). Programs read the conditions.
    State {
        Pending => "Not started yet, or Databricks has not begun with it.",
        Suspended => "Held by `spec.suspend`.",
        Queued => "In Databricks' queue.",
        Running => "Being executed, its cluster's start included.",
        Retrying => "A run failed, and the next attempt is due after a wait.",
        Succeeded => "Ended with success.",
        Failed => "Ended with a failure.",
        TimedOut => "Stopped by a timeout or a deadline.",
        Canceled => "Cancelled.",
        Skipped => "Skipped by Databricks.",
        Rejected => "Never became a run: the request was refused.",
    }
}

impl Reason {
    /// Whether something is in the way, as opposed to a run that takes its course.
    #[must_use]
    pub const fn is_obstacle(self) -> bool {
        !matches!(
            self,
            Self::Pending | Self::Suspended | Self::Queued | Self::Running | Self::Canceling | Self::WorkspaceReady
        )
    }
}

/// Sets one condition, in the list or at its end. `lastTransitionTime` moves only when `status` changes: moved on every
/// write, it would make every look at an object a change of it.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    kind: &str,
    status: &str,
    reason: Reason,
    message: &str,
    generation: i64,
    now: Timestamp,
) {
    let mut new = Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: bounded(message),
        observed_generation: Some(generation),
        last_transition_time: Time(now),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == kind) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            *old = new;
        }
        None => conditions.push(new),
    }
}

/// Cuts a message at a character boundary and says so.
fn bounded(message: &str) -> String {
    const CUT: &str = " … (cut)";
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    format!("{}{CUT}", &message[..message.floor_char_boundary(MAX_MESSAGE - CUT.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn set(conditions: &mut Vec<Condition>, status: &str, message: &str, generation: i64, second: i64) {
        set_condition(conditions, READY, status, Reason::Running, message, generation, at(second));
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_flips() {
        let mut conditions = Vec::new();
        set(&mut conditions, "Unknown", "one", 1, 10);
        set(&mut conditions, "Unknown", "two", 2, 20);
        assert_eq!(conditions.len(), 1);
        assert_eq!((conditions[0].message.as_str(), conditions[0].observed_generation), ("two", Some(2)));
        assert_eq!(conditions[0].last_transition_time, Time(at(10)));
        set(&mut conditions, "True", "three", 2, 30);
        assert_eq!(conditions[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn a_long_message_is_cut_between_characters_and_says_so() {
        let mut conditions = Vec::new();
        set(&mut conditions, "False", &"ü".repeat(MAX_MESSAGE), 1, 10);
        let message = &conditions[0].message;
        assert!(message.len() <= MAX_MESSAGE && message.ends_with("… (cut)"), "{} bytes: {message}", message.len());
    }

    #[test]
    fn the_schema_names_every_state() {
        let schema = schemars::schema_for!(crate::api::status::DatabricksRunStatus).to_value();
        let described = schema["properties"]["state"]["description"].as_str().unwrap();
        for state in State::ALL {
            assert!(described.contains(&format!("`{state}`")), "status.state does not mention {state}");
        }
    }

    #[test]
    fn every_reason_is_a_word_that_kubernetes_accepts() {
        for reason in Reason::ALL {
            let word = reason.as_str();
            assert!(word.len() < 64 && word.starts_with(char::is_uppercase), "{word}");
            assert!(word.chars().all(|c| c.is_ascii_alphanumeric()), "{word}");
            assert!(reason.meaning().ends_with('.'), "{word}: {}", reason.meaning());
        }
    }
}
