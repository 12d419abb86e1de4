//! `DatabricksWorkspace`: where runs are sent and with which credential. Both live in one object, so that the author of
//! a run can never pair one workspace's credential with another host. As with runs, [`WorkspaceObject`] is the watched
//! twin of the kind, its spec raw.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::run::{SpecError, decode};
use super::workspace_auth::Auth;
use super::{admission, schema};

/// Where runs are sent, and with which credential. `host` and `workspaceId` cannot change: another workspace is another
/// object, because runs that are live are pinned to this one.
#[allow(clippy::duplicated_attributes, reason = "the lint takes the keys of all columns for one list")]
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "dbrun.dev",
    version = "v1alpha1",
    kind = "DatabricksWorkspace",
    plural = "databricksworkspaces",
    singular = "databricksworkspace",
    shortname = "dbws",
    category = "databricks",
    namespaced,
    status = "DatabricksWorkspaceStatus",
    derive = "PartialEq",
    doc = "A Databricks workspace and the credential for it. Runs in the same namespace name it in spec.workspaceRef. Its condition Ready says whether a token could be had and the API answers.",
    printcolumn(name = "Host", type_ = "string", json_path = ".spec.host", description = "Host of the workspace."),
    printcolumn(
        name = "Auth",
        type_ = "string",
        json_path = ".status.authKind",
        description = "Where the credential comes from."
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether a token could be had and the API answers."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        description = "Why, in one word."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Age of the object."
    ),
    printcolumn(
        name = "Principal",
        type_ = "string",
        json_path = ".status.principal",
        priority = 1,
        description = "Who the credential belongs to, as Databricks tells it."
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        priority = 1,
        description = "Why, and what to do."
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = admission::WORKSPACE_SPEC))]
pub struct DatabricksWorkspaceSpec {
    /// The workspace's address: `https://` and the host name, no path. Cannot be changed. The operator only talks to hosts
    /// its administrator allows (`--allowed-host`). Example: `https://adb-1234567890123456.7.azuredatabricks.net`.
    #[schemars(length(min = 1, max = 300), extend("x-kubernetes-validations" = admission::HOST))]
    pub host: String,
    /// The workspace's numeric id, sent as `X-Databricks-Workspace-Id`: needed on hosts that serve many workspaces. Cannot
    /// be changed. Example: `"1234567890123456"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), extend("x-kubernetes-validations" = admission::WORKSPACE_ID))]
    pub workspace_id: Option<String>,
    /// Version of the Jobs API, one for every call of a run: `"2.1"` (the default) or `"2.2"`. Runs already started keep
    /// the one they were started with.
    #[serde(default)]
    pub jobs_api_version: JobsApiVersion,
    /// Where the credential comes from: exactly one way. Example: `{pat: {secretRef: {name: databricks, key: token}}}`.
    pub auth: Auth,
    /// How much of the requests to this host this object may make. It can only take less than its share: the rate of the
    /// host is the operator's (`--requests-per-second`), whatever the number of objects that point there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// A certificate authority to trust besides the public ones, for a proxy or a private link that presents its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
    /// The proxy through which the workspace is reached, instead of the one in the operator's environment. The operator's
    /// administrator must allow it (`--allowed-proxy`). Example: `http://proxy.corp:3128`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 300), extend("x-kubernetes-validations" = admission::PROXY_URL))]
    pub proxy_url: Option<String>,
}

// Plain comments on the variants: a doc comment would turn the schema's `enum` into `oneOf`.
/// Kind of a workspace object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described at the field, for kubectl explain")]
pub enum WorkspaceKind {
    #[default]
    DatabricksWorkspace,
    ClusterDatabricksWorkspace,
}

impl WorkspaceKind {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::DatabricksWorkspace, Self::ClusterDatabricksWorkspace];

    /// As it stands in `kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DatabricksWorkspace => "DatabricksWorkspace",
            Self::ClusterDatabricksWorkspace => "ClusterDatabricksWorkspace",
        }
    }

    /// The kind of this name; none for one that this version does not know.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for WorkspaceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

// Plain comments on the variants: a doc comment would turn the schema's `enum` into `oneOf`.
/// Version of the Jobs API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described at the field, for kubectl explain")]
pub enum JobsApiVersion {
    #[default]
    #[serde(rename = "2.1")]
    V2_1,
    #[serde(rename = "2.2")]
    V2_2,
}

impl JobsApiVersion {
    /// As it stands in a path: `2.1` or `2.2`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V2_1 => "2.1",
            Self::V2_2 => "2.2",
        }
    }
}

/// How much of the requests to a host an object may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Requests per second of this object, at most. Example: 5.
    #[schemars(range(min = 1, max = 1000))]
    pub requests_per_second: i32,
}

/// A certificate authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// The ConfigMap that holds PEM certificates. Example: `{name: corporate-ca, key: ca.crt}`.
    pub config_map_ref: KeyRef,
}

/// One key of a Secret or ConfigMap in the object's namespace; for a `ClusterDatabricksWorkspace`, in the operator's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRef {
    /// Its name. Example: `databricks`.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = admission::OBJECT_NAME))]
    pub name: String,
    /// The key within it. Example: `token`.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = admission::DATA_KEY))]
    pub key: String,
}

/// What the operator knows of the workspace.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DatabricksWorkspaceStatus {
    /// The generation of the spec that this status speaks of; -1 until the operator has seen the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1))]
    pub observed_generation: Option<i64>,
    /// Where the credential comes from: the name of the field in `spec.auth`. Example: `tokenFederation`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_kind: Option<String>,
    /// Who the credential belongs to, as Databricks tells it: a person's or a service principal's user name. Not told where
    /// the client id is kept in a Secret.
    /// Example: `3f1e9c2a-0000-4000-8000-1234567890ab`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// `Ready` always; `Reconciling` (waiting for something that may come by itself) and `Stalled` (a person has to do
    /// something) only while True.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// A `DatabricksWorkspace` as it is watched: metadata and status read strictly, the spec kept as it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, kube::Resource)]
#[resource(inherit = "DatabricksWorkspace")]
pub struct WorkspaceObject {
    /// Name, uid, generation.
    pub metadata: ObjectMeta,
    /// The spec as raw JSON; see [`WorkspaceObject::spec`].
    #[serde(default)]
    pub spec: Value,
    /// What the operator wrote; one with `observedGeneration: -1` is the schema's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<DatabricksWorkspaceStatus>,
}

impl WorkspaceObject {
    /// The spec, decoded. Fields that nobody knows are passed over.
    pub fn spec(&self) -> Result<DatabricksWorkspaceSpec, SpecError> {
        decode(&self.spec)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_names_on_the_wire_are_those_of_the_documentation() {
        let spec = json!({
            "host": "https://workspace.test",
            "workspaceId": "1",
            "jobsApiVersion": "2.2",
            "auth": {"oauthM2M": {"clientIdSecretRef": {"name": "a", "key": "id"}, "clientSecretRef": {"name": "a", "key": "b"}}},
            "rateLimit": {"requestsPerSecond": 5},
            "caBundle": {"configMapRef": {"name": "ca", "key": "ca.crt"}},
            "proxyUrl": "http://proxy.test:3128",
        });
        let object: WorkspaceObject =
            serde_json::from_value(json!({"metadata": {"name": "prod"}, "spec": spec})).unwrap();
        let read = object.spec().unwrap();
        assert_eq!(read.jobs_api_version.as_str(), "2.2");
        assert_eq!(serde_json::to_value(read).unwrap(), spec);
    }
}
