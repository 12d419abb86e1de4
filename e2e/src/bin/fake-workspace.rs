//! `cargo fake-workspace`: the fake Databricks workspace for people. Serves until Ctrl-C or SIGTERM.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use e2e::workspace::{GUIDE, Options, Workspace};
use tokio::signal::unix::{SignalKind, signal};

/// A fake Databricks workspace: the Jobs API over TLS, with runs that pass through their states, faults on demand and a
/// line per request on standard error.
#[derive(Parser)]
#[command(name = "fake-workspace")]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Folder that ca.crt, which clients must trust, is written to. Made if it is not there.
    #[arg(long, value_name = "DIR", default_value = "target/fake-workspace")]
    tls_dir: PathBuf,
    /// Further name or address clients reach it under, for its certificate. May be repeated.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Personal access token to accept.
    #[arg(long, default_value = "dapi-fake-token")]
    token: String,
    /// OAuth client to accept.
    #[arg(long, value_name = "ID", default_value = "fake-client")]
    client_id: String,
    /// Its secret.
    #[arg(long, value_name = "SECRET", default_value = "fake-secret")]
    client_secret: String,
    /// Play runs this many times faster.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    speed: u32,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Start(#[from] e2e::workspace::StartError),
    #[error("cannot write {path}: {source}; choose another folder with --tls-dir", path = path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot wait for signals: {0}")]
    Signals(std::io::Error),
    #[error("cannot write to standard output: {0}")]
    Print(std::io::Error),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match serve(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is all there is to say it on; if that fails too, the exit code remains.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), Error> {
    // Before anything is promised, so that no signal is missed.
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let options = Options {
        listen: arguments.listen,
        names: arguments.name.clone(),
        token: arguments.token.clone(),
        client: (arguments.client_id.clone(), arguments.client_secret.clone()),
        seed: u64::from(std::process::id()),
        echo: true,
        ..Options::default()
    };
    let workspace = Workspace::start(options.speed(arguments.speed))?;
    let ca = write_ca(&arguments.tls_dir, workspace.ca_pem())?;
    introduce(&workspace, &arguments, &ca).map_err(Error::Print)?;
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    Ok(())
}

fn write_ca(folder: &std::path::Path, pem: &str) -> Result<PathBuf, Error> {
    let path = folder.join("ca.crt");
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, pem));
    match written {
        Ok(()) => Ok(std::path::absolute(&path).unwrap_or(path)),
        Err(source) => Err(Error::Write { path, source }),
    }
}

/// Says how to use it. The jobs it names are made here.
fn introduce(workspace: &Workspace, arguments: &Arguments, ca: &std::path::Path) -> std::io::Result<()> {
    let host = workspace.host();
    let mut out = std::io::stdout().lock();
    writeln!(out, "Fake Databricks workspace at {host}")?;
    writeln!(out, "  CA certificate  {}", ca.display())?;
    writeln!(out, "  token           {}", arguments.token)?;
    writeln!(out, "  OAuth client    {} with secret {}", arguments.client_id, arguments.client_secret)?;
    for name in ["nightly", "fails", "slow", "flaky"] {
        writeln!(out, "  job             {} {name}", workspace.job(name).id())?;
    }
    writeln!(out, "\n{GUIDE}\n")?;
    writeln!(out, "Try it:")?;
    writeln!(
        out,
        "  curl --cacert {ca} -H 'Authorization: Bearer {token}' {host}/api/2.1/jobs/list",
        ca = ca.display(),
        token = arguments.token
    )?;
    writeln!(out, "Faults, the request log and more, without a token: {host}/_control")?;
    if !arguments.listen.ip().is_loopback() {
        writeln!(out, "Whoever reaches {} can use that door; it is not only this machine.", arguments.listen)?;
    }
    writeln!(out, "Ctrl-C stops it and forgets everything.")?;
    out.flush()
}
