//! A stage for an operator that is installed in the cluster, as Pods, and serves all namespaces.

use std::net::{IpAddr, SocketAddr};

use super::{SPEED, Stage};
use crate::cluster::Cluster;
use crate::cluster::rights::Rights;
use crate::workspace;

impl Stage {
    /// With Secret, CA and `DatabricksWorkspace` in place, for the operator that is installed in the namespace `home`. The
    /// workspace is served at an address of this machine that Pods reach.
    pub async fn for_installed(cluster: &Cluster, home: &str, workspace_address: IpAddr, prefix: &str) -> Self {
        let listen = SocketAddr::new(workspace_address, 0);
        let options = workspace::Options { listen, ..workspace::Options::default() }.speed(SPEED);
        let rights = async |cluster: &Cluster, _: &str| Rights::of_installed(cluster, home).await;
        let stage = Self::with_rights(cluster.into(), prefix, options, rights).await;
        stage.connect().await;
        stage
    }
}
