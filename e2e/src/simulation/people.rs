//! People. They make objects, edit them, ask for more, delete them, and do what people do to clusters: restore backups,
//! wipe statuses, take finalizers off, move workspaces, lose Secrets.

use databricks_run_operator::api::run::{
    CANCEL_ANNOTATION, FINALIZER, REPAIR_ANNOTATION, RERUN_ANNOTATION, START_ANNOTATION,
};
use databricks_run_operator::api::status::DatabricksRunStatus;
use databricks_run_operator::controller::ports::Place;
use databricks_run_operator::lifecycle::control::Stage;
use serde_json::{Value, json};

use super::cluster::{self, PROD};
use super::databricks::{
    BAD_DAY, CONTINUOUS_JOB, JOB, JOB_NAMES, NO_JOB, cancel_somewhere, delete_somewhere, repair_somewhere,
};
use super::invariants::{Author, wrote};
use super::patch;
use super::store::unseen;
use super::world::{World, place};

/// The names that objects are given.
const NAMES: [&str; 4] = ["etl", "report", "sync", "copy"];
/// The mark of a tool that would put an object back.
pub(super) const MARK: &str = "argocd.argoproj.io/tracking-id";
/// Days that runs are asked for.
const DAYS: [&str; 4] = ["mon", "tue", "wed", "thu"];
/// Re-run tokens.
const TOKENS: [&str; 4] = ["1", "2", "3", ""];

/// Something a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Edit,
    Touch,
    Rerun,
    DropRerun,
    RerunToken,
    Suspend,
    Resume,
    Cancel,
    TakeCancelBack,
    CancelOnce,
    Repair,
    Settings,
    Policy,
    Delete,
    Make,
    Restore,
    Wipe,
    ReplaceWithout,
    TakeFinalizerOff,
    MoveWorkspace,
    RemoveWorkspace,
    BringWorkspaceBack,
    RemoveSecret,
    PutSecretBack,
    ExcludeNamespace,
    AdmitNamespace,
    CancelInDatabricks,
    DeleteInDatabricks,
    RepairInDatabricks,
}

const POLITE: [(u32, Act); 15] = [
    (8, Act::Edit),
    (4, Act::Touch),
    (5, Act::Rerun),
    (1, Act::DropRerun),
    (2, Act::RerunToken),
    (3, Act::Suspend),
    (6, Act::Resume),
    (1, Act::Cancel),
    (3, Act::TakeCancelBack),
    (3, Act::CancelOnce),
    (3, Act::Repair),
    (2, Act::Settings),
    (2, Act::Policy),
    (4, Act::Delete),
    (3, Act::Make),
];
const RUDE: [(u32, Act); 11] = [
    (3, Act::Restore),
    (2, Act::Wipe),
    (2, Act::ReplaceWithout),
    (1, Act::TakeFinalizerOff),
    (2, Act::MoveWorkspace),
    (2, Act::RemoveWorkspace),
    (6, Act::BringWorkspaceBack),
    (2, Act::RemoveSecret),
    (5, Act::PutSecretBack),
    (2, Act::ExcludeNamespace),
    (5, Act::AdmitNamespace),
];
const MEDDLING: [(u32, Act); 3] =
    [(3, Act::CancelInDatabricks), (2, Act::DeleteInDatabricks), (2, Act::RepairInDatabricks)];

/// The workspace and the first objects.
pub(super) fn begin(world: &mut World) {
    cluster::set_workspace(world, PROD, Some(0));
    for _ in 0..world.mood.objects {
        make(world);
    }
    act_later(world);
}

/// People stop, and put right what they have taken away.
pub(super) fn put_right(world: &mut World) {
    cluster::set_secret(world, true);
    cluster::set_workspace(world, PROD, Some(0));
    cluster::set_admission(world, true);
}

fn act_later(world: &mut World) {
    let gap = world.mood.people;
    let wait = world.chance.seconds(0..=gap * 2);
    // While no operator is there, people do little: a few things just before one comes back.
    let at = world.now.max(world.away_until.saturating_sub(wait)) + wait;
    world.at(at, |world| {
        if !world.calm {
            act(world);
            act_later(world);
        }
    });
}

