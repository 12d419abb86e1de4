//! The rights an operator runs with in tests: those of `config/rbac/`, read from there, and nothing else. The kit gives each
//! operator a ServiceAccount of its own with them; an administrator's rights are for tests alone.
//!
//! Only names are changed on the way, so that many can be granted side by side.

mod manifests;
mod replica;
mod rules;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use k8s_openapi::api::authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use tempfile::NamedTempFile;

pub use self::replica::Replica;
pub use self::rules::Right;
use super::{AuditEntry, Cluster, TestNamespace, crds::FIELD_MANAGER, error::Error, namespace};
use crate::wait;

/// Ways to install the operator's rights; each is a folder of `config/rbac/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every namespace is served.
    ClusterWide,
    /// Those named are served.
    Namespaced,
    /// The operator's own is served, and nothing is held beyond it.
    WithoutClusterRights,
}

impl Mode {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::ClusterWide, Self::Namespaced, Self::WithoutClusterRights];

    /// The folder of `config/rbac/`.
    #[must_use]
    pub fn folder(self) -> &'static str {
        match self {
            Self::ClusterWide => "cluster-wide",
            Self::Namespaced => "namespaced",
            Self::WithoutClusterRights => "without-cluster-rights",
        }
    }
}

/// The objects that a folder of `config/rbac/` stands for, as `kubectl kustomize` prints them.
pub async fn shipped(cluster: &Cluster, folder: &str) -> Result<Vec<Value>, Error> {
    manifests::render(cluster, folder).await
}

/// All that the roles among these objects allow.
#[must_use]
pub fn rights_in(objects: &[Value]) -> BTreeSet<Right> {
    objects.iter().flat_map(rules::of_role).collect()
}

/// What one operator may do; on a cluster that outlives the test it is taken back when dropped.
pub struct Rights {
    cluster: Cluster,
    client: Client,
    mode: Mode,
    /// The operator's own namespace, unless it lives in the one it serves. It goes when this is dropped.
    _home: Option<TestNamespace>,
    home: String,
    served: Vec<String>,
    objects: Vec<Value>,
    kubeconfig: NamedTempFile,
}

impl Rights {
    /// Grants the rights of a mode to a new ServiceAccount, and returns when they are in force.
    pub async fn grant(cluster: &Cluster, mode: Mode, served: &[&str]) -> Result<Self, Error> {
        let own = match mode {
            // Within a namespace that is deleted there would soon be no ServiceAccount.
            Mode::ClusterWide | Mode::Namespaced => Some(cluster.namespace("operator").await?),
            Mode::WithoutClusterRights => None,
        };
        let home = own.as_deref().or(served.first().copied()).unwrap_or_default().to_owned();
        let objects = manifests::placed(&shipped(cluster, mode.folder()).await?, &home, served);
        let client = cluster.client().await?;
        for object in &objects {
            apply(&client, object).await?;
        }
        let rights = Self {
            cluster: cluster.clone(),
            client,
            mode,
            kubeconfig: cluster.kubeconfig_for_service_account(&home, manifests::ACCOUNT).await?,
            _home: own,
            home,
            served: served.iter().map(|&name| name.to_owned()).collect(),
            objects,
        };
        rights.await_in_force(&rights.objects, &rights.everywhere(), &BTreeSet::new()).await?;
        Ok(rights)
    }

    /// The rights of an operator that is installed in this namespace, as the chart and `config/default` call it and bind it: for
    /// the whole cluster.
    pub async fn of_installed(cluster: &Cluster, home: &str) -> Result<Self, Error> {
        Ok(Self {
            cluster: cluster.clone(),
            client: cluster.client().await?,
            mode: Mode::ClusterWide,
            kubeconfig: cluster.kubeconfig_for_service_account(home, manifests::ACCOUNT).await?,
            _home: None,
            home: home.to_owned(),
            served: Vec::new(),
            objects: Vec::new(),
        })
    }

    /// The mode they were granted in.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The operator's own namespace.
    #[must_use]
    pub fn home(&self) -> &str {
        &self.home
    }

