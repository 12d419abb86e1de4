//! An operator's process, as far as it is not the operator's own code: its clocks, when it looks at which object, how it
//! begins, stands still, dies and is followed by the next one. What kube's controller does with triggers and requeues is
//! done here: one look at an object at a time, the earliest trigger counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use databricks_run_operator::controller::ports::{Place, StoreError};
use databricks_run_operator::controller::{Kept, Next, after_failure};
use databricks_run_operator::leader::Lead;
use databricks_run_operator::lifecycle::run_key::{VERSIONS, Version};
use databricks_run_operator::lifecycle::{Settings, TakeOver};
use databricks_run_operator::poller::{Ask, AskPage};

use super::clock::Clocks;
use super::election::{self, Candidacy};
use super::executor::{Order, TaskId};
use super::lines::Lines;
use super::view::{self, View};
use super::world::{Happening, World};

/// Deadline of the POST that starts a run.
pub(super) const SUBMIT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a deleted object is held for a run that cannot be cancelled.
const DELETION_DEADLINE: Duration = Duration::from_mins(4);
/// How often vanished objects are looked for.
const SWEEP: Duration = Duration::from_mins(1);
/// How long a process that was told to end may take.
const GRACE: Duration = Duration::from_secs(50);

/// Which version of the operator a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    /// Today's.
    Old,
    /// One of tomorrow, which knows today's run keys and writes others.
    New,
}

impl Binary {
    /// The versions of the run key that it knows.
    pub(super) fn run_keys(self) -> &'static [Version] {
        // Another function of the same: what today's keys tell apart, tomorrow's do.
        static NEW: [Version; 2] =
            [VERSIONS[0], Version { name: "v2", digest: |input| (VERSIONS[0].digest)(input).chars().rev().collect() }];
        match self {
            Self::Old => VERSIONS,
            Self::New => &NEW,
        }
    }
}

/// A process, by its place in the list of all that ever began.
pub(super) type ProcessId = usize;

/// What a task of a process does.
pub(super) enum Work {
    /// Looks at an object.
    Look(Place, Arc<Kept>),
    /// Looks for objects that vanished.
    Sweep,
    /// Reads a run for the poller of a connection.
    Read(u64, Ask<Place>),
    /// Asks for a page of live runs for it.
    List(u64, AskPage),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Up,
    StandsStill(Duration),
    Dead,
}

pub(super) struct Process {
    /// On which of the machines it runs.
    machine: usize,
    pub(super) name: String,
    pub(super) binary: Binary,
    pub(super) settings: Settings,
    life: Life,
    pub(super) clocks: Clocks,
    pub(super) view: View,
    pub(super) lines: Lines,
    /// When which object is looked at next.
    due: BTreeMap<Place, Duration>,
    looking: BTreeSet<Place>,
    /// Tasks that were woken while the process stood still.
    pub(super) kept_waiting: Vec<TaskId>,
    /// When it last stood still, and until when.
    pub(super) stood_still: Option<(Duration, Duration)>,
    /// Whether it was told to end.
    stopping: bool,
    /// Its part in the election, where there is one, and whether it leads.
    pub(super) candidacy: Option<Candidacy>,
    pub(super) lead: Lead,
}

impl Process {
    pub(super) fn is_up(&self) -> bool {
        self.life != Life::Dead
    }

    pub(super) fn stands_still(&self) -> bool {
        matches!(self.life, Life::StandsStill(_))
    }

    /// When a process that stands still goes on.
    pub(super) fn still_until(&self) -> Option<Duration> {
        match self.life {
            Life::StandsStill(until) => Some(until),
            _ => None,
        }
    }
}

/// A process begins on a machine, unless one is there.
pub(super) fn begin(world: &mut World, machine: usize) {
    if world.processes.iter().any(|process| process.machine == machine && process.is_up()) {
        return;
    }
    let id = world.processes.len();
    let off = if world.mood.clocks > 0 { i64::try_from(world.chance.below(120_000)).unwrap_or(0) - 60_000 } else { 0 };
    let is_new = world.mood.versions && (world.calm || world.chance.half());
    let binary = if is_new { Binary::New } else { Binary::Old };
    let name = format!("operator-{id}");
    let (candidacy, lead) = match world.elects.then(|| election::candidate(&name)) {
        Some((candidacy, lead)) => (Some(candidacy), lead),
        None => (None, Lead::always()),
    };
    let settings = Settings {
        holder: name.clone(),
        submit_timeout: SUBMIT_TIMEOUT,
        deletion_deadline: DELETION_DEADLINE,
        run_keys: binary.run_keys(),
        ttl_keep_keys: Vec::new(),
        take_over: if world.elects { TakeOver::AsLeader } else { TakeOver::WhenUnchanged },
    };
    world.processes.push(Process {
        machine,
        name,
        binary,
        settings,
        life: Life::Up,
        clocks: Clocks::new(world.now, off),
        view: View::default(),
        lines: Lines::default(),
        due: BTreeMap::new(),
        looking: BTreeSet::new(),
        kept_waiting: Vec::new(),
        stood_still: None,
        stopping: false,
        candidacy,
        lead,
    });
    world.tell_of(id, || format!("begins on machine {machine} ({binary:?})"));
    world.tally.count("processes", format!("begun, of the {binary:?} version"));
    world.orders.push(Order::Begin(id));
    election::begin(world, id);
    let listed = world.chance.millis(50..=2000);
    world.after(listed, move |world| view::relist(world, id));
    let sweep = world.chance.millis(0..=60_000);
    world.after(sweep, move |world| search(world, id));
    for name in world.cluster.names() {
        super::lines::notice(world, id, &name);
    }
}