fn act(world: &mut World) {
    let mut acts = POLITE.to_vec();
    if world.mood.rude {
        acts.extend(RUDE);
    }
    if world.mood.meddling {
        acts.extend(MEDDLING);
    }
    let act = world.chance.weighted(&acts);
    match act {
        Act::Make => make(world),
        Act::Restore => restore(world),
        Act::MoveWorkspace => cluster::set_workspace(world, PROD, Some(1)),
        Act::RemoveWorkspace => cluster::set_workspace(world, PROD, None),
        Act::BringWorkspaceBack => cluster::set_workspace(world, PROD, Some(0)),
        Act::RemoveSecret => cluster::set_secret(world, false),
        Act::PutSecretBack => cluster::set_secret(world, true),
        Act::ExcludeNamespace => cluster::set_admission(world, false),
        Act::AdmitNamespace => cluster::set_admission(world, true),
        Act::CancelInDatabricks => cancel_somewhere(world),
        Act::DeleteInDatabricks => delete_somewhere(world),
        Act::RepairInDatabricks => repair_somewhere(world),
        of_an_object => {
            let places = world.store.places();
            if !places.is_empty() {
                let place = places[world.chance.index(places.len())].clone();
                on_object(world, &place, of_an_object);
            }
        }
    }
}

fn on_object(world: &mut World, place: &Place, act: Act) {
    let Some(object) = world.store.get(place).cloned() else { return };
    let none = DatabricksRunStatus::default();
    let phase = format!("{:?}", Stage::of(object.status.as_ref().unwrap_or(&none)));
    world.tally.count("state × act", format!("{phase} × {act:?}"));
    let now = world.now;
    let (day, token) = (world.chance.pick(&DAYS), world.chance.pick(&TOKENS));
    let bad = world.chance.odds(300);
    let orphan = world.chance.odds(3000);
    world.tell("people", || format!("{act:?} {} ({phase})", place.name));
    let outcome = match act {
        Act::Edit => world.store.edit(place, |value| set_day(value, if bad { BAD_DAY } else { day })),
        Act::Touch => world.store.edit(place, |value| value["metadata"]["labels"] = json!({"touched": day})),
        Act::Rerun => world.store.edit(place, |value| annotate(value, RERUN_ANNOTATION, token)),
        Act::DropRerun => world.store.edit(place, |value| drop_annotation(value, RERUN_ANNOTATION)),
        Act::RerunToken => world.store.edit(place, |value| value["spec"]["rerunToken"] = token.into()),
        Act::Suspend => world.store.edit(place, |value| value["spec"]["suspend"] = true.into()),
        Act::Resume => world.store.edit(place, |value| value["spec"]["suspend"] = false.into()),
        Act::Cancel => world.store.edit(place, |value| value["spec"]["cancel"] = true.into()),
        Act::TakeCancelBack => world.store.edit(place, |value| value["spec"]["cancel"] = false.into()),
        Act::CancelOnce => world.store.edit(place, |value| annotate(value, CANCEL_ANNOTATION, token)),
        Act::Repair => world.store.edit(place, |value| annotate(value, REPAIR_ANNOTATION, token)),
        Act::Settings => {
            let settings = settings(world);
            world.store.edit(place, |value| patch::merge(&mut value["spec"], &settings))
        }
        Act::Policy => {
            let policy = if orphan { "Orphan" } else { "Cancel" };
            world.store.edit(place, |value| value["spec"]["deletionPolicy"] = policy.into())
        }
        Act::Delete => world.store.delete(place, None, now),
        Act::Wipe => {
            // Who takes the start mark away as well makes the object a new one to everybody.
            let status = object.status.as_ref().unwrap_or(&none);
            let marked = object.annotation(START_ANNOTATION).and_then(|mark| mark.rsplit_once('/'));
            let serial = marked.and_then(|(_, serial)| serial.parse::<i64>().ok());
            if serial.is_none_or(|serial| serial < status.serial.unwrap_or(0)) {
                return;
            }
            world.store.edit(place, |value| value["status"] = unseen())
        }
        Act::ReplaceWithout => {
            // Of an object at rest the mark never comes back, and with a wiped status its serials would begin anew.
            if object.status.as_ref().is_none_or(|status| status.serial.is_none()) {
                return;
            }
            world.store.edit(place, |value| {
                drop_annotation(value, START_ANNOTATION);
                drop_finalizer(value);
            })
        }
        Act::TakeFinalizerOff => world.store.edit(place, drop_finalizer),
        _ => return,
    };
    // What people are refused, they do not do.
    let _ = wrote(world, place, outcome, Author::Person);
}

fn make(world: &mut World) {
    let Some(place) = free_place(world) else { return };
    let spec = spec(world);
    let mut annotations = if world.chance.odds(1000) { json!({RERUN_ANNOTATION: "1"}) } else { json!({}) };
    if world.chance.odds(1500) {
        annotations[MARK] = "app:team".into();
    }
    let now = world.now;
    world.tell("people", || format!("make {}: {spec}", place.name));
    let outcome = world.store.create(&place, &spec, &annotations, now);
    let _ = wrote(world, &place, outcome, Author::Person);
}

