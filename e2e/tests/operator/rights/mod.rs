//! The operator's rights, as `config/rbac/` grants them: enough in each mode, none idle, each missed when it is withheld.
//! Every other test runs with them too, and fails when an operator asks for more; these are about the rights themselves.

mod deletion;
mod limits;
mod modes;
mod people;
mod table;
mod withheld;

use e2e::stage::Stage;
use e2e::workspace::{Fault, Kind, Operation};
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::run_now;

/// The run that a scenario is about.
const PROBE: &str = "probe";

/// A run for which everything is needed that an operator may do: it is started a second time after an answer in doubt, for
/// which its object is read again, and deletes itself after its end.
fn probe(stage: &Stage) -> Value {
    let job = stage.databricks.job("nightly").id();
    stage.databricks.fault(Fault::on(Operation::RunNow, Kind::error(500, "INTERNAL_ERROR", "boom")).once());
    let mut run = stage.run(PROBE, run_now(job));
    run["spec"]["ttlSecondsAfterFinished"] = json!(1);
    run
}

/// The same run on a workspace of the whole cluster, and then the label by which that admits the run's namespace.
async fn on_a_workspace_of_the_cluster(stage: &Stage) {
    let admitted = stage.namespace.to_string();
    stage.connect_cluster(&json!({"selector": {"matchLabels": {"admitted-as": admitted}}})).await;
    let mut run = probe(stage);
    run["spec"]["workspaceRef"]["kind"] = json!("ClusterDatabricksWorkspace");
    stage.apply(&run).await;
    let namespaces: Api<Namespace> = Api::all(stage.client.clone());
    let label = Patch::Merge(json!({"metadata": {"labels": {"admitted-as": admitted}}}));
    namespaces.patch(&stage.namespace, &PatchParams::default(), &label).await.unwrap();
}
