//! What holds when a request ends, and when an object goes.

use std::time::Duration;

use databricks_run_operator::api::run::RunObject;
use databricks_run_operator::api::status::DatabricksRunStatus;

use super::calls::live_runs;
use super::writes::uid;
use super::{Author, Invariant};
use crate::simulation::world::World;

/// How long after an object has gone its warning may come.
pub(super) const WARNING: Duration = Duration::from_mins(2);

/// The verdicts that a write brings.
pub(super) fn verdicts(world: &mut World, object: &RunObject, old: &DatabricksRunStatus, new: &DatabricksRunStatus) {
    let uid = uid(object);
    if new.completion_time.is_some() && (old.completion_time.is_none() || old.state != new.state) {
        let reason = new.conditions.iter().find(|it| it.type_ == "Ready").map(|it| it.reason.as_str());
        let end = End {
            uid,
            serial: new.serial.unwrap_or_default(),
            run: new.run_id.as_deref(),
            state: new.state.as_deref().unwrap_or_default(),
            reason: reason.unwrap_or_default(),
        };
        verdict(world, &end);
    }
    if let Some(newest) = new.attempts.first().filter(|newest| old.attempts.first() != Some(*newest)) {
        let end = End {
            uid,
            serial: newest.serial,
            run: newest.run_id.as_deref(),
            state: &newest.state,
            reason: &newest.reason,
        };
        verdict(world, &end);
    }
}

/// An end as a status tells it.
struct End<'a> {
    uid: &'a str,
    serial: i64,
    run: Option<&'a str>,
    state: &'a str,
    reason: &'a str,
}

fn verdict(world: &mut World, end: &End<'_>) {
    let End { uid, serial, run, state, reason } = *end;
    world.tally.count("verdicts", format!("{state} {reason}"));
    let Some(run) = run else { return without_run(world, end) };
    let id = run.parse::<i64>().unwrap_or_default();
    let Some(known) = world.hosts.iter().find_map(|host| host.runs.get(&id)) else {
        return world.break_promise(Invariant::TrueVerdict, format!("{uid}: there is no run {run}"));
    };
    let deleted = known.deleted.is_some();
    let said = known.ever_said(state, reason);
    let words = known.words();
    match reason {
        "RunNotFound" if deleted && state == "Failed" => {
            world.tally.count("exceptions", "verdict RunNotFound");
            world.ledger.known(uid).given_up.insert(serial);
        }
        "StartingDeadlineExceeded" | "DeadlineExceeded"
            if state == "TimedOut" && words.contains(&("Canceled", "RunCanceled")) =>
        {
            world.tally.count("exceptions", format!("verdict {reason}"));
        }
        // It was reached while the next attempt was waited for.
        "DeadlineExceeded" | "StartingDeadlineExceeded"
            if state == "TimedOut" && words.iter().any(|(said, _)| *said != "Succeeded") =>
        {
            world.tally.count("exceptions", format!("verdict {reason} after an attempt that had failed"));
        }
        "BackoffLimitExceeded" if state != "Succeeded" && words.iter().any(|(said, _)| *said == state) => {}
        "ResultMissing" if said => world.tally.count("exceptions", "verdict ResultMissing"),
        _ if said => {}
        _ => {
            let how = format!("{uid} says {state} {reason} of run {run}, of which Databricks said {words:?}");
            world.break_promise(Invariant::TrueVerdict, how);
        }
    }
}

