//! What holds of every write to an object.

use databricks_run_operator::api::conditions::Reason;
use databricks_run_operator::api::run::{FINALIZER, RERUN_ANNOTATION, RunObject, START_ANNOTATION};
use databricks_run_operator::api::status::{CancelCause, DatabricksRunStatus};
use databricks_run_operator::controller::ports::{Place, StoreError};
use databricks_run_operator::lifecycle::IdempotencyToken;

use super::{Invariant, deadlines, ends, rest};
use crate::simulation::process::ProcessId;
use crate::simulation::store::Written;
use crate::simulation::view;
use crate::simulation::world::World;

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulation) enum Author {
    Operator(ProcessId),
    Person,
}

/// Bytes of a status as JSON, its intent apart.
const MAX_STATUS: usize = 32 * 1024;

/// Ready, Succeeded, Finished, Reconciling, Stalled: the rows of the contract.
const ROWS: [[&str; 5]; 5] = [
    ["Unknown", "Unknown", "False", "True", ""],
    ["True", "True", "True", "", ""],
    ["False", "False", "True", "", "True"],
    ["False", "Unknown", "False", "", "True"],
    ["True", "Unknown", "False", "", ""],
];

/// A write was made or refused: what it did is checked and told to all watches.
pub(in crate::simulation) fn wrote(
    world: &mut World,
    place: &Place,
    written: Result<Written, StoreError>,
    by: Author,
) -> Result<RunObject, StoreError> {
    let written = match written {
        Ok(written) => written,
        Err(error) => {
            if let Author::Operator(id) = by {
                world.tally.count("Kubernetes answers", error.reason());
                world.tell_of(id, || format!("a write of {} is refused: {error}", place.name));
            }
            return Err(error);
        }
    };
    if written.news {
        view::announce(world);
        check(world, &written, by);
    }
    Ok((*written.after).clone())
}

fn check(world: &mut World, written: &Written, by: Author) {
    let (before, after) = (written.before.as_deref(), &*written.after);
    let uid = uid(after);
    let was_held = before.is_some_and(RunObject::is_held);
    match by {
        Author::Person => {
            if was_held && !after.is_held() {
                world.ledger.known(uid).finalizer_taken = true;
            }
            let names_a_run = |object: &RunObject| object.status.as_ref().is_some_and(|status| status.serial.is_some());
            if before.is_some_and(names_a_run) && !names_a_run(after) {
                world.ledger.known(uid).wiped = true;
            }
            let has_status =
                |object: &RunObject| object.status.as_ref().is_some_and(|status| status.observed_generation >= Some(0));
            if before.is_some_and(has_status) && !has_status(after) {
                // Whatever was asked for before is as if it had come with the object.
                let rerun = after.annotation(RERUN_ANNOTATION).map(str::to_owned);
                if let Some(restored) = &mut world.ledger.known(uid).restored {
                    restored.with = rerun;
                }
            }
        }
        Author::Operator(id) => {
            world.last_effect = world.now;
            told(world, id, before, after);
            if is_restored(after) && !before.is_some_and(is_restored) {
                // What was asked for until now came with the object, or was taken back before anybody saw it.
                let rerun = after.annotation(RERUN_ANNOTATION).map(str::to_owned);
                if let Some(restored) = &mut world.ledger.known(uid).restored {
                    restored.with = rerun;
                }
            }
            if before.and_then(|before| before.status.as_ref()) != after.status.as_ref() {
                status(world, before, after);
            }
            let was_deleted = before.is_none_or(|before| before.metadata.deletion_timestamp.is_some());
            if let Some(before) = before.filter(|_| !was_deleted && after.metadata.deletion_timestamp.is_some()) {
                rest::deletes_itself(world, before);
            }
        }
    }
    if written.gone {
        ends::gone(world, after, by);
    }
}

/// The write, as a line of the story.
fn told(world: &mut World, by: ProcessId, before: Option<&RunObject>, after: &RunObject) {
    world.tally.count("writes", "by the operator");
    world.tell_of(by, || {
        let name = after.metadata.name.as_deref().unwrap_or_default();
        let version = after.metadata.resource_version.as_deref().unwrap_or_default();
        let held = match (before.is_some_and(RunObject::is_held), after.is_held()) {
            (false, true) => "; puts the finalizer on",
            (true, false) => "; takes the finalizer off",
            _ => "",
        };
        let Some(status) = &after.status else { return format!("writes {name}, version {version}{held}") };
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        let intent = status.intent.as_ref().map(|intent| format!(", intent of {}", intent.holder)).unwrap_or_default();
        let cancel = status.cancel.as_ref().map(|cancel| format!(", cancel {:?}", cancel.cause)).unwrap_or_default();
        format!(
            "writes {name}, version {version}: {} {}, serial {}, run {}{intent}{cancel}{held}",
            status.state.as_deref().unwrap_or("-"),
            ready.map(|ready| ready.reason.as_str()).unwrap_or_default(),
            status.serial.unwrap_or_default(),
            status.run_id.as_deref().unwrap_or("-"),
        )
    });
}

