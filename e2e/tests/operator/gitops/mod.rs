//! What GitOps tools are shown: real objects at every stage are what `config/argocd/…/testdata` holds, every tool makes of them
//! what `e2e::gitops::stages` says, and the actions that Argo CD offers do what they say.
//!
//! `UPDATE=1 cargo test -p e2e --test operator gitops::` writes testdata anew.

mod actions;
mod deletion;
mod documents;
mod runs;
mod workspaces;

use e2e::gitops::argocd::Scripts;
use e2e::gitops::normal::normal;
use e2e::gitops::{hold, stages};
use e2e::stage::Stage;
use serde_json::Value;

/// An object as it is now, with all that the API server tells of it.
async fn live(stage: &Stage, kind: &str, name: &str) -> Value {
    let told = stage.kubectl(&["get", kind, name, "-o", "json", "--show-managed-fields"]).await;
    serde_json::from_str(&told).unwrap()
}

/// Holds an object, which has come to rest at this stage, to what every tool must make of it, and to its file in testdata.
async fn rests_at(stage: &Stage, kind: &str, object: &str, name: &str) {
    let row = stages::Stage::named(kind, name);
    let object = live(stage, kind, object).await;
    row.hold(&object);
    let plain = normal(&object, &[&stage.namespace, stage.rights.home()], stage.databricks.host());
    let text = serde_saphyr::to_string(&plain).unwrap();
    let file = Scripts::of_kind(kind).folder.join(row.path());
    hold(&file, &text, "cargo test -p e2e --test operator gitops::");
}

/// The same for a run, whose object is always called `nightly-etl`.
async fn run_rests_at(stage: &Stage, name: &str) {
    rests_at(stage, "DatabricksRun", RUN, name).await;
}

const RUN: &str = "nightly-etl";
