//! A stage for tests of the whole operator: a namespace on a real API server, a fake workspace over TLS, the objects that
//! connect the two, and operators that are started, stopped and killed. When a wait ends in vain, the failure shows the
//! object and what the workspace was asked.
//!
//! Operators have exactly the rights of `config/rbac/`; a stage that ends fails its test if they asked for more.

mod election;
mod ground;
mod history;
mod installed;
mod load;
mod oauth;
mod of_the_cluster;
mod operators;

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

use databricks_run_operator::api::crd::crds_yaml;
use databricks_run_operator::api::run::RunObject;
use databricks_run_operator::api::workspace::WorkspaceObject;
use databricks_run_operator::controller::Options;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tracing_subscriber::EnvFilter;

pub use self::election::{Goes, HandOvers, LEASE};
pub use self::history::History;
pub use self::load::{Load, versions_of_running};
pub use self::operators::{Operator, OperatorProcess, config, options};

pub(crate) use self::operators::metrics_address;

use self::ground::Ground;
use crate::cluster::rights::{Mode, Rights};
use crate::cluster::{self, Cluster, TestNamespace};
use crate::wait::{eventually, try_wait_for, wait_for, wait_gone};
use crate::workspace::{self, Workspace};

/// How many times faster than written the fake's runs go: a run is over before its second poll.
const SPEED: u32 = 5;

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
    /// What the operators of this stage may do.
    pub rights: Rights,
    refusals_expected: AtomicBool,
    _ground: Ground,
}

#[expect(clippy::expect_used, clippy::missing_panics_doc, clippy::panic, reason = "a stage that fails fails the test")]
impl Stage {
    /// Sets one up, with Secret, CA and `DatabricksWorkspace` in place.
    pub async fn set(prefix: &str) -> Self {
        let stage = Self::bare(prefix).await;
        stage.connect().await;
        stage
    }

    /// Sets one up without any object in it.
    pub async fn bare(prefix: &str) -> Self {
        Self::bare_with(prefix, workspace::Options::default().speed(SPEED)).await
    }

    /// The same, with this workspace.
    pub async fn bare_with(prefix: &str, options: workspace::Options) -> Self {
        let mode = ground::mode();
        Self::standing(Ground::of(mode).await, prefix, options, mode).await
    }

    /// Sets one up for operators in this mode, with Secret, CA and `DatabricksWorkspace` in place.
    pub async fn in_mode(mode: Mode, prefix: &str) -> Self {
        let options = workspace::Options::default().speed(SPEED);
        let stage = Self::standing(Ground::of(mode).await, prefix, options, mode).await;
        stage.connect().await;
        stage
    }

    /// Sets one up on this cluster with this workspace, without any object in it.
    pub async fn on(cluster: &Cluster, prefix: &str, options: workspace::Options) -> Self {
        Self::standing(cluster.into(), prefix, options, ground::mode()).await
    }

    async fn standing(ground: Ground, prefix: &str, options: workspace::Options, mode: Mode) -> Self {
        let rights = async |cluster: &Cluster, served: &str| Rights::grant(cluster, mode, &[served]).await;
        Self::with_rights(ground, prefix, options, rights).await
    }

    async fn with_rights(
        ground: Ground,
        prefix: &str,
        options: workspace::Options,
        rights: impl AsyncFnOnce(&Cluster, &str) -> Result<Rights, cluster::Error>,
    ) -> Self {
        // Only the first caller of a process does anything; the operator's own start does the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // For those who look into a failure: RUST_LOG says what is shown.
        let _ = tracing_subscriber::fmt().with_env_filter(EnvFilter::from_default_env()).with_test_writer().try_init();
        let cluster = ground.cluster.clone();
        cluster.install_crds(&[&crds_yaml()]).await.expect("the CRDs are accepted");
        let namespace = cluster.namespace(prefix).await.expect("a namespace can be made");
        let databricks = Workspace::start(options).expect("a fake workspace can be started");
        let client = cluster.client().await.expect("a client can be made");
        let rights = rights(&cluster, &namespace).await.expect("the shipped rights are granted");
        let refusals_expected = AtomicBool::new(false);
        Self { cluster, namespace, databricks, client, rights, refusals_expected, _ground: ground }
    }

    /// Says that this test has its operators ask for what they may not do, for instance because it takes a right away, or
    /// deletes a namespace with the role bindings in it.
    pub fn expect_refusals(&self) {
        self.refusals_expected.store(true, Ordering::SeqCst);
    }

    /// Lets the operators make tokens of a ServiceAccount of this namespace, by the sample in `config/rbac/samples`.
    pub async fn grant_tokens_of(&self, service_account: &str) {
        let sample = include_str!("../../../config/rbac/samples/service-account-token.yaml");
        let grant = sample.replace("runner", service_account);
        self.rights.grant_also(&grant).await.expect("the sample can be applied");
    }

