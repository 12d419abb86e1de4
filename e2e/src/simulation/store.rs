//! The object store, as the API server is one: versions that only grow, writes that fail when their version is not the
//! newest, a generation that moves with the spec and with a deletion, finalizers that hold what is deleted, and the
//! default that the definition gives to a status.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use databricks_run_operator::api::crd::crds;
use databricks_run_operator::api::run::{FINALIZER, RunObject};
use databricks_run_operator::controller::ports::{Place, StoreError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::clock::wall;
use super::patch;

/// One version of one object.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// None when the object went.
    pub(super) object: Option<Arc<RunObject>>,
}

/// What a write did.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) before: Option<Arc<RunObject>>,
    /// The newest version; also of an object that went with this write.
    pub(super) after: Arc<RunObject>,
    /// Whether the object went.
    pub(super) gone: bool,
    /// Whether anything changed: a write that changes nothing makes no version.
    pub(super) news: bool,
}

#[derive(Debug, Clone)]
struct Stored {
    value: Value,
    object: Arc<RunObject>,
}

/// All objects, and every version there ever was.
#[derive(Debug, Default)]
pub(super) struct Store {
    objects: BTreeMap<Place, Stored>,
    pub(super) log: Vec<Entry>,
    uids: u32,
}

type Outcome = Result<Written, StoreError>;

impl Store {
    pub(super) fn get(&self, place: &Place) -> Option<&Arc<RunObject>> {
        self.objects.get(place).map(|stored| &stored.object)
    }

    pub(super) fn value(&self, place: &Place) -> Option<&Value> {
        self.objects.get(place).map(|stored| &stored.value)
    }

    pub(super) fn places(&self) -> Vec<Place> {
        self.objects.keys().cloned().collect()
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = (&Place, &Arc<RunObject>)> {
        self.objects.iter().map(|(place, stored)| (place, &stored.object))
    }

    /// All objects as they were after so many versions.
    pub(super) fn at_version(&self, versions: usize) -> BTreeMap<Place, Arc<RunObject>> {
        let mut then = BTreeMap::new();
        for entry in &self.log[..versions.min(self.log.len())] {
            match &entry.object {
                Some(object) => drop(then.insert(entry.place.clone(), Arc::clone(object))),
                None => drop(then.remove(&entry.place)),
            }
        }
        then
    }

    /// An object is made; the status that is sent with it does not count.
    pub(super) fn create(&mut self, place: &Place, spec: &Value, annotations: &Value, now: Duration) -> Outcome {
        if self.objects.contains_key(place) {
            return Err(StoreError::Conflict);
        }
        self.uids += 1;
        let mut value = json!({
            "apiVersion": "dbrun.dev/v1alpha1",
            "kind": "DatabricksRun",
            "metadata": {
                "namespace": &*place.namespace,
                "name": &*place.name,
                "uid": format!("uid-{}", self.uids),
                "generation": 1,
                "creationTimestamp": seconds(now),
            },
            "spec": spec,
            "status": unseen(),
        });
        if annotations.as_object().is_some_and(|annotations| !annotations.is_empty()) {
            value["metadata"]["annotations"] = annotations.clone();
        }
        self.commit(place, value)
    }

    /// Somebody changes the object without a precondition: people's edits.
    pub(super) fn edit(&mut self, place: &Place, change: impl FnOnce(&mut Value)) -> Outcome {
        let mut value = self.objects.get(place).ok_or(StoreError::Gone)?.value.clone();
        change(&mut value);
        self.commit(place, value)
    }

    /// A merge patch of the status.
    pub(super) fn patch_status(&mut self, place: &Place, change: &Value) -> Outcome {
        let stored = self.objects.get(place).ok_or(StoreError::Gone)?;
        is_newest(stored, change.pointer("/metadata/resourceVersion"))?;
        let mut value = stored.value.clone();
        if let Some(status) = change.get("status") {
            if value.get("status").is_none() {
                value["status"] = unseen();
            }
            patch::merge(&mut value["status"], status);
        }
        self.commit(place, value)
    }

    /// A JSON patch of the metadata.
    pub(super) fn patch_metadata(&mut self, place: &Place, operations: &Value) -> Outcome {
        let stored = self.objects.get(place).ok_or(StoreError::Gone)?;
        let mut value = stored.value.clone();
        // What the real adapter makes of a 422.
        patch::operate(&mut value, operations).map_err(|_| StoreError::Conflict)?;
        is_newest(stored, value.pointer("/metadata/resourceVersion"))?;
        let adds_finalizer = stored.object.metadata.deletion_timestamp.is_some()
            && !stored.object.is_held()
            && has_finalizer(&value, FINALIZER);
        if adds_finalizer {
            return Err(StoreError::Conflict);
        }
        self.commit(place, value)
    }

    /// A deletion, with or without preconditions.
    pub(super) fn delete(&mut self, place: &Place, only: Option<(&str, &str)>, now: Duration) -> Outcome {
        let stored = self.objects.get(place).ok_or(StoreError::Gone)?;
        let metadata = &stored.object.metadata;
        if only.is_some_and(|(uid, version)| {
            metadata.uid.as_deref() != Some(uid) || metadata.resource_version.as_deref() != Some(version)
        }) {
            return Err(StoreError::Conflict);
        }
        let mut value = stored.value.clone();
        if value["metadata"].get("deletionTimestamp").is_none() {
            value["metadata"]["deletionTimestamp"] = seconds(now);
            value["metadata"]["generation"] = (generation(&value) + 1).into();
        }
        self.commit(place, value)
    }

    fn commit(&mut self, place: &Place, mut value: Value) -> Outcome {
        let before = self.objects.get(place);
        if let Some(before) = before {
            if before.value == value {
                let object = Arc::clone(&before.object);
                return Ok(Written { before: Some(Arc::clone(&object)), after: object, gone: false, news: false });
            }
            if before.value["spec"] != value["spec"] {
                value["metadata"]["generation"] = (generation(&before.value) + 1).into();
            }
        }
        value["metadata"]["resourceVersion"] = (self.log.len() + 1).to_string().into();
        let object = RunObject::deserialize(&value).map_err(|error| StoreError::Refused(error.to_string()))?;
        let (before, object) = (before.map(|before| Arc::clone(&before.object)), Arc::new(object));
        let held = object.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
        let gone = object.metadata.deletion_timestamp.is_some() && !held;
        if gone {
            self.objects.remove(place);
        } else {
            self.objects.insert(place.clone(), Stored { value, object: Arc::clone(&object) });
        }
        let entry = Entry { place: place.clone(), object: (!gone).then(|| Arc::clone(&object)) };
        self.log.push(entry);
        Ok(Written { before, after: object, gone, news: true })
    }
}

/// A change that names no version is made to whatever there is, as the API server does it.
fn is_newest(stored: &Stored, version: Option<&Value>) -> Result<(), StoreError> {
    let newest = stored.object.metadata.resource_version.as_deref();
    if version.is_none_or(|version| version.as_str() == newest) { Ok(()) } else { Err(StoreError::Conflict) }
}

fn has_finalizer(value: &Value, finalizer: &str) -> bool {
    let finalizers = value.pointer("/metadata/finalizers").and_then(Value::as_array);
    finalizers.is_some_and(|finalizers| finalizers.iter().any(|it| it == finalizer))
}

fn generation(value: &Value) -> i64 {
    value.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default()
}

fn seconds(at: Duration) -> Value {
    databricks_run_operator::lifecycle::observed::stamp(wall(at)).0.to_string().into()
}

/// The definition's own default.
pub(super) fn unseen() -> Value {
    static DEFAULT: OnceLock<Value> = OnceLock::new();
    let default = || {
        let definition = crds().into_iter().next().and_then(|crd| serde_json::to_value(crd).ok()).unwrap_or_default();
        definition
            .pointer("/spec/versions/0/schema/openAPIV3Schema/properties/status/default")
            .cloned()
            .unwrap_or_default()
    };
    DEFAULT.get_or_init(default).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { namespace: "team".into(), name: "etl".into() }
    }

