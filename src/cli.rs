//! What can be said on the command line. Each flag of `run` has a twin in the environment, `DBRUN_` and the flag's name.

mod api_server;
mod log_level;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use k8s_openapi::jiff::SignedDuration;
pub use log_level::LogLevelArgs;

use crate::controller::{LeaderElection, Options, Pulse, operate};
use crate::databricks::host::Host;
use crate::databricks::host_policy::{DEFAULT_ALLOWED, HostPolicy};
use crate::databricks::proxy::AllowedProxies;
use crate::server::{Addresses, Heartbeat, Readiness, Server};
use crate::telemetry::logs::{self, LogFormat, LogLevel};
use crate::telemetry::traces::Collector;
use crate::telemetry::{Metrics, Traces, memory};

/// Without a beat of the controllers for this long the process counts as stuck: a beat comes every second, and a busy
/// machine may hold it up, but never so long.
const SILENCE: Duration = Duration::from_mins(1);

/// What is told where nobody knows in which namespace the Lease is to be.
const NO_LEASE: &str = "--leader-elect needs a namespace for its Lease, and this process runs in no Pod: name one with \
                        --leader-elect-namespace, or say --leader-elect=false if no other replica runs";

/// Runs Databricks jobs from Kubernetes objects: one object, one run, started exactly once, told truthfully.
#[derive(Debug, Parser)]
#[command(name = "databricks-run-operator", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the cluster that KUBECONFIG names, or the one this runs in, until SIGTERM.
    Run(Box<RunArgs>),
    /// Tell the log level of an operator that runs, or change it until the process ends. To be run in its container:
    /// kubectl exec deploy/databricks-run-operator -- /databricks-run-operator log-level debug
    LogLevel(LogLevelArgs),
    /// Print the custom resource definitions, for `kubectl apply -f -`.
    Crds,
}

