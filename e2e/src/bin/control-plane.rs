//! `cargo control-plane`: a Kubernetes API server for people, until Ctrl-C.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use e2e::cluster::{Binaries, ControlPlane};
use tempfile::NamedTempFile;
use tokio::signal::unix::{SignalKind, signal};

/// Starts a real Kubernetes control plane (etcd, kube-apiserver, kube-controller-manager; no nodes, so no Pod ever runs) and keeps
/// it until Ctrl-C. The first start builds it, which takes minutes and needs Go 1.26 or newer.
#[derive(Parser)]
#[command(name = "cargo control-plane")]
struct Arguments {
    /// Install the custom resource definitions in this folder's YAML files.
    #[arg(long, value_name = "DIR")]
    crds: Option<PathBuf>,

    /// Where the API server listens, instead of any free port of 127.0.0.1.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,

    /// Write the administrator's kubeconfig to this file as well, once it can be used. The file stays.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Write the API server's audit log to this file, in a folder that exists.
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,

    /// Print the folder of the programs, after building them if need be, and start nothing.
    #[arg(long, conflicts_with_all = ["crds", "listen", "kubeconfig", "audit_log"])]
    programs: bool,
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("control plane: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    if arguments.programs {
        println!("{}", Binaries::find().await?.folder().display());
        return Ok(());
    }
    // Before anything is started, so that a signal at any time ends with everything cleaned up.
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        ended = serve(arguments) => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// Never ends unless it fails; all is cleaned up when its future is dropped.
async fn serve(arguments: Arguments) -> Result<(), Failure> {
    let manifests = arguments.crds.as_deref().map_or(Ok(Vec::new()), read_manifests)?;
    let mut builder = ControlPlane::builder();
    if let Some(address) = arguments.listen {
        builder = builder.listen(address);
    }
    if let Some(file) = arguments.audit_log {
        builder = builder.audit_log(file);
    }
    let control_plane = builder.start().await?;
    let cluster = control_plane.cluster();
    cluster.install_crds(&manifests.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    if let Some(file) = &arguments.kubeconfig {
        publish(cluster.kubeconfig_path(), file)
            .map_err(|error| format!("--kubeconfig {}: {error}", file.display()))?;
    }
    let (kubeconfig, kubectl) = (cluster.kubeconfig_path().display(), cluster.kubectl().display());
    let introduction = format!(
        "A Kubernetes control plane is ready. In another terminal, type

  export KUBECONFIG={kubeconfig}
  alias kubectl={kubectl}
  kubectl get namespaces

Ctrl-C ends it and removes everything in it.
"
    );
    // Whoever read this from a pipe may have read enough; that is no reason to end.
    let _ = io::stdout().write_all(introduction.as_bytes());
    std::future::pending().await
}

/// Copies a file to where nobody finds it before it is whole, for its owner alone.
fn publish(source: &Path, destination: &Path) -> io::Result<()> {
    let folder = destination.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut copy = NamedTempFile::new_in(folder)?;
    copy.write_all(&fs::read(source)?)?;
    copy.persist(destination)?;
    Ok(())
}

fn read_manifests(folder: &Path) -> Result<Vec<String>, Failure> {
    let unreadable = |error| format!("--crds {}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(file);
        }
    }
    files.sort();
    let manifests = files.iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    if manifests.is_empty() {
        return Err(format!("--crds {}: there is no YAML file in this folder", folder.display()).into());
    }
    Ok(manifests)
}
