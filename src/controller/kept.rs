//! What the watch keeps of an object: packed, for most of the time nobody looks at it. One with which nothing is to be done is kept as
//! a few hundred bytes, of a type of its own: no decision can be made of what is no longer there, so whoever has something to
//! decide reads the whole object first.

use std::borrow::Cow;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::core::{NamespaceResourceScope, ObjectMeta};
use serde::Deserialize;

use super::marks::{is_mark, kept_by};
use super::observe::{Looked, is_done_with};
use super::packed::{Packed, name_apart};
use crate::api::conditions::{FINISHED, State};
use crate::api::run::{
    CANCEL_ANNOTATION, DatabricksRun, REPAIR_ANNOTATION, RERUN_ANNOTATION, RunObject, START_ANNOTATION,
};
use crate::databricks::ids::RunId;
use crate::lifecycle::{Now, Phase, Settings, is_at_rest, time_left};

/// The annotations that decisions are made of.
const OURS: [&str; 4] = [RERUN_ANNOTATION, CANCEL_ANNOTATION, REPAIR_ANNOTATION, START_ANNOTATION];

/// An object as it is kept. A clone is the same one once more.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "RunObject")]
pub enum Kept {
    /// One with which something is to be done, or may be.
    Active(Arc<Active>),
    /// One with which nothing is to be done, unless its time to live is up.
    AtRest(Arc<AtRest>),
}

/// A whole object, and what is asked of it when nobody looks at it.
#[derive(Debug, Clone, PartialEq)]
pub struct Active {
    packed: Packed,
    matters: u64,
    state: &'static str,
    is_done_with: bool,
    run: Option<RunId>,
    attempt: Option<i32>,
}

/// What is left of an object whose newest request has ended and of which nothing more is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct AtRest {
    /// Which object it is, and in which version.
    pub(super) metadata: ObjectMeta,
    matters: u64,
    state: &'static str,
    goes: Goes,
}

/// Whether it is to go by itself.
#[derive(Debug, Clone, PartialEq)]
enum Goes {
    Never,
    /// So many seconds after it has been finished.
    After {
        finished: Time,
        seconds: u64,
    },
}

impl Kept {
    /// What is to be kept of an object, by what would be decided about it.
    #[must_use]
    pub fn of(object: RunObject, settings: &Settings, now: Now) -> Self {
        Self::again(object, settings, now, None)
    }

    /// The same, which is what is kept already if that is of the same version: a list of everything need not be held twice.
    #[must_use]
    pub(super) fn again(mut object: RunObject, settings: &Settings, now: Now, known: Option<&Arc<Self>>) -> Self {
        let keep_keys = &settings.ttl_keep_keys;
        strip(&mut object.metadata, keep_keys);
        let rests = at_rest(&object, settings, now);
        if let Some(known) = known
            && known.is_version(&object.metadata)
            && known.if_active().is_none() == rests.is_some()
        {
            return (**known).clone();
        }
        match rests {
            None => Self::active(object, keep_keys),
            Some(goes) => {
                let (matters, state) = (what_matters(&object, keep_keys), state_of(&object));
                let metadata = name_apart(&mut object.metadata);
                Self::AtRest(Arc::new(AtRest { metadata, matters, state, goes }))
            }
        }
    }

    fn active(object: RunObject, keep_keys: &[String]) -> Self {
        let status = object.status.as_ref();
        Self::Active(Arc::new(Active {
            matters: what_matters(&object, keep_keys),
            state: state_of(&object),
            is_done_with: is_done_with(&object),
            run: status.and_then(|status| Phase::of(status).run()),
            attempt: status.and_then(|status| status.attempt),
            packed: Packed::of(object),
        }))
    }

    fn is_version(&self, metadata: &ObjectMeta) -> bool {
        let ours = self.meta();
        ours.resource_version.is_some()
            && (&ours.uid, &ours.resource_version) == (&metadata.uid, &metadata.resource_version)
    }

    /// The object, unpacked; none of one at rest.
    #[must_use]
    pub fn whole(&self) -> Option<RunObject> {
        self.if_active().and_then(|active| active.packed.unpack())
    }