fn status(world: &mut World, before: Option<&RunObject>, after: &RunObject) {
    let none = DatabricksRunStatus::default();
    let old = before.and_then(|before| before.status.as_ref()).unwrap_or(&none);
    let Some(new) = &after.status else {
        return world.break_promise(Invariant::Conditions, format!("{} has lost its status", uid(after)));
    };
    conditions(world, after, new);
    serials(world, after, new);
    let anew = starts_anew(world, after, old, new);
    asked(world, after, old, new, anew);
    intent(world, after, old, new);
    if new.serial.is_some() {
        world.ledger.known(uid(after)).wiped = false;
    }
    if let (Some(run), Some(_)) = (&new.run_id, &new.cancel) {
        world.ledger.known(uid(after)).causes.insert(run.clone());
    }
    repair(world, after, old, new);
    deadlines::causes(world, after, old, new);
    ends::verdicts(world, after, old, new);
}

fn repair(world: &mut World, after: &RunObject, old: &DatabricksRunStatus, new: &DatabricksRunStatus) {
    let (Some(run), Some(repair)) = (&new.run_id, &new.repair) else { return };
    if old.repair.as_ref().is_some_and(|before| before.n == repair.n && old.run_id == new.run_id) {
        return;
    }
    world.tally.count("starts", "repairs written ahead");
    let known = world.ledger.known(uid(after)).repairs.entry(run.clone()).or_default();
    known.after.push(repair.after.clone());
}

/// A request that was suspended, or cancelled for a newer one that was taken back, may begin once more.
fn starts_anew(world: &mut World, after: &RunObject, old: &DatabricksRunStatus, new: &DatabricksRunStatus) -> bool {
    let cause = old.cancel.as_ref().map(|cancel| cancel.cause).filter(|_| new.cancel.is_none());
    let was_stopped = matches!(cause, Some(CancelCause::Suspension | CancelCause::Replacement));
    let is_suspended = new.conditions.iter().any(|it| it.type_ == "Ready" && it.reason == "Suspended");
    let limit = after.spec.get("backoffLimit").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let known = world.ledger.known(uid(after));
    known.retries_allowed = known.retries_allowed.max(u32::try_from(limit).unwrap_or(u32::MAX));
    let anew = was_stopped || is_suspended;
    if anew {
        known.intents_for_ask = 0;
    }
    anew
}

fn is_restored(object: &RunObject) -> bool {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    conditions.into_iter().any(|condition| condition.reason == Reason::Restored.as_str())
}

/// A new run key stands for a new ask.
fn asked(world: &mut World, after: &RunObject, old: &DatabricksRunStatus, new: &DatabricksRunStatus, anew: bool) {
    if new.run_key.is_none() || new.run_key == old.run_key {
        return;
    }
    let (uid, ask) = (uid(after), ask(after, new));
    let rerun = after.annotation(RERUN_ANNOTATION).map(str::to_owned);
    let known = world.ledger.known(uid);
    // Once it was asked for, it is an object like any other.
    if known.restored.take().is_some_and(|restored| restored.with == rerun || rerun.is_none()) {
        let how = format!("{uid} was restored, was not asked to run again, and begins with {ask}");
        return world.break_promise(Invariant::RestoredStartsNothing, how);
    }
    // A status that a person has wiped is written anew; a request that begins anew gets a key of the newest version.
    let is_new = anew || old.run_key.is_none() || known.ask.as_ref() != Some(&ask);
    let before = known.ask.replace(ask);
    (known.intents_for_ask, known.retries_allowed) = (0, 0);
    if !is_new {
        let how = format!("{uid} gets another run key for the same: {}", before.unwrap_or_default());
        world.break_promise(Invariant::OneRunPerAsk, how);
    }
}