fn free_place(world: &mut World) -> Option<Place> {
    let free: Vec<Place> =
        NAMES.iter().map(|name| place(name)).filter(|place| world.store.get(place).is_none()).collect();
    if free.is_empty() || world.store.places().len() > world.mood.objects {
        return None;
    }
    Some(free[world.chance.index(free.len())].clone())
}

/// An object comes from a backup, or is copied from another: with its annotations, without its status.
fn restore(world: &mut World) {
    let places = world.store.places();
    if places.is_empty() {
        return;
    }
    let from = places[world.chance.index(places.len())].clone();
    let Some(value) = world.store.value(&from).cloned() else { return };
    let Some(to) = free_place(world) else { return };
    let annotations = value["metadata"].get("annotations").cloned().unwrap_or_else(|| json!({}));
    let now = world.now;
    world.tell("people", || format!("make {} of a backup of {}", to.name, from.name));
    let marked = annotations.get(START_ANNOTATION).is_some();
    let rerun = annotations.get(RERUN_ANNOTATION).and_then(Value::as_str).map(str::to_owned);
    let outcome = world.store.create(&to, &value["spec"], &annotations, now);
    if let (Ok(made), true) = (&outcome, marked) {
        world.ledger.restored(made.after.metadata.uid.as_deref().unwrap_or_default(), rerun);
        world.tally.count("people", "restored an object that had been run");
    }
    let _ = wrote(world, &to, outcome, Author::Person);
}

/// What a new object asks for.
fn spec(world: &mut World) -> Value {
    let day = world.chance.pick(&DAYS);
    let (name, _) = world.chance.pick(&JOB_NAMES);
    let kinds = [
        (10, json!({"runNow": {"job_id": JOB, "job_parameters": {"day": day}}})),
        (6, json!({"submit": {"run_name": "once", "day": day, "tasks": [{"task_key": "main"}]}})),
        (3, json!({"jobName": name, "runNow": {"job_parameters": {"day": day}}})),
        (1, json!({"runNow": {"job_id": CONTINUOUS_JOB}})),
        (1, json!({"runNow": {"job_id": NO_JOB}})),
    ];
    let weights: Vec<(u32, usize)> = kinds.iter().enumerate().map(|(index, (weight, _))| (*weight, index)).collect();
    let mut spec = kinds[world.chance.weighted(&weights)].1.clone();
    spec["workspaceRef"] = json!({"name": PROD});
    if world.chance.odds(7000) {
        let settings = settings(world);
        patch::merge(&mut spec, &settings);
    }
    spec["suspend"] = world.chance.odds(800).into();
    if world.chance.odds(1000) {
        spec["deletionPolicy"] = "Orphan".into();
    }
    spec
}

/// What never starts a run: how it is controlled. A null takes a setting away.
fn settings(world: &mut World) -> Value {
    let chance = &mut world.chance;
    let mut pick = |odds: u32, first: u64, last: u64| {
        if chance.odds(odds) { Value::from(chance.seconds(first..=last).as_secs()) } else { Value::Null }
    };
    let (starting, active) = (pick(2500, 20, 300), pick(2500, 30, 900));
    let (limit, ttl) = (pick(6000, 0, 3), pick(4000, 0, 300));
    let replace = chance.half();
    let action = chance.pick(&["Retry", "Repair"]);
    let rules = chance.odds(4000).then(|| {
        let codes = ["RUN_EXECUTION_ERROR", "CLOUD_FAILURE"];
        json!({"rules": [{"action": action, "onTermination": {"operator": "In", "codes": codes}}]})
    });
    json!({
        "startingDeadlineSeconds": starting,
        "activeDeadlineSeconds": active,
        "backoffLimit": limit,
        "ttlSecondsAfterFinished": ttl,
        "onSpecChange": if replace { "Replace" } else { "Wait" },
        "failurePolicy": rules,
    })
}

fn set_day(value: &mut Value, day: &str) {
    if let Some(Value::Object(body)) = value.pointer_mut("/spec/submit") {
        body.insert("day".to_owned(), day.into());
    } else {
        value["spec"]["runNow"]["job_parameters"] = json!({"day": day});
    }
}

fn annotate(value: &mut Value, name: &str, text: &str) {
    if !value["metadata"]["annotations"].is_object() {
        value["metadata"]["annotations"] = json!({});
    }
    value["metadata"]["annotations"][name] = text.into();
}

fn drop_annotation(value: &mut Value, name: &str) {
    if let Some(Value::Object(annotations)) = value.pointer_mut("/metadata/annotations") {
        annotations.remove(name);
    }
}

fn drop_finalizer(value: &mut Value) {
    if let Some(Value::Array(finalizers)) = value.pointer_mut("/metadata/finalizers") {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
}
