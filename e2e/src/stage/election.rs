//! What a stage has to do with leader election: its Lease, and replicas that compete for it.

use std::path::Path;

use databricks_run_operator::controller::LeaderElection;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use super::{OperatorProcess, Stage};

/// Name of the Lease that the rights allow.
pub const LEASE: &str = "databricks-run-operator";

impl Stage {
    /// The election of this stage's operators, for those that take part in one.
    #[must_use]
    pub fn election(&self) -> LeaderElection {
        LeaderElection { namespace: self.rights.home().to_owned(), lease: LEASE.to_owned() }
    }

    /// A replica as a process of its own that takes part in the election, with this kubeconfig.
    #[must_use]
    pub fn candidate(&self, program: &str, kubeconfig: &Path) -> OperatorProcess {
        let namespace = format!("--leader-elect-namespace={}", self.rights.home());
        let flags = ["--leader-elect=true", &namespace];
        OperatorProcess::start(program, kubeconfig, &self.served(), &flags, &[])
    }

    /// The Lease of this stage's operators.
    #[must_use]
    pub fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), self.rights.home())
    }
}
