//! What the cluster has beside runs: the workspace object and the Secret that it names.

use std::collections::BTreeMap;
use std::time::Duration;

use databricks_run_operator::api::status::WorkspacePin;
use databricks_run_operator::api::workspace::WorkspaceKind;

use super::lines;
use super::world::World;

/// The name of the workspace object that objects mostly name.
pub(super) const PROD: &str = "prod";
/// The two hosts there are; a world's runs belong to the first.
pub(super) const HOSTS: [&str; 2] = ["https://home.test", "https://elsewhere.test"];

/// A workspace object: its uid and where it points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WorkspaceObject {
    pub(super) uid: u32,
    pub(super) host: usize,
}

/// Workspace objects by name, and whether their Secret is there.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    workspaces: BTreeMap<String, WorkspaceObject>,
    made: u32,
    secret_is_gone: bool,
    namespace_is_excluded: bool,
}

impl Cluster {
    pub(super) fn names(&self) -> Vec<String> {
        self.workspaces.keys().cloned().collect()
    }

    pub(super) fn workspace(&self, name: &str) -> Option<WorkspaceObject> {
        self.workspaces.get(name).copied()
    }

    pub(super) fn has_secret(&self) -> bool {
        !self.secret_is_gone
    }

    /// Whether workspaces admit the namespace. That only those of the whole cluster can refuse it makes no difference here.
    pub(super) fn admits(&self) -> bool {
        !self.namespace_is_excluded
    }
}

/// Where a workspace object of this name and host points, as it stands in a status.
pub(super) fn pin(name: &str, host: usize) -> WorkspacePin {
    WorkspacePin {
        kind: WorkspaceKind::DatabricksWorkspace.as_str().to_owned(),
        name: name.to_owned(),
        host: HOSTS[host].to_owned(),
        workspace_id: None,
        jobs_api_version: "2.1".to_owned(),
    }
}

/// The workspace object is made, or made anew with another host, or removed.
pub(super) fn set_workspace(world: &mut World, name: &str, host: Option<usize>) {
    if world.cluster.workspace(name).map(|object| object.host) == host {
        return;
    }
    if let Some(host) = host {
        world.cluster.made += 1;
        let object = WorkspaceObject { uid: world.cluster.made, host };
        world.cluster.workspaces.insert(name.to_owned(), object);
        world.tell("people", || format!("DatabricksWorkspace {name} is made and points to {}", HOSTS[host]));
    } else {
        world.cluster.workspaces.remove(name);
        world.tell("people", || format!("DatabricksWorkspace {name} is removed"));
    }
    for id in 0..world.processes.len() {
        let lag = world.chance.millis(1..=2000);
        let name = name.to_owned();
        world.after(lag, move |world| lines::notice(world, id, &name));
    }
}

/// The Secret is removed or put back.
pub(super) fn set_secret(world: &mut World, is_there: bool) {
    if world.cluster.secret_is_gone == is_there {
        world.cluster.secret_is_gone = !is_there;
        world.tell("people", || format!("the Secret is {}", if is_there { "put back" } else { "removed" }));
    }
}

/// The namespace is no longer admitted, or is again; processes learn of it, and look at those that may wait for it.
pub(super) fn set_admission(world: &mut World, admits: bool) {
    if world.cluster.namespace_is_excluded != admits {
        return;
    }
    world.cluster.namespace_is_excluded = !admits;
    world.tell("people", || format!("the namespace is {}", if admits { "admitted again" } else { "not admitted" }));
    for id in 0..world.processes.len() {
        for name in world.cluster.names() {
            lines::wake_waiting(world, id, &name);
        }
    }
}

/// How long a Secret that was read serves on from memory.
pub(super) const SECRET_SERVES: Duration = Duration::from_mins(15);
