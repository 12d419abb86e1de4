//! Starts operator processes, waits until they come to where they are to die, and kills them there.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use databricks_run_operator::controller::fail_points::{ANNOUNCEMENT, VARIABLE};
use kube::ResourceExt;
use kube::api::ListParams;
use rand::RngExt;
use rand::rngs::StdRng;

use super::plan::Target;
use super::witness::Witness;
use super::{Failure, Options};
use crate::stage::{LEASE, OperatorProcess, RunView, Stage};
use crate::wait::{TimedOut, eventually, try_eventually};
use crate::workspace::Millis;

/// How long a point is waited for. Then the process dies where it is.
const PATIENCE: Duration = Duration::from_secs(12);
/// A process that dies at a random time dies within this time of its start.
const LIFE: Duration = Duration::from_millis(2500);
/// Between two looks into a log.
const LOOK: Duration = Duration::from_millis(5);
/// Logs that are kept.
const KEPT: usize = 40;
/// The shortest deadline there is, so that what a killed process has sent is taken over soon.
const FLAGS: [&str; 2] = ["--submit-timeout", "1s"];

/// With the namespace of their Lease, if they elect one of them.
fn flags(election: Option<&str>) -> Vec<String> {
    let of_the_election =
        election.map(|home| ["--leader-elect=true".to_owned(), format!("--leader-elect-namespace={home}")]);
    FLAGS.iter().map(|flag| (*flag).to_owned()).chain(of_the_election.into_iter().flatten()).collect()
}

/// A process and the name its intents begin with.
pub(super) struct Victim {
    process: OperatorProcess,
    host: String,
}

/// A death.
#[derive(Debug, Clone, Copy)]
pub(super) struct Death {
    /// The point, if it died at one.
    pub(super) at: Option<&'static str>,
    /// It was to die at a point that it did not come to.
    pub(super) in_vain: bool,
    /// Starts that it left open.
    pub(super) open: usize,
}

/// Kills.
pub(super) struct Killer {
    stage: Arc<Stage>,
    witness: Witness,
    program: String,
    flags: Vec<String>,
    started: u32,
    /// The starts that were left open by processes that died, by object and serial.
    hit: BTreeSet<(String, i64)>,
    last: Instant,
    logs: VecDeque<String>,
    naps: Vec<Nap>,
}

/// When a process was frozen, on the workspace's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Nap {
    pub(super) from: Millis,
    pub(super) to: Millis,
}

#[expect(clippy::expect_used, reason = "without its processes the test fails")]
impl Killer {
    pub(super) fn new(stage: &Arc<Stage>, witness: &Witness, options: &Options) -> Self {
        Self {
            stage: Arc::clone(stage),
            witness: witness.clone(),
            program: options.program.clone(),
            flags: flags(options.election.then(|| stage.rights.home())),
            started: 0,
            hit: BTreeSet::new(),
            last: Instant::now(),
            logs: VecDeque::new(),
            naps: Vec::new(),
        }
    }

    /// Starts a process that dies nowhere by itself, or at a target.
    pub(super) fn start(&mut self, target: Option<Target>) -> Victim {
        self.started += 1;
        let host = format!("op-{}", self.started);
        let mut environment = vec![format!("HOSTNAME={host}")];
        if let Some(Target::Point(point, nth)) = target {
            environment.push(format!("{VARIABLE}={}:{nth}", point.as_str()));
        }
        let flags: Vec<_> = self.flags.iter().map(String::as_str).collect();
        let process = self.stage.process_with(&self.program, &flags, &environment);
        Victim { process, host }
    }

    /// Starts a process, waits until it is at the target, and kills it there.
    pub(super) async fn kill_at(&mut self, target: Target, random: &mut StdRng) -> Death {
        let victim = self.start(Some(target));
        self.kill_there(victim, target, random).await
    }

    /// Waits until a process is at its target, and kills it there.
    pub(super) async fn kill_there(&mut self, mut victim: Victim, target: Target, random: &mut StdRng) -> Death {
        let at = match target {
            Target::Anywhere => {
                tokio::time::sleep(LIFE.mul_f64(random.random())).await;
                None
            }
            Target::Point(point, _) => announced(&mut victim).await.then(|| point.as_str()),
        };
        let death = self.kill(victim).await;
        Death { at, in_vain: at.is_none() && target != Target::Anywhere, ..death }
    }

