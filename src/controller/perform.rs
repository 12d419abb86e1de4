//! Perform: one effect, one outcome. No rule lives here.

use std::time::Duration;

use super::ports::Remote;
use crate::api::status::WorkspacePin;
use crate::databricks::error::Error;
use crate::databricks::ids::RunId;
use crate::lifecycle::step::Fetched;
use crate::lifecycle::{Effect, Outcome, outputs};

/// A reading that failed by something that passes is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// Performs an effect for an object in this namespace.
pub(super) async fn perform<R: Remote>(remote: &R, namespace: &str, effect: &Effect) -> Outcome {
    match effect {
        Effect::FindJob { pin, name, .. } => Outcome::Job(remote.find_job(namespace, pin, name).await),
        Effect::Submit { pin, endpoint, body, token, .. } => {
            Outcome::Submitted(remote.start(namespace, pin, *endpoint, body, token).await)
        }
        Effect::FindRun { pin, target, since, .. } => {
            Outcome::Runs(remote.find_runs(namespace, pin, target, *since).await)
        }
        Effect::Cancel { pin, run } => Outcome::Canceled(remote.cancel(namespace, pin, *run).await),
        Effect::ReadRun { pin, run } => Outcome::Read(remote.read_run(namespace, pin, *run).await),
        Effect::Repair { pin, run, after, body } => {
            Outcome::Repaired(remote.repair(namespace, pin, *run, *after, body).await)
        }
        Effect::FetchOutputs { pin, tasks, .. } => Outcome::Outputs(fetch(remote, namespace, pin, tasks).await),
    }
}

/// Reads outputs one after the other, until all are read or something that passes is in the way.
async fn fetch<R: Remote>(remote: &R, namespace: &str, pin: &WorkspacePin, tasks: &[(String, RunId)]) -> Fetched {
    let mut fetched = Fetched::default();
    for (task_key, task) in tasks {
        match remote.output(namespace, pin, *task).await {
            Ok(output) => fetched.tasks.push((*task, outputs::of_task(task_key, &output))),
            Err(error) => {
                tracing::debug!(run_id = %task, %error, "the output of a task cannot be read");
                fetched.retry_in = retry(&error);
                if fetched.retry_in.is_some() {
                    break;
                }
                fetched.tasks.push((*task, None));
            }
        }
    }
    fetched
}

/// When to try again, if that may help.
fn retry(error: &Error) -> Option<Duration> {
    match error {
        Error::NotNow(wait) => Some(*wait),
        Error::Throttled { retry_after, .. } => Some(retry_after.unwrap_or(RETRY)),
        Error::Unavailable(_) | Error::Transport(_) | Error::NoToken(_) | Error::Unauthenticated(_) => Some(RETRY),
        Error::NotFound(_)
        | Error::NoSuchRoute(_)
        | Error::Rejected(_)
        | Error::Forbidden(_)
        | Error::QuotaExceeded(_)
        | Error::WrongHost(_)
        | Error::HostNotAllowed(_)
        | Error::Credentials(_) => None,
    }
}