/// How to serve.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Work in this namespace only; may be repeated. Default: all namespaces.
    #[arg(long = "namespace", value_name = "NAME", env = "DBRUN_NAMESPACE", value_delimiter = ',')]
    namespaces: Vec<String>,

    /// Serve only runs with these labels, as for `kubectl get -l`: two operators whose selectors exclude each other share a
    /// cluster. Workspaces are not selected: each operator uses those that its runs name. Default: all runs.
    #[arg(long, value_name = "SELECTOR", env = "DBRUN_WATCH_SELECTOR")]
    watch_selector: Option<String>,

    /// A host a workspace may name, by the end of its name; may be repeated. An address, `localhost` or a
    /// name of the local network (`.internal`, `.local`, `.svc`) allows exactly that host.
    #[arg(long = "allowed-host", value_name = "SUFFIX", env = "DBRUN_ALLOWED_HOST", value_delimiter = ',', default_values = DEFAULT_ALLOWED)]
    allowed_hosts: Vec<String>,

    /// Addresses that are not public to which an allowed host may lead, as a range (CIDR); may be repeated. Without it
    /// private, loopback and link-local addresses are refused; the metadata services of clouds are allowed only by exactly
    /// their address.
    #[arg(long = "allowed-address", value_name = "RANGE", env = "DBRUN_ALLOWED_ADDRESS", value_delimiter = ',')]
    allowed_addresses: Vec<String>,

    /// A proxy that a workspace may name in `proxyUrl`, by name or address, with or without a port; may be repeated. The
    /// proxy of the environment (`HTTPS_PROXY`) needs no entry. Default: none.
    #[arg(long = "allowed-proxy", value_name = "HOST", env = "DBRUN_ALLOWED_PROXY", value_delimiter = ',')]
    allowed_proxies: Vec<String>,

    /// Where /healthz and /readyz are answered.
    #[arg(long, value_name = "ADDRESS", env = "DBRUN_HEALTH_ADDRESS", default_value = "0.0.0.0:8081")]
    health_address: SocketAddr,

    /// Where /metrics is answered; may be the health address.
    #[arg(long, value_name = "ADDRESS", env = "DBRUN_METRICS_ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_address: SocketAddr,

    /// `text` for people, `json` for machines.
    #[arg(long, value_name = "FORMAT", env = "DBRUN_LOG_FORMAT", default_value = "text")]
    log_format: LogFormat,

    /// `error`, `warn`, `info`, `debug`, `trace`, or directives such as `info,kube=debug`.
    #[arg(long, value_name = "LEVEL", env = "DBRUN_LOG_LEVEL", default_value = "info")]
    log_level: LogLevel,

    /// A collector of OpenTelemetry traces, by its base address for OTLP over HTTP, such as `http://collector:4318`. Headers that it
    /// wants go into `OTEL_EXPORTER_OTLP_HEADERS`. Default: no traces.
    #[arg(long, value_name = "URL", env = "DBRUN_OTLP_ENDPOINT")]
    otlp_endpoint: Option<Collector>,

    /// How long a deleted object is held for a run that cannot be cancelled; then it is let go of with a warning. kubectl
    /// and Helm give up at five minutes.
    #[arg(long, value_name = "TIME", env = "DBRUN_DELETION_DEADLINE", default_value = "4m", value_parser = duration)]
    deletion_deadline: Duration,

    /// A label or annotation by which a tool of yours knows the objects it keeps: with it, `ttlSecondsAfterFinished` deletes
    /// nothing; may be repeated. Those of Argo CD, Flux, Helm, kapp, Fleet and Config Sync are known.
    #[arg(long = "ttl-keep-key", value_name = "KEY", env = "DBRUN_TTL_KEEP_KEY", value_delimiter = ',')]
    ttl_keep_keys: Vec<String>,

    /// How long Databricks may take to answer the request that starts a run. A request that another process left
    /// unanswered is repeated after four times as long.
    #[arg(long, value_name = "TIME", env = "DBRUN_SUBMIT_TIMEOUT", default_value = "30s", value_parser = duration)]
    submit_timeout: Duration,

    /// Serve ClusterDatabricksWorkspaces, too: workspaces of the whole cluster. It takes the right to watch them and the labels
    /// of namespaces, which a ClusterRole alone gives; `false` for an operator that has none.
    #[arg(long, value_name = "BOOL", env = "DBRUN_CLUSTER_WORKSPACES", default_value = "true", action = ArgAction::Set)]
    cluster_workspaces: bool,

    /// The namespace whose Secrets, ConfigMaps and ServiceAccounts ClusterDatabricksWorkspaces name. Default: the Pod's own.
    #[arg(long, value_name = "NAME", env = "DBRUN_OPERATOR_NAMESPACE")]
    operator_namespace: Option<String>,

    /// The file with the operator's own projected ServiceAccount token, for `tokenSource: Operator` in
    /// ClusterDatabricksWorkspaces. Its audience must be the one that Databricks or Entra expects. Default: none.
    #[arg(long, value_name = "PATH", env = "DBRUN_OPERATOR_TOKEN_FILE")]
    operator_token_file: Option<PathBuf>,

    /// The login host of Microsoft Entra, as `https://` and its name, for clouds whose own is not known, and for tests; it must
    /// be an allowed host, too. Default: the one of the workspace's cloud.
    #[arg(long, value_name = "HOST", env = "DBRUN_ENTRA_LOGIN_HOST")]
    entra_login_host: Option<Host>,

    /// Have one replica work and the others stand by, by a Lease. Without it every replica works: no run is started twice, but
    /// each is polled by all of them. `false` for a process outside the cluster that is surely the only one.
    #[arg(long, value_name = "BOOL", env = "DBRUN_LEADER_ELECT", default_value = "true", action = ArgAction::Set)]
    leader_elect: bool,

    /// The name of that Lease; replicas that share it share the work. The role that is shipped allows this one alone.
    #[arg(long, value_name = "NAME", env = "DBRUN_LEADER_ELECT_LEASE_NAME", default_value = "databricks-run-operator")]
    leader_elect_lease_name: String,

    /// The namespace of that Lease. Default: the operator's own (`--operator-namespace`, or the Pod's).
    #[arg(long, value_name = "NAME", env = "DBRUN_LEADER_ELECT_NAMESPACE")]
    leader_elect_namespace: Option<String>,

    /// Requests per second to one Databricks host, whatever the number of workspaces and runs.
    #[arg(long, value_name = "NUMBER", env = "DBRUN_REQUESTS_PER_SECOND", default_value = "15", value_parser = rate)]
    requests_per_second: f64,
}

/// A time such as `30s`, `4m` or `1h30m`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let duration = seconds.or_else(|| Duration::try_from(text.parse::<SignedDuration>().ok()?).ok());
    match duration {
        Some(duration) if (Duration::from_secs(1)..=Duration::from_hours(24)).contains(&duration) => Ok(duration),
        _ => Err("write a time between 1s and 24h, such as 30s, 4m or 1h30m".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.1..=1000.0).contains(&rate) => Ok(rate),
        _ => Err("write a number between 0.1 and 1000".to_owned()),
    }
}

