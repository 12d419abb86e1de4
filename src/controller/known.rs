//! What the watches know of workspace objects and namespaces: is an object there, where does it point, whom does it admit.
//! Asked anew at each look at a run, so that a change counts from the moment the watch has seen it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};

use super::subject::WorkspaceKey;
use super::watch::NAMESPACE;
use crate::api::cluster_workspace::ClusterWorkspaceObject;
use crate::api::status::WorkspacePin;
use crate::api::workspace::{WorkspaceKind, WorkspaceObject};

/// A namespace of which only name and labels are known.
pub(super) type NamespaceLabels = PartialObjectMeta<Namespace>;

/// Everything that is watched beside runs.
pub(super) struct Known {
    /// Workspace objects of namespaces: one store for all namespaces, or one for each.
    pub(super) workspaces: Vec<Store<WorkspaceObject>>,
    /// What the whole cluster has; none where this operator does not serve it.
    pub(super) cluster: Option<KnownOfCluster>,
}

/// What the whole cluster has.
pub(super) struct KnownOfCluster {
    pub(super) workspaces: Store<ClusterWorkspaceObject>,
    pub(super) namespaces: Store<NamespaceLabels>,
}

impl Known {
    /// Where a workspace object points, if it is there.
    pub(super) fn pin(&self, key: &WorkspaceKey) -> Option<WorkspacePin> {
        let spec = match key.kind() {
            WorkspaceKind::DatabricksWorkspace => {
                self.workspaces.iter().find_map(|store| store.get(&key.object_ref()))?.spec()
            }
            WorkspaceKind::ClusterDatabricksWorkspace => {
                self.cluster.as_ref()?.workspaces.get(&key.object_ref())?.spec()
            }
        };
        Some(key.pin(spec.ok().as_ref()))
    }

    /// Whether a workspace object is there.
    pub(super) fn has(&self, key: &WorkspaceKey) -> bool {
        match key.kind() {
            WorkspaceKind::DatabricksWorkspace => {
                self.workspaces.iter().any(|store| store.get(&key.object_ref()).is_some())
            }
            WorkspaceKind::ClusterDatabricksWorkspace => {
                self.cluster.as_ref().is_some_and(|cluster| cluster.workspaces.get(&key.object_ref()).is_some())
            }
        }
    }

    /// How many objects of each kind are known.
    pub(super) fn sizes(&self) -> Vec<(&'static str, usize)> {
        let own = (WorkspaceKind::DatabricksWorkspace.as_str(), self.workspaces.iter().map(Store::len).sum());
        let cluster = self.cluster.iter().flat_map(|cluster| {
            let workspaces = (WorkspaceKind::ClusterDatabricksWorkspace.as_str(), cluster.workspaces.len());
            [workspaces, (NAMESPACE, cluster.namespaces.len())]
        });
        std::iter::once(own).chain(cluster).collect()
    }

    /// Whether runs of this namespace may be sent there. An object that is gone admits nobody, and says so otherwise.
    pub(super) fn admits(&self, key: &WorkspaceKey, namespace: &str) -> bool {
        match (key.namespace(), &self.cluster) {
            (Some(own), _) => own == namespace,
            (None, Some(cluster)) => cluster.admits(key, namespace),
            (None, None) => false,
        }
    }
}

impl KnownOfCluster {
    fn admits(&self, key: &WorkspaceKey, namespace: &str) -> bool {
        let Some(workspace) = self.workspaces.get(&key.object_ref()) else { return false };
        let labels = self.labels(namespace);
        workspace.allowed_namespaces().admits(namespace, labels.as_ref())
    }

    /// A namespace's labels; none if the namespace is not known.
    fn labels(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        let namespace = self.namespaces.get(&ObjectRef::new(namespace))?;
        Some(namespace.metadata.labels.clone().unwrap_or_default())
    }
}

/// What a run is told that names a workspace object which does not admit its namespace.
pub(super) fn not_admitted(key: &WorkspaceKey, namespace: &str) -> String {
    format!(
        "{} `{}` does not admit the namespace `{namespace}`, so nothing new is started; have its administrator add the \
         namespace to spec.allowedNamespaces (names, or labels that its selector matches), or correct spec.workspaceRef",
        key.kind(),
        key.name()
    )
}

#[cfg(test)]
pub(super) mod tests {
    use kube::runtime::{reflector, watcher};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    /// A store that holds these objects, and its writer.
    pub(in super::super) fn store<K>(objects: &[Value]) -> (Store<K>, reflector::store::Writer<K>)
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + 'static,
    {
        let (store, mut writer) = reflector::store();
        for object in objects {
            put(&mut writer, object);
        }
        (store, writer)
    }

    fn put<K>(writer: &mut reflector::store::Writer<K>, object: &Value)
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + 'static,
    {
        writer.apply_watcher_event(&watcher::Event::Apply(serde_json::from_value(object.clone()).unwrap()));
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn namespace(labels: Value) -> Value {
        let metadata = json!({"name": "team", "labels": labels});
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn shared(allowed: Value) -> Value {
        let spec = json!({"host": "https://workspace.test/", "auth": {"pat": {"secretRef": {"name": "a", "key": "b"}}}, "allowedNamespaces": allowed});
        json!({"metadata": {"name": "shared"}, "spec": spec})
    }

    #[test]
    fn admission_follows_the_labels_and_the_object_as_the_watches_see_them() {
        let (workspaces, mut objects) = store(&[shared(json!({"selector": {"matchLabels": {"databricks": "prod"}}}))]);
        let (namespaces, mut labels) = store(&[]);
        let known = Known { workspaces: Vec::new(), cluster: Some(KnownOfCluster { workspaces, namespaces }) };
        let key = WorkspaceKey::meant_in("team", WorkspaceKind::ClusterDatabricksWorkspace, "shared");
        assert_eq!(known.pin(&key).unwrap().host, "https://workspace.test");
        assert!(!known.admits(&key, "team"), "the namespace is not known yet");
        put(&mut labels, &namespace(json!({})));
        assert!(!known.admits(&key, "team"));
        put(&mut labels, &namespace(json!({"databricks": "prod"})));
        assert!(known.admits(&key, "team"));
        put(&mut objects, &shared(json!({})));
        assert!(!known.admits(&key, "team"));
        put(&mut objects, &shared(json!({"names": ["team"]})));
        assert!(known.admits(&key, "team"));
    }

    #[test]
    fn where_the_cluster_s_own_are_not_served_there_are_none() {
        let known = Known { workspaces: Vec::new(), cluster: None };
        let key = WorkspaceKey::meant_in("team", WorkspaceKind::ClusterDatabricksWorkspace, "shared");
        assert!(!known.has(&key) && !known.admits(&key, "team") && known.pin(&key).is_none());
    }
}
