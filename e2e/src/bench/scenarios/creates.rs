//! Objects that are created: by users over time, all at once, and at a steady rate. Of the waits, the API's own part is told
//! apart.

use std::time::Duration;

use super::super::Failure;
use super::super::figures::Outcome;
use super::super::people;
use super::super::world::{ALLOWED, World};
use super::lags::{tell_ends, tell_failures, tell_starts};
use super::{Players, Scene, scaled};

/// What a start may take beside the API's own time, in milliseconds.
const START: f64 = 300.0;
/// How long to wait for what is still to come when nothing more is created.
const PATIENCE: Duration = Duration::from_mins(15);
const HOUR: Duration = Duration::from_hours(1);

/// 25 users create a run every 12 seconds, as the load test of azure-databricks-operator has it.
pub(super) async fn users(players: Players<'_>, scale: f64) -> Result<Vec<Outcome>, Failure> {
    let (count, span) = (scaled(375, scale), Duration::from_millis(480));
    let about = format!(
        "25 users create a run every 12 s, {count} in all, in a workspace that allows {ALLOWED} requests/s; runs of a minute"
    );
    let mut scene = Scene::open(players, World::with(1, Duration::from_mins(1)).await?).await?;
    let window = scene.look().await?;
    let created = people::every(&scene.world, "run", count, span).await?;
    scene.witness.until("all ended", PATIENCE, |tally| tally.ended == count).await?;
    let span = scene.looked(window).await?;
    let mut outcome = scene.outcome("a users", about);
    tell_starts(&mut outcome, &scene, &created, Some(START));
    tell_ends(&mut outcome, &scene, None, None);
    tell_failures(&mut outcome, &scene);
    outcome.tell("processors", "", span.processors());
    span.tell(&mut outcome, count);
    outcome.tell("memory, peak", "MiB", scene.subject.peak_memory()?);
    Ok(vec![outcome])
}

/// Two thousand objects, as fast as they can be created. No start can be faster than the workspace allows.
pub(super) async fn burst(players: Players<'_>, scale: f64) -> Result<Vec<Outcome>, Failure> {
    let count = scaled(2000, scale);
    let about = format!("{count} objects at once in one workspace that allows {ALLOWED} requests/s; runs of an hour");
    let mut scene = Scene::open(players, World::with(1, HOUR).await?).await?;
    let window = scene.look().await?;
    let created = people::burst(&scene.world, "run", count).await?;
    scene.witness.until("all started", PATIENCE, |tally| tally.started == count).await?;
    let span = scene.looked(window).await?;
    let mut outcome = scene.outcome("b burst", about);
    tell_starts(&mut outcome, &scene, &created, None);
    outcome.tell("all started after", "s", span.seconds);
    outcome.tell("processors", "", span.processors());
    span.tell(&mut outcome, count);
    outcome.tell("memory, peak", "MiB", scene.subject.peak_memory()?);
    Ok(vec![outcome])
}

/// 5, 10 and 20 a second over eight workspaces, a minute and a half each. All runs go on.
pub(super) async fn sustained(players: Players<'_>, scale: f64) -> Result<Vec<Outcome>, Failure> {
    const WORKSPACES: usize = 8;
    let mut scene = Scene::open(players, World::with(WORKSPACES, HOUR).await?).await?;
    let (mut outcomes, mut all) = (Vec::new(), 0);
    for rate in [5_u32, 10, 20] {
        let count = scaled(90 * rate, scale);
        let about = format!(
            "{rate} objects/s, {count} in all, over {WORKSPACES} workspaces that allow {ALLOWED} requests/s each; runs of an hour"
        );
        let window = scene.look().await?;
        let created = people::every(&scene.world, &format!("at-{rate}"), count, Duration::from_secs(1) / rate).await?;
        all += count;
        scene.witness.until("all started", PATIENCE, |tally| tally.started == all).await?;
        let span = scene.looked(window).await?;
        let mut outcome = scene.outcome(&format!("c {rate}/s"), about);
        tell_starts(&mut outcome, &scene, &created, Some(START).filter(|_| rate == 10));
        if rate == 20 {
            outcome.promise("processors", "", span.processors(), 1.0);
        } else {
            outcome.tell("processors", "", span.processors());
        }
        span.tell(&mut outcome, count);
        outcome.tell("memory, peak", "MiB", scene.subject.peak_memory()?);
        outcomes.push(outcome);
    }
    Ok(outcomes)
}