fn conditions(world: &mut World, after: &RunObject, status: &DatabricksRunStatus) {
    let said = |kind: &str| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == kind);
        condition.map_or("", |condition| condition.status.as_str())
    };
    let row = ["Ready", "Succeeded", "Finished", "Reconciling", "Stalled"].map(said);
    let broken = if !ROWS.contains(&row) {
        Some(format!("{row:?} is no row of the table"))
    } else if (row[2] == "True") != status.completion_time.is_some() {
        Some(format!("Finished is {} and completionTime {:?}", row[2], status.completion_time))
    } else if status.observed_generation > after.metadata.generation {
        Some("observedGeneration is from the future".to_owned())
    } else if status.conditions.iter().any(|it| it.observed_generation != status.observed_generation) {
        Some("a condition speaks of another generation".to_owned())
    } else {
        None
    };
    if let Some(how) = broken {
        world.break_promise(Invariant::Conditions, format!("{}: {how}", uid(after)));
    }
    let size = {
        let mut closed = status.clone();
        closed.intent = None;
        serde_json::to_string(&closed).map_or(0, |json| json.len())
    };
    if size > MAX_STATUS {
        world.break_promise(Invariant::Bounded, format!("the status of {} has {size} bytes", uid(after)));
    }
}

fn serials(world: &mut World, after: &RunObject, status: &DatabricksRunStatus) {
    let uid = uid(after);
    let known = world.ledger.known(uid);
    let highest = known.highest_serial;
    known.highest_serial = highest.max(status.serial.unwrap_or(0));
    let began = status.run_key.is_some();
    if began && status.serial.is_some_and(|serial| serial < highest) {
        let how = format!("{uid} has serial {:?} after {highest}", status.serial);
        return world.break_promise(Invariant::NewestSerial, how);
    }
    let Some(run) = status.run_id.as_ref().and_then(|run| run.parse::<i64>().ok()) else { return };
    let token = IdempotencyToken::new(uid, status.serial.unwrap_or_default());
    let started_with = world.hosts.iter().find_map(|host| host.runs.get(&run)).map(|run| run.token.as_str());
    if started_with != Some(token.as_str()) {
        let how = format!("run {run} in the status of {uid} is not that of serial {:?}", status.serial);
        world.break_promise(Invariant::NewestSerial, how);
    }
}

fn intent(world: &mut World, after: &RunObject, old: &DatabricksRunStatus, new: &DatabricksRunStatus) {
    let uid = uid(after);
    let (Some(intent), Some(pin)) = (&new.intent, &new.workspace) else { return };
    if let Some(before) = old.intent.as_ref().filter(|before| before.serial == intent.serial) {
        let unchanged =
            before.body == intent.body && before.endpoint == intent.endpoint && old.workspace == new.workspace;
        if !unchanged {
            world.break_promise(Invariant::IntentFirst, format!("the intent {} of {uid} has changed", intent.serial));
        }
        if before.holder != intent.holder {
            world.tally.count("takeovers", "of an open intent");
        }
        return;
    }
    let mark = format!("{uid}/{}", intent.serial);
    if !after.is_held() || after.annotation(START_ANNOTATION) != Some(mark.as_str()) {
        let finalizers = &after.metadata.finalizers;
        let how = format!("intent {mark} with the finalizers {finalizers:?}, without {FINALIZER} or the start mark");
        return world.break_promise(Invariant::HeldFirst, how);
    }
    let token = IdempotencyToken::new(uid, intent.serial).as_str().to_owned();
    let intended = world.ledger.intents.entry(token).or_default();
    let is_known = !intended.uid.is_empty();
    uid.clone_into(&mut intended.uid);
    intended.serial = intent.serial;
    intended.requests.push((intent.body.clone(), pin.clone()));
    world.tally.count("starts", "intents written");
    let known = world.ledger.known(uid);
    known.not_started.remove(&intent.serial);
    known.intents_for_ask += u32::from(!is_known);
    let (intents, allowed) = (known.intents_for_ask, 1 + known.retries_allowed);
    if intents > allowed {
        let how = format!("{uid} gets the intent {}, the {intents}. for {}", intent.serial, ask(after, new));
        world.break_promise(Invariant::OneRunPerAsk, how);
    }
}

/// What a person has asked for, as far as a run is made of it.
pub(super) fn ask(object: &RunObject, status: &DatabricksRunStatus) -> String {
    let of = |name: &str| object.spec.get(name).map(ToString::to_string).unwrap_or_default();
    let parts = ["workspaceRef", "runNow", "submit", "jobName", "rerunToken"].map(of);
    format!("{} rerun={}", parts.join(" "), status.last_handled_rerun.as_deref().unwrap_or_default())
}

pub(super) fn uid(object: &RunObject) -> &str {
    object.metadata.uid.as_deref().unwrap_or_default()
}
