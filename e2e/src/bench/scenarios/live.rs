//! Many live runs, of which some end now and then. They have been there for a while, so that waits between two looks are as
//! long as they get.

use std::time::Duration;

use super::super::Failure;
use super::super::figures::Outcome;
use super::super::people::{self, Turnover};
use super::super::subject::Kind;
use super::super::witness::Witness;
use super::super::world::{ALLOWED, World};
use super::lags::{tell_ends, tell_failures};
use super::{Players, Scene, outage, restart, scaled};

/// Runs go on until they are told to end.
const LONG: Duration = Duration::from_hours(24);
/// How long a life is, as far as the number of ends in a second goes.
const LIFE: Duration = Duration::from_hours(1);
/// All have been looked at some times by then, so that their waits are as long as they get.
const SETTLING: Duration = Duration::from_secs(90);
const OVERDUE: &str = "databricks_operator_polls_overdue";
const PATIENCE: Duration = Duration::from_mins(20);
/// How long ends may stay unseen when no more happen.
const GRACE: Duration = Duration::from_mins(6);

/// What is promised.
struct Promise {
    requests_per_second: f64,
    lag: f64,
}

pub(super) async fn in_one_workspace(players: Players<'_>, scale: f64) -> Result<Vec<Outcome>, Failure> {
    let promise = Promise { requests_per_second: 10.0, lag: 6.0 };
    let (mut scene, outcome) = steady("d live", players, 1, scaled(1000, scale), scale, &promise).await?;
    let mut outcomes = vec![outcome];
    if players.kind == Kind::Operator {
        outcomes.push(outage::under(&mut scene).await?);
    }
    Ok(outcomes)
}

pub(super) async fn in_five_workspaces(players: Players<'_>, scale: f64) -> Result<Vec<Outcome>, Failure> {
    let live = scaled(10_000, scale);
    let promise = Promise { requests_per_second: 15.0, lag: 15.0 };
    let (mut scene, mut outcome) = steady("e many live", players, 5, live, scale, &promise).await?;
    if players.kind != Kind::Operator {
        return Ok(vec![outcome]);
    }
    restart::relist(&mut scene, &mut outcome, restart::MEMORY).await?;
    let restarted = restart::under(&mut scene, live).await?;
    Ok(vec![outcome, restarted])
}

/// So many live runs in so many workspaces, for five minutes, less in a trial.
async fn steady<'a>(
    name: &str,
    players: Players<'a>,
    workspaces: usize,
    live: usize,
    scale: f64,
    promise: &Promise,
) -> Result<(Scene<'a>, Outcome), Failure> {
    let mut scene = Scene::open(players, World::with(workspaces, LONG).await?).await?;
    grow(&scene, 0, live).await?;
    let observed = Duration::from_mins(5).mul_f64(scale.clamp(0.2, 1.0));
    let every = LIFE / u32::try_from(live)?;
    let outcome = observe(name, &mut scene, live, every, observed, Some(promise)).await?;
    Ok((scene, outcome))
}

/// The same workspace with more and more live runs.
pub(super) async fn growth(players: Players<'_>, scale: f64) -> Result<Vec<Outcome>, Failure> {
    let mut scene = Scene::open(players, World::with(1, LONG).await?).await?;
    let (mut outcomes, mut there) = (Vec::new(), 0);
    for full in [125, 250, 500, 1000, 2000] {
        let live = scaled(full, scale);
        grow(&scene, there, live).await?;
        there = live;
        let name = format!("growth {live}");
        let observed = Duration::from_mins(2);
        // More often for few, or there would be little to take a percentile of.
        let every = (LIFE / u32::try_from(live)?).min(Duration::from_secs(1));
        outcomes.push(observe(&name, &mut scene, live, every, observed, None).await?);
    }
    Ok(outcomes)
}

/// Has so many live runs be there, and be known to work for some time.
async fn grow(scene: &Scene<'_>, there: usize, live: usize) -> Result<(), Failure> {
    let before = scene.witness.tally();
    people::burst(&scene.world, &format!("run-{live}"), live - there).await?;
    let all = before.running + live - there;
    scene.witness.until("all running", PATIENCE, |tally| tally.running >= all).await?;
    tokio::time::sleep(SETTLING).await;
    caught_up(scene).await
}

/// Waits until nothing is left of what the start of so many runs at once has put off; of the baseline nobody knows.
async fn caught_up(scene: &Scene<'_>) -> Result<(), Failure> {
    let begun = std::time::Instant::now();
    while scene.subject.kind() == Kind::Operator && scene.subject.scrape().await?.sum(OVERDUE, "") > 0.0 {
        if begun.elapsed() > PATIENCE {
            return Err("polls are overdue for longer than is reasonable".into());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Looks at them for this time, in which one ends every so often.
async fn observe(
    name: &str,
    scene: &mut Scene<'_>,
    live: usize,
    every: Duration,
    observed: Duration,
    promise: Option<&Promise>,
) -> Result<Outcome, Failure> {
    let workspaces = scene.world.workspaces.len();
    let about = format!(
        "{live} live runs in {workspaces} workspace(s) that allow {ALLOWED} requests/s each; one ends every {:.2} s and is replaced",
        every.as_secs_f64()
    );
    let window = scene.look().await?;
    let turnover = Turnover::begin(&scene.world, &scene.witness, every);
    tokio::time::sleep(observed).await;
    let ended = turnover.stop().await?;
    let span = scene.looked(window).await?;
    wait_for_ends(&scene.witness, &ended).await?;
    let mut outcome = scene.outcome(name, about);
    outcome.live = Some(live);
    tell_ends(&mut outcome, scene, Some(&ended), promise.map(|promise| promise.lag));
    tell_failures(&mut outcome, scene);
    outcome.promise("runs too many", "", scene.runs_too_many(), 0.0);
    let rate = span.requests_per_second();
    match promise {
        Some(promise) => outcome.promise("requests of one workspace", "/s", rate, promise.requests_per_second),
        None => outcome.tell("requests of one workspace", "/s", rate),
    }
    if workspaces > 1 {
        outcome.promise("processors", "", span.processors(), 0.5);
    } else {
        outcome.tell("processors", "", span.processors());
    }
    span.tell(&mut outcome, 0);
    outcome.tell("memory, peak", "MiB", scene.subject.peak_memory()?);
    Ok(outcome)
}

/// Waits until the ends of these are seen, or as long as is reasonable.
async fn wait_for_ends(witness: &Witness, ended: &[i64]) -> Result<(), Failure> {
    let begun = std::time::Instant::now();
    while begun.elapsed() < GRACE {
        let objects = witness.objects();
        let seen = objects.values().filter(|track| track.ended.is_some());
        let seen: std::collections::HashSet<i64> = seen.filter_map(|track| Some(track.run?.0)).collect();
        if ended.iter().all(|id| seen.contains(id)) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}
