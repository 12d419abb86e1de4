//! A stage for tests of the whole operator: a namespace on a real API server, a fake workspace over TLS, the objects that
//! connect the two, and operators that are started, stopped and killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use databricks_run_operator::api::crd::crds_yaml;
use databricks_run_operator::api::run::RunObject;
use databricks_run_operator::api::workspace::WorkspaceObject;
use databricks_run_operator::controller::{Options, Pulse, operate};
use databricks_run_operator::databricks::host_policy::HostPolicy;
use databricks_run_operator::telemetry::Metrics;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use crate::cluster::{self, Cluster, TestNamespace};
use crate::wait::wait_for;
use crate::workspace::{self, Workspace};

/// Name of the workspace object of every stage.
pub const WORKSPACE: &str = "prod";

/// A test's own namespace and workspace.
pub struct Stage {
    /// The API server.
    pub cluster: Cluster,
    /// The namespace.
    pub namespace: TestNamespace,
    /// The fake workspace.
    pub databricks: Workspace,
    /// A client with all rights.
    pub client: Client,
}

#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a stage that cannot be set up fails the test")]
impl Stage {
    /// Sets one up, with Secret, CA and `DatabricksWorkspace` in place.
    pub async fn set(prefix: &str) -> Self {
        let stage = Self::bare(prefix).await;
        stage.connect().await;
        stage
    }

    /// Sets one up on the shared control plane, without any object in it.
    pub async fn bare(prefix: &str) -> Self {
        Self::on(cluster::shared().await, prefix, workspace::Options::default()).await
    }

    /// Sets one up on this cluster with this workspace, without any object in it.
    pub async fn on(cluster: &Cluster, prefix: &str, options: workspace::Options) -> Self {
        // Only the first caller of a process does anything; the operator's own start does the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // For those who look into a failure: RUST_LOG says what is shown.
        let _ = tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_test_writer().try_init();
        cluster.install_crds(&[&crds_yaml()]).await.expect("the CRDs are accepted");
        let namespace = cluster.namespace(prefix).await.expect("a namespace can be made");
        let databricks = Workspace::start(options).expect("a fake workspace can be started");
        let client = cluster.client().await.expect("a client can be made");
        Self { cluster: cluster.clone(), namespace, databricks, client }
    }

    /// Creates Secret, CA and `DatabricksWorkspace`.
    pub async fn connect(&self) {
        self.apply(&self.secret()).await;
        self.apply(&self.authority()).await;
        self.apply(&self.workspace_object()).await;
    }

    /// The Secret with the fake's token.
    #[must_use]
    pub fn secret(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "databricks"},
            "stringData": {"token": self.databricks.token(), "client-id": self.databricks.client().0, "client-secret": self.databricks.client().1}})
    }

    /// The `ConfigMap` with the fake's CA.
    #[must_use]
    pub fn authority(&self) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}, "data": {"ca.crt": self.databricks.ca_pem()}})
    }

    /// The `DatabricksWorkspace` that points to the fake.
    #[must_use]
    pub fn workspace_object(&self) -> Value {
        json!({"apiVersion": "dbrun.dev/v1alpha1", "kind": "DatabricksWorkspace", "metadata": {"name": WORKSPACE}, "spec": {
            "host": self.databricks.host(),
            "auth": {"pat": {"secretRef": {"name": "databricks", "key": "token"}}},
            "caBundle": {"configMapRef": {"name": "ca", "key": "ca.crt"}},
        }})
    }

    /// A `DatabricksRun` of this body (`{"runNow": …}` or `{"submit": …}`), polled every second.
    #[must_use]
    pub fn run(&self, name: &str, body: Value) -> Value {
        let mut spec = json!({"workspaceRef": {"name": WORKSPACE}, "polling": {"initialSeconds": 1, "maxSeconds": 1}});
        merge(&mut spec, body);
        json!({"apiVersion": "dbrun.dev/v1alpha1", "kind": "DatabricksRun", "metadata": {"name": name}, "spec": spec})
    }

    /// Applies an object, as `kubectl apply --server-side` does.
    pub async fn apply(&self, object: &Value) -> DynamicObject {
        self.try_apply(object).await.expect("the object is accepted")
    }

    /// The same, where it may be refused.
    pub async fn try_apply(&self, object: &Value) -> kube::Result<DynamicObject> {
        let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        let kind = object.types.clone().expect("apiVersion and kind");
        let kind = GroupVersionKind::try_from(&kind).expect("a well-formed apiVersion");
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &ApiResource::from_gvk(&kind));
        api.patch(&object.name_any(), &PatchParams::apply("test").force(), &Patch::Apply(&object)).await
    }

    /// The runs of the namespace.
    #[must_use]
    pub fn runs(&self) -> Api<RunObject> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The workspace objects of the namespace.
    #[must_use]
    pub fn workspaces(&self) -> Api<WorkspaceObject> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until a run's status satisfies this.
    pub async fn until(&self, name: &str, what: &str, holds: impl Fn(&RunView) -> bool) -> RunView {
        let object = wait_for(&self.runs(), name, what, |object: &RunObject| holds(&RunView(object.clone()))).await;
        RunView(object)
    }

    /// Waits until a run has finished, and nothing of the operator holds it.
    pub async fn finished(&self, name: &str) -> RunView {
        self.until(name, "finished and released", |run| run.condition("Finished") == "True" && !run.0.is_held()).await
    }

    /// A run as it is now.
    pub async fn now(&self, name: &str) -> RunView {
        RunView(self.runs().get(name).await.expect("the run is there"))
    }

    /// Sets an annotation of a run.
    pub async fn annotate(&self, name: &str, key: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.runs().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("annotated");
    }

    /// Begins to delete a run.
    pub async fn delete(&self, name: &str) {
        self.runs().delete(name, &DeleteParams::default()).await.expect("deleted");
    }

    /// The events told of an object, as `reason: note`, in no order.
    pub async fn events(&self, name: &str) -> Vec<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let events = api.list(&ListParams::default()).await.expect("events can be listed");
        let about = |event: &Event| event.regarding.as_ref().and_then(|object| object.name.clone());
        let told = |event: &Event| {
            format!("{}: {}", event.reason.clone().unwrap_or_default(), event.note.clone().unwrap_or_default())
        };
        events.iter().filter(|event| about(event).as_deref() == Some(name)).map(told).collect()
    }

    /// An operator in this process, for this namespace.
    pub async fn operator(&self) -> Operator {
        let config = config(self.cluster.kubeconfig_path()).await;
        Operator::start(config, options(&self.namespace))
    }

    /// An operator as a process of its own, for this namespace.
    #[must_use]
    pub fn process(&self, program: &str, flags: &[&str]) -> OperatorProcess {
        OperatorProcess::start(program, self.cluster.kubeconfig_path(), &self.namespace, flags)
    }
}

