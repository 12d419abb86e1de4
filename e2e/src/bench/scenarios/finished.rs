//! Very many runs that have ended: they must cost next to nothing. The objects are copies of one that the operator itself has
//! brought to its end.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::core::ObjectMeta;
use serde_json::json;

use super::super::Failure;
use super::super::figures::{Outcome, number};
use super::super::people;
use super::super::subject::Subject;
use super::super::world::World;
use super::{Players, Scene, restart, scaled};

/// MiB that it may ever have, a relist included.
const MEMORY: f64 = 200.0;
/// Of a processor, while nothing happens.
const IDLE: f64 = 0.01;
const AT_ONCE: usize = 24;
const OBSERVED: Duration = Duration::from_mins(2);
const PATIENCE: Duration = Duration::from_mins(5);

pub(super) async fn at_rest(players: Players<'_>, scale: f64) -> Result<Vec<Outcome>, Failure> {
    let count = scaled(50_000, scale);
    let about = format!("{count} finished runs, each with 4 KiB of output of three tasks, and none that is live");
    let mut scene = Scene::open(players, World::with(1, Duration::from_secs(1)).await?).await?;
    let original = original(&scene).await?;
    scene.subject.kill();
    let copies = (1..count).map(|number| copy(scene.world.objects(), &original, format!("copy-{number}")));
    stream::iter(copies).buffer_unordered(AT_ONCE).try_for_each(async |()| Ok(())).await?;

    scene.witness.until("all seen", PATIENCE, |tally| tally.ended == count).await?;
    scene.subject = Subject::start(players.kind, players.programs, &scene.world).await?;
    let settled = scene.look().await?;
    let shown = "databricks_operator_runs";
    let begun = std::time::Instant::now();
    while scene.subject.scrape().await?.sum(shown, "") < number(count) {
        if begun.elapsed() > PATIENCE {
            return Err("the operator does not show all runs".into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let known = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let start = scene.looked(settled).await?;
    let window = scene.look().await?;
    tokio::time::sleep(OBSERVED).await;
    let span = scene.looked(window).await?;

    let mut outcome = scene.outcome("f finished", about);
    outcome.tell("all known after", "s", known.as_secs_f64());
    outcome.promise("writes of objects", "", number(start.versions + span.versions), 0.0);
    outcome.promise("processors while nothing happens", "", span.processors(), IDLE);
    span.tell(&mut outcome, 0);
    outcome.tell("memory, peak of the start", "MiB", scene.subject.peak_memory()?);
    restart::relist(&mut scene, &mut outcome, MEMORY).await?;
    Ok(vec![outcome])
}

/// A run that the operator has followed to its end.
async fn original(scene: &Scene<'_>) -> Result<DynamicObject, Failure> {
    people::burst(&scene.world, "original", 1).await?;
    scene.witness.until("finished", PATIENCE, |tally| tally.ended == 1).await?;
    // Its last write lets go of the object.
    while scene.world.runs().get("original-0").await?.is_held() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(scene.world.objects().get("original-0").await?)
}

/// Another object that says the same.
async fn copy(runs: Api<DynamicObject>, original: &DynamicObject, name: String) -> Result<(), Failure> {
    let mut object = original.clone();
    object.metadata =
        ObjectMeta { name: Some(name.clone()), labels: original.metadata.labels.clone(), ..ObjectMeta::default() };
    let created = runs.create(&PostParams::default(), &object).await?;
    let mut status = json!({"status": original.data["status"]}).to_string();
    if let (Some(of), Some(is)) = (&original.metadata.uid, &created.metadata.uid) {
        status = status.replace(of, is);
    }
    let status: serde_json::Value = serde_json::from_str(&status)?;
    runs.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}
