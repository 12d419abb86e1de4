//! The world: everything that is not an operator's own memory, in one place and one thread. Things happen one after the
//! other, in the order of their virtual time; an operator's futures hold a handle to it and are polled by the executor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use databricks_run_operator::controller::ports::Place;
use k8s_openapi::api::coordination::v1::Lease;

use super::chance::Chance;
use super::cluster::Cluster;
use super::databricks::Databricks;
use super::election;
use super::executor::{Order, TaskId};
use super::invariants::{Broken, Invariant, Ledger};
use super::mood::Mood;
use super::process::{Process, ProcessId};
use super::store::Store;
use super::story::Story;
use super::tally::Tally;

/// What happens at an instant.
pub(super) enum Happening {
    /// A task goes on.
    Wake(TaskId),
    /// Something in the world.
    Do(Deed),
}

type Deed = Box<dyn FnOnce(&mut World) + Send>;

/// What is to happen, in the order of time and, at one instant, of arrangement.
#[derive(Default)]
struct Agenda {
    entries: BTreeMap<(Duration, u64), Happening>,
    arranged: u64,
}

/// All of it.
pub(super) struct World {
    pub(super) now: Duration,
    pub(super) chance: Chance,
    pub(super) mood: Mood,
    /// When faults stop and people rest. Hours in which nobody is there put it off.
    pub(super) ends: Duration,
    /// No operator is there until then.
    pub(super) away_until: Duration,
    /// No faults and no people any more.
    pub(super) calm: bool,
    agenda: Agenda,
    pub(super) orders: Vec<Order>,
    /// The task that is being polled.
    pub(super) current: Option<TaskId>,
    pub(super) store: Store,
    pub(super) cluster: Cluster,
    /// Whether operators elect one that has effects, and what they compete for.
    pub(super) elects: bool,
    pub(super) lease: Option<Lease>,
    pub(super) processes: Vec<Process>,
    pub(super) hosts: Vec<Databricks>,
    pub(super) ledger: Ledger,
    pub(super) broken: Option<Broken>,
    pub(super) tally: Tally,
    pub(super) story: Story,
    /// When Kubernetes was last written to, and Databricks last called, by an operator.
    pub(super) last_effect: Duration,
}

impl World {
    pub(super) fn new(seed: u64, told: bool) -> Self {
        let mut chance = Chance::new(seed);
        let mood = Mood::pick(&mut chance);
        Self {
            now: Duration::ZERO,
            hosts: Databricks::both(&mut chance),
            chance,
            ends: mood.length,
            away_until: Duration::ZERO,
            mood,
            calm: false,
            agenda: Agenda::default(),
            orders: Vec::new(),
            current: None,
            store: Store::default(),
            cluster: Cluster::default(),
            elects: election::is_held(seed),
            lease: None,
            processes: Vec::new(),
            ledger: Ledger::default(),
            broken: None,
            tally: Tally::default(),
            story: Story::new(told),
            last_effect: Duration::ZERO,
        }
    }

    /// Arranges for something at an instant.
    pub(super) fn at(&mut self, when: Duration, deed: impl FnOnce(&mut Self) + Send + 'static) {
        self.arrange(when, Happening::Do(Box::new(deed)));
    }

    /// Arranges for something after a time.
    pub(super) fn after(&mut self, delay: Duration, deed: impl FnOnce(&mut Self) + Send + 'static) {
        self.at(self.now + delay, deed);
    }

    pub(super) fn arrange(&mut self, when: Duration, happening: Happening) {
        self.agenda.arranged += 1;
        self.agenda.entries.insert((when.max(self.now), self.agenda.arranged), happening);
    }

    /// The next thing to happen, if it happens by then; time moves to it.
    pub(super) fn next(&mut self, by: Duration) -> Option<Happening> {
        let first = self.agenda.entries.first_entry()?;
        if first.key().0 > by {
            return None;
        }
        let ((at, _), happening) = first.remove_entry();
        self.now = self.now.max(at);
        Some(happening)
    }

    /// A line of the story.
    pub(super) fn tell(&mut self, who: &str, what: impl FnOnce() -> String) {
        if self.story.is_told() {
            self.story.line(self.now, who, &what());
        }
    }

    /// A line of the story about an operator's process.
    pub(super) fn tell_of(&mut self, process: ProcessId, what: impl FnOnce() -> String) {
        if self.story.is_told() {
            let who = self.processes[process].name.clone();
            self.story.line(self.now, &who, &what());
        }
    }

    /// A promise is broken: the world ends here.
    pub(super) fn break_promise(&mut self, invariant: Invariant, how: String) {
        if self.broken.is_none() {
            self.tell("INVARIANT", || format!("{} is broken: {how}", invariant.name()));
            self.broken = Some(Broken { invariant, how });
        }
    }
}

/// A handle to the world, for what runs in it.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// The world. Never kept over an await: there is one thread.
    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The namespace of all objects.
pub(super) const NAMESPACE: &str = "team";

/// Where an object of this name is.
pub(super) fn place(name: &str) -> Place {
    Place { namespace: NAMESPACE.into(), name: name.into() }
}
