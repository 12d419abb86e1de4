//! `ClusterDatabricksWorkspace`: a workspace that a platform team offers to the namespaces it admits. Its spec is that of a
//! [`super::workspace::DatabricksWorkspace`] and who may use it. As with the other kinds, [`ClusterWorkspaceObject`] is the watched
//! twin, its spec raw.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::CustomResource;
use kube::core::{Expression, Selector, SelectorExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::admission;
use super::run::{SpecError, decode};
use super::workspace::{DatabricksWorkspaceSpec, DatabricksWorkspaceStatus};

/// Where runs are sent, with which credential, and which namespaces may use it. `host` and `workspaceId` cannot change:
/// another workspace is another object, because runs that are live are pinned to this one.
#[allow(clippy::duplicated_attributes, reason = "the lint takes the keys of all columns for one list")]
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "dbrun.dev",
    version = "v1alpha1",
    kind = "ClusterDatabricksWorkspace",
    plural = "clusterdatabricksworkspaces",
    singular = "clusterdatabricksworkspace",
    shortname = "cdbws",
    category = "databricks",
    status = "DatabricksWorkspaceStatus",
    derive = "PartialEq",
    doc = "A Databricks workspace and the credential for it, for the namespaces that spec.allowedNamespaces admits. Runs name it in spec.workspaceRef with kind ClusterDatabricksWorkspace. Secrets, ConfigMaps and ServiceAccounts that it names are those of the operator's own namespace. Its condition Ready says whether a token could be had and the API answers.",
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
#[schemars(extend("x-kubernetes-validations" = admission::CLUSTER_WORKSPACE_SPEC))]
pub struct ClusterDatabricksWorkspaceSpec {
    /// What a DatabricksWorkspace has, too.
    #[serde(flatten)]
    pub workspace: DatabricksWorkspaceSpec,
    /// The namespaces whose runs may use this workspace: those that are named and those that the selector matches. With
    /// neither, none may. A namespace that is no longer admitted starts nothing new; its runs under way are followed and
    /// can be cancelled. Example: `{names: [team-a], selector: {matchLabels: {databricks: prod}}}`.
    pub allowed_namespaces: AllowedNamespaces,
}

// Atomic: whom it admits is one value with one owner, however it is applied.
/// Which namespaces are admitted: by name, or by their labels. Either is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct AllowedNamespaces {
    /// Names of namespaces. Example: `[team-a, team-b]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 1000),
        inner(length(min = 1, max = 63)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub names: Vec<String>,
    /// Labels of namespaces. Whoever may change a namespace's labels decides with it; the label
    /// `kubernetes.io/metadata.name` is the name itself and cannot be forged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<NamespaceSelector>,
}

/// What a namespace's labels must be: all of it. An empty selector is refused; every namespace is
/// `matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = admission::NAMESPACE_SELECTOR))]
pub struct NamespaceSelector {
    /// Labels and their values. Example: `{databricks: prod}`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels. Example: `[{key: stage, operator: NotIn, values: [sandbox]}]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub match_expressions: Vec<LabelCondition>,
}

/// A condition on one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = admission::LABEL_CONDITION))]
pub struct LabelCondition {
    /// The label's key. Example: `stage`.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How the label relates to `values`: `In`, `NotIn` (also true without the label), `Exists` or `DoesNotExist`.
    pub operator: LabelOperator,
    /// The values of `In` and `NotIn`; none with `Exists` and `DoesNotExist`. Example: `[sandbox]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

// Plain comments on the variants: a doc comment would turn the schema's `enum` into `oneOf`.
/// How a label relates to values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "described at the field, for kubectl explain")]
pub enum LabelOperator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

impl AllowedNamespaces {
    /// Whether a namespace of this name and with these labels is admitted. Where its labels are not known, only its name
    /// counts.
    #[must_use]
    pub fn admits(&self, namespace: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        let by_labels = || Some(self.selector.as_ref()?.matches(labels?));
        self.names.iter().any(|name| name == namespace) || by_labels().unwrap_or(false)
    }
}

impl NamespaceSelector {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let selector: Selector = self.match_labels.clone().into_iter().collect();
        let conditions: Selector = self.match_expressions.iter().map(LabelCondition::expression).collect();
        // An empty selector matches everything in Kubernetes; admission refuses it here, and whoever bypassed that gets
        // nothing.
        let empty = selector.selects_all() && conditions.selects_all();
        !empty && selector.matches(labels) && conditions.matches(labels)
    }
}

impl LabelCondition {
    fn expression(&self) -> Expression {
        let (key, values) = (self.key.clone(), self.values.iter().cloned());
        match self.operator {
            LabelOperator::In => Expression::In(key, values.collect()),
            LabelOperator::NotIn => Expression::NotIn(key, values.collect()),
            LabelOperator::Exists => Expression::Exists(key),
            LabelOperator::DoesNotExist => Expression::DoesNotExist(key),
        }
    }
}

/// A `ClusterDatabricksWorkspace` as it is watched: metadata and status read strictly, the spec kept as it came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, kube::Resource)]
#[resource(inherit = "ClusterDatabricksWorkspace")]
pub struct ClusterWorkspaceObject {
    /// Name, uid, generation.
    pub metadata: ObjectMeta,
    /// The spec as raw JSON; see [`ClusterWorkspaceObject::spec`].
    #[serde(default)]
    pub spec: Value,
    /// What the operator wrote; one with `observedGeneration: -1` is the schema's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<DatabricksWorkspaceStatus>,
}

impl ClusterWorkspaceObject {
    /// What it has in common with a `DatabricksWorkspace`, decoded. Fields that nobody knows are passed over.
    pub fn spec(&self) -> Result<DatabricksWorkspaceSpec, SpecError> {
        decode(&self.spec)
    }

    /// Whom it admits, decoded; nobody where that cannot be read.
    #[must_use]
    pub fn allowed_namespaces(&self) -> AllowedNamespaces {
        decode(&self.spec["allowedNamespaces"]).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn object(allowed: Value) -> ClusterWorkspaceObject {
        let spec = json!({
            "host": "https://workspace.test",
            "auth": {"pat": {"secretRef": {"name": "a", "key": "b"}}},
            "allowedNamespaces": allowed,
        });
        serde_json::from_value(json!({"metadata": {"name": "shared"}, "spec": spec})).unwrap()
    }

    fn admits(allowed: Value, namespace: &str, labelled: &[(&str, &str)]) -> bool {
        object(allowed).allowed_namespaces().admits(namespace, Some(&labels(labelled)))
    }

    #[test]
    fn a_namespace_is_admitted_by_name_or_by_its_labels_and_by_nothing_else() {
        let both = || json!({"names": ["team-a"], "selector": {"matchLabels": {"databricks": "prod"}}});
        assert!(admits(both(), "team-a", &[]));
        assert!(admits(both(), "team-b", &[("databricks", "prod")]));
        assert!(!admits(both(), "team-b", &[("databricks", "dev")]));
        assert!(!admits(both(), "team", &[]), "a name is the whole name");
    }

    #[test]
    fn who_names_nobody_admits_nobody() {
        for allowed in [json!({}), json!({"names": []}), json!({"selector": {}}), json!(null), json!({"names": "team"})]
        {
            assert!(!admits(allowed.clone(), "team", &[("databricks", "prod")]), "{allowed}");
        }
    }

    #[test]
    fn conditions_mean_what_they_mean_in_kubernetes() {
        let one = |condition: Value| json!({"selector": {"matchExpressions": [condition]}});
        for (condition, with, without) in [
            (json!({"key": "stage", "operator": "In", "values": ["prod", "test"]}), true, false),
            (json!({"key": "stage", "operator": "NotIn", "values": ["prod"]}), false, true),
            (json!({"key": "stage", "operator": "Exists"}), true, false),
            (json!({"key": "stage", "operator": "DoesNotExist"}), false, true),
            (json!({"key": "stage", "operator": "Like", "values": ["prod"]}), false, false),
        ] {
            assert_eq!(admits(one(condition.clone()), "team", &[("stage", "prod")]), with, "{condition}");
            assert_eq!(admits(one(condition.clone()), "team", &[]), without, "{condition}");
        }
        let all =
            json!({"selector": {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}});
        assert!(admits(all.clone(), "team", &[("a", "1"), ("b", "2")]));
        assert!(!admits(all, "team", &[("a", "1")]), "all of it must hold");
    }

    #[test]
    fn labels_that_are_not_known_admit_nobody() {
        let allowed = object(json!({"selector": {"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}}));
        assert!(!allowed.allowed_namespaces().admits("team", None));
    }

    #[test]
    fn its_spec_is_that_of_a_workspace_and_names_the_field_that_cannot_be_read() {
        let mut shared = object(json!({"names": ["team-a"]}));
        assert_eq!(shared.spec().unwrap().host, "https://workspace.test");
        let whole: ClusterDatabricksWorkspaceSpec = serde_json::from_value(shared.spec.clone()).unwrap();
        assert_eq!(whole.allowed_namespaces, shared.allowed_namespaces());
        shared.spec["auth"]["pat"]["secretRef"]["name"] = json!(5);
        assert!(shared.spec().unwrap_err().to_string().contains("auth.pat.secretRef.name"));
    }
}
