//! A process's lines to Databricks: one per workspace object, checked now and then, kept for a while after its object has
//! gone; and the poller of each, which is the operator's own book of who is due.

use std::collections::BTreeMap;
use std::time::Duration;

use databricks_run_operator::api::conditions::Reason;
use databricks_run_operator::api::status::WorkspacePin;
use databricks_run_operator::controller::Kept;
use databricks_run_operator::controller::ports::Place;
use databricks_run_operator::databricks::ids::RunId;
use databricks_run_operator::lifecycle::WorkspaceView;
use databricks_run_operator::poller::Book;

use super::cluster::{SECRET_SERVES, pin};
use super::databricks::is_down;
use super::executor::Order;
use super::process::{self, ProcessId, Work};
use super::world::World;

/// How long a line outlives its object.
const RETAINED: Duration = Duration::from_mins(15);
/// A workspace that can be used is checked again after this time.
const RECHECK: Duration = Duration::from_mins(5);
/// Reads under way at once.
const READS: usize = 4;

#[derive(Debug, Clone, PartialEq)]
enum Usable {
    Unchecked,
    Yes,
    No(Reason, &'static str),
}

/// One line.
pub(super) struct Line {
    /// Its number: a workspace object made anew has another line.
    pub(super) id: u64,
    uid: u32,
    pub(super) host: usize,
    pub(super) pin: WorkspacePin,
    usable: Usable,
    gone: Option<Duration>,
    pub(super) book: Book<Place>,
    /// When the book is next looked into.
    armed: Option<Duration>,
    /// When the Secret was last read.
    secret_read: Option<Duration>,
}

/// All lines of a process.
#[derive(Default)]
pub(super) struct Lines {
    by_name: BTreeMap<String, Line>,
    /// On whose line an object is followed, and which run.
    pub(super) followed: BTreeMap<Place, (String, RunId)>,
    made: u64,
}

impl Lines {
    pub(super) fn get(&self, name: &str) -> Option<&Line> {
        self.by_name.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Line> {
        self.by_name.get_mut(name)
    }

    pub(super) fn by_id(&mut self, id: u64) -> Option<&mut Line> {
        self.by_name.values_mut().find(|line| line.id == id)
    }

    /// No run is followed any more.
    pub(super) fn follow_nothing(&mut self) {
        for (place, (name, _)) in std::mem::take(&mut self.followed) {
            if let Some(line) = self.by_name.get_mut(&name) {
                line.book.unwatch(&place);
            }
        }
    }

    /// The workspace as decisions see it.
    pub(super) fn view(&self, name: &str, now: Duration) -> WorkspaceView {
        let Some(line) = self.by_name.get(name) else { return WorkspaceView::Missing };
        let pin = line.pin.clone();
        match (&line.usable, line.gone) {
            (_, Some(gone)) if now.saturating_sub(gone) >= RETAINED => WorkspaceView::Missing,
            (_, Some(_)) => WorkspaceView::Retained { pin },
            (Usable::Unchecked, None) => WorkspaceView::Unchecked { pin },
            (Usable::Yes, None) => WorkspaceView::Ready { pin },
            (Usable::No(reason, message), None) => {
                WorkspaceView::NotReady { pin, reason: *reason, message: (*message).to_owned() }
            }
        }
    }
}

/// A workspace object has appeared, changed or gone, and the process learns of it.
pub(super) fn notice(world: &mut World, id: ProcessId, name: &str) {
    let again = name.to_owned();
    if !process::can_act(world, id, move |world| notice(world, id, &again)) {
        return;
    }
    let (now, seed, sweeping) = (world.now, world.chance.next(), world.mood.sweeping);
    let object = world.cluster.workspace(name);
    let lines = &mut world.processes[id].lines;
    match object {
        None => {
            if let Some(line) = lines.by_name.get_mut(name) {
                line.gone.get_or_insert(now);
            }
        }
        Some(object) if lines.by_name.get(name).is_some_and(|line| line.uid == object.uid) => {}
        Some(object) => {
            lines.made += 1;
            let line = Line {
                id: lines.made,
                uid: object.uid,
                host: object.host,
                pin: pin(name, object.host),
                usable: Usable::Unchecked,
                gone: None,
                book: Book::new(seed, READS, sweeping),
                armed: None,
                secret_read: None,
            };
            lines.by_name.insert(name.to_owned(), line);
            let checked = world.chance.millis(50..=1500);
            let (name, line) = (name.to_owned(), world.processes[id].lines.made);
            world.after(checked, move |world| check(world, id, name, line));
        }
    }
}

/// Whether the workspace can be used is found out, and again after a while.
fn check(world: &mut World, id: ProcessId, name: String, line: u64) {
    let again = name.clone();
    if !process::can_act(world, id, move |world| check(world, id, again, line)) {
        return;
    }
    let now = world.now;
    let Some(host) = world.processes[id].lines.by_id(line).filter(|line| line.gone.is_none()).map(|line| line.host)
    else {
        return;
    };
    let usable = if !world.cluster.has_secret() && !secret_serves(world, id, line) {
        Usable::No(Reason::CredentialsNotFound, "Secret `db` is not there")
    } else if is_down(world, host) {
        Usable::No(Reason::Unreachable, "Databricks cannot answer now")
    } else {
        Usable::Yes
    };
    let wait = if usable == Usable::Yes { RECHECK } else { world.chance.seconds(10..=15) };
    let is_news = world.processes[id].lines.by_id(line).is_some_and(|line| {
        if usable == Usable::Yes {
            line.secret_read = Some(now);
        }
        std::mem::replace(&mut line.usable, usable.clone()) != usable
    });
    if is_news {
        world.tell_of(id, || format!("workspace {name} is {usable:?}"));
        wake_waiting(world, id, &name);
    }
    world.after(wait, move |world| check(world, id, name, line));
}

/// Whether there is a credential: the Secret, or what was read of it a short while ago.
pub(super) fn secret_serves(world: &mut World, id: ProcessId, line: u64) -> bool {
    let (now, is_there) = (world.now, world.cluster.has_secret());
    let Some(line) = world.processes[id].lines.by_id(line) else { return false };
    if is_there {
        line.secret_read = Some(now);
    }
    line.secret_read.is_some_and(|read| now.saturating_sub(read) < SECRET_SERVES)
}

/// Wakes the runs that may wait for a workspace.
pub(super) fn wake_waiting(world: &mut World, id: ProcessId, name: &str) {
    let waits = |kept: &Kept| {
        let Some(object) = kept.whole() else { return false };
        let status = object.status.as_ref();
        let asked = object.spec.pointer("/workspaceRef/name").and_then(serde_json::Value::as_str);
        let pinned = status.and_then(|status| status.workspace.as_ref()).map(|pin| pin.name.as_str());
        !kept.is_done_with() && (asked == Some(name) || pinned == Some(name))
    };
    let waiting: Vec<Place> = world.processes[id]
        .view
        .objects()
        .filter(|(_, object)| waits(object))
        .map(|(place, _)| place.clone())
        .collect();
    for place in waiting {
        let at = world.now + world.chance.millis(0..=2000);
        process::trigger(world, id, &place, at);
    }
}

/// The book is looked into as soon as it has something.
pub(super) fn arm(world: &mut World, id: ProcessId, line: u64) {
    let (now, clocks) = (world.now, world.processes[id].clocks.clone());
    let Some(line_of) = world.processes[id].lines.by_id(line) else { return };
    let book = &line_of.book;
    let next = [book.next_due(), book.next_page(), book.next_wake()].into_iter().flatten().min();
    let Some(at) = next.map(|next| clocks.true_time(next).max(now)) else { return };
    if line_of.armed.is_some_and(|armed| armed <= at) {
        return;
    }
    line_of.armed = Some(at);
    world.at(at, move |world| turn(world, id, line));
}

/// The poller's turn: reads that are due begin, and keys with news are woken.
fn turn(world: &mut World, id: ProcessId, line: u64) {
    if !process::can_act(world, id, move |world| turn(world, id, line)) {
        return;
    }
    let now = world.now;
    let clock = world.processes[id].clocks.read_for_poller(now);
    let Some(line_of) = world.processes[id].lines.by_id(line) else { return };
    line_of.armed = None;
    let mut asks = Vec::new();
    while let Some(ask) = line_of.book.page_due(clock) {
        asks.push(Work::List(line, ask));
    }
    while let Some(ask) = line_of.book.due(clock) {
        asks.push(Work::Read(line, ask));
    }
    let mut woken = Vec::new();
    while let Some(key) = line_of.book.wake(clock) {
        woken.push(key);
    }
    world.orders.extend(asks.into_iter().map(|work| Order::Spawn(id, work)));
    for place in woken {
        process::trigger(world, id, &place, now);
    }
    arm(world, id, line);
}
