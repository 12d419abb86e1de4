//! What holds of calls to Databricks, and of the runs that begin there.

use std::time::Duration;

use databricks_run_operator::api::status::WorkspacePin;
use databricks_run_operator::databricks::ids::{RepairId, RunId};

use super::ends::{WARNING, is_warned_of};
use super::{Intended, Invariant, OnItsWay};
use crate::simulation::cluster::HOSTS;
use crate::simulation::databricks::Asked;
use crate::simulation::mood::Idempotency;
use crate::simulation::network::Flight;
use crate::simulation::process::ProcessId;
use crate::simulation::world::World;

/// A process that let so much time pass between its look at the clock and the send has stood still.
const STOOD_STILL: Duration = Duration::from_secs(1);
/// A process whose monotonic clock jumped so recently may have waited for less than it thinks.
const JUMPED: Duration = Duration::from_mins(10);

/// A request to start a run, as it is sent.
pub(in crate::simulation) struct Post {
    pub(in crate::simulation) by: ProcessId,
    pub(in crate::simulation) host: usize,
    pub(in crate::simulation) pin: WorkspacePin,
    pub(in crate::simulation) body: String,
    pub(in crate::simulation) token: String,
}

/// A request to start a run is sent.
pub(in crate::simulation) fn posting(world: &mut World, post: &Post, asked_at: Duration, flight: Flight) {
    let Intended { uid, serial, requests } = match world.ledger.intents.get(&post.token) {
        Some(intended) => {
            Intended { uid: intended.uid.clone(), serial: intended.serial, requests: intended.requests.clone() }
        }
        None => Intended::default(),
    };
    world.tell_of(post.by, || format!("POST for serial {serial} of {uid} to {}: {}", post.pin.host, post.body));
    world.tally.count("starts", "POSTs sent");
    if !requests.iter().any(|(body, pin)| *body == post.body && *pin == post.pin) {
        let how = format!("a POST of {} for serial {serial} of {uid}, recorded was {requests:?}", post.body);
        return world.break_promise(Invariant::IntentFirst, how);
    }
    if HOSTS[post.host] != post.pin.host {
        let how = format!("a POST pinned to {} was sent to {}", post.pin.host, HOSTS[post.host]);
        return world.break_promise(Invariant::Pinned, how);
    }
    overlap(world, post, asked_at, flight);
}

fn overlap(world: &mut World, post: &Post, asked_at: Duration, flight: Flight) {
    let now = flight.from;
    world.ledger.on_their_way.retain(|other| other.until > now);
    let others = world.ledger.on_their_way.iter().filter(|other| other.token == post.token);
    let other = others.max_by_key(|other| !other.stood_still).map(|other| (other.by, other.stood_still));
    let stood_still = now.saturating_sub(asked_at) >= STOOD_STILL;
    let (token, by) = (post.token.clone(), post.by);
    world.ledger.on_their_way.push(OnItsWay { token, by, until: flight.until, stood_still });
    let Some((other, other_stood_still)) = other else { return };
    let jumped = |id: ProcessId| {
        let jumped = world.processes[id].clocks.jumped;
        jumped.is_some_and(|jumped| now.saturating_sub(jumped) < JUMPED)
    };
    let clock = jumped(by) || jumped(other);
    if stood_still || other_stood_still {
        world.tally.count("exceptions", "two POSTs of one token: a process stood still before the send");
    } else if clock {
        world.tally.count("exceptions", "two POSTs of one token: a monotonic clock had jumped");
    } else {
        let (a, b) = (world.processes[other].name.clone(), world.processes[by].name.clone());
        let how = format!("{b} sends while a POST of {a} with the same token is on its way");
        world.break_promise(Invariant::NoOverlap, how);
    }
}

/// A run begins.
pub(in crate::simulation) fn run_begins(world: &mut World, host: usize, id: i64) {
    let token = world.hosts[host].runs[&id].token.clone();
    let Some((uid, serial)) = world.ledger.intents.get(&token).map(|intended| (intended.uid.clone(), intended.serial))
    else {
        return world.break_promise(Invariant::IntentFirst, format!("run {id} began without an intent"));
    };
    world.tell("Databricks", || format!("run {id} begins, for serial {serial} of {uid}"));
    let before: Vec<(i64, bool)> = world.hosts[host]
        .runs
        .values()
        .filter(|run| run.token == token && run.id != id)
        .map(|run| (run.id, run.is_live()))
        .collect();
    if let Some((first, live)) = before.last() {
        if world.mood.idempotency == Idempotency::Remembered || *live {
            let how = format!("run {id} is the second of serial {serial} of {uid}, after {first}");
            return world.break_promise(Invariant::OneRunPerToken, how);
        }
        world.tally.count("exceptions", "a second run: Databricks had forgotten the token of one that was over");
        if let Some(run) = world.hosts[host].runs.get_mut(&id) {
            run.stray = true;
        }
        return;
    }
    let elsewhere =
        world.hosts.iter().flat_map(|host| host.runs.values()).any(|run| run.token == token && run.id != id);
    if elsewhere {
        // With the status, the pin was lost: nobody can know that there is a run at another host.
        world.tally.count("exceptions", "a second run: the status was wiped and the workspace moved");
        world.ledger.known(&uid).wiped_and_moved = true;
    }
    let known = world.ledger.known(&uid);
    let (excused, not_started, gone) = (
        known.finalizer_taken || known.wiped_and_moved || known.wiped,
        known.not_started.contains(&serial),
        known.gone.is_some(),
    );
    let warned = known.given_up.contains(&serial) || !known.orphans.is_empty();
    if not_started {
        let how = format!("run {id} of serial {serial} of {uid} began, although the status said that none would");
        return world.break_promise(Invariant::RejectedHasNoRun, how);
    }
    if gone && !excused && !warned {
        return world.after(WARNING, move |world| is_warned_of(world, &uid, id));
    }
    let other = live_runs(world, &uid).find(|(_, of, _)| *of != serial).map(|(run, ..)| run);
    if let Some(other) = other.filter(|_| !excused) {
        let how = format!("run {id} of serial {serial} of {uid} began beside run {other}, which is live");
        world.break_promise(Invariant::OneLiveRun, how);
    }
}

