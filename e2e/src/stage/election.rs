//! What a stage has to do with leader election: its Lease, replicas that compete for it, and how long it takes until another
//! leads.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use databricks_run_operator::controller::LeaderElection;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use super::{OperatorProcess, Stage};
use crate::wait::wait_for;

/// Name of the Lease that the rights allow.
pub const LEASE: &str = "databricks-run-operator";

#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a stage that fails fails the test")]
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

    /// Who leads now; nobody if the Lease was given back.
    pub async fn leader(&self) -> Option<String> {
        holder(&self.leases().get(LEASE).await.expect("there is a Lease"))
    }

    /// Waits until another than this one leads.
    pub async fn led_by_another_than(&self, before: Option<&str>) {
        let by_another = |lease: &Lease| holder(lease).is_some_and(|now| Some(&*now) != before);
        wait_for(&self.leases(), LEASE, "held by another replica", by_another).await;
    }
}

fn holder(lease: &Lease) -> Option<String> {
    lease.spec.as_ref()?.holder_identity.clone().filter(|holder| !holder.is_empty())
}

/// How a leader goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goes {
    /// At once.
    Killed,
    /// As it is asked to.
    Asked,
}

/// How long it took each time until another led. Shown with the longest and a middle time.
#[derive(Debug, Default)]
pub struct HandOvers {
    killed: Vec<Duration>,
    asked: Vec<Duration>,
}

impl HandOvers {
    /// Notes one.
    pub fn add(&mut self, goes: Goes, took: Duration) {
        match goes {
            Goes::Killed => self.killed.push(took),
            Goes::Asked => self.asked.push(took),
        }
    }
}

impl fmt::Display for HandOvers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "leaders killed, {}; leaders asked to go, {}", figures(&self.killed), figures(&self.asked))
    }
}

fn figures(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    match times.last() {
        Some(longest) => format!("{}: median {:.1?}, longest {longest:.1?}", times.len(), times[times.len() / 2]),
        None => "none".to_owned(),
    }
}