    /// The namespaces that operators of this stage are told to serve; none means all.
    #[must_use]
    pub fn served(&self) -> Vec<String> {
        match self.rights.mode() {
            Mode::ClusterWide => Vec::new(),
            Mode::Namespaced | Mode::WithoutClusterRights => vec![self.namespace.to_string()],
        }
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

    /// The same, where it may be refused. An object that names no namespace is put into the stage's, if its kind is in any.
    pub async fn try_apply(&self, object: &Value) -> kube::Result<DynamicObject> {
        let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
        let kind = object.types.clone().expect("apiVersion and kind");
        let kind = GroupVersionKind::try_from(&kind).expect("a well-formed apiVersion");
        let (client, resource) = (self.client.clone(), ApiResource::from_gvk(&kind));
        let api: Api<DynamicObject> = if kind.kind.starts_with("Cluster") || kind.kind == "Namespace" {
            Api::all_with(client, &resource)
        } else {
            let namespace = object.namespace().unwrap_or_else(|| self.namespace.to_string());
            Api::namespaced_with(client, &namespace, &resource)
        };
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
        let condition = |object: &RunObject| holds(&RunView(object.clone()));
        match try_wait_for(&self.runs(), name, what, condition).await {
            Ok(object) => RunView(object),
            Err(timed_out) => panic!("{timed_out}\nthe workspace was asked:\n{}", self.databricks.story()),
        }
    }

    /// Waits until a condition of a run has this reason.
    pub async fn until_reason(&self, name: &str, kind: &str, reason: &str) -> RunView {
        self.until(name, &format!("{kind} because of {reason}"), |run| run.reason(kind) == reason).await
    }

    /// Waits until Databricks is known to execute a run.
    pub async fn running(&self, name: &str) -> RunView {
        self.until(name, "running", |run| run.text("state") == "Running").await
    }

    /// Waits until Databricks is known to execute another run than this one.
    pub async fn running_anew(&self, name: &str, but: &str) -> RunView {
        self.until(name, "running anew", |run| run.text("state") == "Running" && run.text("runId") != but).await
    }

    /// Waits until the workspace object's `Ready` is as given, with this reason.
    pub async fn workspace_ready(&self, status: &str, reason: &str) -> WorkspaceObject {
        let holds = |object: &WorkspaceObject| {
            let conditions = object.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == status && it.reason == reason)
        };
        wait_for(&self.workspaces(), WORKSPACE, &format!("Ready={status} because of {reason}"), holds).await
    }

    /// Waits until a run's object is no more.
    pub async fn gone(&self, name: &str) {
        wait_gone(&self.runs(), name).await;
    }

    /// Waits until so many runs were started in the workspace, which holds before anybody knows their ids.
    pub async fn until_started(&self, count: usize) {
        eventually("runs to be started in the workspace", async || match self.databricks.runs_started() {
            started if started == count => Ok(()),
            started => Err(format!("{started} instead of {count}:\n{}", self.databricks.story())),
        })
        .await;
    }

    /// Fails unless exactly so many runs were ever started, and no two requests with one token were under way at once.
    pub fn assert_started_once_each(&self, runs: usize) {
        let story = self.databricks.story();
        assert_eq!(self.databricks.runs_started(), runs, "runs in the workspace, which was asked:\n{story}");
        assert!(self.databricks.overlaps().is_empty(), "two requests of one token were under way at once:\n{story}");
    }

    /// Waits until a run has finished, and nothing of the operator holds it.
    pub async fn finished(&self, name: &str) -> RunView {
        self.until(name, "finished and released", |run| run.condition("Finished") == "True" && !run.0.is_held()).await
    }

    /// The same, of a certain generation of its spec.
    pub async fn finished_in(&self, name: &str, generation: i64) -> RunView {
        self.until(name, &format!("finished and released in generation {generation}"), |run| {
            run.generation_seen() == generation && run.condition("Finished") == "True" && !run.0.is_held()
        })
        .await
    }

    /// Waits until the operator has seen a certain generation of a run's spec.
    pub async fn seen(&self, name: &str, generation: i64) -> RunView {
        self.until(name, &format!("seen in generation {generation}"), |run| run.generation_seen() == generation).await
    }

    /// Waits until a run is held by `spec.suspend`, and nothing of the operator holds its object.
    pub async fn suspended(&self, name: &str) -> RunView {
        self.until(name, "suspended", |run| run.reason("Ready") == "Suspended" && !run.0.is_held()).await
    }

