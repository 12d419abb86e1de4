//! The object store for real: calls to the Kubernetes API, each with a deadline, few at a time and first come first
//! served. The client's own silent retries are off: a write that is repeated unseen is a write we know nothing of. Whatever
//! changes something is sent only by a process that leads.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::gate::{Gate, Shut};
use super::ports::{Clock, Objects, Place, StoreError, Stored};
use super::process::Clocks;
use crate::api::run::RunObject;
use crate::lifecycle::{Announcement, Severity};
use crate::telemetry::Metrics;

/// Calls under way at once. More would only wait in the API server's own queues, unfairly.
const AT_ONCE: usize = 32;
/// A call ends after this time; kube itself has no deadline.
const DEADLINE: Duration = Duration::from_secs(15);
/// What an Event's note may hold.
const MAX_NOTE: usize = 1024;
/// The name the operator goes by in `managedFields` and events.
pub(super) const MANAGER: &str = "databricks-run-operator";

/// The Kubernetes API.
#[derive(Clone)]
pub(super) struct Kubernetes {
    client: Client,
    places: Arc<Semaphore>,
    instance: Arc<str>,
    gate: Gate,
    clock: Clocks,
    metrics: Arc<Metrics>,
}

impl Kubernetes {
    /// `instance` names this process in events.
    pub(super) fn new(client: Client, instance: &str, gate: Gate, clock: Clocks, metrics: Arc<Metrics>) -> Self {
        Self { client, places: Arc::new(Semaphore::new(AT_ONCE)), instance: instance.into(), gate, clock, metrics }
    }

    /// One call, in its turn and with a deadline.
    pub(super) async fn call<T>(&self, call: impl Future<Output = kube::Result<T>> + Send) -> Result<T, StoreError> {
        let asked = Instant::now();
        let queued = async {
            // The semaphore is never closed.
            let _place = self.places.acquire().await;
            self.metrics.kubernetes_waited(asked.elapsed());
            call.await
        };
        match tokio::time::timeout(DEADLINE, queued).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(classify(&error)),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {DEADLINE:?}"))),
        }
    }

    /// One call that changes something: the same, within the lease. It is asked for when its turn has come.
    pub(super) async fn write<T>(&self, call: impl Future<Output = kube::Result<T>> + Send) -> Result<T, StoreError> {
        // Boxed, or each layer would hold it once more.
        let call = Box::pin(call);
        let written = self.call(async { Ok(self.gate.within(call).await) }).await?;
        match written {
            Ok(answer) => answer.map_err(|error| classify(&error)),
            Err(Shut::NotBegun) => Err(StoreError::NotLeading),
            Err(Shut::GivenUp) => Err(StoreError::Unavailable("the lease has ended; the write may be done".to_owned())),
        }
    }

    /// A call with the time at which it is sent: nothing of it happens before its turn has come.
    async fn timed<T>(&self, call: impl Future<Output = kube::Result<T>> + Send) -> kube::Result<(T, Duration)> {
        let asked_at = self.clock.now().mono;
        Ok((call.await?, asked_at))
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Creates an Event about an object; one without a namespace has its events in `default`.
    pub(super) async fn event(&self, about: &ObjectReference, severity: Severity, reason: &'static str, note: &str) {
        let kind = match severity {
            Severity::Normal => "Normal",
            Severity::Warning => "Warning",
        };
        let namespace = about.namespace.as_deref().unwrap_or("default");
        let now = Timestamp::now();
        let name = begin_of(about.name.as_deref().unwrap_or_default());
        let event = Event {
            metadata: ObjectMeta {
                // Each announcement is a transition of its own, so none is ever counted up.
                name: Some(format!("{name}.{:x}", now.as_nanosecond())),
                namespace: Some(namespace.to_owned()),
                ..ObjectMeta::default()
            },
            action: Some("Reconcile".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(crate::lifecycle::bounds::head(note, MAX_NOTE)),
            reason: Some(reason.to_owned()),
            regarding: Some(about.clone()),
            reporting_controller: Some(format!("dbrun.dev/{MANAGER}")),
            reporting_instance: Some(self.instance.chars().take(128).collect()),
            type_: Some(kind.to_owned()),
            ..Event::default()
        };
        let events: Api<Event> = Api::namespaced(self.client(), namespace);
        match self.write(events.create(&PostParams::default(), &event)).await {
            Ok(_) => self.metrics.event_published(kind),
            // An event is a courtesy; terminating namespaces refuse them.
            Err(error) => tracing::debug!(%error, reason, "an event was not taken"),
        }
    }
}

/// As much of an object's name as leaves room for what makes an Event's name unique.
fn begin_of(name: &str) -> String {
    name.chars().take(200).collect::<String>().trim_end_matches(['.', '-']).to_owned()
}

fn runs(kubernetes: &Kubernetes, place: &Place) -> Api<RunObject> {
    Api::namespaced(kubernetes.client(), &place.namespace)
}

fn stored((object, asked_at): (RunObject, Duration)) -> Stored {
    Stored { object, asked_at }
}

fn parameters() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

impl Objects for Kubernetes {
    async fn get(&self, place: &Place) -> Result<Option<Stored>, StoreError> {
        let api = runs(self, place);
        let (object, asked_at) = self.call(self.timed(api.get_opt(&place.name))).await?;
        Ok(object.map(|object| Stored { object, asked_at }))
    }

    async fn patch_status(&self, place: &Place, patch: &Value) -> Result<Stored, StoreError> {
        let (api, parameters, patch) = (runs(self, place), parameters(), Patch::Merge(patch));
        let call = self.timed(api.patch_status(&place.name, &parameters, &patch));
        self.write(call).await.map(stored)
    }

    async fn patch_metadata(&self, place: &Place, patch: &Value) -> Result<Stored, StoreError> {
        let api = runs(self, place);
        let patch = serde_json::from_value(patch.clone()).map_err(|error| StoreError::Refused(error.to_string()))?;
        let (parameters, patch) = (parameters(), Patch::Json::<()>(patch));
        match self.write(self.timed(api.patch(&place.name, &parameters, &patch))).await {
            // A path that is no longer there: the object has changed.
            Err(StoreError::Refused(why)) if why.ends_with("(422)") => Err(StoreError::Conflict),
            answer => answer.map(stored),
        }
    }

    async fn delete(&self, place: &Place, uid: &str, resource_version: &str) -> Result<(), StoreError> {
        let api = runs(self, place);
        let preconditions =
            Preconditions { uid: Some(uid.to_owned()), resource_version: Some(resource_version.to_owned()) };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        self.write(api.delete(&place.name, &parameters)).await.map(drop)
    }

    async fn announce(&self, object: &RunObject, announcement: &Announcement) {
        let (severity, reason) = (announcement.severity, announcement.reason.as_str());
        self.event(&object.object_ref(&()), severity, reason, &announcement.note).await;
    }
}

/// What a failed call means.
fn classify(error: &kube::Error) -> StoreError {
    match error {
        kube::Error::Api(status) if status.code == 409 => StoreError::Conflict,
        kube::Error::Api(status) if status.code == 404 => StoreError::Gone,
        kube::Error::Api(status) if (400..500).contains(&status.code) && ![408, 429].contains(&status.code) => {
            StoreError::Refused(format!("{} ({})", status.message, status.code))
        }
        kube::Error::Api(status) => StoreError::Unavailable(format!("{} ({})", status.message, status.code)),
        other => StoreError::Unavailable(other.to_string()),
    }
}
