//! What a scenario plays in: a control plane to itself, fake workspaces that take their time and count requests, and their
//! objects. Nothing of it is shared with another scenario.

use std::time::Duration;

use databricks_run_operator::api::crd::crds_yaml;
use databricks_run_operator::api::run::RunObject;
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::Failure;
use crate::cluster::rights::{Mode, Rights};
use crate::cluster::{Cluster, ControlPlane, TestNamespace};
use crate::workspace::{Options, Script, TaskScript, Workspace};

/// How long the API takes for an answer: any time between these two is as likely as another.
pub(super) const LATENCY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(200));
/// Requests a second that a workspace answers before it says 429. Databricks names no number for most calls; what is asked
/// for by default, 15, is to stay below it.
pub(super) const ALLOWED: u32 = 20;
/// Tasks of a run.
const TASKS: usize = 3;
/// Bytes that the tasks of a run leave as their results.
const OUTPUT: usize = 4096;

/// The parts end in the order of the fields.
pub(super) struct World {
    /// The fake workspaces, each with the job of its runs.
    pub(super) workspaces: Vec<(Workspace, i64)>,
    pub(super) rights: Rights,
    pub(super) client: Client,
    pub(super) namespace: TestNamespace,
    pub(super) cluster: Cluster,
    /// To be hurt by one at a time.
    pub(super) control_plane: Mutex<ControlPlane>,
}

impl World {
    /// With so many workspaces, in which runs work this long, unless they are told to finish before.
    pub(super) async fn with(workspaces: usize, working: Duration) -> Result<Self, Failure> {
        let control_plane = ControlPlane::builder().start().await?;
        let cluster = control_plane.cluster().clone();
        cluster.install_crds(&[&crds_yaml()]).await?;
        let namespace = cluster.namespace("bench").await?;
        let rights = Rights::grant(&cluster, Mode::ClusterWide, &[]).await?;
        let client = cluster.client().await?;
        let control_plane = Mutex::new(control_plane);
        let mut world = Self { workspaces: Vec::new(), rights, client, namespace, cluster, control_plane };
        for number in 0..workspaces {
            world.add_workspace(number, working).await?;
        }
        Ok(world)
    }

    async fn add_workspace(&mut self, number: usize, working: Duration) -> Result<(), Failure> {
        let options = Options { seed: u64::try_from(number)?, ..Options::default() };
        let workspace = Workspace::start(options)?;
        workspace.configure(|settings| {
            settings.latency = Some(LATENCY);
            settings.requests_per_second = Some(ALLOWED);
        });
        let task = |number: usize| {
            let path = format!("/Shared/task-{number}");
            json!({"task_key": format!("task-{number}"), "notebook_task": {"notebook_path": path}})
        };
        let script = (0..TASKS).fold(Script::new(), |script, number| {
            let task = TaskScript::default().running_for(working).notebook_result("r".repeat(OUTPUT / TASKS));
            script.task(&format!("task-{number}"), task)
        });
        let job = workspace.job("hourly").tasks((0..TASKS).map(task).collect()).script(script);
        // As many as there may be.
        let job = job.max_concurrent_runs(usize::MAX).id();
        let name = workspace_name(number);
        self.create(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "stringData": {"token": workspace.token()}}))
            .await?;
        self.create(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"ca.crt": workspace.ca_pem()}}))
            .await?;
        self.create(
            &json!({"apiVersion": "dbrun.dev/v1alpha1", "kind": "DatabricksWorkspace", "metadata": {"name": name},
            "spec": {
                "host": workspace.host(),
                "auth": {"pat": {"secretRef": {"name": name, "key": "token"}}},
                "caBundle": {"configMapRef": {"name": name, "key": "ca.crt"}},
            }}),
        )
        .await?;
        self.workspaces.push((workspace, job));
        Ok(())
    }

    async fn create(&self, object: &Value) -> Result<(), Failure> {
        let object: DynamicObject = serde_json::from_value(object.clone())?;
        let kind = GroupVersionKind::try_from(object.types.as_ref().ok_or("an object without a kind")?)?;
        let resource = ApiResource::from_gvk(&kind);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        api.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// The runs' objects.
    pub(super) fn runs(&self) -> Api<RunObject> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The same, to be written.
    pub(super) fn objects(&self) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("dbrun.dev", "v1alpha1", "DatabricksRun"));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// A run of the job of this workspace; more numbers than there are workspaces begin again with the first.
    pub(super) fn run(&self, name: &str, number: usize) -> Result<DynamicObject, Failure> {
        let at = number % self.workspaces.len().max(1);
        let (_, job) = self.workspaces.get(at).ok_or("there is no workspace")?;
        let run = json!({"apiVersion": "dbrun.dev/v1alpha1", "kind": "DatabricksRun", "metadata": {"name": name},
            "spec": {"workspaceRef": {"name": workspace_name(at)}, "runNow": {"job_id": job}}});
        Ok(serde_json::from_value(run)?)
    }

    /// Runs that were ever started.
    pub(super) fn runs_started(&self) -> usize {
        self.workspaces.iter().map(|(workspace, _)| workspace.runs_started()).sum()
    }

    /// The workspace that a run is in.
    pub(super) fn of_run(&self, id: i64) -> Option<&Workspace> {
        self.workspaces.iter().map(|(workspace, _)| workspace).find(|workspace| workspace.run(id).is_some())
    }
}

/// Of the object of this workspace, of its Secret and of its `ConfigMap`.
pub(super) fn workspace_name(number: usize) -> String {
    format!("workspace-{number}")
}
