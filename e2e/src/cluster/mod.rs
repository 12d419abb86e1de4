//! A real Kubernetes control plane for tests and for people: what an API server does is never imitated.
//!
//! A test asks for [`shared`] and a namespace of its own; all tests of a binary share one control plane. A test that must hurt the
//! API server (stop, pause, restart) starts a [`ControlPlane`] of its own. Where it comes from, in this order: `E2E_KUBECONFIG`
//! (a cluster that exists), `E2E_CONTAINER_IMAGE` (a container, with the feature `testcontainers`), `KUBEBUILDER_ASSETS` (programs
//! that exist), one of the pinned Go modules in `e2e/control-plane` (`E2E_KUBERNETES_VERSION` says which), built once per user.
//!
//! Nothing survives the process that started it, even when that is killed: `leash`, `folder` and `container` see to it;
//! `e2e/tests/control_plane.rs` and `e2e/tests/container.rs` kill to prove it. Everything listens on the loopback address or on a
//! Unix socket.

mod audit;
mod binaries;
mod build;
mod certificates;
#[cfg(feature = "testcontainers")]
mod container;
mod control_plane;
mod crds;
mod error;
mod folder;
mod kubeconfig;
mod leash;
mod namespace;
mod own;
mod pins;
mod port;
pub mod rights;
mod tokens;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{Client, config::Kubeconfig};
use tempfile::NamedTempFile;
use tokio::sync::OnceCell;

#[cfg(feature = "testcontainers")]
pub use self::container::Container;
pub use self::{
    audit::{AuditAnswer, AuditEntry, AuditLevel, AuditObject, AuditUser},
    binaries::Binaries,
    control_plane::{Builder, ControlPlane},
    error::Error,
    namespace::TestNamespace,
    own::Own,
    pins::kubernetes_version,
    tokens::TokenIssuer,
};
pub(crate) use self::{
    build::{cache, once},
    folder::Folder,
    leash::{Launch, Leash},
};

/// The cluster that all tests of this process share; the first that asks starts it.
///
/// # Panics
/// When there is none to be had. The message says what to do.
#[expect(clippy::panic, reason = "without a cluster the test can only fail")]
pub async fn shared() -> &'static Cluster {
    // Nothing in here belongs to a test's runtime, so it may outlive the test that started it. A static is never dropped; the
    // processes end with ours.
    static SHARED: OnceCell<Result<(Cluster, Option<Own>), Error>> = OnceCell::const_new();
    match SHARED.get_or_init(provide).await {
        Ok((cluster, _)) => cluster,
        Err(error) => panic!("no cluster for tests: {error}"),
    }
}

async fn provide() -> Result<(Cluster, Option<Own>), Error> {
    if let Some(kubeconfig) = std::env::var_os("E2E_KUBECONFIG").filter(|path| !path.is_empty()) {
        return Ok((Cluster::existing(kubeconfig.into()).await?, None));
    }
    let own = Own::start().await?;
    Ok((own.cluster().clone(), Some(own)))
}

/// How to reach a cluster as its administrator.
#[derive(Clone, Debug)]
pub struct Cluster {
    kubeconfig: PathBuf,
    kubectl: PathBuf,
    /// The folder that goes away with the control plane; `None` for a cluster that existed before.
    folder: Option<PathBuf>,
    audit_log: Option<PathBuf>,
}

impl Cluster {
    /// A cluster that exists already; tests clean up what they create there. `E2E_AUDIT_LOG` is its API server's audit log, as a
    /// file that can be read here and holds what [`AuditLevel::Metadata`] records; without it, tests that read it fail.
    pub async fn existing(kubeconfig: PathBuf) -> Result<Self, Error> {
        let kubectl = match binaries::on_path("kubectl") {
            Some(kubectl) => kubectl,
            None => Binaries::find().await?.kubectl,
        };
        let audit_log = std::env::var_os("E2E_AUDIT_LOG").filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(Self { kubeconfig, kubectl, folder: None, audit_log })
    }

    /// Whether it existed before this process and will outlive it.
    #[must_use]
    pub fn is_existing(&self) -> bool {
        self.folder.is_none()
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// A new client; each test needs its own because a client belongs to the runtime it was made in.
    pub async fn client(&self) -> Result<Client, Error> {
        kubeconfig::client(&self.kubeconfig).await
    }

    /// A client with the rights of a service account, which must exist.
    pub async fn client_as(&self, namespace: &str, service_account: &str) -> Result<Client, Error> {
        let kubeconfig = self.kubeconfig_as(namespace, service_account).await?;
        kubeconfig::client_of(kubeconfig, &self.kubeconfig).await
    }

    /// A kubeconfig file with the rights of a service account, which must exist. The file goes when this is dropped.
    pub async fn kubeconfig_for_service_account(
        &self,
        namespace: &str,
        service_account: &str,
    ) -> Result<NamedTempFile, Error> {
        let kubeconfig = self.kubeconfig_as(namespace, service_account).await?;
        let yaml = serde_saphyr::to_string(&kubeconfig).map_err(|error| Error::Manifest(error.to_string()))?;
        let folder = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        let file = NamedTempFile::new_in(&folder).map_err(Error::system("create a file in", &folder))?;
        std::fs::write(file.path(), yaml).map_err(Error::system("write", file.path()))?;
        Ok(file)
    }

    async fn kubeconfig_as(&self, namespace: &str, service_account: &str) -> Result<Kubeconfig, Error> {
        kubeconfig::of_service_account(&self.kubeconfig, namespace, service_account).await
    }

    /// The issuer of the cluster's service account tokens and its keys.
    pub async fn token_issuer(&self) -> Result<TokenIssuer, Error> {
        tokens::issuer(&self.client().await?).await
    }

    /// A token of a service account, which must exist, for this audience and time (at least ten minutes).
    pub async fn token(
        &self,
        namespace: &str,
        service_account: &str,
        audience: &str,
        lifetime: Duration,
    ) -> Result<String, Error> {
        let seconds = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        tokens::request(self.client().await?, namespace, service_account, Some(audience), seconds).await
    }

    /// The `kubectl` that fits the cluster.
    #[must_use]
    pub fn kubectl(&self) -> &Path {
        &self.kubectl
    }

    /// `kubectl` with the administrator's kubeconfig; killed if its future is dropped.
    #[must_use]
    pub fn kubectl_command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments).kill_on_drop(true);
        command
    }

    /// A new namespace whose name starts with `prefix`.
    pub async fn namespace(&self, prefix: &str) -> Result<TestNamespace, Error> {
        TestNamespace::create(self, prefix).await
    }

    /// Applies custom resource definitions and waits until they are served. Tests may do so side by side.
    pub async fn install_crds(&self, manifests: &[&str]) -> Result<(), Error> {
        crds::install(&self.client().await?, manifests).await
    }

    /// The file of the API server's audit log; `None` for a cluster that existed before and does not name it, and for an image
    /// that keeps none.
    #[must_use]
    pub fn audit_log(&self) -> Option<&Path> {
        self.audit_log.as_deref()
    }

    /// The requests about our objects and about Events that were answered so far, and all that operators asked; none without an
    /// [audit log](Self::audit_log).
    pub fn audit_entries(&self) -> Result<Vec<AuditEntry>, Error> {
        self.audit_entries_that_say("")
    }

    /// Those whose line in the log holds this text. Most lines need not be understood then.
    pub fn audit_entries_that_say(&self, text: &str) -> Result<Vec<AuditEntry>, Error> {
        self.audit_log().map_or(Ok(Vec::new()), |log| audit::read(log, text))
    }
}
