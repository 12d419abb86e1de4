//! What the outcome of an effect means. It goes into the memory; the next decision makes a step of it, on whatever the
//! object is by then. So an outcome that could not be written at once is written later, and never twice.

use super::memory::{CancelMemory, Failures, Fresh, Memory, OutputsMemory};
use super::observed::Now;
use super::step::{Effect, Fetched, Outcome};
use crate::databricks::error::Error;
use crate::databricks::ids::RunId;

/// Notes that an effect is about to be performed. Must come before the first byte is sent: a process that dies in between
/// loses nothing, one that lives must not believe that nothing was sent.
pub fn begin(memory: &mut Memory, effect: &Effect) {
    match (effect, &mut memory.intent, &mut memory.repair) {
        (Effect::Submit { .. }, Some(intent), _) => intent.sending(),
        (Effect::Repair { .. }, _, Some(repair)) => repair.sending(),
        _ => {}
    }
    if let Effect::Repair { .. } = effect {
        // What was read before says nothing of what this does.
        memory.fresh = None;
    }
}

/// Notes what came of it.
pub fn settle(memory: &mut Memory, effect: &Effect, outcome: Outcome, now: Now) {
    match (effect, outcome) {
        (Effect::FindJob { key, .. }, Outcome::Job(Ok(found))) => {
            memory.job = Some(Box::new((key.clone(), found)));
            memory.preparation = Failures::default();
        }
        (Effect::FindJob { .. }, Outcome::Job(Err(error))) => memory.preparation.note(error, now),
        (Effect::Submit { serial, .. }, Outcome::Submitted(outcome)) => {
            if let Some(intent) = memory.intent.as_mut().filter(|intent| intent.serial == *serial) {
                intent.answered(outcome, now);
            }
        }
        (Effect::FindRun { serial, .. }, Outcome::Runs(outcome)) => {
            if let Some(intent) = memory.intent.as_mut().filter(|intent| intent.serial == *serial) {
                match outcome {
                    Ok(found) => {
                        intent.found = Some((now.mono, found));
                        intent.lookup = Failures::default();
                    }
                    Err(error) => intent.lookup.note(error, now),
                }
            }
        }
        (Effect::Cancel { run, .. }, Outcome::Canceled(outcome)) => {
            if memory.superfluous.as_ref().is_some_and(|superfluous| superfluous.run == *run) {
                superfluous_canceled(memory, outcome.err(), now);
            } else {
                canceled(memory, *run, outcome.err(), now);
            }
        }
        (Effect::ReadRun { run, .. }, Outcome::Read(Ok(read))) => {
            memory.fresh = Some(Box::new(Fresh { run: *run, read, at: now.mono }));
            memory.reads = Failures::default();
        }
        (Effect::ReadRun { .. }, Outcome::Read(Err(error))) => memory.reads.note(error, now),
        (Effect::Repair { run, .. }, Outcome::Repaired(outcome)) => {
            if let Some(repair) = memory.repair.as_mut().filter(|repair| repair.run == *run) {
                repair.answered(outcome, now);
            }
        }
        (Effect::FetchOutputs { run, .. }, Outcome::Outputs(fetched)) => outputs_fetched(memory, *run, fetched, now),
        // An outcome of another kind than its effect cannot be made: `perform` pairs them.
        _ => {}
    }
}

fn outputs_fetched(memory: &mut Memory, run: RunId, fetched: Fetched, now: Now) {
    let known = memory.outputs.take().filter(|known| known.run == run);
    let mut outputs = known.unwrap_or_else(|| {
        let none = OutputsMemory { run, since: now.mono, done: Vec::new(), read: Vec::new(), retry_at: now.mono };
        Box::new(none)
    });
    for (task, output) in fetched.tasks {
        outputs.done.push(task);
        outputs.read.extend(output);
    }
    outputs.retry_at = now.mono + fetched.retry_in.unwrap_or_default();
    memory.outputs = Some(outputs);
}

/// A superfluous run is cancelled until Databricks accepts that or no longer knows the run.
fn superfluous_canceled(memory: &mut Memory, error: Option<Error>, now: Now) {
    match (error, &mut memory.superfluous) {
        (Some(error), Some(superfluous)) if !matches!(error, Error::NotFound(_) | Error::Rejected(_)) => {
            superfluous.failures.note(error, now);
        }
        _ => memory.superfluous = None,
    }
}

fn canceled(memory: &mut Memory, run: RunId, error: Option<Error>, now: Now) {
    let known = memory.cancel.take().filter(|known| known.run == run);
    let mut cancel = known.unwrap_or_else(|| {
        Box::new(CancelMemory { run, attempts: 0, last: now.mono, held_until: now.mono, last_error: None })
    });
    match error {
        Some(Error::NotNow(wait)) => cancel.held_until = now.mono + wait,
        error => {
            cancel.attempts = cancel.attempts.saturating_add(1);
            cancel.last = now.mono;
            cancel.last_error = error;
        }
    }
    memory.cancel = Some(cancel);
}
