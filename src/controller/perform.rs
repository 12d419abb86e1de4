//! Perform: one effect, one outcome. No rule lives here.

use std::time::Duration;

use super::ports::{Clock, Remote};
use crate::api::status::TaskOutput;
use crate::lifecycle::{Effect, Outcome, outputs};

/// Reading outputs takes at most this long in all; what is not there by then is left out.
const OUTPUTS_IN_ALL: Duration = Duration::from_secs(30);

/// Performs an effect for an object in this namespace.
pub(super) async fn perform<R: Remote, C: Clock>(remote: &R, clock: &C, namespace: &str, effect: &Effect) -> Outcome {
    match effect {
        Effect::FindJob { pin, name, .. } => Outcome::Job(remote.find_job(namespace, pin, name).await),
        Effect::Submit { pin, endpoint, body, token, .. } => {
            Outcome::Submitted(remote.start(namespace, pin, *endpoint, body, token).await)
        }
        Effect::FindRun { pin, target, since, .. } => {
            Outcome::Runs(remote.find_runs(namespace, pin, target, *since).await)
        }
        Effect::Cancel { pin, run } => Outcome::Canceled(remote.cancel(namespace, pin, *run).await),
        Effect::FetchOutputs { pin, run, tasks } => {
            let begun = clock.now().mono;
            let mut read: Vec<TaskOutput> = Vec::new();
            for (task_key, task) in tasks {
                if clock.now().mono.saturating_sub(begun) >= OUTPUTS_IN_ALL {
                    break;
                }
                match remote.output(namespace, pin, *task).await {
                    Ok(output) => read.extend(outputs::of_task(task_key, &output)),
                    // Best effort: the verdict does not wait for it.
                    Err(error) => {
                        tracing::debug!(run_id = %run, task = task_key, %error, "the output of a task cannot be read");
                    }
                }
            }
            Outcome::Outputs(read)
        }
    }
}
