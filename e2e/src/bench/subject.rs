//! What is measured: the operator as it is shipped, or the baseline, as a process of its own whose time and memory are its own.
//! The operator gets its defaults and the rights that are shipped, or the figures would be of something nobody runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::Failure;
use super::scrape::Scrape;
use super::world::World;
use crate::cluster::{Folder, Launch, Leash};
use crate::stage::metrics_address;

/// Ticks of a processor's time in a second, as Linux tells them to every program.
const TICKS: f64 = 100.0;
const MIB: f64 = 1024.0 * 1024.0;
const SAMPLES_EVERY: Duration = Duration::from_millis(500);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// This operator.
    Operator,
    /// What users would otherwise run: see [`super::baseline`].
    Baseline,
}

/// The programs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The operator, as it is released.
    pub operator: PathBuf,
    /// A program that is the baseline when it is called with `baseline`.
    pub baseline: PathBuf,
}

/// Builds the operator as it is released; the program.
pub async fn release_build() -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = tokio::process::Command::new(cargo);
    build.args(["build", "--release", "--package", "databricks-run-operator", "--bin", "databricks-run-operator"]);
    build.args(["--message-format", "json-render-diagnostics"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = build.stderr(Stdio::inherit()).output().await?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    };
    let program = told.lines().filter_map(program).next_back();
    program.filter(|_| output.status.success()).ok_or_else(|| "the operator cannot be built; see above".into())
}

/// A process that is measured; killed when dropped.
pub(super) struct Subject {
    leash: Leash,
    kind: Kind,
    /// Of its log.
    _folder: Folder,
    /// Where `/metrics` is answered; the baseline has none.
    metrics: Option<String>,
    resident: Arc<Mutex<Vec<f64>>>,
    sampling: JoinHandle<()>,
}

impl Subject {
    /// Starts one on this world.
    pub(super) async fn start(kind: Kind, programs: &Programs, world: &World) -> Result<Self, Failure> {
        let folder = Folder::create()?;
        let arguments = match kind {
            Kind::Operator => operator(&programs.operator, world),
            Kind::Baseline => baseline(&programs.baseline, world),
        };
        let launch = Launch { name: "subject", program: "env".into(), arguments };
        let leash = Leash::start(&launch, &folder)?;
        let resident: Arc<Mutex<Vec<f64>>> = Arc::default();
        let (kept, process) = (Arc::clone(&resident), leash.process_id().to_owned());
        let sampling = tokio::spawn(async move {
            while let Some(bytes) = memory(&process, "VmRSS:") {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
                tokio::time::sleep(SAMPLES_EVERY).await;
            }
        });
        let mut subject = Self { leash, kind, _folder: folder, metrics: None, resident, sampling };
        if kind == Kind::Operator {
            subject.metrics = Some(subject.metrics_address().await?);
        }
        Ok(subject)
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Fails if it has ended on its own.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        Ok(self.leash.check()?)
    }

    /// Kills it, as a machine that fails would.
    pub(super) fn kill(&mut self) {
        self.leash.kill();
    }

    /// Seconds of a processor used so far.
    pub(super) fn processor_seconds(&self) -> Result<f64, Failure> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.leash.process_id()))?;
        // After the name, which may hold anything: state, and so on; user and system time are the 12th and 13th from there.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).ok_or("no time in /proc");
        Ok((ticks(11)? + ticks(12)?) / TICKS)
    }

    /// The most memory it ever had, in MiB.
    pub(super) fn peak_memory(&self) -> Result<f64, Failure> {
        Ok(memory(self.leash.process_id(), "VmHWM:").ok_or("no memory in /proc")? / MIB)
    }

    /// Its memory now and then since the last call, in MiB.
    pub(super) fn memory_since(&self) -> Vec<f64> {
        let samples = std::mem::take(&mut *self.resident.lock().unwrap_or_else(PoisonError::into_inner));
        samples.into_iter().map(|bytes| bytes / MIB).collect()
    }

    /// Where it says that its metrics are, once it has said so.
    async fn metrics_address(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(address) = metrics_address(&self.leash.log()) {
                return Ok(address);
            }
            self.check()?;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What its `/metrics` says; nothing of the baseline, which has none.
    pub(super) async fn scrape(&self) -> Result<Scrape, Failure> {
        let Some(address) = &self.metrics else { return Ok(Scrape::default()) };
        let text = reqwest::get(format!("http://{address}/metrics")).await?.text().await?;
        Ok(Scrape::read(&text))
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.sampling.abort();
    }
}

/// One line of the kernel's account, in bytes.
fn memory(process: &str, line: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let text = status.lines().find_map(|text| text.strip_prefix(line))?;
    Some(text.trim().trim_end_matches(" kB").parse::<f64>().ok()? * 1024.0)
}

fn assignment(name: &str, value: impl AsRef<Path>) -> OsString {
    let mut assignment = OsString::from(format!("{name}="));
    assignment.push(value.as_ref());
    assignment
}

/// As it is shipped, but for what a fake workspace on this machine asks for.
fn operator(program: &Path, world: &World) -> Vec<OsString> {
    vec![
        assignment("KUBECONFIG", world.rights.kubeconfig()),
        "DBRUN_ALLOWED_HOST=127.0.0.1".into(),
        "DBRUN_HEALTH_ADDRESS=127.0.0.1:0".into(),
        "DBRUN_METRICS_ADDRESS=127.0.0.1:0".into(),
        assignment("DBRUN_OPERATOR_NAMESPACE", world.rights.home()),
        program.into(),
        "run".into(),
    ]
}

fn baseline(program: &Path, world: &World) -> Vec<OsString> {
    let flag = |name: &str, value: &str| OsString::from(format!("--{name}={value}"));
    vec![
        assignment("KUBECONFIG", world.cluster.kubeconfig_path()),
        program.into(),
        "baseline".into(),
        flag("namespace", &world.namespace),
    ]
}