    /// A run as it is now.
    pub async fn now(&self, name: &str) -> RunView {
        RunView(self.runs().get(name).await.expect("the run is there"))
    }

    /// Follows a run's object from now on, version by version.
    #[must_use]
    pub fn history(&self, name: &str) -> History {
        History::of(self.runs(), name)
    }

    /// Follows the objects of all runs from now on.
    #[must_use]
    pub fn history_of_all(&self) -> History {
        History::of_all(self.runs())
    }

    /// The object and what the workspace was asked, for messages of failed tests.
    #[must_use]
    pub fn story(&self, run: &RunView) -> String {
        format!("{:#}\nthe workspace was asked:\n{}", run.status(), self.databricks.story())
    }

    /// What `kubectl` says in this namespace; it must succeed.
    pub async fn kubectl(&self, arguments: &[&str]) -> String {
        self.kubectl_reading(arguments, "").await
    }

    /// The same, with something to read on its standard input.
    pub async fn kubectl_reading(&self, arguments: &[&str], input: &str) -> String {
        self.kubectl_in(&self.namespace, arguments, input).await
    }

    /// The same, in another namespace.
    pub async fn kubectl_in(&self, namespace: &str, arguments: &[&str], input: &str) -> String {
        let mut command = self.cluster.kubectl_command(arguments);
        command.arg("--namespace").arg(namespace);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut kubectl = command.spawn().expect("kubectl can be started");
        let mut stdin = kubectl.stdin.take().expect("its standard input is ours");
        // One that does not read has ended already, and says why.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = kubectl.wait_with_output().await.expect("kubectl ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "kubectl {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// Changes these members of a run's spec.
    pub async fn edit(&self, name: &str, spec: Value) {
        let patch = json!({"spec": spec});
        self.runs().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("edited");
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

    /// Waits until an event about this object tells this.
    pub async fn event(&self, name: &str, told: &str) -> String {
        eventually(&format!("an event about {name} with \"{told}\""), async || {
            let events = self.events(name).await;
            events.iter().find(|event| event.contains(told)).cloned().ok_or_else(|| format!("only {events:#?}"))
        })
        .await
    }

    /// An operator in this process, with the stage's rights.
    pub async fn operator(&self) -> Operator {
        self.operator_with(|_| ()).await
    }

    /// The same, with other options.
    pub async fn operator_with(&self, edit: impl FnOnce(&mut Options)) -> Operator {
        let mut options = Options { namespaces: self.served(), ..options(&self.namespace) };
        edit(&mut options);
        Operator::start(operators::config(self.rights.kubeconfig()).await, options)
    }

    /// An operator as a process of its own, with the stage's rights.
    #[must_use]
    pub fn process(&self, program: &str, flags: &[&str]) -> OperatorProcess {
        self.process_with(program, flags, &[])
    }

    /// The same, with more in its environment, each as `NAME=VALUE`.
    #[must_use]
    pub fn process_with(&self, program: &str, flags: &[&str], environment: &[String]) -> OperatorProcess {
        OperatorProcess::start(program, self.rights.kubeconfig(), &self.served(), flags, environment)
    }
}

/// Operators ask for nothing that the shipped rights do not allow. What is asked in the very last moment may be missed: an
/// entry is written after its answer.
impl Drop for Stage {
    #[expect(clippy::panic, reason = "a missing right fails the test")]
    fn drop(&mut self) {
        if std::thread::panicking() || self.refusals_expected.load(Ordering::SeqCst) {
            return;
        }
        if let Some(entry) = self.rights.refused().unwrap_or_default().first() {
            panic!("an operator asked for what config/rbac does not allow: {entry:#?}");
        }
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

    /// The generation of the spec that the status speaks of.
    #[must_use]
    pub fn generation_seen(&self) -> i64 {
        self.status()["observedGeneration"].as_i64().unwrap_or(-1)
    }

    /// What a request or an attempt before the newest left behind, newest first; null where there was none.
    #[must_use]
    pub fn past(&self, index: usize) -> Value {
        self.status()["attempts"][index].clone()
    }

    /// The newest of these: its run id, how it ended, and what came after it; empty when there is none.
    #[must_use]
    pub fn last(&self) -> [String; 3] {
        ["runId", "state", "followedBy"].map(|field| self.past(0)[field].as_str().unwrap_or_default().to_owned())
    }

    /// Whether anybody would take the request for ended, or for failed: green or red. A suspended one is neither.
    #[must_use]
    pub fn shows_an_end(&self) -> bool {
        let settled = |kind: &str| ["True", "False"].contains(&self.condition(kind).as_str());
        self.condition("Finished") == "True"
            || self.condition("Stalled") == "True"
            || settled("Succeeded")
            || (settled("Ready") && self.reason("Ready") != "Suspended")
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
