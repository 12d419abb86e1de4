//! From creation to run, and from the run's end to its being seen. Both are told by a watch, so a little of each is the watch's
//! own.

use std::collections::HashMap;

use super::super::figures::{Outcome, Spread, millis, number};
use super::super::people::Created;
use super::super::world::World;
use super::Scene;
use crate::workspace::{Millis, Operation};

/// How long the start of each run took the API, by the run.
fn api_latencies(world: &World) -> HashMap<i64, Millis> {
    let entries = world.workspaces.iter().flat_map(|(workspace, _)| workspace.requests_for(Operation::RunNow));
    entries.filter_map(|entry| Some((entry.run_id?, entry.answered? - entry.received))).collect()
}

/// How long objects waited for their run. What is promised (`above_api`, in milliseconds) is promised of the part that is not the
/// API's own.
pub(super) fn tell_starts(outcome: &mut Outcome, scene: &Scene<'_>, created: &[Created], above_api: Option<f64>) {
    let (objects, latencies) = (scene.witness.objects(), api_latencies(&scene.world));
    let waits = created.iter().filter_map(|created| {
        let (id, seen) = objects.get(&created.name)?.run?;
        Some((millis(seen - created.at), millis(*latencies.get(&id)?)))
    });
    let waits: Vec<(f64, f64)> = waits.collect();
    let whole: Spread = waits.iter().map(|(wait, _)| *wait).collect();
    let above: Spread = waits.iter().map(|(wait, api)| wait - api).collect();
    outcome.tell("objects created", "", number(created.len()));
    outcome.promise("objects without a run", "", number(created.len() - whole.count()), 0.0);
    outcome.tell_spread("create to run id", "ms", &whole);
    let p99 = "create to run id without the API's time, p99";
    match above_api {
        Some(bound) => outcome.promise(p99, "ms", above.at(0.99), bound),
        None => outcome.tell(p99, "ms", above.at(0.99)),
    }
    outcome.promise("runs too many", "", scene.runs_too_many(), 0.0);
}

/// How long ends stayed unseen, of these runs, or of all.
pub(super) fn tell_ends(outcome: &mut Outcome, scene: &Scene<'_>, of: Option<&[i64]>, at_most: Option<f64>) {
    let seen = scene.witness.objects().into_values().filter_map(|track| Some((track.run?.0, track.ended)));
    let seen: HashMap<i64, Option<Millis>> = seen.collect();
    let asked_for = of.map_or_else(|| seen.keys().copied().collect(), <[i64]>::to_vec);
    let lags = asked_for.iter().filter_map(|id| {
        let ended = scene.world.of_run(*id)?.run(*id)?.ended?;
        Some(millis((*seen.get(id)?)? - ended) / 1000.0)
    });
    let lags: Spread = lags.collect();
    outcome.tell("ends", "", number(asked_for.len()));
    outcome.promise("ends not seen", "", number(asked_for.len() - lags.count()), 0.0);
    outcome.tell("end to status p50", "s", lags.at(0.5));
    match at_most {
        Some(bound) => outcome.promise("end to status p95", "s", lags.at(0.95), bound),
        None => outcome.tell("end to status p95", "s", lags.at(0.95)),
    }
    outcome.tell("end to status p99", "s", lags.at(0.99));
}

/// Objects that ended otherwise than their runs: all of these succeed.
pub(super) fn tell_failures(outcome: &mut Outcome, scene: &Scene<'_>) {
    let ended = scene.witness.objects().into_values().filter(|track| track.ended.is_some());
    let wrong = ended.filter(|track| track.state != "Succeeded").count();
    outcome.promise("wrong verdicts", "", number(wrong), 0.0);
}
