//! The simulation: worlds made of seeds, in which the operator's own reconciler and poller run over a store, a Databricks
//! and clocks that exist only here, on an executor of one thread without real time. Everything that can go wrong between
//! two steps goes wrong somewhere, and after every step the promises are held against what really happened.
//!
//! The same seed is the same world: [`run`] with a story told shows what happened, line by line. Nothing of the operator's
//! rules is repeated here; nothing here is part of the operator.

mod chance;
mod clock;
mod cluster;
mod databricks;
mod election;
mod executor;
mod faults;
mod invariants;
mod lines;
mod mood;
mod network;
mod patch;
mod people;
mod ports;
mod process;
mod report;
mod store;
mod story;
mod tally;
mod view;
mod world;

use std::sync::Arc;
use std::time::Duration;

use databricks_run_operator::telemetry::Metrics;

pub use invariants::{Broken, Invariant};
pub use report::{AfterFailure, Findings, many};
pub use tally::Tally;

use executor::Executor;
use process::Binary;
use world::{Shared, World};

/// How long after the last fault everything has to be at rest.
const REST: Duration = Duration::from_hours(2);

/// Whether a world's story is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// Only what came of it.
    Silent,
    /// Line by line.
    Told,
}

/// What came of a world.
#[derive(Debug)]
pub struct Outcome {
    /// The promise that was broken, if one was.
    pub broken: Option<Broken>,
    /// What it went through.
    pub tally: Tally,
    /// Its story, if it was to be told.
    pub story: String,
}

/// Lives through the world of a seed.
#[must_use]
pub fn run(seed: u64, telling: Telling, metrics: &Arc<Metrics>) -> Outcome {
    let shared = Shared::new(World::new(seed, telling == Telling::Told));
    let mut executor = Executor::new(shared.clone(), Arc::clone(metrics));
    {
        let mut world = shared.lock();
        let mood = world.mood.in_words();
        let election = if world.elects { "; there is an election" } else { "" };
        world.tell("world", || format!("seed {seed}: {mood}{election}"));
        people::begin(&mut world);
        for machine in 0..world.mood.operators {
            process::begin(&mut world, machine);
        }
        faults::go_on(&mut world);
    }
    loop {
        let ends = shared.lock().ends;
        executor.run(ends);
        let world = shared.lock();
        if world.broken.is_some() || world.ends == ends {
            break;
        }
    }
    calm_down(&mut shared.lock());
    let end = shared.lock().now + REST;
    executor.run(end);
    let mut world = shared.lock();
    if world.broken.is_none() {
        invariants::check_rest(&mut world);
    }
    world.tally.count("worlds", "lived through");
    Outcome {
        broken: world.broken.take(),
        tally: std::mem::take(&mut world.tally),
        story: std::mem::take(&mut world.story).into_text(),
    }
}

/// Faults stop and people rest; who stood still goes on, who was away comes back.
fn calm_down(world: &mut World) {
    world.calm = true;
    world.tell("world", || "faults stop, people rest".to_owned());
    people::put_right(world);
    for id in 0..world.processes.len() {
        process::go_on(world, id);
        if world.mood.versions && world.processes[id].binary == Binary::Old {
            // The upgrade is finished.
            process::kill(world, id, Duration::from_secs(1));
        }
    }
    for machine in 0..world.mood.operators {
        process::begin(world, machine);
    }
}
