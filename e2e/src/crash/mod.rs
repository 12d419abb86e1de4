//! The crash test: operator processes with fail points on a real API server and the fake workspace, killed at every named
//! point and at random times while people create, edit and delete objects and the workspace loses answers. At the end
//! everything is let finish, and what is in the cluster is held against the workspace's own records.
//!
//! Nothing here knows how the operator keeps its promises, only what they are: it watches objects, and counts runs.

mod asked;
mod judge;
mod killer;
mod people;
mod plan;
mod replicas;
mod report;
mod weather;
mod witness;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;

use self::asked::Ledger;
use self::killer::{Killer, Victim};
use self::people::People;
use self::plan::{Company, Plan, SERIES};
pub use self::report::Report;
use self::witness::Witness;
use crate::stage::Stage;
use crate::wait::{TimedOut, try_eventually};
use crate::workspace;

/// How many times faster than written the fake's runs go.
const SPEED: u32 = 5;
/// How long the fake takes for an answer: long enough for two requests to meet.
const LATENCY: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(120));

/// What is played.
pub struct Options {
    /// How many processes are killed.
    pub kills: u32,
    /// Whether two replicas elect a leader; else operators work alone or beside each other.
    pub election: bool,
    /// What moves, targets and faults are drawn from. When they come to pass is up to the machine.
    pub seed: u64,
    /// The program that is the operator when it is called with `run`.
    pub program: String,
    /// Told a line now and then.
    pub progress: fn(&str),
}

/// What did not come to an end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The operator did not bring to an end what was begun, although nothing disturbs it any more.
    #[error("{0}\nthe log of the last operators:\n{1}")]
    Unfinished(TimedOut, String),
}

/// Plays it.
pub async fn play(options: &Options) -> Result<Report, Failure> {
    let begun = Instant::now();
    let mut fake = workspace::Options { seed: options.seed, ..workspace::Options::default() }.speed(SPEED);
    fake.settings.latency = Some(LATENCY);
    let stage = Arc::new(Stage::bare_with("crash", fake).await);
    stage.connect().await;
    let ledger = Arc::new(Ledger::default());
    let witness = Witness::start(&stage);
    let mut people = People::start(&stage, &ledger, &witness, options.seed);
    let mut random = StdRng::seed_from_u64(options.seed.wrapping_add(1));
    let mut plan = Plan::new();
    let mut killer = Killer::new(&stage, &witness, options);
    let mut report = Report::new(options);
    while report.kills() < options.kills {
        weather::set(&stage.databricks, &mut random);
        let series = SERIES.min(options.kills - report.kills());
        let survivors = if options.election {
            replicas::one_series(series, &mut plan, &mut killer, &mut random, &mut report).await
        } else {
            vec![one_series(series, &mut plan, &mut killer, &mut random, &mut report).await]
        };
        stage.databricks.clear_faults();
        report.recovered(killer.wait_for_recovery().await.map_err(|late| killer.explain(late))?);
        for survivor in survivors {
            report.killed(killer.kill(survivor).await);
        }
        (options.progress)(&report.progress(begun.elapsed()));
    }
    people.stop().await;
    let last = killer.start(None);
    let finished = everything_ends(&stage, &ledger, &witness).await;
    killer.keep(&last);
    report.last_end(finished.map_err(|late| killer.explain(late))?);
    judge::judge(&stage, &ledger, &witness, killer.naps(), &mut report).await;
    report.took(begun.elapsed());
    if !report.is_clean() {
        report.keep_logs(killer.logs());
    }
    Ok(report)
}

/// Kills all of a series but the last, which is left in peace first; that one.
async fn one_series(
    kills: u32,
    plan: &mut Plan,
    killer: &mut Killer,
    random: &mut StdRng,
    report: &mut Report,
) -> Victim {
    let company = plan.company(random);
    let mut companion = (company != Company::Alone).then(|| killer.start(None));
    let mut asleep = false;
    for turn in 1..kills {
        if let Some(companion) = companion.as_mut().filter(|_| company == Company::Sleeper && turn == 2) {
            killer.put_to_sleep(companion);
            asleep = true;
        }
        let alone = companion.is_none() || asleep;
        let target = plan.next(random, alone && killer.has_left_a_start_open());
        let death = killer.kill_at(target, random).await;
        if death.in_vain {
            plan.again(target);
        }
        report.killed(death);
    }
    match companion {
        Some(mut sleeper) if asleep => {
            killer.wake(&mut sleeper);
            sleeper
        }
        Some(companion) => companion,
        None => killer.start(None),
    }
}

/// Lets everything finish: runs that would go on for ever are told to end, and every object is waited for.
async fn everything_ends(stage: &Stage, ledger: &Ledger, witness: &Witness) -> Result<Duration, TimedOut> {
    let begun = Instant::now();
    stage.databricks.clear_faults();
    let mut told = BTreeSet::new();
    try_eventually("every object to be finished and let go of", async || {
        let objects = witness.objects();
        // Not those that no object speaks of: they must be found.
        let named = objects.values().filter_map(|object| object.text("runId").parse::<i64>().ok());
        for run in named.filter(|run| stage.databricks.run(*run).is_some_and(|run| run.active)) {
            if told.insert(run) {
                stage.databricks.finish(run);
            }
        }
        let open = ledger.under_way(&objects);
        if open.is_empty() { Ok(()) } else { Err(open.into_values().collect::<Vec<_>>().join("\n")) }
    })
    .await?;
    Ok(begun.elapsed())
}