fn without_run(world: &mut World, end: &End<'_>) {
    let End { uid, serial, state, reason, .. } = *end;
    match (state, reason) {
        ("Rejected", "SubmitUnresolved" | "IntentExpired") => {
            world.tally.count("exceptions", format!("verdict {reason}"));
            world.ledger.known(uid).given_up.insert(serial);
        }
        ("Rejected", "SubmitRejected" | "JobNotFound" | "JobNameAmbiguous" | "ContinuousJob")
        | ("Canceled", "RunCanceled") => {
            world.tally.count("exceptions", format!("verdict {state} without a run"));
            let runs = live_runs(world, uid).filter(|(_, of, _)| *of == serial).map(|(run, ..)| run).next();
            if let Some(run) =
                runs.filter(|_| !world.ledger.objects.get(uid).is_some_and(|known| known.wiped_and_moved))
            {
                let how = format!("{uid} says {state} {reason} of serial {serial}, whose run {run} is live");
                return world.break_promise(Invariant::RejectedHasNoRun, how);
            }
            // The serial of an end before any intent is that of the request before.
            let is_newest = world.ledger.intents.values().any(|it| it.uid == uid && it.serial == serial);
            let has_run = is_newest && run_of(world, uid, serial);
            if is_newest && !has_run {
                world.ledger.known(uid).not_started.insert(serial);
            }
        }
        ("TimedOut", "StartingDeadlineExceeded" | "DeadlineExceeded") => {
            world.tally.count("exceptions", format!("verdict {reason} without a run"));
        }
        _ => {
            let how = format!("{uid} ends as {state} {reason} without a run");
            world.break_promise(Invariant::TrueVerdict, how);
        }
    }
}

/// Whether a run of this serial ever began.
fn run_of(world: &World, uid: &str, serial: i64) -> bool {
    world.hosts.iter().flat_map(|host| host.runs.values()).any(|run| {
        world.ledger.intents.get(&run.token).is_some_and(|intended| intended.uid == uid && intended.serial == serial)
    })
}

/// An object has gone. Its live runs are warned of within a while, or were to be left alone.
pub(super) fn gone(world: &mut World, object: &RunObject, by: Author) {
    let to_cancel = object.spec.get("deletionPolicy").and_then(serde_json::Value::as_str) != Some("Orphan");
    let uid = uid(object).to_owned();
    world.ledger.known(&uid).gone = Some((world.now, by, to_cancel));
    world.tell("Kubernetes", || format!("{uid} is gone"));
    let left: Vec<i64> = live_runs(world, &uid).map(|(run, ..)| run).collect();
    for run in left {
        let uid = uid.clone();
        world.after(WARNING, move |world| is_warned_of(world, &uid, run));
    }
}

pub(super) fn is_warned_of(world: &mut World, uid: &str, run: i64) {
    let known = world.ledger.known(uid);
    let (taken, gone) = (known.finalizer_taken, known.gone);
    if let Some((_, Author::Operator(id), _)) = gone
        && world.processes[id].stands_still()
    {
        // It tells when it goes on.
        let uid = uid.to_owned();
        return world.after(WARNING, move |world| is_warned_of(world, &uid, run));
    }
    let known = world.ledger.known(uid);
    let (moved, wiped) = (known.wiped_and_moved, known.wiped);
    let id = run.to_string();
    let warned = known.orphans.iter().any(|note| {
        note.contains(&id)
            || note.contains("being started")
            || note.contains("whether a run")
            || note.contains("may be going on")
    });
    let died =
        |world: &World, id: usize, since: Duration| world.ledger.deaths.get(&id).is_some_and(|died| *died >= since);
    match gone {
        _ if taken => world.tally.count("exceptions", "run left behind: a person took the finalizer off"),
        _ if moved => world.tally.count("exceptions", "run left behind: the status was wiped and the workspace moved"),
        _ if wiped => world.tally.count("exceptions", "run left behind: the status was wiped before the deletion"),
        _ if warned => world.tally.count("exceptions", "run left behind, and warned about"),
        Some((_, _, false)) => world.tally.count("exceptions", "run left behind by deletionPolicy Orphan"),
        Some((since, Author::Operator(id), _)) if died(world, id, since) => {
            world.tally.count("exceptions", "run left behind: the process died before it could warn");
        }
        _ => {
            let how = format!("run {run} goes on, its object {uid} has gone, and nobody was told");
            world.break_promise(Invariant::NothingLeftBehind, how);
        }
    }
}