    fn if_active(&self) -> Option<&Active> {
        match self {
            Self::Active(active) => Some(active),
            Self::AtRest(_) => None,
        }
    }

    /// Whether there is nothing to do with it; see [`is_done_with`].
    #[must_use]
    pub fn is_done_with(&self) -> bool {
        self.if_active().is_none_or(|active| active.is_done_with)
    }

    /// The run that is under way.
    pub(super) fn run(&self) -> Option<RunId> {
        self.if_active().and_then(|active| active.run)
    }

    /// The number of the newest attempt.
    pub(super) fn attempt(&self) -> Option<i32> {
        self.if_active().and_then(|active| active.attempt)
    }

    /// The display state as a word from the fixed list: a label must never be what somebody wrote.
    pub(super) fn state(&self) -> &'static str {
        match self {
            Self::Active(active) => active.state,
            Self::AtRest(rest) => rest.state,
        }
    }

    /// What of an object calls for a look, as a digest.
    #[must_use]
    pub fn what_matters(&self) -> u64 {
        match self {
            Self::Active(active) => active.matters,
            Self::AtRest(rest) => rest.matters,
        }
    }
}

impl AtRest {
    /// For how long nothing is to be done with it; for ever if there is nothing inside.
    pub(super) fn rests_for(&self, now: Now) -> Option<Duration> {
        match &self.goes {
            Goes::Never => None,
            Goes::After { finished, seconds } => Some(time_left(finished, *seconds, now)),
        }
    }
}

/// As an active one. (The controller asks it of the kinds it is given; nothing is ever read as this type.)
impl From<RunObject> for Kept {
    fn from(object: RunObject) -> Self {
        Self::active(object, &[])
    }
}

impl Resource for Kept {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        DatabricksRun::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        DatabricksRun::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        DatabricksRun::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        DatabricksRun::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Active(active) => &active.packed.metadata,
            Self::AtRest(rest) => &rest.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Active(active) => &mut Arc::make_mut(active).packed.metadata,
            Self::AtRest(rest) => &mut Arc::make_mut(rest).metadata,
        }
    }
}

/// What of an object calls for a look, as a digest. Its status does not, for we wrote it; unless somebody has wiped it.
fn what_matters(object: &RunObject, keep_keys: &[String]) -> u64 {
    let metadata = &object.metadata;
    let mut hash = DefaultHasher::new();
    metadata.uid.hash(&mut hash);
    metadata.generation.hash(&mut hash);
    metadata.deletion_timestamp.is_some().hash(&mut hash);
    object.is_held().hash(&mut hash);
    for annotation in OURS {
        object.annotation(annotation).hash(&mut hash);
    }
    // Whoever takes the mark of a tool off wants the object to go when its time is up, which may be now.
    kept_by(metadata, keep_keys).hash(&mut hash);
    // Whether the status says that an operator has seen the object.
    object.status.as_ref().is_some_and(|status| status.observed_generation >= Some(0)).hash(&mut hash);
    hash.finish()
}

/// Leaves out what is never read: more than half of an object.
fn strip(metadata: &mut ObjectMeta, keep_keys: &[String]) {
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| OURS.contains(&name.as_str()) || is_mark(name, keep_keys));
    }
}

/// Whether an object goes by itself with which nothing else is to be done; none if there is more to do.
fn at_rest(object: &RunObject, settings: &Settings, now: Now) -> Option<Goes> {
    let status = object.status.as_ref().filter(|status| status.completion_time.is_some())?;
    let looked = Looked::at(object);
    let subject = looked.subject(&settings.ttl_keep_keys);
    let is_told = subject.kept_by.is_some() && status.ttl_skipped_by.as_deref() == subject.kept_by;
    if !is_at_rest(subject, settings, now) {
        return None;
    }
    let seconds = looked.spec().ok()?.ttl_seconds_after_finished.filter(|_| !is_told);
    let Some(seconds) = seconds.and_then(|seconds| u64::try_from(seconds).ok()) else { return Some(Goes::Never) };
    let finished = status.conditions.iter().find(|condition| condition.type_ == FINISHED)?;
    Some(Goes::After { finished: finished.last_transition_time.clone(), seconds })
}

