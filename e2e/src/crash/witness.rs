//! Watches every object, version by version, and holds what it says against the workspace at that instant: a wrong
//! verdict counts although it may be corrected a moment later.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use databricks_run_operator::lifecycle::IdempotencyToken;
use futures::StreamExt;
use kube::ResourceExt;
use kube::runtime::watcher::{Event, watcher};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::stage::{RunView, Stage};
use crate::workspace::{Control, RunRecord};

/// The objects there are, by name.
pub(super) type Objects = BTreeMap<String, RunView>;

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    objects: Objects,
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
    fn take_in(&mut self, event: Event<databricks_run_operator::api::run::RunObject>, databricks: &Control) {
        match event {
            Event::Init | Event::InitDone => {}
            Event::Delete(object) => {
                self.objects.remove(&object.name_any());
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
    let (state, finished) = (run.text("state"), run.condition("Finished") == "True");
    let open = run.0.status.as_ref().is_some_and(|status| status.intent.is_some());
    let token = IdempotencyToken::new(uid, serial);
    let Ok(id) = run.text("runId").parse::<i64>() else {
        let started = databricks.runs_by_token(token.as_str());
        return match (finished, started.first()) {
            (true, Some(record)) => Some(format!("finished without a run, and run {} was started for it", record.id)),
            (true, None) if state != "Canceled" => Some(format!("finished as {state} without a run")),
            _ => None,
        };
    };
    let Some(record) = databricks.run(id) else { return Some(format!("there is no run {id}")) };
    // While the next is being started, the run that is named is still the one before.
    if !open && record.idempotency_token.as_deref() != Some(token.as_str()) {
        return Some(format!("run {id} is not that of serial {serial}"));
    }
    if !finished {
        return None;
    }
    (state != verdict_of(&record)).then(|| format!("finished as {state}, and run {id} is {record:?}"))
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

/// Whether an object has come to its end for this generation, and nothing holds it.
pub(super) fn is_settled(run: &RunView, generation: i64) -> bool {
    let known = run.0.status.as_ref().and_then(|status| status.observed_generation);
    run.0.metadata.generation >= Some(generation)
        && known >= Some(generation)
        && run.condition("Finished") == "True"
        && !run.0.is_held()
}