impl RunArgs {
    /// Serves until SIGTERM or Ctrl-C. Whatever is wrong at the start is told in one line.
    #[must_use]
    pub fn serve(self) -> ExitCode {
        // Without one, the first TLS connection would fail. It can only be there already if somebody embeds us.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let served = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("the process cannot start: {error}"))
            .and_then(|runtime| runtime.block_on(self.serve_until(terminated())));
        match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("databricks-run-operator: {why}");
                ExitCode::FAILURE
            }
        }
    }

    async fn serve_until(self, stop: impl Future<Output = ()> + Send) -> Result<(), String> {
        let hosts = HostPolicy::new(&self.allowed_hosts).map_err(|error| format!("--allowed-host: {error}"))?;
        let hosts = hosts.with_addresses(&self.allowed_addresses);
        let hosts = hosts.map_err(|error| format!("--allowed-address: {error}"))?;
        let proxies =
            AllowedProxies::new(&self.allowed_proxies).map_err(|error| format!("--allowed-proxy: {error}"))?;
        let operator_namespace = self.operator_namespace.or_else(own_namespace);
        let leader_election = if self.leader_elect {
            let namespace = self.leader_elect_namespace.or_else(|| operator_namespace.clone()).ok_or(NO_LEASE)?;
            Some(LeaderElection { namespace, lease: self.leader_elect_lease_name })
        } else {
            None
        };
        log_level::serve(logs::init(self.log_format, &self.log_level).map_err(|error| error.to_string())?);
        let metrics = Arc::new(Metrics::new());
        let (heartbeat, readiness) = (Heartbeat::new(SILENCE), Readiness::default());
        let addresses = Addresses { health: self.health_address, metrics: self.metrics_address };
        let server = Server::start(addresses, heartbeat.clone(), readiness.clone(), Arc::clone(&metrics))
            .map_err(|error| error.to_string())?;
        let instance = instance();
        let traces = match &self.otlp_endpoint {
            Some(collector) => Traces::to(collector, &instance).map_err(|error| format!("--otlp-endpoint: {error}"))?,
            None => Traces::default(),
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"), instance, namespaces = ?self.namespaces,
            selector = self.watch_selector, allowed_hosts = ?self.allowed_hosts,
            allowed_addresses = ?self.allowed_addresses, allowed_proxies = ?self.allowed_proxies, ?leader_election,
            traces = self.otlp_endpoint.as_ref().map(ToString::to_string), allocator = memory::settings(),
            health = %server.addresses().health, metrics = %server.addresses().metrics,
            "starting"
        );
        let config = api_server::config().await?;
        let options = Options {
            namespaces: self.namespaces,
            selector: self.watch_selector.filter(|selector| !selector.trim().is_empty()),
            hosts,
            proxies,
            requests_per_second: self.requests_per_second,
            submit_timeout: self.submit_timeout,
            deletion_deadline: self.deletion_deadline,
            ttl_keep_keys: self.ttl_keep_keys,
            cluster_workspaces: self.cluster_workspaces,
            operator_namespace,
            operator_token_file: self.operator_token_file,
            entra_login_host: self.entra_login_host,
            leader_election,
            traces: traces.clone(),
            instance,
        };
        let ended = operate(config, options, metrics, Probes { heartbeat, readiness }, stop).await;
        server.stop();
        // It waits for the collector, which is nothing for a thread of the runtime.
        drop(tokio::task::spawn_blocking(move || traces.end()).await);
        ended.map_err(|error| error.to_string())
    }
}

/// What the probes are told.
struct Probes {
    heartbeat: Heartbeat,
    readiness: Readiness,
}

impl Pulse for Probes {
    fn beat(&self) {
        self.heartbeat.beat();
    }

    fn ready(&self) {
        self.readiness.ready();
    }

    fn waits_for(&self, what: String) {
        self.readiness.waits_for(what);
    }
}

/// The namespace of the Pod that this process runs in, if it runs in one.
fn own_namespace() -> Option<String> {
    let text = std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace").ok()?;
    Some(text.trim().to_owned()).filter(|name| !name.is_empty())
}

/// This process's name: the Pod's, and something that no other start has.
fn instance() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "local".to_owned());
    format!("{}_{:016x}", host.chars().take(63).collect::<String>(), rand::random::<u64>())
}

/// Ends with SIGTERM or SIGINT.
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "signals cannot be received; only killing ends this process");
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_run_has_a_twin_in_the_environment() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for flag in run.get_arguments().filter_map(|argument| argument.get_long()).filter(|flag| *flag != "help") {
            let twin = format!("DBRUN_{}", flag.to_uppercase().replace('-', "_"));
            let argument = run.get_arguments().find(|argument| argument.get_long() == Some(flag)).unwrap();
            assert_eq!(argument.get_env().and_then(|env| env.to_str()), Some(twin.as_str()));
        }
    }

    #[test]
    fn the_readme_tells_every_flag_with_its_twin_and_its_default() {
        let readme = include_str!("../README.md");
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for argument in run.get_arguments().filter(|argument| argument.get_id() != "help") {
            let row = format!("| `--{} ", argument.get_long().unwrap());
            let row = readme.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("no row {row}"));
            assert!(row.contains(argument.get_env().unwrap().to_str().unwrap()), "{row}");
            if let [default] = argument.get_default_values() {
                assert!(row.contains(default.to_str().unwrap()), "{row}");
            }
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, seconds) in [("30", 30), ("30s", 30), ("4m", 240), ("1h30m", 5400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "-5s", "4 apples", "48h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
