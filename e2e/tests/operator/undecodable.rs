//! An object whose spec cannot be decoded is still followed, cancelled and released, and holds up nobody else.

use e2e::cluster::ControlPlane;
use e2e::stage::Stage;
use e2e::workspace::Options;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::run_now;

#[tokio::test]
async fn a_spec_that_cannot_be_decoded_is_cancelled_and_released_and_others_go_on() {
    // A control plane of its own: its CRD is loosened, as a newer version's would be.
    let control_plane = ControlPlane::builder().without_controllers().start().await.unwrap();
    let stage = Stage::on(control_plane.cluster(), "undecodable", Options::default().speed(5)).await;
    stage.connect().await;
    let job = stage.databricks.job("forever").running_forever().id();
    let _operator = stage.operator().await;
    stage.apply(&stage.run("odd", run_now(job))).await;
    stage.running("odd").await;

    let polling = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/polling";
    let loose = json!([{"op": "replace", "path": polling, "value": {"x-kubernetes-preserve-unknown-fields": true}}]);
    stage.kubectl(&["patch", "crd", "databricksruns.dbrun.dev", "--type=json", "-p", &loose.to_string()]).await;
    let odd = Patch::Merge(json!({"spec": {"polling": "often"}}));
    e2e::wait::eventually("the loosened CRD to be served", async || {
        let patched = stage.runs().patch("odd", &PatchParams::default(), &odd).await;
        patched.map(drop).map_err(|error| error.to_string())
    })
    .await;

    let short = stage.databricks.job("short").id();
    stage.apply(&stage.run("other", run_now(short))).await;
    assert_eq!(stage.finished("other").await.text("state"), "Succeeded");
    stage.delete("odd").await;
    stage.gone("odd").await;
    let runs = stage.databricks.runs();
    assert!(runs.iter().any(|run| run.job_id == job && run.cancelled && !run.active), "{}", stage.databricks.story());
    stage.assert_started_once_each(2);
}