/// Puts the members of one object into another.
fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

/// A run's object, read as tests read it.
#[derive(Debug, Clone)]
pub struct RunView(pub RunObject);

impl RunView {
    /// The status as JSON.
    #[must_use]
    pub fn status(&self) -> Value {
        serde_json::to_value(&self.0.status).unwrap_or_default()
    }

    /// A text field of the status; empty when absent.
    #[must_use]
    pub fn text(&self, field: &str) -> String {
        self.status()[field].as_str().unwrap_or_default().to_owned()
    }

    /// The status of a condition; empty when absent.
    #[must_use]
    pub fn condition(&self, kind: &str) -> String {
        self.part(kind, |condition| condition.status.clone())
    }

    /// The reason of a condition.
    #[must_use]
    pub fn reason(&self, kind: &str) -> String {
        self.part(kind, |condition| condition.reason.clone())
    }

    /// The message of a condition.
    #[must_use]
    pub fn message(&self, kind: &str) -> String {
        self.part(kind, |condition| condition.message.clone())
    }

    fn part(
        &self,
        kind: &str,
        part: impl Fn(&k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition) -> String,
    ) -> String {
        let conditions = self.0.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().find(|condition| condition.type_ == kind).map(part).unwrap_or_default()
    }
}

/// Options of an operator for tests: one namespace, the loopback address allowed, short deadlines.
#[must_use]
#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a fixed text that parses")]
pub fn options(namespace: &str) -> Options {
    Options {
        namespaces: vec![namespace.to_owned()],
        hosts: HostPolicy::new(["127.0.0.1"]).expect("an address may be allowed"),
        requests_per_second: 100.0,
        submit_timeout: Duration::from_secs(2),
        deletion_deadline: Duration::from_mins(4),
        instance: format!("test_{:016x}", rand::random::<u64>()),
    }
}

#[expect(clippy::expect_used, reason = "a kubeconfig that cannot be read fails the test")]
async fn config(kubeconfig: &Path) -> Config {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig can be read");
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("the kubeconfig can be used")
}

/// An operator in this process, on a runtime of its own, as it would be in a process of its own.
pub struct Operator {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
}

#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "an operator that cannot start fails the test")]
impl Operator {
    /// Starts one.
    #[must_use]
    pub fn start(config: Config, options: Options) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let metrics = Arc::new(Metrics::new());
        let counted = Arc::clone(&metrics);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let stop = async move { drop(stopped.await) };
            let work = operate(config, options, counted, NoProbes, stop);
            runtime.expect("a runtime").block_on(work).expect("the operator works until it is stopped");
        });
        Self { stop: Some(stop), thread: Some(thread), metrics }
    }

    /// Stops it as SIGTERM would, and waits for its end.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself, and the test fails by what it waits for.
            let _ = thread.join();
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.end();
    }
}

/// Nobody probes an operator within a test.
struct NoProbes;

impl Pulse for NoProbes {
    fn beat(&self) {}

    fn ready(&self) {}
}

/// An operator as a process of its own; killed when dropped.
pub struct OperatorProcess(Child);

#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "an operator that cannot start fails the test")]
impl OperatorProcess {
    /// Starts one; `flags` come after those of every test.
    #[must_use]
    pub fn start(program: &str, kubeconfig: &Path, namespace: &str, flags: &[&str]) -> Self {
        let child = Command::new(program)
            .args(["run", "--namespace", namespace, "--allowed-host", "127.0.0.1", "--submit-timeout", "2s"])
            .args([
                "--health-address",
                "127.0.0.1:0",
                "--metrics-address",
                "127.0.0.1:0",
                "--requests-per-second",
                "100",
            ])
            .args(flags)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .spawn()
            .expect("the operator can be started");
        Self(child)
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Kills it, as the kernel would, and waits until it is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks it to stop (SIGTERM) and waits for its end; whether it ended well.
    #[must_use]
    pub fn terminate(mut self) -> bool {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status();
        asked.is_ok_and(|status| status.success()) && self.0.wait().is_ok_and(|status| status.success())
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for OperatorProcess {
    fn drop(&mut self) {
        self.end();
    }
}
