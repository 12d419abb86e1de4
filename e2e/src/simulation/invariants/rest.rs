//! What holds two hours after the last fault and the last act of a person.

use std::sync::Arc;
use std::time::Duration;

use databricks_run_operator::api::run::{RERUN_ANNOTATION, RunObject};
use databricks_run_operator::api::status::DatabricksRunStatus;

use super::Invariant;
use super::writes::{ask, uid};
use crate::simulation::clock::epoch_millis;
use crate::simulation::cluster::HOSTS;
use crate::simulation::people::MARK;
use crate::simulation::world::World;

/// Nothing may have been written or called for so long.
const SILENCE: Duration = Duration::from_mins(10);

/// Everything is at rest, as it should be.
pub(in crate::simulation) fn check_rest(world: &mut World) {
    let since = world.now.saturating_sub(world.last_effect);
    let objects: Vec<Arc<RunObject>> = world.store.objects().map(|(_, object)| Arc::clone(object)).collect();
    for object in &objects {
        if object.metadata.deletion_timestamp.is_some() {
            let how = format!("{} is deleted and still there", uid(object));
            return world.break_promise(Invariant::FinalizerGoes, how);
        }
        match standing(world, object) {
            Ok(way) => world.tally.count("at rest", way),
            Err(how) => return world.break_promise(Invariant::Quiet, format!("{}: {how}", uid(object))),
        }
    }
    if since < SILENCE {
        let up = world.processes.iter().filter(|process| process.is_up());
        let followed: Vec<String> = up
            .flat_map(|process| {
                process.lines.followed.iter().map(|(place, run)| format!("{} {place} {run:?}", process.name))
            })
            .collect();
        world.break_promise(
            Invariant::Quiet,
            format!("the last write or call was {since:?} ago; followed are {followed:?}"),
        );
    }
}

/// In which of the ways an object may be at rest it is.
fn standing(world: &World, object: &RunObject) -> Result<&'static str, String> {
    let none = DatabricksRunStatus::default();
    let status = object.status.as_ref().unwrap_or(&none);
    let ready = status.conditions.iter().find(|it| it.type_ == "Ready").map(|it| it.reason.as_str());
    let reason = ready.unwrap_or_default();
    let rerun = object.annotation(RERUN_ANNOTATION).filter(|token| !token.is_empty());
    let asked_again = rerun.is_some_and(|token| status.last_handled_rerun.as_deref() != Some(token));
    let said = format!("{} {reason}", status.state.as_deref().unwrap_or("no state"));
    if status.observed_generation != object.metadata.generation {
        return Err(format!("{said}: the newest generation was not seen"));
    }
    if status.completion_time.is_some() {
        let known = world.ledger.objects.get(uid(object)).and_then(|known| known.ask.as_ref());
        return match known {
            _ if object.is_held() => Err(format!("{said}: finished and still held")),
            _ if asked_again => Err(format!("{said}: the newest re-run token was not handled")),
            Some(known) if *known != ask(object, status) => {
                Err(format!("{said}: finished, but the newest ask was {}", ask(object, status)))
            }
            _ => Ok("finished"),
        };
    }
    match reason {
        "Suspended" if object.is_held() => Err(format!("{said}: suspended and still held")),
        "Suspended" if is_true(object, "suspend") => Ok("suspended"),
        "Restored" if !asked_again => Ok("restored, waiting for a person"),
        "WorkspaceChanged" if is_elsewhere(world, status) => Ok("held: its run was sent elsewhere"),
        _ => Err(format!("{said}: neither finished nor held")),
    }
}

/// An object deletes itself: it was this before.
pub(super) fn deletes_itself(world: &mut World, object: &RunObject) {
    world.tally.count("people", "none: an object deletes itself");
    let ttl = object.spec.get("ttlSecondsAfterFinished").and_then(serde_json::Value::as_i64);
    let finished = object.status.iter().flat_map(|status| &status.conditions).find(|it| it.type_ == "Finished");
    let due = finished.zip(ttl).map(|(finished, ttl)| finished.last_transition_time.0.as_millisecond() + ttl * 1000);
    let is_early = world.mood.clocks == 0 && due.is_some_and(|due| epoch_millis(world.now) < due);
    let how = match standing(world, object) {
        _ if object.annotation(MARK).is_some() => "a tool would put it back".to_owned(),
        _ if ttl.is_none() => "without ttlSecondsAfterFinished".to_owned(),
        _ if is_early => "too early".to_owned(),
        Ok("finished") => return,
        Ok(other) => other.to_owned(),
        Err(how) => how,
    };
    let how = format!("{} deletes itself: {how}", uid(object));
    world.break_promise(Invariant::DeletesItselfWhenDone, how);
}

fn is_true(object: &RunObject, field: &str) -> bool {
    object.spec.get(field).and_then(serde_json::Value::as_bool).unwrap_or(false)
}

/// Whether the workspace object points elsewhere than the status.
fn is_elsewhere(world: &World, status: &DatabricksRunStatus) -> bool {
    status.workspace.as_ref().is_some_and(|pin| {
        let points_to = world.cluster.workspace(&pin.name).map(|object| HOSTS[object.host]);
        points_to != Some(pin.host.as_str())
    })
}
