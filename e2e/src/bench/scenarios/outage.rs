//! A minute in which the workspace answers nothing, and what comes after it. An outage is no news about any run: nothing may be
//! written.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::Failure;
use super::super::figures::{Outcome, number};
use super::Scene;
use crate::workspace::{Fault, Kind, Operation};

const OUTAGE: Duration = Duration::from_mins(1);
/// How long after the return every state may stay unknown, in seconds.
const REFRESHED: f64 = 60.0;
const PATIENCE: Duration = Duration::from_mins(5);
/// Tasks of a run that goes on are written up to a minute after the run itself.
const QUIET: Duration = Duration::from_secs(70);

/// The outage, while these live runs go on.
pub(super) async fn under(scene: &mut Scene<'_>) -> Result<Outcome, Failure> {
    let (world, witness) = (Arc::clone(&scene.world), Arc::clone(&scene.witness));
    let (workspace, _) = world.workspaces.first().ok_or("no workspace")?;
    let about = format!("no answer but errors and resets for {} s while all runs go on", OUTAGE.as_secs());
    let mut versions = witness.tally().versions;
    // A few times: whoever writes all the time is found out below.
    for _ in 0..5 {
        tokio::time::sleep(QUIET).await;
        let before = std::mem::replace(&mut versions, witness.tally().versions);
        if before == versions {
            break;
        }
    }
    let window = scene.look().await?;
    workspace.fault(Fault::everywhere(Kind::unavailable()).per_mille(500));
    workspace.fault(Fault::everywhere(Kind::Reset));
    tokio::time::sleep(OUTAGE).await;
    workspace.clear_faults();
    let (back, asked) = (Instant::now(), workspace.requests_so_far());
    let objects = witness.objects();
    let live: BTreeSet<i64> =
        objects.values().filter(|track| track.ended.is_none()).filter_map(|track| Some(track.run?.0)).collect();
    let refreshed = loop {
        let mut seen = BTreeSet::new();
        for entry in workspace.requests_from(asked).into_iter().filter(|entry| entry.status == Some(200)) {
            seen.extend(entry.listed);
            seen.extend(entry.run_id.filter(|_| entry.operation == Operation::GetRun));
        }
        if live.is_subset(&seen) {
            break Some(back.elapsed().as_secs_f64());
        }
        if back.elapsed() > PATIENCE {
            break None;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let span = scene.looked(window).await?;
    let mut outcome = scene.outcome("h outage", about);
    let now = witness.objects();
    let failed = now.values().filter(|track| track.state == "Failed").count();
    outcome.tell("live runs", "", number(live.len()));
    outcome.promise("runs declared failed", "", number(failed), 0.0);
    outcome.promise("writes of objects", "", number(span.versions), 0.0);
    outcome.promise("every state read again after", "s", refreshed, REFRESHED);
    span.tell(&mut outcome, 0);
    Ok(outcome)
}