/// The live runs that an object answers for: id, serial, token.
pub(super) fn live_runs<'a>(world: &'a World, uid: &'a str) -> impl Iterator<Item = (i64, i64, &'a str)> + 'a {
    let known = world.ledger.objects.get(uid);
    let runs = world.hosts.iter().flat_map(|host| host.runs.values());
    runs.filter(|run| run.is_live() && !run.repaired_by_people && !run.stray).filter_map(move |run| {
        let intended = world.ledger.intents.get(&run.token).filter(|intended| intended.uid == uid)?;
        let given_up = known.is_some_and(|known| known.given_up.contains(&intended.serial));
        (!given_up).then_some((run.id, intended.serial, run.token.as_str()))
    })
}

/// A repair is asked for.
pub(in crate::simulation) fn repairing(
    world: &mut World,
    by: ProcessId,
    host: usize,
    RunId(id): RunId,
    after: Option<RepairId>,
) {
    world.tell_of(by, || format!("asks to repair run {id} after {after:?}"));
    let Some(uid) = uid_of(world, host, id) else { return };
    let known = world.ledger.known(&uid).repairs.get(&id.to_string());
    if known.is_none_or(|known| !known.after.contains(&after.map(|after| after.to_string()))) {
        let how = format!("a repair of run {id} of {uid} after {after:?}, recorded were {known:?}");
        world.break_promise(Invariant::IntentFirst, how);
    }
}

/// A repair begins that the operator asked for.
pub(in crate::simulation) fn repair_begins(world: &mut World, host: usize, id: i64) {
    let Some(uid) = uid_of(world, host, id) else { return };
    let known = world.ledger.known(&uid).repairs.entry(id.to_string()).or_default();
    known.begun += 1;
    let (begun, written) = (known.begun, known.after.len());
    if begun > written {
        let how = format!("run {id} of {uid} is repaired for the {begun}. time, {written} were recorded");
        world.break_promise(Invariant::OneRepairPerRecord, how);
    }
}

/// Whose run it is.
fn uid_of(world: &World, host: usize, id: i64) -> Option<String> {
    let token = world.hosts[host].runs.get(&id).map(|run| &run.token)?;
    world.ledger.intents.get(token).map(|intended| intended.uid.clone())
}

/// A cancellation is sent.
pub(in crate::simulation) fn canceling(world: &mut World, by: ProcessId, host: usize, RunId(id): RunId) {
    world.tell_of(by, || format!("asks to cancel run {id}"));
    let Some(uid) = uid_of(world, host, id) else { return };
    let id = id.to_string();
    let recorded = world.ledger.known(&uid).causes.contains(&id);
    let speaks_of_it = world.store.objects().any(|(_, object)| {
        object.metadata.uid.as_deref() == Some(uid.as_str())
            && object.status.as_ref().and_then(|status| status.run_id.as_deref()) == Some(id.as_str())
    });
    if recorded {
        world.tally.count("cancels", "sent, with their cause in the status");
    } else if speaks_of_it {
        let how = format!("run {id} of {uid} is cancelled, and the status does not say why");
        world.break_promise(Invariant::CauseFirst, how);
    } else {
        world.tally.count("cancels", "sent for a run that the object does not name");
    }
}

/// A call was asked for where the line does not lead to the pin; the adapter held it back.
pub(in crate::simulation) fn asked_elsewhere(world: &mut World, pin: &WorkspacePin, points_to: &str, asked: Asked) {
    let allowed = match asked {
        Asked::ToCancel(run) => {
            let id = run.to_string();
            !world.store.objects().any(|(_, object)| {
                object.status.as_ref().is_some_and(|status| {
                    status.run_id.as_deref() == Some(id.as_str()) && status.workspace.as_ref() == Some(pin)
                })
            })
        }
        Asked::ForOutputs => true,
        Asked::ForAStart | Asked::ToRead => false,
    };
    if !allowed {
        let how = format!("{asked:?} pinned to {} was asked of a workspace that points to {points_to}", pin.host);
        world.break_promise(Invariant::Pinned, how);
    }
}
