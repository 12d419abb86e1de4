//! Repairs: the failed tasks of a run once more, under the same id. The run's last repair is the only guard there is.

use databricks_run_operator::databricks::error::Error;
use databricks_run_operator::databricks::ids::{RepairId, RunId};

use super::{course, not_found, refused, take_course};
use crate::simulation::invariants;
use crate::simulation::world::World;

/// A repair of a run.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulation) struct Repair {
    pub(super) id: i64,
    pub(super) at: std::time::Duration,
}

/// `runs/repair`.
pub(in crate::simulation) fn repair(
    world: &mut World,
    host: usize,
    RunId(id): RunId,
    after: Option<RepairId>,
    body: &str,
) -> Result<RepairId, Error> {
    let gone = || not_found(format!("Run {id} does not exist."));
    let run = world.hosts[host].runs.get(&id).filter(|run| run.deleted.is_none()).ok_or_else(gone)?;
    let latest = run.repairs.last().map(|repair| repair.id);
    if run.is_live() {
        return Err(refused("the run is active and cannot be repaired"));
    }
    if latest.is_some() && after.map(|RepairId(after)| after) != latest {
        return Err(refused("latest_repair_id is not the latest"));
    }
    if run.job == 0 {
        return Err(refused("runs without a job cannot be repaired"));
    }
    world.tell("Databricks", || format!("repairs run {id} after {latest:?}: {body}"));
    invariants::repair_begins(world, host, id);
    Ok(RepairId(begin_repair(world, host, id)))
}

/// A repair begins; the run is live again.
pub(super) fn begin_repair(world: &mut World, host: usize, id: i64) -> i64 {
    let (now, course) = (world.now, course::repair(&mut world.chance));
    let repair = world.hosts[host].next_id;
    world.hosts[host].next_id += 10;
    if let Some(run) = world.hosts[host].runs.get_mut(&id) {
        run.course += 1;
        run.cancel_asked = false;
        run.repairs.push(Repair { id: repair, at: now });
        run.faces.push((now, course::PENDING));
    }
    world.tally.count("starts", "a repair began");
    take_course(world, host, id, &course);
    repair
}