    /// The kubeconfig of whoever has these rights.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.kubeconfig.path()
    }

    /// How the API server calls whoever has these rights.
    #[must_use]
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.home, manifests::ACCOUNT)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> BTreeSet<Right> {
        rights_in(&self.objects)
    }

    /// Grants what is in another of our manifests, placed like the rest, such as a sample of `config/rbac/samples`.
    pub async fn grant_also(&self, manifest: &str) -> Result<(), Error> {
        let served: Vec<&str> = self.served.iter().map(String::as_str).collect();
        let more = manifests::placed(&manifests::read(manifest)?, &self.home, &served);
        for object in &more {
            apply(&self.client, object).await?;
        }
        self.await_in_force(&more, &self.served, &BTreeSet::new()).await
    }

    /// Takes one right away, until [`Self::give_back`]. Returns when it is gone.
    pub async fn withhold(&self, right: &Right) -> Result<(), Error> {
        for object in &self.objects {
            if let Some(less) = rules::without(object, right) {
                apply(&self.client, &less).await?;
            }
        }
        self.await_in_force(&self.objects, &self.everywhere(), &[right.clone()].into()).await
    }

    /// Gives back what was taken. Returns when it is there.
    pub async fn give_back(&self) -> Result<(), Error> {
        for object in self.objects.iter().filter(|object| rules::is_role(object)) {
            apply(&self.client, object).await?;
        }
        self.await_in_force(&self.objects, &self.everywhere(), &BTreeSet::new()).await
    }

    /// Waits until the served namespaces are lost to the operator as a deletion takes them: role bindings first. Only what
    /// is bound for the whole cluster is left.
    pub async fn await_loss_of(&self, lost: &BTreeSet<Right>) -> Result<(), Error> {
        self.await_in_force(&[], &self.served, lost).await
    }

    /// Where the operator has rights: the served namespaces, and its own.
    fn everywhere(&self) -> Vec<String> {
        let home = (!self.served.contains(&self.home)).then(|| self.home.clone());
        self.served.iter().cloned().chain(home).collect()
    }

    /// Waits until what these objects grant in these namespaces is in force, but for what is lost. The API server learns of roles
    /// and bindings by watching, a moment after they were written.
    async fn await_in_force(
        &self,
        objects: &[Value],
        namespaces: &[String],
        lost: &BTreeSet<Right>,
    ) -> Result<(), Error> {
        self.await_in_force_for(manifests::ACCOUNT, objects, namespaces, lost).await
    }

    async fn await_in_force_for(
        &self,
        account: &str,
        objects: &[Value],
        namespaces: &[String],
        lost: &BTreeSet<Right>,
    ) -> Result<(), Error> {
        let client = self.cluster.client_as(&self.home, account).await?;
        let reviews: Api<SelfSubjectRulesReview> = Api::all(client);
        for namespace in namespaces {
            let mut held = rules::bound_in(objects, namespace);
            held.retain(|right| !lost.contains(right));
            let review = SelfSubjectRulesReview {
                spec: SelfSubjectRulesReviewSpec { namespace: Some(namespace.clone()) },
                ..SelfSubjectRulesReview::default()
            };
            wait::try_eventually(&format!("the rights in {namespace} to be in force"), async || {
                let answer = reviews.create(&PostParams::default(), &review).await;
                let status = answer.map_err(|error| error.to_string())?.status.unwrap_or_default();
                let now: BTreeSet<Right> = status.resource_rules.iter().flat_map(rules::of_review).collect();
                if held.is_subset(&now) && lost.is_disjoint(&now) { Ok(()) } else { Err(format!("now {now:?}")) }
            })
            .await?;
        }
        Ok(())
    }

    /// What was asked in this name and refused for want of a right; nothing for a cluster that existed before.
    pub fn refused(&self) -> Result<Vec<AuditEntry>, Error> {
        let mut entries = self.asked()?;
        entries.retain(AuditEntry::is_unauthorized);
        Ok(entries)
    }

    /// What was asked in this name.
    pub fn asked(&self) -> Result<Vec<AuditEntry>, Error> {
        self.cluster.audit_entries_that_say(&format!("\"{}\"", self.user()))
    }

    /// What was asked in this name and allowed.
    pub fn used(&self) -> Result<BTreeSet<Right>, Error> {
        let mut entries = self.asked()?;
        entries.retain(|entry| !entry.is_unauthorized() && !entry.object_ref.resource.is_empty());
        Ok(entries.iter().map(Right::asked_by).collect())
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        if !self.cluster.is_existing() {
            return;
        }
        let label = format!("{}={}", namespace::LABEL, self.home);
        let mut delete = self.cluster.kubectl_command(["delete", "clusterroles,clusterrolebindings", "-l", &label]);
        // At the end of a test there is nobody to tell, and the label helps those who look.
        let _ = delete.as_std_mut().stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Applies an object of any kind.
async fn apply(client: &Client, object: &Value) -> Result<(), Error> {
    let object: DynamicObject =
        serde_json::from_value(object.clone()).map_err(|error| Error::Manifest(error.to_string()))?;
    let kind = object.types.clone().unwrap_or_default();
    let resource = GroupVersionKind::try_from(&kind).map_err(|error| Error::Manifest(error.to_string()))?;
    let resource = ApiResource::from_gvk(&resource);
    let api: Api<DynamicObject> = match object.namespace() {
        Some(namespace) => Api::namespaced_with(client.clone(), &namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let apply = PatchParams::apply(FIELD_MANAGER).force().validation_strict();
    let applied = api.patch(&object.name_any(), &apply, &Patch::Apply(&object)).await;
    applied.map(drop).map_err(Error::api(format!("apply {} {}", kind.kind, object.name_any())))
}
