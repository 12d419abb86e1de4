//! The program in `e2e/argocd-lua`, built once per user and version as the control plane is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

use crate::cluster::{self, cache, once};

const NAME: &str = "argocd-lua";

/// Part of this program, so that it need not find the repository it was built from.
const SOURCES: [(&str, &str); 3] = [
    ("go.mod", include_str!("../../argocd-lua/go.mod")),
    ("go.sum", include_str!("../../argocd-lua/go.sum")),
    ("main.go", include_str!("../../argocd-lua/main.go")),
];

/// Where it is; built if need be.
#[expect(clippy::panic, reason = "without it nothing can be said about the scripts")]
pub(super) fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match ensure() {
        Ok(folder) => folder.join(NAME),
        Err(error) => panic!("Argo CD's Lua machine cannot be built: {error}"),
    })
}

fn ensure() -> Result<PathBuf, cluster::Error> {
    let mut hash = Sha256::new();
    for (name, text) in SOURCES {
        hash.update(name);
        hash.update(text);
    }
    once(&cache(NAME)?, &HEXLOWER.encode(&hash.finalize()[..8]), build)
}

fn build(folder: &Path) -> Result<(), cluster::Error> {
    let module = tempfile::tempdir().map_err(cluster::Error::system("create a folder in", std::env::temp_dir()))?;
    for (name, text) in SOURCES {
        let file = module.path().join(name);
        fs::write(&file, text).map_err(cluster::Error::system("write", &file))?;
    }
    let mut go = Command::new("go");
    go.args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-o"]).arg(folder.join(NAME)).arg(".");
    go.current_dir(module.path()).env("CGO_ENABLED", "0").env("GOWORK", "off").env_remove("GOOS").env_remove("GOARCH");
    let output = go.output().map_err(cluster::Error::system("start", "go (https://go.dev/dl)"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(cluster::Error::Build { status: output.status, output: said });
    }
    Ok(())
}
