//! A process's view of the objects, through a watch that lags, delivers several changes at once, breaks and lists anew,
//! sometimes from an API server that is behind. What is kept of an object and what of it calls for a look is decided by
//! the operator's own functions.

use std::collections::BTreeMap;
use std::sync::Arc;

use databricks_run_operator::api::run::RunObject;
use databricks_run_operator::controller::Kept;
use databricks_run_operator::controller::ports::Place;
use databricks_run_operator::lifecycle::{Now, Settings};

use super::invariants::{self, Wish};
use super::process::{self, ProcessId};
use super::world::World;

/// The objects as a process knows them.
#[derive(Default)]
pub(super) struct View {
    objects: BTreeMap<Place, Arc<Kept>>,
    /// What mattered of each object when it last called for a look, by place and uid.
    told: BTreeMap<(Place, String), u64>,
    /// What was asked of each object then.
    wishes: BTreeMap<(Place, String), Wish>,
    /// Versions seen; none before the first listing.
    seen: Option<usize>,
    /// Whether a delivery is on its way.
    coming: bool,
}

impl View {
    pub(super) fn get(&self, place: &Place) -> Option<&Arc<Kept>> {
        self.objects.get(place)
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = (&Place, &Arc<Kept>)> {
        self.objects.iter()
    }

    /// Takes a version in.
    fn take(&mut self, place: &Place, object: Option<&Arc<RunObject>>, settings: &Settings, now: Now) -> Taken {
        let Some(object) = object else {
            self.objects.remove(place);
            return Taken { calls_for_a_look: false, asks: false };
        };
        let kept = Kept::of((**object).clone(), settings, now);
        let matters = kept.what_matters();
        let uid = object.metadata.uid.clone().unwrap_or_default();
        self.objects.insert(place.clone(), Arc::new(kept));
        let (key, wish) = ((place.clone(), uid), Wish::of(object));
        let asks = self.wishes.get(&key) != Some(&wish);
        self.wishes.insert(key.clone(), wish);
        let calls_for_a_look = self.told.insert(key, matters) != Some(matters);
        Taken { calls_for_a_look, asks }
    }
}

/// What a version of an object means to who learns of it.
struct Taken {
    /// By the operator's own function.
    calls_for_a_look: bool,
    /// A person asks for something else than before.
    asks: bool,
}

/// The store has changed: every watch will tell, sooner or later.
pub(super) fn announce(world: &mut World) {
    for id in 0..world.processes.len() {
        arrange_delivery(world, id);
    }
}

fn arrange_delivery(world: &mut World, id: ProcessId) {
    let process = &world.processes[id];
    if !process.is_up() || process.view.coming || process.view.seen.is_none_or(|seen| seen >= world.store.log.len()) {
        return;
    }
    let lag = if world.calm { 500 } else { world.mood.watch_lag.max(100) };
    // Mostly fast, sometimes as slow as it gets.
    let lag = if world.chance.odds(3000) { world.chance.millis(0..=lag) } else { world.chance.millis(1..=100) };
    world.processes[id].view.coming = true;
    world.after(lag, move |world| deliver(world, id));
}

fn deliver(world: &mut World, id: ProcessId) {
    if !process::can_act(world, id, move |world| deliver(world, id)) {
        return;
    }
    world.processes[id].view.coming = false;
    if !world.calm && world.mood.relist > 0 && world.chance.odds(world.mood.relist) {
        world.tell_of(id, || "its watch broke; everything is listed anew".to_owned());
        world.tally.count("watch", "broken");
        relist(world, id);
        return;
    }
    let newest = world.store.log.len();
    let Some(seen) = world.processes[id].view.seen.filter(|seen| *seen < newest) else { return };
    let many = (newest - seen) as u64;
    let count = if world.calm || world.chance.half() { many } else { 1 + world.chance.below(many) };
    let upto = seen + usize::try_from(count).unwrap_or(1);
    world.tally.count("watch", if count > 1 { "several changes at once" } else { "one change" });
    let mut to_look = Vec::new();
    for index in seen..upto {
        let entry = &world.store.log[index];
        let (place, object) = (entry.place.clone(), entry.object.clone());
        if calls_for_a_look(world, id, &place, object.as_ref()) {
            to_look.push(place);
        }
    }
    world.processes[id].view.seen = Some(upto);
    look_at(world, id, &to_look);
    arrange_delivery(world, id);
}

/// Everything is listed, perhaps as it was a while ago.
pub(super) fn relist(world: &mut World, id: ProcessId) {
    if !process::can_act(world, id, move |world| relist(world, id)) {
        return;
    }
    let newest = world.store.log.len();
    let behind = !world.calm && world.mood.stale_read > 0 && world.chance.odds(world.mood.stale_read);
    let back = if behind { world.chance.below(6) } else { 0 };
    let version = newest.saturating_sub(usize::try_from(back).unwrap_or(0));
    if version < world.processes[id].view.seen.unwrap_or(0) {
        world.tally.count("watch", "listed an older state than before");
    }
    let listed = world.store.at_version(version);
    let view = &mut world.processes[id].view;
    view.objects.retain(|place, _| listed.contains_key(place));
    view.seen = Some(version);
    let listed = listed.iter().filter(|(place, object)| calls_for_a_look(world, id, place, Some(object)));
    let to_look: Vec<Place> = listed.map(|(place, _)| place.clone()).collect();
    look_at(world, id, &to_look);
    arrange_delivery(world, id);
}

/// A process learns of a version; whether it looks at the object.
fn calls_for_a_look(world: &mut World, id: ProcessId, place: &Place, object: Option<&Arc<RunObject>>) -> bool {
    let process = &mut world.processes[id];
    let now = process.clocks.read(world.now);
    let Taken { calls_for_a_look, asks } = process.view.take(place, object, &process.settings, now);
    if asks && !calls_for_a_look {
        invariants::not_heard(world, place);
    }
    calls_for_a_look
}

fn look_at(world: &mut World, id: ProcessId, places: &[Place]) {
    let now = world.now;
    for place in places {
        process::trigger(world, id, place, now);
    }
}