fn state_of(object: &RunObject) -> &'static str {
    let state = object.status.as_ref().and_then(|status| status.state.as_deref());
    State::ALL.iter().map(|state| state.as_str()).find(|word| state == Some(word)).unwrap_or(State::Pending.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::lifecycle::TakeOver;
    use crate::lifecycle::run_key::VERSIONS;

    /// Of the spec below.
    const KEY: &str = "v1:b75a330ca78a42579fc15f201136879896dd7ef9";

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn object(metadata: Value, status: Value) -> RunObject {
        let spec = json!({"workspaceRef": {"name": "prod"}, "runNow": {"job_id": 1}});
        serde_json::from_value(json!({"apiVersion": "dbrun.dev/v1alpha1", "kind": "DatabricksRun", "metadata": metadata, "spec": spec, "status": status})).unwrap()
    }

    fn settings() -> Settings {
        Settings {
            holder: "operator".to_owned(),
            submit_timeout: Duration::from_secs(30),
            deletion_deadline: Duration::from_mins(4),
            run_keys: VERSIONS,
            ttl_keep_keys: Vec::new(),
            take_over: TakeOver::AsLeader,
        }
    }

    /// A minute after the end.
    fn now() -> Now {
        Now { wall: "2026-01-01T00:01:00Z".parse().unwrap(), mono: Duration::ZERO }
    }

    fn kept(metadata: Value, status: Value) -> Kept {
        Kept::of(object(metadata, status), &settings(), now())
    }

    fn ended() -> Value {
        let finished = json!({"type": "Finished", "status": "True", "reason": "RunSucceeded", "message": "", "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        json!({"observedGeneration": 1, "runKey": KEY, "state": "Succeeded", "completionTime": "2026-01-01T00:00:00Z", "conditions": [finished]})
    }

    #[test]
    fn our_own_status_writes_call_for_no_look_and_commands_and_wiping_do() {
        let begun = json!({"observedGeneration": 1, "runKey": "v1:0"});
        let matters = |metadata: Value, status: Value| kept(metadata, status).what_matters();
        let hash = matters(json!({"uid": "u", "generation": 1}), begun.clone());
        let written = json!({"observedGeneration": 1, "runKey": "v1:1", "runId": "1"});
        assert_eq!(matters(json!({"uid": "u", "generation": 1, "labels": {"a": "b"}}), written), hash);
        assert_eq!(matters(json!({"uid": "u", "generation": 1}), ended()), hash, "at rest");
        let wiped = json!({"observedGeneration": -1});
        assert_ne!(matters(json!({"uid": "u", "generation": 1}), wiped.clone()), hash);
        // One that starts nothing has no run key, and must say so again all the same.
        let restored = json!({"observedGeneration": 1});
        let restored = matters(json!({"uid": "u", "generation": 1}), restored);
        assert_ne!(matters(json!({"uid": "u", "generation": 1}), wiped), restored);
        for changed in [
            json!({"uid": "v", "generation": 1}),
            json!({"uid": "u", "generation": 2}),
            json!({"uid": "u", "generation": 1, "deletionTimestamp": "2026-01-01T00:00:00Z"}),
            json!({"uid": "u", "generation": 1, "finalizers": ["dbrun.dev/run"]}),
            json!({"uid": "u", "generation": 1, "annotations": {"dbrun.dev/rerun-requested-at": "1"}}),
            json!({"uid": "u", "generation": 1, "annotations": {"dbrun.dev/cancel-requested-at": "1"}}),
            json!({"uid": "u", "generation": 1, "annotations": {"argocd.argoproj.io/tracking-id": "app"}}),
        ] {
            for status in [begun.clone(), ended()] {
                assert_ne!(matters(changed.clone(), status), hash, "{changed}");
            }
        }
    }

    #[test]
    fn foreign_annotations_and_managed_fields_are_not_kept() {
        let metadata = json!({"managedFields": [{}], "annotations": {"dbrun.dev/start": "u/1", "meta.helm.sh/release-name": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"}});
        let kept = kept(metadata, json!({}));
        let metadata = kept.whole().unwrap().metadata;
        assert_eq!(metadata.managed_fields, None);
        let names: Vec<&str> = metadata.annotations.iter().flatten().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["dbrun.dev/start", "meta.helm.sh/release-name"]);
    }

    #[test]
    fn what_has_ended_and_of_which_nothing_is_asked_is_at_rest() {
        let rests = |metadata: Value, status: Value| kept(metadata, status).whole().is_none();
        assert!(rests(json!({"generation": 1}), ended()));
        assert!(!rests(json!({"generation": 1}), json!({"observedGeneration": 1})));
        for more in [
            json!({"generation": 2}),
            json!({"generation": 1, "finalizers": ["dbrun.dev/run"]}),
            json!({"generation": 1, "annotations": {"dbrun.dev/rerun-requested-at": "1"}}),
            json!({"generation": 1, "annotations": {"dbrun.dev/repair-requested-at": "1"}}),
            json!({"generation": 1, "annotations": {"dbrun.dev/cancel-requested-at": "1"}}),
        ] {
            assert!(!rests(more.clone(), ended()), "{more}");
        }
        let mut replaced = ended();
        replaced["runKey"] = json!("v1:0123456789012345678901234567890123456789");
        assert!(
            !rests(json!({"generation": 1}), replaced),
            "the newest request waited for the end of the one before it"
        );
        let mut unreadable = object(json!({"generation": 1}), ended());
        unreadable.spec = json!({"workspaceRef": 5});
        assert!(Kept::of(unreadable, &settings(), now()).whole().is_some());
    }

    #[test]
    fn what_is_listed_again_is_kept_once_and_what_is_new_takes_its_place() {
        let listed = |uid: &str, version: &str, status: Value, known: Option<&Kept>| {
            let metadata = json!({"uid": uid, "generation": 1, "resourceVersion": version});
            let known = known.map(|known| Arc::new(known.clone()));
            Kept::again(object(metadata, status), &settings(), now(), known.as_ref())
        };
        let begun = || json!({"observedGeneration": 1, "runKey": KEY});
        let is_shared = |kept: &Kept, known: &Kept| match (kept, known) {
            (Kept::Active(kept), Kept::Active(known)) => Arc::ptr_eq(kept, known),
            (Kept::AtRest(kept), Kept::AtRest(known)) => Arc::ptr_eq(kept, known),
            _ => false,
        };
        for status in [begun(), ended()] {
            let known = listed("u", "5", status.clone(), None);
            assert!(is_shared(&listed("u", "5", status.clone(), Some(&known)), &known));
            assert!(!is_shared(&listed("u", "6", status.clone(), Some(&known)), &known));
            assert!(!is_shared(&listed("v", "5", status.clone(), Some(&known)), &known), "it was made anew");
        }
        let known = Kept::from(object(json!({"uid": "u", "generation": 1, "resourceVersion": "5"}), ended()));
        assert!(listed("u", "5", ended(), Some(&known)).whole().is_none(), "it is at rest by now");
    }

    #[test]
    fn a_time_to_live_is_counted_from_the_end_and_not_at_all_where_it_was_told_that_a_tool_keeps_the_object() {
        let mark = json!({"generation": 1, "annotations": {"argocd.argoproj.io/tracking-id": "app"}});
        let rests_for = |metadata: Value, status: Value| {
            let mut object = object(metadata, status);
            object.spec["ttlSecondsAfterFinished"] = json!(90);
            match Kept::of(object, &settings(), now()) {
                Kept::AtRest(rest) => rest.rests_for(now()),
                Kept::Active(active) => panic!("{active:?}"),
            }
        };
        assert_eq!(rests_for(json!({"generation": 1}), ended()), Some(Duration::from_secs(30)));
        assert_eq!(rests_for(mark.clone(), ended()), Some(Duration::from_secs(30)));
        let mut told = ended();
        told["ttlSkippedBy"] = json!("argocd.argoproj.io/tracking-id");
        assert_eq!(rests_for(mark, told.clone()), None);
        assert_eq!(rests_for(json!({"generation": 1}), told), Some(Duration::from_secs(30)), "the mark was taken off");
    }
}
