//! The contract with GitOps tools: what each makes of an object at each stage of its life. One row for each file of
//! `config/argocd/…/testdata`.

use serde_json::Value;

use super::argocd::Scripts;
use super::kstatus::{self, Status};
use super::{flux, repository};

/// What Argo CD shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "Argo CD's own words")]
pub enum Shown {
    Progressing,
    Healthy,
    Degraded,
    Suspended,
}

/// One stage.
#[derive(Debug, Clone, Copy)]
pub struct Stage {
    /// The kind of its object.
    pub kind: &'static str,
    /// The name of its file, without the ending.
    pub name: &'static str,
    /// What Argo CD shows.
    pub argocd: Shown,
    /// What kstatus says: Flux, Helm and kpt.
    pub kstatus: Status,
    /// What Argo CD offers to do with it.
    pub actions: &'static [&'static str],
}

const fn run(name: &'static str, argocd: Shown, kstatus: Status, actions: &'static [&'static str]) -> Stage {
    Stage { kind: "DatabricksRun", name, argocd, kstatus, actions }
}

const fn workspace(kind: &'static str, name: &'static str, argocd: Shown, kstatus: Status) -> Stage {
    Stage { kind, name, argocd, kstatus, actions: &[] }
}

/// All of them.
#[rustfmt::skip]
pub const ALL: &[Stage] = {
    use Shown::{Degraded, Healthy, Progressing, Suspended};
    use Status::{Current, Failed, InProgress, Terminating};
    const NAMESPACED: &str = "DatabricksWorkspace";
    const CLUSTER: &str = "ClusterDatabricksWorkspace";
    &[
        run("progressing_unseen", Progressing, InProgress, &["suspend"]),
        run("progressing_waiting", Progressing, InProgress, &["cancel", "suspend"]),
        run("progressing_unanswered", Progressing, InProgress, &["cancel", "suspend"]),
        run("progressing_queued", Progressing, InProgress, &["cancel", "suspend"]),
        run("progressing_running", Progressing, InProgress, &["cancel", "suspend"]),
        run("progressing_retrying", Progressing, InProgress, &["cancel", "suspend"]),
        run("progressing_canceling", Progressing, InProgress, &["suspend"]),
        run("progressing_edited", Progressing, InProgress, &["repair", "rerun"]),
        run("progressing_again", Progressing, InProgress, &["cancel", "suspend"]),
        run("progressing_deleting", Progressing, Terminating, &[]),
        run("suspended", Suspended, Current, &["cancel", "resume"]),
        run("suspended_while_live", Suspended, Current, &["cancel", "resume"]),
        run("healthy", Healthy, Current, &["rerun"]),
        run("healthy_with_failures", Healthy, Current, &["repair", "rerun"]),
        run("healthy_suspended_later", Healthy, Current, &["resume"]),
        run("degraded_failed", Degraded, Failed, &["repair", "rerun"]),
        run("degraded_one_off", Degraded, Failed, &["rerun"]),
        run("degraded_canceled", Degraded, Failed, &["repair", "rerun"]),
        run("degraded_canceled_in_spec", Degraded, Failed, &[]),
        run("degraded_timed_out", Degraded, Failed, &["repair", "rerun"]),
        run("degraded_rejected", Degraded, Failed, &["rerun"]),
        run("degraded_restored", Degraded, Failed, &["rerun"]),
        run("degraded_deleted", Degraded, Terminating, &[]),
        run("degraded_deleted_unstarted", Degraded, Terminating, &[]),
        workspace(NAMESPACED, "progressing_unseen", Progressing, InProgress),
        workspace(NAMESPACED, "progressing_no_secret", Progressing, InProgress),
        workspace(NAMESPACED, "healthy", Healthy, Current),
        workspace(NAMESPACED, "degraded_host", Degraded, Failed),
        workspace(CLUSTER, "progressing_no_secret", Progressing, InProgress),
        workspace(CLUSTER, "healthy", Healthy, Current),
        workspace(CLUSTER, "degraded_host", Degraded, Failed),
    ]
};

#[expect(
    clippy::panic,
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "what breaks the contract fails the test"
)]
impl Stage {
    /// The stage of this name.
    #[must_use]
    pub fn named(kind: &str, name: &str) -> &'static Self {
        let found = ALL.iter().find(|stage| stage.kind == kind && stage.name == name);
        found.unwrap_or_else(|| panic!("no row for {kind} {name} in e2e/src/gitops/stages.rs"))
    }

    /// Where its file is, as `health_test.yaml` names it.
    #[must_use]
    pub fn path(&self) -> String {
        format!("testdata/{}.yaml", self.name)
    }

    /// The object in its file.
    #[must_use]
    pub fn object(&self) -> Value {
        let text = Scripts::of_kind(self.kind).read(&self.path());
        serde_saphyr::from_str(&text).expect("testdata is YAML")
    }

    /// Holds every tool to what it must make of an object at this stage.
    ///
    /// # Panics
    /// Where one makes something else of it.
    pub fn hold(&self, object: &Value) {
        let scripts = Scripts::of_kind(self.kind);
        let health = scripts.health(object);
        assert_eq!(health.status, format!("{:?}", self.argocd), "Argo CD: {}\n{object:#}", health.message);
        assert!(!health.message.is_empty(), "Argo CD is told no reason\n{object:#}");
        let url = object["status"]["runPageUrl"].as_str();
        if self.argocd == Shown::Degraded
            && let Some(url) = url
        {
            assert!(health.message.contains(url), "no link in {}", health.message);
        }
        assert_eq!(kstatus::compute(object), self.kstatus, "kstatus\n{object:#}");
        if self.kind == "DatabricksRun" {
            let offered: Vec<_> = scripts.actions(object).into_keys().collect();
            assert_eq!(offered, self.actions, "offered by Argo CD\n{object:#}");
        }
        // Flux asks the expressions for what is not being deleted.
        if self.kstatus != Status::Terminating {
            let judged = flux::judge(&expressions(self.kind), object);
            assert_eq!(judged, Ok(self.kstatus), "Flux\n{object:#}");
        }
    }
}

/// The entry of `config/flux/health-check-exprs.yaml` for a kind.
#[expect(clippy::panic, clippy::expect_used, clippy::missing_panics_doc, reason = "a kind without them fails the test")]
#[must_use]
pub fn expressions(kind: &str) -> Value {
    let text = std::fs::read_to_string(repository("config/flux/health-check-exprs.yaml")).expect("it is there");
    let kustomization: Value = serde_saphyr::from_str(&text).expect("it is YAML");
    let entries = kustomization["spec"]["healthCheckExprs"].as_array().cloned().unwrap_or_default();
    entries.into_iter().find(|entry| entry["kind"] == kind).unwrap_or_else(|| panic!("no expressions for {kind}"))
}