    /// Kills a process wherever it is.
    pub(super) async fn kill(&mut self, mut victim: Victim) -> Death {
        victim.process.check().expect("the operator has not ended by itself");
        let Victim { process, host } = victim;
        self.keep_log(&host, &process.log());
        process.kill();
        self.last = Instant::now();
        let objects = self.stage.runs().list(&ListParams::default()).await.expect("objects can be listed");
        let left = objects.into_iter().filter_map(|object| {
            let name = object.name_any();
            let intent = object.status?.intent?;
            intent.holder.starts_with(&format!("{host}_")).then_some((name, intent.serial))
        });
        let left: Vec<_> = left.collect();
        let open = left.len();
        self.hit.extend(left);
        Death { at: None, in_vain: false, open }
    }

    /// Waits until one of these processes leads; which.
    pub(super) async fn leading(&self, among: impl Iterator<Item = &Victim> + Clone) -> usize {
        eventually("one of the replicas to lead", async || {
            let leases = self.stage.leases().get_opt(LEASE).await.map_err(|error| error.to_string())?;
            let holder = leases.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
            let leads = |victim: &Victim| holder.starts_with(&format!("{}_", victim.host));
            among.clone().position(leads).ok_or(holder)
        })
        .await
    }

    /// Freezes a process wherever it is.
    pub(super) fn put_to_sleep(&mut self, victim: &mut Victim) {
        let from = self.stage.databricks.clock().now();
        victim.process.pause();
        self.naps.push(Nap { from, to: Millis::MAX });
    }

    /// Lets it go on.
    pub(super) fn wake(&mut self, victim: &mut Victim) {
        victim.process.resume();
        if let Some(nap) = self.naps.last_mut() {
            nap.to = self.stage.databricks.clock().now();
        }
    }

    /// When processes were frozen.
    pub(super) fn naps(&self) -> &[Nap] {
        &self.naps
    }

    /// Whether there is something to take over.
    pub(super) fn has_left_a_start_open(&self) -> bool {
        let objects = self.witness.objects();
        self.hit.iter().any(|(name, serial)| objects.get(name).is_some_and(|seen| is_open(seen, *serial)))
    }

    /// Waits until every start that was hit is settled; how long that took since the last death.
    pub(super) async fn wait_for_recovery(&mut self) -> Result<Duration, TimedOut> {
        let (hit, witness) = (&self.hit, &self.witness);
        try_eventually("every start that was hit to be settled", async || {
            let objects = witness.objects();
            let open = |(name, serial): &(String, i64)| {
                let seen = objects.get(name).filter(|seen| is_open(seen, *serial))?;
                Some(shown(name, seen))
            };
            match hit.iter().find_map(open) {
                Some(open) => Err(open),
                None => Ok(()),
            }
        })
        .await?;
        self.hit.clear();
        Ok(self.last.elapsed())
    }

    /// What a wait in vain is told with.
    pub(super) fn explain(&self, late: TimedOut) -> Failure {
        Failure::Unfinished(late, self.logs())
    }

    /// Keeps the log of a process that lives.
    pub(super) fn keep(&mut self, victim: &Victim) {
        self.keep_log(&victim.host, &victim.process.log());
    }

    fn keep_log(&mut self, host: &str, log: &str) {
        self.logs.push_back(format!("--- {host}\n{log}"));
        if self.logs.len() > KEPT {
            self.logs.pop_front();
        }
    }

    /// The logs of the last processes.
    pub(super) fn logs(&self) -> String {
        self.logs.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Whether this start is still open.
fn is_open(seen: &RunView, serial: i64) -> bool {
    let intent = seen.0.status.as_ref().and_then(|status| status.intent.as_ref());
    intent.is_some_and(|intent| intent.serial == serial)
}

fn shown(name: &str, seen: &RunView) -> String {
    format!("{name}: {:#}", seen.status())
}

/// Whether a process has come to its point in time.
#[expect(clippy::expect_used, reason = "an operator that ends by itself fails the test")]
async fn announced(victim: &mut Victim) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if victim.process.log().contains(ANNOUNCEMENT) {
            return true;
        }
        victim.process.check().expect("the operator has not ended by itself");
        tokio::time::sleep(LOOK).await;
    }
    false
}
