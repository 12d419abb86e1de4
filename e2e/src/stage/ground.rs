//! Where a stage stands, and with which rights operators work on it. `E2E_RIGHTS=cluster-wide` has every test that does not
//! say otherwise played with the rights, and the reach, of the cluster-wide mode.
//!
//! Operators that serve named namespaces share one control plane. One that serves all of them has a control plane to itself,
//! lent from a few that are used again when they have been cleared; it would serve whatever is in a cluster of
//! `E2E_KUBECONFIG`, so it is never put there.

use std::sync::{Mutex, PoisonError};

use databricks_run_operator::api::crd::crds_yaml;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::cluster::rights::Mode;
use crate::cluster::{self, Cluster, Own};
use crate::wait::eventually;

/// Control planes that nobody uses now. They end with this process.
static IDLE: Mutex<Vec<Own>> = Mutex::new(Vec::new());

/// The mode of tests that do not say otherwise.
#[expect(clippy::panic, reason = "a setting that means nothing fails the test")]
pub(super) fn mode() -> Mode {
    match std::env::var("E2E_RIGHTS").as_deref() {
        Err(_) | Ok("" | "namespaced") => Mode::Namespaced,
        Ok("cluster-wide") => Mode::ClusterWide,
        Ok(other) => panic!("E2E_RIGHTS is {other:?}; set it to cluster-wide or namespaced, or unset it"),
    }
}

/// A control plane that goes back to the idle ones when dropped.
struct Lent(Option<Own>);

impl Drop for Lent {
    fn drop(&mut self) {
        IDLE.lock().unwrap_or_else(PoisonError::into_inner).extend(self.0.take());
    }
}

/// Where a stage stands.
pub(super) struct Ground {
    pub(super) cluster: Cluster,
    _lent: Option<Lent>,
}

#[expect(clippy::expect_used, reason = "a stage without ground fails the test")]
impl Ground {
    /// Fit for operators in this mode.
    pub(super) async fn of(mode: Mode) -> Self {
        if mode != Mode::ClusterWide {
            return Self { cluster: cluster::shared().await.clone(), _lent: None };
        }
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let control_plane = match idle {
            Some(used) => {
                clear(&used.cluster().client().await.expect("a client can be made")).await;
                used
            }
            None => Own::start().await.expect("a control plane can be started"),
        };
        Self { cluster: control_plane.cluster().clone(), _lent: Some(Lent(Some(control_plane))) }
    }
}

impl From<&Cluster> for Ground {
    fn from(cluster: &Cluster) -> Self {
        Self { cluster: cluster.clone(), _lent: None }
    }
}

/// Takes away every object of our kinds: the next operator would take them for its own.
#[expect(clippy::expect_used, reason = "what is left of one test would disturb the next")]
async fn clear(client: &Client) {
    let kinds: Vec<Value> = serde_saphyr::from_multiple(&crds_yaml()).expect("our definitions are YAML");
    for kind in &kinds {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spec = &kind["spec"];
        let gvk = GroupVersionKind::gvk(
            &text(&spec["group"]),
            &text(&spec["versions"][0]["name"]),
            &text(&spec["names"]["kind"]),
        );
        let resource = ApiResource::from_gvk_with_plural(&gvk, &text(&spec["names"]["plural"]));
        let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let what = format!("no {} to be left of an earlier test", resource.plural);
        eventually(&what, async || {
            let left = all.list(&ListParams::default()).await.map_err(|error| error.to_string())?.items;
            for object in &left {
                let api: Api<DynamicObject> = match object.namespace() {
                    Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
                    None => all.clone(),
                };
                let (name, free) = (object.name_any(), Patch::Merge(json!({"metadata": {"finalizers": null}})));
                // Either may find it gone already; what counts is that none is left.
                let _ = api.delete(&name, &DeleteParams::default()).await;
                let _ = api.patch(&name, &PatchParams::default(), &free).await;
            }
            if left.is_empty() { Ok(()) } else { Err(format!("{} are there", left.len())) }
        })
        .await;
    }
}