    #[test]
    fn a_write_of_an_older_version_is_a_conflict_and_one_without_news_makes_no_version() {
        let (mut store, now) = (Store::default(), Duration::ZERO);
        let made = store.create(&place(), &json!({"a": 1}), &json!({}), now).unwrap();
        assert_eq!(made.after.status.as_ref().unwrap().observed_generation, Some(-1));
        let patch = json!({"metadata": {"resourceVersion": "1"}, "status": {"state": "Running"}});
        assert!(store.patch_status(&place(), &patch).unwrap().news);
        assert!(matches!(store.patch_status(&place(), &patch), Err(StoreError::Conflict)));
        let again = json!({"metadata": {"resourceVersion": "2"}, "status": {"state": "Running"}});
        assert!(!store.patch_status(&place(), &again).unwrap().news);
    }

    #[test]
    fn what_is_deleted_stays_while_it_is_held_and_takes_no_new_finalizer() {
        let (mut store, now) = (Store::default(), Duration::ZERO);
        store.create(&place(), &json!({}), &json!({}), now).unwrap();
        let hold = json!([
            {"op": "replace", "path": "/metadata/resourceVersion", "value": "1"},
            {"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]},
        ]);
        store.patch_metadata(&place(), &hold).unwrap();
        assert!(!store.delete(&place(), None, now).unwrap().gone);
        let release = json!([
            {"op": "replace", "path": "/metadata/resourceVersion", "value": "3"},
            {"op": "remove", "path": "/metadata/finalizers/0"},
        ]);
        assert!(store.patch_metadata(&place(), &release).unwrap().gone);
        assert!(store.get(&place()).is_none());
    }
}
