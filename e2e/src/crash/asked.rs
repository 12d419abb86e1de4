//! What people have asked for, object by object: the other side of the book that the workspace keeps.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::witness::{Objects, is_settled};
use crate::stage::{RunView, Stage};

/// What a run does, and what its object says about that.
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
    /// The same, with a deadline.
    Limited,
    /// A job that fails for the cloud's sake, tried twice.
    Cloudy,
    /// A job that fails once, with a rule to repair it.
    Flaky,
    /// A job that fails, with a rule to repair it once.
    Hopeless,
    /// A job that succeeds, and an object that then goes.
    Brief,
}

impl Kind {
    /// What is created, as often as it is named.
    pub(super) const ALL: [Self; 10] = [
        Self::Job,
        Self::OneOff,
        Self::Failing,
        Self::Endless,
        Self::Limited,
        Self::Cloudy,
        Self::Flaky,
        Self::Hopeless,
        Self::Brief,
        Self::Brief,
    ];

    /// Whether its runs do not end by themselves.
    pub(super) fn goes_on(self) -> bool {
        matches!(self, Self::Endless | Self::Limited)
    }

    /// Whether a person may have its failed runs repaired.
    pub(super) fn fails_in_parts(self) -> bool {
        matches!(self, Self::Failing | Self::Flaky | Self::Hopeless)
    }

    /// Runs of one request, as long as nobody asks for more.
    fn runs(self) -> usize {
        if self == Self::Cloudy { 2 } else { 1 }
    }

    /// What its spec says beyond the body.
    fn control(self) -> Value {
        let repaired = json!({"rules": [{"action": "Repair", "onResultStates": ["FAILED"]}]});
        match self {
            Self::Job | Self::OneOff | Self::Failing | Self::Endless => json!({}),
            Self::Limited => json!({"activeDeadlineSeconds": 4}),
            Self::Cloudy => json!({"backoffLimit": 1}),
            Self::Flaky => json!({"backoffLimit": 2, "failurePolicy": repaired}),
            Self::Hopeless => json!({"backoffLimit": 1, "failurePolicy": repaired}),
            Self::Brief => json!({"ttlSecondsAfterFinished": 1}),
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
#[expect(clippy::struct_excessive_bools, reason = "switches of a spec, each on its own")]
pub(super) struct Asked {
    pub(super) uid: String,
    pub(super) kind: Kind,
    /// `deletionPolicy: Orphan`.
    pub(super) orphan: bool,
    /// `onSpecChange: Replace`.
    pub(super) replace: bool,
    pub(super) suspend: bool,
    pub(super) cancel: bool,
    /// The newest request; the first is 0.
    pub(super) edit: u32,
    /// How often each request was to begin anew: suspensions and re-runs.
    pub(super) again: BTreeMap<u32, usize>,
    /// The requests that were cancelled.
    pub(super) cancelled: Vec<u32>,
    /// The newest token of each annotation that commands.
    pub(super) tokens: BTreeMap<&'static str, u32>,
    /// `output.maxBytes`, which starts nothing.
    pub(super) bytes: u32,
    /// The newest generation that was asked for.
    pub(super) generation: i64,
    pub(super) deleted: bool,
}

impl Asked {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            uid: String::new(),
            kind,
            orphan: false,
            replace: false,
            suspend: false,
            cancel: false,
            edit: 0,
            again: BTreeMap::new(),
            cancelled: Vec::new(),
            tokens: BTreeMap::new(),
            bytes: 4096,
            generation: 0,
            deleted: false,
        }
    }

    /// The manifest as people have it. Every request has a number of its own, so that each run tells which it is of.
    pub(super) fn manifest(&self, stage: &Stage, name: &str) -> Value {
        let parameters = json!({"object": name, "edit": self.edit.to_string()});
        let job = |job: &str| json!({"runNow": {"job_id": stage.databricks.job(job).id(), "job_parameters": parameters.clone()}});
        let body = match self.kind {
            Kind::Job | Kind::Brief => job("nightly"),
            Kind::Failing | Kind::Hopeless => job("fails"),
            Kind::Endless | Kind::Limited => job("forever"),
            Kind::Cloudy => job("cloud"),
            Kind::Flaky => job("flaky"),
            Kind::OneOff => json!({"submit": {"run_name": name, "tasks": [{
                "task_key": "main",
                "notebook_task": {"notebook_path": "/Shared/etl", "base_parameters": parameters},
            }]}}),
        };
        let mut manifest = stage.run(name, body);
        let switches = json!({
            "deletionPolicy": if self.orphan { "Orphan" } else { "Cancel" },
            "onSpecChange": if self.replace { "Replace" } else { "Wait" },
            "suspend": self.suspend,
            "cancel": self.cancel,
            "output": {"maxBytes": self.bytes},
        });
        if let (Value::Object(spec), Value::Object(control), Value::Object(switches)) =
            (&mut manifest["spec"], self.kind.control(), switches)
        {
            spec.extend(control);
            spec.extend(switches);
        }
        manifest
    }

    /// How many runs a request may have had.
    pub(super) fn runs_of(&self, edit: u32) -> usize {
        self.kind.runs() * (1 + self.again.get(&edit).copied().unwrap_or(0))
    }

    /// Whether an object that is gone may be.
    pub(super) fn may_be_gone(&self) -> bool {
        self.deleted || self.kind == Kind::Brief
    }
}

/// Everything that was asked for, by the names of the objects, which are never used again.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<BTreeMap<String, Asked>>);

impl Ledger {
    pub(super) fn book(&self) -> MutexGuard<'_, BTreeMap<String, Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The objects that are not at rest, with how they stand.
    pub(super) fn under_way(&self, objects: &Objects) -> BTreeMap<String, String> {
        let stands = |(name, asked): (&String, &Asked)| {
            let stand = match objects.get(name) {
                // One that was deleted is settled when it is gone.
                None if asked.may_be_gone() => None,
                None => Some("not seen yet".to_owned()),
                Some(seen) if !asked.deleted && is_settled(seen, asked) => None,
                Some(seen) => Some(shown(asked, seen)),
            };
            stand.map(|stand| (name.clone(), stand))
        };
        self.book().iter().filter_map(stands).collect()
    }
}

fn shown(asked: &Asked, seen: &RunView) -> String {
    format!("{asked:?}, held: {}, {}", seen.0.is_held(), seen.status())
}
