//! Operators that are started, stopped and killed: in this process, or as a process of their own.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use databricks_run_operator::controller::{Options, Pulse, operate};
use databricks_run_operator::databricks::host_policy::HostPolicy;
use databricks_run_operator::databricks::proxy::AllowedProxies;
use databricks_run_operator::telemetry::{Metrics, Traces};
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::oneshot;

use crate::cluster::{self, Folder, Launch, Leash};
use crate::wait::eventually;

/// Options of an operator for tests: one namespace, the loopback address allowed, short deadlines.
#[must_use]
#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a fixed text that parses")]
pub fn options(namespace: &str) -> Options {
    Options {
        namespaces: vec![namespace.to_owned()],
        selector: None,
        hosts: HostPolicy::new(["127.0.0.1"]).expect("an address may be allowed"),
        proxies: AllowedProxies::default(),
        requests_per_second: 100.0,
        submit_timeout: Duration::from_secs(2),
        deletion_deadline: Duration::from_mins(4),
        ttl_keep_keys: Vec::new(),
        // An operator that serves the workspaces of the cluster serves those of every test on its control plane: a test that
        // is about them has one to itself, in the cluster-wide mode.
        cluster_workspaces: false,
        operator_namespace: None,
        operator_token_file: None,
        entra_login_host: None,
        // Tests of the election have one; to the others it would be seconds of waiting and nothing else.
        leader_election: None,
        traces: Traces::default(),
        instance: format!("test_{:016x}", rand::random::<u64>()),
    }
}

/// What a kubeconfig file says.
#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "a kubeconfig that cannot be read fails the test")]
pub async fn config(kubeconfig: &Path) -> Config {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig can be read");
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("the kubeconfig can be used")
}

/// An operator in this process, on a runtime of its own, as it would be in a process of its own.
pub struct Operator {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// What it counts.
    pub metrics: Arc<Metrics>,
}

#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "an operator that cannot start fails the test")]
impl Operator {
    /// Starts one.
    #[must_use]
    pub fn start(config: Config, options: Options) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let metrics = Arc::new(Metrics::new());
        let counted = Arc::clone(&metrics);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            let stop = async move { drop(stopped.await) };
            let work = operate(config, options, counted, NoProbes, stop);
            runtime.expect("a runtime").block_on(work).expect("the operator works until it is stopped");
        });
        Self { stop: Some(stop), thread: Some(thread), metrics }
    }

    /// Stops it as SIGTERM would, and waits for its end.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself, and the test fails by what it waits for.
            let _ = thread.join();
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.end();
    }
}

/// Nobody probes an operator within a test.
struct NoProbes;

impl Pulse for NoProbes {
    fn beat(&self) {}

    fn ready(&self) {}

    fn waits_for(&self, _: String) {}
}

/// Where the operator with this log answers `/metrics`.
pub(crate) fn metrics_address(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("starting") && line.contains("metrics"))?;
    let (_, after) = line.rsplit_once("metrics")?;
    let is_of_it = |c: &char| c.is_ascii_digit() || ".:".contains(*c);
    Some(after.chars().skip_while(|c| !c.is_ascii_digit()).take_while(is_of_it).collect())
}

/// An operator as a process of its own; killed when dropped, and with this process at the latest.
pub struct OperatorProcess {
    leash: Leash,
    /// Of its log; gone when the process is.
    _folder: Folder,
}

#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "an operator that cannot start fails the test")]
impl OperatorProcess {
    /// Starts one that serves these namespaces (none means all). What `flags` say goes before what every test says;
    /// `environment` is more of that, each as `NAME=VALUE`.
    pub(super) fn start(
        program: &str,
        kubeconfig: &Path,
        namespaces: &[String],
        flags: &[&str],
        environment: &[String],
    ) -> Self {
        let mut assignment = OsString::from("KUBECONFIG=");
        assignment.push(kubeconfig);
        // In the environment, so that a flag can say otherwise.
        let of_every_test = [
            "DBRUN_ALLOWED_HOST=127.0.0.1",
            "DBRUN_CLUSTER_WORKSPACES=false",
            "DBRUN_HEALTH_ADDRESS=127.0.0.1:0",
            "DBRUN_LEADER_ELECT=false",
            "DBRUN_METRICS_ADDRESS=127.0.0.1:0",
            "DBRUN_REQUESTS_PER_SECOND=100",
            "DBRUN_SUBMIT_TIMEOUT=2s",
        ];
        let mut arguments = vec![assignment];
        arguments.extend(of_every_test.iter().map(OsString::from));
        arguments.extend(environment.iter().map(OsString::from));
        arguments.extend([program, "run"].iter().chain(flags).map(OsString::from));
        arguments.extend(namespaces.iter().map(|name| OsString::from(format!("--namespace={name}"))));
        let folder = Folder::create().expect("a folder can be made");
        let leash = Leash::start(&Launch { name: "operator", program: "env".into(), arguments }, &folder);
        Self { leash: leash.expect("the operator can be started"), _folder: folder }
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.leash.log()
    }

    /// What its `/metrics` says.
    pub async fn scrape(&self) -> String {
        let address = metrics_address(&self.log()).expect("it has said where its metrics are");
        let answer = reqwest::get(format!("http://{address}/metrics")).await.expect("its metrics can be asked for");
        answer.text().await.expect("its metrics can be read")
    }

    /// Fails if it has ended on its own.
    pub fn check(&mut self) -> Result<(), cluster::Error> {
        self.leash.check()
    }

    /// Stops it in its tracks (SIGSTOP), as a frozen machine would be, until [`Self::resume`].
    pub fn pause(&mut self) {
        self.leash.signal("STOP").expect("the operator runs and can be paused");
    }

    /// Lets it go on where it was.
    pub fn resume(&mut self) {
        self.leash.signal("CONT").expect("the operator is there and can go on");
    }

    /// Waits until it has logged this; fails with the end of its log.
    pub async fn logs(&self, text: &str) {
        eventually(&format!("the operator to log \"{text}\""), async || {
            let log = self.leash.log();
            if log.contains(text) { Ok(()) } else { Err(log) }
        })
        .await;
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub fn kill(self) {
        drop(self);
    }

    /// Asks it to stop (SIGTERM).
    pub fn terminate(&mut self) {
        self.leash.signal("TERM").expect("the operator runs and can be asked");
    }

    /// Waits for its end; whether it ended well.
    #[must_use]
    pub fn ended_well(mut self) -> bool {
        self.leash.wait().expect("the operator can be waited for").success()
    }
}