/// A process dies and takes all its memory with it; another one begins on its machine after a while.
pub(super) fn kill(world: &mut World, id: ProcessId, away: Duration) {
    if !world.processes[id].is_up() {
        return;
    }
    world.tell_of(id, || "is killed".to_owned());
    world.tally.count("processes", "killed");
    world.processes[id].life = Life::Dead;
    world.processes[id].kept_waiting.clear();
    world.orders.push(Order::Kill(id));
    world.ledger.died(id, world.now);
    let machine = world.processes[id].machine;
    world.after(away, move |world| begin(world, machine));
}

/// A process is told to end, as in a rolling update: nothing new is begun, what is under way is finished.
pub(super) fn stop(world: &mut World, id: ProcessId) {
    if !world.processes[id].is_up() || world.processes[id].stopping {
        return;
    }
    world.tell_of(id, || "is told to end".to_owned());
    world.tally.count("processes", "told to end");
    world.processes[id].stopping = true;
    world.orders.push(Order::Stop(id));
    let leaves = world.chance.seconds(0..=40);
    world.after(leaves, move |world| election::leave(world, id));
    world.after(GRACE, move |world| kill(world, id, Duration::from_secs(1)));
}

/// A process stands still for so long, as after SIGSTOP or in a machine without time for it.
pub(super) fn stand_still(world: &mut World, id: ProcessId, for_so_long: Duration) {
    if world.processes[id].life != Life::Up {
        return;
    }
    let until = world.now + for_so_long;
    world.tell_of(id, || format!("stands still for {for_so_long:?}"));
    world.tally.count("processes", "stood still");
    world.processes[id].life = Life::StandsStill(until);
    world.processes[id].stood_still = Some((world.now, until));
    world.at(until, move |world| go_on(world, id));
}

/// A process that stood still goes on, with the view it had.
pub(super) fn go_on(world: &mut World, id: ProcessId) {
    if !world.processes[id].stands_still() {
        return;
    }
    world.processes[id].life = Life::Up;
    world.processes[id].stood_still = world.processes[id].stood_still.map(|(from, _)| (from, world.now));
    world.tell_of(id, || "goes on".to_owned());
    let tasks = std::mem::take(&mut world.processes[id].kept_waiting);
    world.orders.extend(tasks.into_iter().map(Order::Poll));
}

/// Whether a process can do something now. If it stands still, it does it when it goes on.
pub(super) fn can_act(world: &mut World, id: ProcessId, later: impl FnOnce(&mut World) + Send + 'static) -> bool {
    if let Some(until) = world.processes[id].still_until() {
        world.at(until, later);
        return false;
    }
    world.processes[id].is_up()
}

/// An object is to be looked at at this time, or sooner if that was said before.
pub(super) fn trigger(world: &mut World, id: ProcessId, place: &Place, at: Duration) {
    let due = &mut world.processes[id].due;
    if due.get(place).is_some_and(|due| *due <= at) {
        return;
    }
    due.insert(place.clone(), at);
    let place = place.clone();
    world.at(at, move |world| look_if_due(world, id, place));
}

fn look_if_due(world: &mut World, id: ProcessId, place: Place) {
    let later = {
        let place = place.clone();
        move |world: &mut World| look_if_due(world, id, place)
    };
    if !can_act(world, id, later) {
        return;
    }
    let now = world.now;
    let process = &mut world.processes[id];
    let is_due = process.due.get(&place).is_some_and(|due| *due <= now);
    if !is_due || process.looking.contains(&place) {
        return;
    }
    process.due.remove(&place);
    // Who is told to end starts no more looks; who does not know the object cannot look at it.
    let Some(object) = process.view.get(&place).filter(|_| !process.stopping) else { return };
    let kept = Arc::clone(object);
    process.looking.insert(place.clone());
    world.orders.push(Order::Spawn(id, Work::Look(place, kept)));
}

/// A look has ended.
pub(super) fn looked(world: &mut World, id: ProcessId, place: &Place, next: Result<Next, StoreError>) {
    world.processes[id].looking.remove(place);
    let wait = match next {
        Ok(Next::Now) => Some(Duration::ZERO),
        Ok(Next::After(wait)) => Some(wait),
        Ok(Next::OnChange) => None,
        Err(error) => {
            world.tell_of(id, || format!("a look at {} failed: {error}", place.name));
            Some(after_failure(&error))
        }
    };
    if let Some(wait) = wait {
        let at = world.now + wait;
        trigger(world, id, place, at);
    }
    if world.processes[id].due.contains_key(place) {
        let place = place.clone();
        let now = world.now;
        world.at(now, move |world| look_if_due(world, id, place));
    }
}

fn search(world: &mut World, id: ProcessId) {
    if can_act(world, id, move |world| search(world, id)) {
        world.orders.push(Order::Spawn(id, Work::Sweep));
    }
}

/// A search for vanished objects has ended.
pub(super) fn swept(world: &mut World, id: ProcessId) {
    world.after(SWEEP, move |world| search(world, id));
}

/// A task goes on at this time.
pub(super) fn wake_at(world: &mut World, at: Duration) {
    if let Some(task) = world.current {
        world.arrange(at, Happening::Wake(task));
    }
}
