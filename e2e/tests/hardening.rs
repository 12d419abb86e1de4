//! The recipes of `config/hardening` do on a real API server what they say: admit what they allow, refuse the rest, and stand in
//! nobody's way who writes what is no request.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use databricks_run_operator::api::crd::crds_yaml;
use e2e::cluster::{ControlPlane, TestNamespace};
use e2e::wait::eventually;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

const HOSTS: &str = include_str!("../../config/hardening/allowed-hosts.yaml");
const JOBS: &str = include_str!("../../config/hardening/allowed-jobs.yaml");
const NETWORK: &str = include_str!("../../config/network-policy/network-policy.yaml");

/// A control plane of its own, since policies are of the whole cluster, with a namespace in it.
struct Bench {
    _control_plane: ControlPlane,
    namespace: TestNamespace,
    client: Client,
}

impl Bench {
    async fn set() -> Self {
        let control_plane = ControlPlane::builder().start().await.unwrap();
        control_plane.cluster().install_crds(&[&crds_yaml()]).await.unwrap();
        let namespace = control_plane.cluster().namespace("hardened").await.unwrap();
        let client = control_plane.cluster().client().await.unwrap();
        Self { _control_plane: control_plane, namespace, client }
    }

    fn api(&self, object: &DynamicObject, is_namespaced: bool) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(object.types.as_ref().unwrap()).unwrap());
        match object.namespace() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), &namespace, &resource),
            None if is_namespaced => Api::namespaced_with(self.client.clone(), &self.namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// Applies a recipe; a field that nobody knows fails.
    async fn apply(&self, manifests: &str) {
        for object in serde_saphyr::from_multiple::<DynamicObject>(manifests).unwrap() {
            let api = self.api(&object, false);
            let parameters = PatchParams::apply("admin").validation_strict();
            api.patch(&object.name_any(), &parameters, &Patch::Apply(&object)).await.unwrap();
        }
    }

    async fn annotate_namespace(&self, name: &str, value: &str) {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": *self.namespace, "annotations": {name: value}}});
        self.apply(&namespace.to_string()).await;
    }

    /// What the API server says to an object; empty when it would take it.
    async fn answer(&self, kind: &str, name: &str, spec: &Value) -> String {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "dbrun.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}))
        .unwrap();
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        self.api(&object, true)
            .create(&parameters, &object)
            .await
            .map_or_else(|error| error.to_string(), |_| String::new())
    }

    /// Waits until a policy that was applied a moment ago is in force: it refuses this.
    async fn refused(&self, kind: &str, spec: &Value, words: &str) {
        eventually(&format!("{spec} to be refused"), async || {
            let answer = self.answer(kind, "new", spec).await;
            if answer.contains(words) { Ok(()) } else { Err(format!("the answer: {answer:?}")) }
        })
        .await;
    }

    /// Waits until the namespace's annotation is seen: this is taken.
    async fn admitted(&self, kind: &str, spec: &Value) {
        eventually(&format!("{spec} to be admitted"), async || {
            let answer = self.answer(kind, "new", spec).await;
            if answer.is_empty() { Ok(()) } else { Err(answer) }
        })
        .await;
    }

    /// An object from before the policies, held by a finalizer.
    async fn create_held(&self, kind: &str, spec: &Value) -> (Api<DynamicObject>, String) {
        let object: DynamicObject = serde_json::from_value(json!({"apiVersion": "dbrun.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "older", "finalizers": ["dbrun.dev/run"]}, "spec": spec}))
        .unwrap();
        let api = self.api(&object, true);
        api.create(&PostParams::default(), &object).await.unwrap();
        (api, "older".to_owned())
    }
}

fn workspace(host: &str) -> Value {
    json!({"host": host, "auth": {"pat": {"secretRef": {"name": "databricks", "key": "token"}}}})
}

fn run(request: &Value) -> Value {
    let mut spec = json!({"workspaceRef": {"name": "prod"}});
    spec.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
    spec
}

const KIND_OF_WORKSPACES: &str = "DatabricksWorkspace";
const KIND_OF_RUNS: &str = "DatabricksRun";

#[tokio::test]
async fn a_namespace_has_workspaces_of_the_hosts_that_its_annotation_names_and_of_no_others() {
    let bench = Bench::set().await;
    let (ours, theirs) = ("https://adb-1.2.azuredatabricks.net", "https://adb-3.4.azuredatabricks.net");
    let (held, name) = bench.create_held(KIND_OF_WORKSPACES, &workspace(theirs)).await;
    bench.apply(HOSTS).await;
    bench.refused(KIND_OF_WORKSPACES, &workspace(ours), "is none of those").await;
    bench.annotate_namespace("databricks.example/hosts", &format!("{ours}, https://dbc-5.cloud.databricks.com")).await;
    bench.admitted(KIND_OF_WORKSPACES, &workspace(ours)).await;
    bench.admitted(KIND_OF_WORKSPACES, &workspace("https://dbc-5.cloud.databricks.com")).await;
    for host in [theirs, "https://adb-1.2.azuredatabricks.net.example.com", "https://dbc-5.cloud.databricks.com:8443"] {
        bench.refused(KIND_OF_WORKSPACES, &workspace(host), "is none of those").await;
    }
    let free = Patch::Merge(json!({"metadata": {"finalizers": null, "labels": {"a": "b"}}}));
    held.patch(&name, &PatchParams::default(), &free).await.unwrap();
}

#[tokio::test]
async fn a_namespace_runs_the_jobs_that_its_annotation_names_and_nothing_else() {
    let bench = Bench::set().await;
    let one_off = json!({"submit": {"tasks": [{"task_key": "main", "notebook_task": {"notebook_path": "/a"}}]}});
    let (held, name) = bench.create_held(KIND_OF_RUNS, &run(&one_off)).await;
    bench.apply(JOBS).await;
    bench.refused(KIND_OF_RUNS, &run(&json!({"runNow": {"job_id": 123}})), "job 123 is none of those").await;
    bench.annotate_namespace("databricks.example/jobs", "123, 456").await;
    for job in [123, 456] {
        let parameters = json!({"runNow": {"job_id": job, "job_parameters": {"day": "1"}}});
        bench.admitted(KIND_OF_RUNS, &run(&parameters)).await;
    }
    for job in [12, 1234, 7] {
        bench.refused(KIND_OF_RUNS, &run(&json!({"runNow": {"job_id": job}})), "is none of those").await;
    }
    bench.refused(KIND_OF_RUNS, &run(&one_off), "only saved jobs").await;
    bench.refused(KIND_OF_RUNS, &run(&json!({"runNow": {}, "jobName": "nightly"})), "only saved jobs").await;
    let edit = |spec: Value| Patch::Merge(json!({"spec": spec}));
    let refused = held.patch(&name, &PatchParams::default(), &edit(json!({"rerunToken": "1"}))).await.unwrap_err();
    assert!(refused.to_string().contains("only saved jobs"), "{refused}");
    let again = Patch::Merge(json!({"metadata": {"annotations": {"dbrun.dev/rerun-requested-at": "now"}}}));
    let refused = held.patch(&name, &PatchParams::default(), &again).await.unwrap_err();
    assert!(refused.to_string().contains("only saved jobs"), "{refused}");
    // What is no request is not in the way: the status, and what the operator does to release a deleted object.
    let status = Patch::Merge(json!({"status": {"state": "Canceled"}}));
    held.patch_status(&name, &PatchParams::default(), &status).await.unwrap();
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    held.patch(&name, &PatchParams::default(), &free).await.unwrap();
}

#[tokio::test]
async fn the_network_policy_is_one() {
    let bench = Bench::set().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "databricks-run-operator"}});
    bench.apply(&namespace.to_string()).await;
    bench.apply(NETWORK).await;
}
