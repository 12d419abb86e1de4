//! What people ask for is heard. The search for what was overlooked would make up for a wish that nobody heard, minutes
//! later, so that it would not be found out by how things end.

use databricks_run_operator::api::run::{CANCEL_ANNOTATION, REPAIR_ANNOTATION, RERUN_ANNOTATION, RunObject};
use databricks_run_operator::controller::ports::Place;

use super::Invariant;
use crate::simulation::world::World;

/// What people have asked of an object: by its spec, by an annotation, by deleting it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::simulation) struct Wish {
    generation: Option<i64>,
    annotations: [Option<String>; 3],
    deleted: bool,
}

impl Wish {
    pub(in crate::simulation) fn of(object: &RunObject) -> Self {
        let annotation = |name| object.annotation(name).map(str::to_owned);
        Self {
            generation: object.metadata.generation,
            annotations: [RERUN_ANNOTATION, CANCEL_ANNOTATION, REPAIR_ANNOTATION].map(annotation),
            deleted: object.metadata.deletion_timestamp.is_some(),
        }
    }
}

/// A watch has told of another wish, and nobody is to look at the object for it.
pub(in crate::simulation) fn not_heard(world: &mut World, place: &Place) {
    let how = format!("what is asked of {} has changed, the watch tells of it, and it calls for no look", place.name);
    world.break_promise(Invariant::Heard, how);
}
