//! Marks by which tools know the objects they keep: one that deletes itself would be put back, and run again.

use kube::core::ObjectMeta;

/// Labels and annotations of Argo CD, Flux, Helm, kubectl's apply sets, kapp, Fleet and Config Sync. Argo CD's tracking by
/// the label `app.kubernetes.io/instance` is not here: half of all Helm charts set it.
pub(super) const MARKS: [&str; 9] = [
    "argocd.argoproj.io/tracking-id",
    "kustomize.toolkit.fluxcd.io/name",
    "helm.toolkit.fluxcd.io/name",
    "meta.helm.sh/release-name",
    "applyset.kubernetes.io/part-of",
    "kapp.k14s.io/app",
    "objectset.rio.cattle.io/id",
    "configsync.gke.io/resource-id",
    "configmanagement.gke.io/managed",
];

/// Whether a label or an annotation of this name is such a mark, the administrator's own included.
pub(super) fn is_mark(name: &str, more: &[String]) -> bool {
    MARKS.contains(&name) || more.iter().any(|key| key == name)
}

/// The first mark on an object.
pub(super) fn kept_by<'a>(metadata: &'a ObjectMeta, more: &[String]) -> Option<&'a str> {
    let names = |map: &'a Option<std::collections::BTreeMap<String, String>>| map.iter().flat_map(|map| map.keys());
    names(&metadata.annotations).chain(names(&metadata.labels)).map(String::as_str).find(|name| is_mark(name, more))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn metadata(value: serde_json::Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn marks_are_found_among_labels_and_annotations() {
        let argo = metadata(json!({"annotations": {"a": "b", "argocd.argoproj.io/tracking-id": "app:…"}}));
        assert_eq!(kept_by(&argo, &[]), Some("argocd.argoproj.io/tracking-id"));
        let flux = metadata(json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}));
        assert_eq!(kept_by(&flux, &[]), Some("kustomize.toolkit.fluxcd.io/name"));
        let applied = metadata(json!({"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}));
        assert_eq!(kept_by(&applied, &[]), None, "people apply once and want it to go");
    }

    #[test]
    fn the_administrator_s_own_marks_count() {
        let own = metadata(json!({"labels": {"deploy.corp/keeper": "x"}}));
        assert_eq!(kept_by(&own, &[]), None);
        assert_eq!(kept_by(&own, &["deploy.corp/keeper".to_owned()]), Some("deploy.corp/keeper"));
    }
}
