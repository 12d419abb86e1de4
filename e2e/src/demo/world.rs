//! What the demo plays in: a control plane, a fake workspace and the operator, and `kubectl` to act on them as a person would.

use std::path::PathBuf;

use databricks_run_operator::api::run::RunObject;
use databricks_run_operator::api::workspace::WorkspaceObject;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use super::Failure;
use crate::cluster::rights::{Mode, Rights};
use crate::cluster::{Cluster, ControlPlane};
use crate::stage::{Operator, RunView, options};
use crate::workspace::Workspace;

/// The namespace of everything.
const NAMESPACE: &str = "default";

/// A started world. Its parts end in the order of the fields: the operator while there still is something to operate on.
pub(super) struct World {
    _operator: Operator,
    _rights: Rights,
    pub(super) databricks: Workspace,
    pub(super) cluster: Cluster,
    client: Client,
    folder: PathBuf,
    _control_plane: ControlPlane,
}

/// What a command answered.
pub(super) struct Answer {
    pub(super) succeeded: bool,
    /// Standard output, then standard error.
    pub(super) text: String,
}

impl World {
    /// Starts the operator between a control plane and a workspace.
    pub(super) async fn begin(control_plane: ControlPlane, databricks: Workspace) -> Result<Self, Failure> {
        let cluster = control_plane.cluster().clone();
        // Beside the kubeconfig, in the folder that goes when the control plane goes, however that happens.
        let folder = cluster.kubeconfig_path().with_file_name("demo");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("ca.crt"), databricks.ca_pem())?;
        let rights = Rights::grant(&cluster, Mode::Namespaced, &[NAMESPACE]).await?;
        let kubeconfig = Kubeconfig::read_from(rights.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = cluster.client().await?;
        let operator = Operator::start(config, options(NAMESPACE));
        Ok(Self {
            _operator: operator,
            _rights: rights,
            databricks,
            cluster,
            client,
            folder,
            _control_plane: control_plane,
        })
    }

    /// Puts a manifest where `kubectl apply -f NAME` finds it.
    pub(super) fn write(&self, name: &str, manifest: &str) -> Result<(), Failure> {
        Ok(std::fs::write(self.folder.join(name), manifest)?)
    }

    /// Runs a command line as it is shown to people: `kubectl …`, without quotes that would hold spaces together.
    pub(super) async fn kubectl(&self, command_line: &str) -> Result<Answer, Failure> {
        let arguments = command_line.split_whitespace().skip(1).map(|argument| argument.replace('\'', ""));
        let mut command = self.cluster.kubectl_command(arguments);
        // Its cache of what the API server offers would stay in the user's home.
        command.current_dir(&self.folder).env("KUBECACHEDIR", self.folder.join("cache"));
        let output = command.output().await.map_err(|error| format!("cannot run kubectl: {error}"))?;
        let text = [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).into_owned()).concat();
        Ok(Answer { succeeded: output.status.success(), text })
    }

    /// The runs as they are now, in the order of these names.
    pub(super) async fn runs(&self, names: &[&str]) -> Result<Vec<RunView>, Failure> {
        let all: Api<RunObject> = Api::namespaced(self.client.clone(), NAMESPACE);
        let mut all = all.list(&ListParams::default()).await?.items;
        let mut take = |name: &&str| {
            let at = all.iter().position(|run| run.metadata.name.as_deref() == Some(name))?;
            Some(RunView(all.swap_remove(at)))
        };
        Ok(names.iter().filter_map(&mut take).collect())
    }

    pub(super) fn workspaces(&self) -> Api<WorkspaceObject> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }
}
