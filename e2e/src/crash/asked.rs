//! What people have asked for, object by object: the other side of the book that the workspace keeps.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::witness::{Objects, is_settled};
use crate::stage::RunView;
use crate::workspace::Control;

/// What a run does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A job that succeeds.
    Job,
    /// A one-off run that succeeds.
    OneOff,
    /// A job that fails.
    Failing,
    /// A job that goes on until it is cancelled or told to finish.
    Endless,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Job, Self::OneOff, Self::Failing, Self::Endless];

    /// The body; every edit of an object has a number of its own, so that each run tells which request it is of.
    pub(super) fn body(self, databricks: &Control, object: &str, edit: u32) -> Value {
        let parameters = json!({"object": object, "edit": edit.to_string()});
        let job = |name: &str| json!({"runNow": {"job_id": databricks.job(name).id(), "job_parameters": parameters}});
        match self {
            Self::Job => job("nightly"),
            Self::Failing => job("fails"),
            Self::Endless => job("forever"),
            Self::OneOff => json!({"submit": {"run_name": object, "tasks": [{
                "task_key": "main",
                "notebook_task": {"notebook_path": "/Shared/etl", "base_parameters": parameters},
            }]}}),
        }
    }
}

/// Of which object and which of its requests a run is, by its body.
pub(super) fn request_of(body: &Value) -> Option<(String, u32)> {
    let parameters = match body.get("job_parameters") {
        Some(parameters) => parameters,
        None => body.pointer("/tasks/0/notebook_task/base_parameters")?,
    };
    Some((parameters["object"].as_str()?.to_owned(), parameters["edit"].as_str()?.parse().ok()?))
}

/// One object and what was asked of it.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) uid: String,
    pub(super) kind: Kind,
    /// `deletionPolicy: Orphan`.
    pub(super) orphan: bool,
    /// The newest request; the first is 0.
    pub(super) edit: u32,
    /// The newest generation that was asked for.
    pub(super) generation: i64,
    pub(super) deleted: bool,
}

/// Everything that was asked for, by the names of the objects, which are never used again.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<BTreeMap<String, Asked>>);

impl Ledger {
    pub(super) fn book(&self) -> MutexGuard<'_, BTreeMap<String, Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The objects that are not at rest, with how they stand.
    pub(super) fn under_way(&self, objects: &Objects) -> Vec<String> {
        let stands = |(name, asked): (&String, &Asked)| match objects.get(name) {
            // One that was deleted is settled when it is gone.
            None if asked.deleted => None,
            None => Some(format!("{name}: not seen yet")),
            Some(seen) if !asked.deleted && is_settled(seen, asked.generation) => None,
            Some(seen) => Some(format!("{name}: {}", shown(asked, seen))),
        };
        self.book().iter().filter_map(stands).collect()
    }
}

fn shown(asked: &Asked, seen: &RunView) -> String {
    format!("{asked:?}, held: {}, {}", seen.0.is_held(), seen.status())
}
