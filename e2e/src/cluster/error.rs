//! What can go wrong with a control plane, told to the person who started it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    process::ExitStatus,
};

use crate::wait::TimedOut;

/// Why there is no control plane, or why it did not do what was asked.
#[derive(thiserror::Error)]
pub enum Error {
    /// There is nothing to build the control plane with.
    #[error(
        "the control plane is built with Go 1.26 or newer, and there is no `go` on PATH: install it (https://go.dev/dl), or set \
         KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl, or E2E_KUBECONFIG to the kubeconfig of a cluster"
    )]
    NoGo,
    /// The version that the user asked for is none of those that are pinned.
    #[error(
        "{variable}={asked}: the versions that can be built are {known}; for another, set KUBEBUILDER_ASSETS or E2E_KUBECONFIG"
    )]
    NoPin {
        /// How it was asked for.
        variable: &'static str,
        /// What was asked for.
        asked: String,
        /// Those that are.
        known: String,
    },
    /// `go build` failed.
    #[error("the control plane could not be built ({status}); the last lines of `go build`:\n{output}")]
    Build {
        /// How `go build` ended.
        status: ExitStatus,
        /// The end of what it said.
        output: String,
    },
    /// The folder that the user named lacks a program.
    #[error("KUBEBUILDER_ASSETS={}: there is no {program} in this folder; add it or unset the variable to build one", .folder.display())]
    NoAsset {
        /// What is missing.
        program: &'static str,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// The container that the user asked for is not to be had.
    #[error("E2E_CONTAINER_IMAGE={image}: {reason}")]
    Container {
        /// Of which image.
        image: String,
        /// Why not, and what helps.
        reason: String,
    },
    /// A file, folder or process could not be had.
    #[error("cannot {action} {}: {source}", .path.display())]
    System {
        /// What was tried: "read", "start".
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The certificates could not be made.
    #[error("cannot make the control plane's certificates: {0}")]
    Certificates(#[from] rcgen::Error),
    /// A program of the control plane ended when it should run.
    #[error("{program} ended on its own ({status}); its log ends with\n{log}")]
    Ended {
        /// Which one.
        program: &'static str,
        /// How.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// The API server runs but does not answer as it should.
    #[error("{source}\nthe API server's log ends with\n{log}")]
    NotReady {
        /// What was waited for, and its last answer.
        source: TimedOut,
        /// The end of its log.
        log: String,
    },
    /// Something did not come within the deadline.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// A kubeconfig cannot be used.
    #[error("kubeconfig {}: {source}", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: kube::config::KubeconfigError,
    },
    /// A manifest cannot be read.
    #[error("manifest: {0}")]
    Manifest(String),
    /// The API server refused, or could not be asked.
    #[error("cannot {action}: {source}")]
    Api {
        /// What was asked.
        action: String,
        /// The answer.
        source: Box<kube::Error>,
    },
}

impl Error {
    /// For `map_err`: names what was tried with which file, folder or program.
    pub(crate) fn system(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, path: path.as_ref().to_owned(), source }
    }

    /// For `map_err`: names what was asked of the API server.
    pub(super) fn api(action: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        move |source| Self::Api { action: action.into(), source: Box::new(source) }
    }
}

/// As `Display`: tests show errors with `Debug`, which would escape the line breaks of the logs shown.
impl fmt::Debug for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
