//! Watches every object, version by version, and holds what it says against the workspace at that instant: a wrong
//! verdict counts although it may be corrected a moment later.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use databricks_run_operator::api::run::{CANCEL_ANNOTATION, REPAIR_ANNOTATION, RERUN_ANNOTATION, RunObject};
use databricks_run_operator::api::status::{AttemptRecord, DatabricksRunStatus};
use databricks_run_operator::lifecycle::IdempotencyToken;
use futures::StreamExt;
use kube::ResourceExt;
use kube::runtime::watcher::{Event, watcher};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::asked::Asked;
use crate::stage::{RunView, Stage};
use crate::workspace::{Control, Millis, RunRecord};

/// Past attempts that an object remembers.
pub(super) const MAX_ATTEMPTS: usize = 10;
/// Times in an object are whole seconds, and so is the workspace's clock in its answers.
const ROUNDED: Millis = 1100;

/// The objects there are, by name.
pub(super) type Objects = BTreeMap<String, RunView>;

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    objects: Objects,
    /// Those that are no more, as they were last seen.
    gone: Objects,
    /// The highest serial of each uid.
    serials: HashMap<String, i64>,
    /// What was said that was not so.
    wrong: Vec<String>,
}

/// The watch.
#[derive(Clone)]
pub(super) struct Witness {
    seen: Arc<Mutex<Seen>>,
    changes: Arc<watch::Sender<()>>,
    _watching: Arc<Watching>,
}

struct Watching(JoinHandle<()>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Witness {
    pub(super) fn start(stage: &Stage) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let changes = Arc::new(watch::Sender::new(()));
        let (runs, databricks) = (stage.runs(), stage.databricks.control());
        let (kept, told) = (Arc::clone(&seen), Arc::clone(&changes));
        let watching = tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(runs, kube::runtime::watcher::Config::default()));
            while let Some(event) = events.next().await {
                // A watch that breaks off is taken up again by itself.
                if let Ok(event) = event {
                    lock(&kept).take_in(event, &databricks);
                    told.send_replace(());
                }
            }
        });
        Self { seen, changes, _watching: Arc::new(Watching(watching)) }
    }

    /// The objects as they were last seen.
    pub(super) fn objects(&self) -> Objects {
        lock(&self.seen).objects.clone()
    }

    /// Those that are no more, as they were last seen.
    pub(super) fn gone(&self) -> Objects {
        lock(&self.seen).gone.clone()
    }

    /// The highest serial that was seen of each uid.
    pub(super) fn serials(&self) -> HashMap<String, i64> {
        lock(&self.seen).serials.clone()
    }

    /// What was said that was not so.
    pub(super) fn wrong(&self) -> Vec<String> {
        lock(&self.seen).wrong.clone()
    }

    /// Is told of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    fn take_in(&mut self, event: Event<RunObject>, databricks: &Control) {
        match event {
            Event::Init | Event::InitDone => {}
            Event::Delete(object) => {
                self.objects.remove(&object.name_any());
                self.gone.insert(object.name_any(), RunView(object));
            }
            Event::Apply(object) | Event::InitApply(object) => {
                let run = RunView(object);
                self.check(&run, databricks);
                self.objects.insert(run.0.name_any(), run);
            }
        }
    }

    fn check(&mut self, run: &RunView, databricks: &Control) {
        let (name, uid) = (run.0.name_any(), run.0.uid().unwrap_or_default());
        let Some(serial) = run.0.status.as_ref().and_then(|status| status.serial) else { return };
        let highest = self.serials.entry(uid.clone()).or_default();
        if serial < *highest {
            self.wrong.push(format!("{name}: serial {serial} after {highest}"));
        }
        *highest = serial.max(*highest);
        if let Some(complaint) = complaint(run, &uid, serial, databricks) {
            self.wrong.push(format!("{name}: {complaint}\n{:#}", run.status()));
        }
    }
}

