//! A workspace object of either kind, as the controller sees it: one shape, so that there is one way to check, connect and
//! report. Where its credentials live is part of its key, and the key is made of metadata alone.

use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::cluster_workspace::{AllowedNamespaces, ClusterWorkspaceObject};
use crate::api::run::SpecError;
use crate::api::status::WorkspacePin;
use crate::api::workspace::{DatabricksWorkspaceSpec, DatabricksWorkspaceStatus, WorkspaceKind, WorkspaceObject};

/// Which workspace object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct WorkspaceKey {
    kind: WorkspaceKind,
    /// None where the kind is the whole cluster's.
    namespace: Option<Arc<str>>,
    name: Arc<str>,
}

impl WorkspaceKey {
    /// The workspace object that something in this namespace means by this kind and name.
    pub(super) fn meant_in(namespace: &str, kind: WorkspaceKind, name: &str) -> Self {
        let namespace = match kind {
            WorkspaceKind::DatabricksWorkspace => Some(namespace.into()),
            WorkspaceKind::ClusterDatabricksWorkspace => None,
        };
        Self { kind, namespace, name: name.into() }
    }

    /// The workspace object that a run in this namespace was sent to; none of a kind that this version does not know.
    pub(super) fn of_pin(namespace: &str, pin: &WorkspacePin) -> Option<Self> {
        Some(Self::meant_in(namespace, WorkspaceKind::of(&pin.kind)?, &pin.name))
    }

    pub(super) fn kind(&self) -> WorkspaceKind {
        self.kind
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Its place in a watch of its kind.
    pub(super) fn object_ref<K: Resource<DynamicType = ()>>(&self) -> ObjectRef<K> {
        let object = ObjectRef::new(&self.name);
        match &self.namespace {
            Some(namespace) => object.within(namespace),
            None => object,
        }
    }

    /// Where it points; nowhere if its spec cannot be read.
    pub(super) fn pin(&self, spec: Option<&DatabricksWorkspaceSpec>) -> WorkspacePin {
        let pin = WorkspacePin {
            kind: self.kind.as_str().to_owned(),
            name: self.name.to_string(),
            ..WorkspacePin::default()
        };
        match spec {
            Some(spec) => WorkspacePin {
                host: spec.host.trim_end_matches('/').to_owned(),
                workspace_id: spec.workspace_id.clone(),
                jobs_api_version: spec.jobs_api_version.as_str().to_owned(),
                ..pin
            },
            None => pin,
        }
    }
}

impl fmt::Display for WorkspaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// A workspace object at one look.
pub(super) struct Subject {
    pub(super) key: WorkspaceKey,
    pub(super) uid: Option<String>,
    pub(super) generation: i64,
    pub(super) resource_version: Option<String>,
    /// What a connection is made of, as it came: the spec without those who are admitted.
    pub(super) raw_spec: Value,
    pub(super) spec: Result<DatabricksWorkspaceSpec, SpecError>,
    /// Whom it admits; none where only its own namespace can name it.
    pub(super) allowed: Option<AllowedNamespaces>,
    pub(super) status: Option<DatabricksWorkspaceStatus>,
    /// The object, for events.
    pub(super) reference: ObjectReference,
}

/// The two kinds of workspace objects, as they are watched.
pub(super) trait Workspace:
    Resource<DynamicType = ()> + DeserializeOwned + Clone + fmt::Debug + Send + Sync
{
    /// This object, as the controller sees it.
    fn subject(&self) -> Subject;

    /// Objects of this kind where this one is.
    fn api(client: Client, key: &WorkspaceKey) -> Api<Self>;

    /// Which object this is.
    fn key(&self) -> WorkspaceKey;
}

impl Workspace for WorkspaceObject {
    fn subject(&self) -> Subject {
        subject(self, self.spec.clone(), self.spec(), None, self.status.clone())
    }

    fn api(client: Client, key: &WorkspaceKey) -> Api<Self> {
        Api::namespaced(client, key.namespace().unwrap_or_default())
    }

    fn key(&self) -> WorkspaceKey {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        WorkspaceKey::meant_in(namespace, WorkspaceKind::DatabricksWorkspace, &self.name_any())
    }
}

impl Workspace for ClusterWorkspaceObject {
    fn subject(&self) -> Subject {
        let mut raw = self.spec.clone();
        if let Some(raw) = raw.as_object_mut() {
            raw.remove("allowedNamespaces");
        }
        subject(self, raw, self.spec(), Some(self.allowed_namespaces()), self.status.clone())
    }

    fn api(client: Client, _: &WorkspaceKey) -> Api<Self> {
        Api::all(client)
    }

    fn key(&self) -> WorkspaceKey {
        WorkspaceKey::meant_in("", WorkspaceKind::ClusterDatabricksWorkspace, &self.name_any())
    }
}

fn subject<K: Workspace>(
    object: &K,
    raw_spec: Value,
    spec: Result<DatabricksWorkspaceSpec, SpecError>,
    allowed: Option<AllowedNamespaces>,
    status: Option<DatabricksWorkspaceStatus>,
) -> Subject {
    let metadata = object.meta();
    Subject {
        key: object.key(),
        uid: metadata.uid.clone(),
        generation: metadata.generation.unwrap_or_default(),
        resource_version: metadata.resource_version.clone(),
        raw_spec,
        spec,
        allowed,
        status,
        reference: object.object_ref(&()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pin(kind: &str) -> WorkspacePin {
        WorkspacePin { kind: kind.to_owned(), name: "prod".to_owned(), ..WorkspacePin::default() }
    }

    #[test]
    fn a_workspace_of_the_cluster_is_one_for_all_namespaces_and_another_than_one_of_the_same_name_in_a_namespace() {
        let of = |namespace, kind| WorkspaceKey::of_pin(namespace, &pin(kind)).unwrap();
        assert_eq!(of("a", "ClusterDatabricksWorkspace"), of("b", "ClusterDatabricksWorkspace"));
        assert_ne!(of("a", "DatabricksWorkspace"), of("b", "DatabricksWorkspace"));
        assert_ne!(of("a", "DatabricksWorkspace"), of("a", "ClusterDatabricksWorkspace"));
        assert_eq!(WorkspaceKey::of_pin("a", &pin("FederatedWorkspace")), None, "written by a newer version");
    }

    #[test]
    fn whom_it_admits_is_no_part_of_what_its_connection_is_made_of() {
        let object = |names: Value| -> ClusterWorkspaceObject {
            let spec = json!({"host": "https://workspace.test", "auth": {}, "allowedNamespaces": {"names": names}});
            serde_json::from_value(json!({"metadata": {"name": "shared", "uid": "u"}, "spec": spec})).unwrap()
        };
        let (one, two) = (object(json!(["a"])).subject(), object(json!(["a", "b"])).subject());
        assert_eq!(one.raw_spec, two.raw_spec);
        assert_ne!(one.allowed, two.allowed);
        assert_eq!((one.key.namespace(), one.key.to_string().as_str()), (None, "ClusterDatabricksWorkspace shared"));
    }

    #[test]
    fn the_key_is_made_of_metadata_whatever_the_spec_says() {
        let object: WorkspaceObject = serde_json::from_value(json!({
            "metadata": {"name": "prod", "namespace": "team"},
            "spec": {"namespace": "kube-system", "auth": {"pat": {"secretRef": {"name": "a", "key": "b", "namespace": "kube-system"}}}},
        }))
        .unwrap();
        assert_eq!(object.subject().key.namespace(), Some("team"));
    }
}
