//! The labels of namespaces, by which workspaces of the whole cluster may admit them. Nothing else of a namespace is asked
//! for or kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use kube::core::ObjectMeta;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

use super::known::NamespaceLabels;
use super::watch::{Complete, Listing, NAMESPACE, PAGE, infallible, tell_listing};
use crate::telemetry::Metrics;

/// What the labels of namespaces are.
pub(super) struct NamespaceWatch {
    pub(super) store: Store<NamespaceLabels>,
    /// The names of those whose labels have changed.
    pub(super) relabelled: BoxStream<'static, String>,
    pub(super) complete: Complete,
}

/// The labels of all namespaces.
pub(super) fn namespaces(client: Client, metrics: &Arc<Metrics>) -> NamespaceWatch {
    let (store, writer) = reflector::store();
    let (listed, complete) = tokio::sync::watch::channel(Listing::Awaited);
    let stream = watcher(Api::<NamespaceLabels>::all(client), watcher::Config::default().page_size(PAGE))
        .default_backoff()
        .modify(only_labels)
        .reflect(writer)
        .inspect(tell_listing(listed, NAMESPACE, metrics));
    let mut labels = Labels::default();
    let relabelled =
        infallible(stream, NAMESPACE, metrics).flat_map(move |event| futures::stream::iter(labels.learn(event)));
    NamespaceWatch { store, relabelled: relabelled.boxed(), complete }
}

fn only_labels(namespace: &mut NamespaceLabels) {
    let metadata = std::mem::take(&mut namespace.metadata);
    namespace.metadata = ObjectMeta {
        name: metadata.name,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        labels: metadata.labels,
        ..ObjectMeta::default()
    };
}

type Known = HashMap<String, Option<BTreeMap<String, String>>>;

/// The labels as they were last told. A list counts at its end, as it does in the store: whoever is woken sees there what
/// woke it.
#[derive(Default)]
struct Labels {
    known: Option<Known>,
    listed: Known,
}

impl Labels {
    /// Takes in an event; whose labels have changed.
    fn learn(&mut self, event: watcher::Event<NamespaceLabels>) -> Vec<String> {
        let named =
            |namespace: NamespaceLabels| (namespace.metadata.name.unwrap_or_default(), namespace.metadata.labels);
        match event {
            watcher::Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            watcher::Event::InitApply(namespace) => {
                self.listed.extend([named(namespace)]);
                Vec::new()
            }
            watcher::Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let changed = self.known.as_ref().map(|known| differing(known, &listed)).unwrap_or_default();
                self.known = Some(listed);
                changed
            }
            watcher::Event::Apply(namespace) => {
                let (name, labels) = named(namespace);
                let before = self.known.get_or_insert_default().insert(name.clone(), labels.clone());
                if before.as_ref() == Some(&labels) { Vec::new() } else { vec![name] }
            }
            watcher::Event::Delete(namespace) => {
                let (name, _) = named(namespace);
                self.known.get_or_insert_default().remove(&name);
                vec![name]
            }
        }
    }
}

fn differing(before: &Known, now: &Known) -> Vec<String> {
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    let changed = now.iter().filter(|(name, labels)| before.get(*name) != Some(labels)).map(|(name, _)| name);
    gone.chain(changed).cloned().collect()
}

#[cfg(test)]
mod tests {
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn namespace(name: &str, labels: Value) -> NamespaceLabels {
        let metadata = json!({"name": name, "labels": labels, "annotations": {"a": "b"}, "managedFields": [{}]});
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})).unwrap()
    }

    #[test]
    fn whose_labels_change_is_told_and_nothing_else() {
        let mut labels = Labels::default();
        let mut learn = |event| labels.learn(event);
        for event in [
            Event::Init,
            Event::InitApply(namespace("a", json!({"x": "1"}))),
            Event::InitApply(namespace("b", json!({}))),
            Event::InitDone,
            Event::Apply(namespace("a", json!({"x": "1"}))),
        ] {
            assert!(learn(event).is_empty(), "the first list and a change elsewhere are no news");
        }
        assert_eq!(learn(Event::Apply(namespace("a", json!({"x": "2"})))), ["a"]);
        assert_eq!(learn(Event::Apply(namespace("c", json!({})))), ["c"]);
        learn(Event::Init);
        learn(Event::InitApply(namespace("a", json!({"x": "3"}))));
        learn(Event::InitApply(namespace("b", json!({}))));
        let mut missed = learn(Event::InitDone);
        missed.sort();
        assert_eq!(missed, ["a", "c"], "what changed while the watch was interrupted");
        assert_eq!(learn(Event::Delete(namespace("b", json!({})))), ["b"]);
    }

    #[test]
    fn nothing_but_labels_is_kept() {
        let mut namespace = namespace("a", json!({"x": "1"}));
        only_labels(&mut namespace);
        assert_eq!(serde_json::to_value(&namespace.metadata).unwrap(), json!({"name": "a", "labels": {"x": "1"}}));
    }
}