/// What a version of an object says that is not so.
fn complaint(run: &RunView, uid: &str, serial: i64, databricks: &Control) -> Option<String> {
    let status = run.0.status.as_ref()?;
    let (state, finished) = (run.text("state"), run.condition("Finished") == "True");
    let token = IdempotencyToken::new(uid, serial);
    let Some(id) = status.run_id.as_ref().and_then(|id| id.parse::<i64>().ok()) else {
        let past = |record: &RunRecord| {
            let is_it = |past: &AttemptRecord| past.run_id.as_deref() == Some(record.id.to_string().as_str());
            status.attempts.iter().any(is_it) || status.attempts.len() >= MAX_ATTEMPTS
        };
        let untold = databricks.runs_by_token(token.as_str()).into_iter().find(|record| !past(record));
        let may_be = state == "Canceled" || (state == "TimedOut" && deadline_of(run).is_some());
        return match (finished, untold) {
            (true, Some(record)) => Some(format!("finished without a run, and run {} was started for it", record.id)),
            (true, None) if !may_be => Some(format!("finished as {state} without a run")),
            _ => None,
        };
    };
    let Some(record) = databricks.run(id) else { return Some(format!("there is no run {id}")) };
    // While the next is being started, the run that is named is still the one before.
    if status.intent.is_none() && record.idempotency_token.as_deref() != Some(token.as_str()) {
        return Some(format!("run {id} is not that of serial {serial}"));
    }
    // What is said of a run that was repaired since was said before.
    let outdated = record.repairs > repairs_told(status, id);
    (finished && !outdated && !is_so(run, &record)).then(|| format!("finished as {state}, and run {id} is {record:?}"))
}

/// Repairs of a run that its object tells of.
pub(super) fn repairs_told(status: &DatabricksRunStatus, run: i64) -> usize {
    let run = run.to_string();
    let is_one = |past: &&AttemptRecord| {
        past.run_id.as_deref() == Some(run.as_str()) && past.followed_by.as_deref() == Some("Repair")
    };
    status.attempts.iter().filter(is_one).count()
}

/// Whether a finished object tells how its run has ended.
pub(super) fn is_so(object: &RunView, record: &RunRecord) -> bool {
    let (told, is) = (object.text("state"), verdict_of(record));
    let in_time = |deadline: Millis| record.ended.is_some_and(|ended| ended - record.started >= deadline - ROUNDED);
    match deadline_of(object) {
        Some(deadline) if told == "TimedOut" => is == "Canceled" && in_time(deadline),
        _ => told == is,
    }
}

/// `spec.activeDeadlineSeconds`, in milliseconds.
fn deadline_of(object: &RunView) -> Option<Millis> {
    object.0.spec.get("activeDeadlineSeconds")?.as_i64().map(|seconds| seconds * 1000)
}

/// How a run stands in the workspace, in the words of an object's status.
pub(super) fn verdict_of(record: &RunRecord) -> &'static str {
    match (record.active, record.result_state.as_deref()) {
        (false, Some("SUCCESS")) => "Succeeded",
        (false, Some("FAILED")) => "Failed",
        (false, Some("CANCELED")) => "Canceled",
        (false, Some("TIMEDOUT")) => "TimedOut",
        (false, _) => "something else",
        (true, _) => "alive",
    }
}

/// Whether an object has come to rest with all that was asked of it, and nothing holds it.
pub(super) fn is_settled(run: &RunView, asked: &Asked) -> bool {
    let Some(status) = &run.0.status else { return false };
    let honoured = |annotation: &str, handled: &Option<String>| {
        asked.tokens.get(annotation).is_none_or(|token| handled.as_deref() == Some(token.to_string().as_str()))
    };
    let commands = honoured(RERUN_ANNOTATION, &status.last_handled_rerun)
        && honoured(CANCEL_ANNOTATION, &status.last_handled_cancel);
    let suspended = asked.suspend && run.text("state") == "Suspended";
    let finished = run.condition("Finished") == "True" && honoured(REPAIR_ANNOTATION, &status.last_handled_repair);
    run.0.metadata.generation >= Some(asked.generation)
        && status.observed_generation >= Some(asked.generation)
        && commands
        && (suspended || finished)
        && !run.0.is_held()
}
