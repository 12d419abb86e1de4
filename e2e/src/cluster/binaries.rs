//! The programs of a control plane: those the user names, or those built from a Go module pinned in `e2e/control-plane`.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::{build, error::Error};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries {
    pub(super) etcd: PathBuf,
    pub(super) kube_apiserver: PathBuf,
    /// Not part of the usual `KUBEBUILDER_ASSETS`.
    pub(super) kube_controller_manager: Option<PathBuf>,
    pub(super) kubectl: PathBuf,
}

impl Binaries {
    /// Those in `KUBEBUILDER_ASSETS` if it is set, else those built earlier, else builds them with progress on standard error.
    pub async fn find() -> Result<Self, Error> {
        // A build takes minutes and would hold up whatever else runs on this thread.
        let found = tokio::task::spawn_blocking(|| match env::var_os("KUBEBUILDER_ASSETS") {
            Some(folder) if !folder.is_empty() => Self::in_assets(Path::new(&folder)),
            _ => Ok(Self::in_folder(&build::ensure()?)),
        });
        found.await.map_err(|panic| Error::system("look for", "the control plane's programs")(panic.into()))?
    }

    /// The folder with all of them.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.kubectl.parent().unwrap_or(Path::new("."))
    }

    /// The `kubectl` among them.
    #[must_use]
    pub fn kubectl(&self) -> &Path {
        &self.kubectl
    }

    fn in_assets(folder: &Path) -> Result<Self, Error> {
        let mut binaries = Self::in_folder(folder);
        let needed =
            [("etcd", &binaries.etcd), ("kube-apiserver", &binaries.kube_apiserver), ("kubectl", &binaries.kubectl)];
        if let Some((program, _)) = needed.into_iter().find(|(_, path)| !path.is_file()) {
            return Err(Error::NoAsset { program, folder: folder.to_owned() });
        }
        binaries.kube_controller_manager = binaries.kube_controller_manager.filter(|path| path.is_file());
        Ok(binaries)
    }

    fn in_folder(folder: &Path) -> Self {
        Self {
            etcd: folder.join("etcd"),
            kube_apiserver: folder.join("kube-apiserver"),
            kube_controller_manager: Some(folder.join("kube-controller-manager")),
            kubectl: folder.join("kubectl"),
        }
    }
}

/// The program on `PATH`.
pub(super) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assets_without_kubectl_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for program in ["etcd", "kube-apiserver"] {
            std::fs::write(folder.path().join(program), "").unwrap();
        }
        let refusal = Binaries::in_assets(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains("there is no kubectl in this folder"), "{refusal}");
    }

    #[test]
    fn assets_need_no_controller_manager() {
        let folder = tempfile::tempdir().unwrap();
        for program in ["etcd", "kube-apiserver", "kubectl"] {
            std::fs::write(folder.path().join(program), "").unwrap();
        }
        assert!(Binaries::in_assets(folder.path()).unwrap().kube_controller_manager.is_none());
    }
}
