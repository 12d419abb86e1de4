//! People in Databricks: they cancel, delete and repair runs there.

use crate::simulation::world::World;

use super::repair::begin_repair;

/// Somebody cancels a live run.
pub(in crate::simulation) fn cancel_somewhere(world: &mut World) {
    if let Some((host, id)) = pick(world, super::SimRun::is_live) {
        world.tally.count("people", "cancel a run in Databricks");
        world.tell("people", || format!("cancel run {id} in Databricks"));
        super::stop(world, host, id);
    }
}

/// Somebody deletes a run.
pub(in crate::simulation) fn delete_somewhere(world: &mut World) {
    if let Some((host, id)) = pick(world, |run| run.deleted.is_none()) {
        let now = world.now;
        world.tally.count("people", "delete a run in Databricks");
        world.tell("people", || format!("delete run {id} in Databricks"));
        if let Some(run) = world.hosts[host].runs.get_mut(&id) {
            run.deleted = Some(now);
        }
    }
}

/// Somebody repairs a run that failed.
pub(in crate::simulation) fn repair_somewhere(world: &mut World) {
    if let Some((host, id)) = pick(world, |run| run.deleted.is_none() && run.job != 0 && run.face().fails) {
        world.tally.count("people", "repair a run in Databricks");
        world.tell("people", || format!("repair run {id} in Databricks"));
        if let Some(run) = world.hosts[host].runs.get_mut(&id) {
            run.repaired_by_people = true;
        }
        begin_repair(world, host, id);
    }
}

fn pick(world: &mut World, wanted: impl Fn(&super::SimRun) -> bool) -> Option<(usize, i64)> {
    let hosts = world.hosts.iter().enumerate();
    let runs: Vec<(usize, i64)> = hosts
        .flat_map(|(host, databricks)| {
            databricks.runs.values().filter(|run| wanted(run)).map(move |run| (host, run.id)).collect::<Vec<_>>()
        })
        .collect();
    if runs.is_empty() { None } else { Some(world.chance.pick(&runs)) }
}
