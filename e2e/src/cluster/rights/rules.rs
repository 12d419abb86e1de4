//! Rules, taken apart to what can be granted or missing: one verb of one resource.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::authorization::v1::ResourceRule;
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};

use crate::cluster::AuditEntry;

/// One verb of one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The API group; empty for the core.
    pub group: String,
    /// As in `databricksruns` and `databricksruns/status`.
    pub resource: String,
    /// As in `get`.
    pub verb: String,
}

impl Right {
    /// The right of this group, resource and verb.
    #[must_use]
    pub fn new(group: &str, resource: &str, verb: &str) -> Self {
        Self { group: group.to_owned(), resource: resource.to_owned(), verb: verb.to_owned() }
    }

    /// The right that a request needs.
    #[must_use]
    pub fn asked_by(entry: &AuditEntry) -> Self {
        let object = &entry.object_ref;
        let resource = match object.subresource.as_str() {
            "" => object.resource.clone(),
            part => format!("{}/{part}", object.resource),
        };
        Self { group: object.api_group.clone(), resource, verb: entry.verb.clone() }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(formatter, ".{}", self.group) }
    }
}

pub(super) fn is_role(object: &Value) -> bool {
    ["ClusterRole", "Role"].contains(&object["kind"].as_str().unwrap_or_default())
}

fn rules(role: &Value) -> Vec<PolicyRule> {
    let rules = if is_role(role) { role["rules"].clone() } else { Value::Null };
    serde_json::from_value(rules).unwrap_or_default()
}

fn product(groups: Option<&Vec<String>>, resources: Option<&Vec<String>>, verbs: &[String]) -> Vec<Right> {
    let mut rights = Vec::new();
    for group in groups.into_iter().flatten() {
        for resource in resources.into_iter().flatten() {
            rights.extend(verbs.iter().map(|verb| Right::new(group, resource, verb)));
        }
    }
    rights
}

/// What a role allows; nothing for an object that is no role.
pub(super) fn of_role(role: &Value) -> Vec<Right> {
    rules(role).iter().flat_map(of_rule).collect()
}

fn of_rule(rule: &PolicyRule) -> Vec<Right> {
    product(rule.api_groups.as_ref(), rule.resources.as_ref(), &rule.verbs)
}

/// What bindings among these objects allow in a namespace, by roles among them.
pub(super) fn bound_in(objects: &[Value], namespace: &str) -> BTreeSet<Right> {
    let reaches = |object: &Value| object["metadata"]["namespace"].as_str().is_none_or(|own| own == namespace);
    let binds = |object: &&Value| object.get("roleRef").is_some() && reaches(object);
    let is_meant = |role: &Value, meant: &Value| {
        role["kind"] == meant["kind"] && role["metadata"]["name"] == meant["name"] && reaches(role)
    };
    let bindings = objects.iter().filter(binds);
    bindings
        .flat_map(|it| objects.iter().filter(move |role| is_meant(role, &it["roleRef"])).flat_map(of_role))
        .collect()
}

/// What the API server says is allowed.
pub(super) fn of_review(rule: &ResourceRule) -> Vec<Right> {
    product(rule.api_groups.as_ref(), rule.resources.as_ref(), &rule.verbs)
}

/// The role without one right; none if it does not allow it anyway.
pub(super) fn without(role: &Value, right: &Right) -> Option<Value> {
    if !of_role(role).contains(right) {
        return None;
    }
    let mut less = role.clone();
    let rest = rules(role).into_iter().flat_map(|rule| {
        let rights = of_rule(&rule).into_iter().filter(|it| it != right);
        let single = |it: Right| PolicyRule {
            api_groups: Some(vec![it.group]),
            resources: Some(vec![it.resource]),
            verbs: vec![it.verb],
            // What is narrowed to names stays narrowed.
            ..rule.clone()
        };
        rights.map(single).collect::<Vec<_>>()
    });
    less["rules"] = json!(rest.collect::<Vec<_>>());
    Some(less)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role() -> Value {
        json!({"kind": "Role", "rules": [
            {"apiGroups": ["dbrun.dev"], "resources": ["databricksruns"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
        ]})
    }

    #[test]
    fn a_role_without_a_right_allows_all_the_rest() {
        let all = of_role(&role());
        assert_eq!(all.len(), 3, "{all:?}");
        let missing = Right::new("dbrun.dev", "databricksruns", "get");
        let rest = of_role(&without(&role(), &missing).unwrap());
        let expected: Vec<Right> = all.into_iter().filter(|right| *right != missing).collect();
        assert_eq!(rest, expected);
        assert_eq!(without(&role(), &Right::new("", "secrets", "list")), None);
    }

    #[test]
    fn what_is_narrowed_to_a_name_stays_narrowed_when_another_right_is_taken_away() {
        let role = json!({"kind": "Role", "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
            "resourceNames": ["lock"], "verbs": ["get", "update"]}]});
        let less = without(&role, &Right::new("coordination.k8s.io", "leases", "get")).unwrap();
        assert_eq!(less["rules"][0]["resourceNames"], json!(["lock"]));
        assert_eq!(less["rules"][0]["verbs"], json!(["update"]));
    }

    #[test]
    fn a_role_counts_where_it_is_bound() {
        let binding = |namespace: Option<&str>, kind: &str, name: &str| json!({"kind": "Binding", "metadata": {"namespace": namespace}, "roleRef": {"kind": kind, "name": name}});
        let mut own = role();
        own["metadata"] = json!({"name": "own", "namespace": "home"});
        let everywhere = json!({"kind": "ClusterRole", "metadata": {"name": "all"}, "rules": [
            {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list"]}]});
        let objects = [own, everywhere, binding(Some("home"), "Role", "own"), binding(None, "ClusterRole", "all")];
        assert_eq!(bound_in(&objects, "home").len(), 4);
        assert_eq!(bound_in(&objects, "elsewhere"), [Right::new("", "namespaces", "list")].into());
    }

    #[test]
    fn a_right_is_told_as_people_say_it() {
        assert_eq!(Right::new("", "secrets", "get").to_string(), "get secrets");
        let patch = Right::new("dbrun.dev", "databricksruns/status", "patch");
        assert_eq!(patch.to_string(), "patch databricksruns/status.dbrun.dev");
    }
}
