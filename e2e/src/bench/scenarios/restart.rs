//! A watch that must list everything anew, and an operator that is killed and another that takes over, under many live runs.
//! Nothing has changed meanwhile, so nothing may be written and nothing started.

use std::time::{Duration, Instant};

use super::super::Failure;
use super::super::figures::{Outcome, number};
use super::super::subject::Subject;
use super::Scene;

/// MiB that it may ever have.
pub(super) const MEMORY: f64 = 128.0;
/// How long after the lease is held every run must have been looked at, in seconds.
const LOOKED_AT: f64 = 15.0;
const PATIENCE: Duration = Duration::from_mins(5);
/// Long enough for whatever would be written to be written.
const AFTERWARDS: Duration = Duration::from_mins(1);
const LISTS: &str = "databricks_operator_watch_lists_total";
const UNREAD: &str = "databricks_operator_runs_unread";

/// Kills the API server and starts it again, so that watches break and everything is listed anew.
pub(super) async fn relist(scene: &mut Scene<'_>, outcome: &mut Outcome, memory: f64) -> Result<(), Failure> {
    let lists = scene.subject.scrape().await?.sum(LISTS, "");
    scene.world.control_plane.lock().await.start_api_server().await?;
    let begun = Instant::now();
    while begun.elapsed() < AFTERWARDS {
        tokio::time::sleep(Duration::from_secs(1)).await;
        scene.subject.check()?;
    }
    outcome.tell(
        "complete lists after the API server's restart",
        "",
        scene.subject.scrape().await?.sum(LISTS, "") - lists,
    );
    outcome.promise("memory, peak, relist included", "MiB", scene.subject.peak_memory()?, memory);
    Ok(())
}

/// Kills the operator and starts another.
pub(super) async fn under(scene: &mut Scene<'_>, live: usize) -> Result<Outcome, Failure> {
    let about = format!("the operator is killed and another started while {live} runs are live and none ends");
    let started = scene.world.runs_started();
    scene.subject.kill();
    scene.subject = Subject::start(scene.players.kind, scene.players.programs, &scene.world).await?;
    let window = scene.look().await?;
    let waits = Instant::now();
    while scene.subject.scrape().await?.sum("leader_election_master_status", "") < 1.0 {
        patient(waits)?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let leads = Instant::now();
    let mut looked_at = None;
    // The gauge is 0, too, before it is known what is live.
    let mut begun = false;
    while looked_at.is_none() && patient(leads).is_ok() {
        let scrape = scene.subject.scrape().await?;
        let unread = scrape.sum(UNREAD, "");
        begun |= unread > 0.0;
        looked_at = Some(leads.elapsed().as_secs_f64()).filter(|_| begun && scrape.has(UNREAD) && unread == 0.0);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(AFTERWARDS).await;
    let span = scene.looked(window).await?;
    let mut outcome = scene.outcome("g restart", about);
    outcome.live = Some(live);
    outcome.tell("start to lease", "s", leads.duration_since(waits).as_secs_f64());
    outcome.promise("lease to every run looked at", "s", looked_at, LOOKED_AT);
    outcome.promise("writes of objects", "", number(span.versions), 0.0);
    outcome.promise("runs started again", "", number(scene.world.runs_started() - started), 0.0);
    outcome.tell("processors", "", span.processors());
    span.tell(&mut outcome, 0);
    outcome.promise("memory, peak", "MiB", scene.subject.peak_memory()?, MEMORY);
    Ok(outcome)
}

fn patient(since: Instant) -> Result<(), Failure> {
    if since.elapsed() > PATIENCE { Err("the operator did not take over in time".into()) } else { Ok(()) }
}
