//! What goes wrong by itself: requests that fail or are late, processes that die or stand still, clocks that jump,
//! services that are down for a while, everything away for hours. How likely each is, is the world's mood.

use std::time::Duration;

use super::network::Link;
use super::process::{self, ProcessId};
use super::world::World;

/// Time's own course goes on in such steps.
const STEP: Duration = Duration::from_secs(15);

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// No connection is made.
    NotConnected { after: Duration },
    /// It arrives after `there`, and its answer after `back`.
    Answered { there: Duration, back: Duration },
    /// It arrives, and the connection breaks: the caller is told so.
    Reset { there: Duration, told: Duration },
    /// It arrives, and nothing is ever heard of it.
    Silent { there: Duration },
}

pub(super) fn fate(world: &mut World, link: Link, deadline: Duration) -> Fate {
    let (there, back) = (world.chance.millis(5..=80), world.chance.millis(5..=120));
    if world.calm {
        return Fate::Answered { there, back };
    }
    let mood = &world.mood;
    let (not_connected, lost, late) = match link {
        Link::Kubernetes => (mood.store_down, mood.store_lost, mood.store_lost / 4),
        Link::Databricks => (mood.not_connected, mood.lost, mood.late),
    };
    let group = match link {
        Link::Kubernetes => "Kubernetes",
        Link::Databricks => "Databricks",
    };
    if world.chance.odds(not_connected) {
        world.tally.count(group, "not connected");
        Fate::NotConnected { after: world.chance.millis(1..=3000) }
    } else if world.chance.odds(lost) {
        world.tally.count(group, "answer lost");
        if world.chance.half() {
            // The break is noticed sooner or later than the request arrives.
            Fate::Reset { there: world.chance.millis(5..=4000), told: world.chance.millis(5..=4000) }
        } else {
            Fate::Silent { there }
        }
    } else if world.chance.odds(late) {
        world.tally.count(group, "effect after the time-out");
        Fate::Silent { there: deadline + world.chance.seconds(1..=240) }
    } else if !world.calm && world.chance.odds(500) {
        let slow = u64::try_from(deadline.as_millis()).unwrap_or(0);
        Fate::Answered { there: world.chance.millis(5..=slow), back }
    } else {
        Fate::Answered { there, back }
    }
}

/// At an await of a process: it may die there, or stand still.
pub(super) fn at_an_await(world: &mut World, id: ProcessId, moment: &'static str, operation: &'static str) {
    if world.calm {
        return;
    }
    if world.chance.odds(world.mood.crash) {
        world.tally.count("killed at", format!("{moment} {operation}"));
        let away = world.chance.seconds(1..=30);
        process::kill(world, id, away);
    } else if world.chance.odds(world.mood.pause) {
        world.tally.count("stood still at", format!("{moment} {operation}"));
        let still = if world.chance.half() { world.chance.seconds(1..=20) } else { world.chance.seconds(20..=400) };
        process::stand_still(world, id, still);
    }
}

/// Time's own course: what may happen at any time.
pub(super) fn go_on(world: &mut World) {
    if world.calm {
        return;
    }
    if world.chance.odds(world.mood.clocks) {
        clocks_jump(world);
    }
    if world.chance.odds(world.mood.outages) {
        let long = world.chance.seconds(5..=600);
        let until = world.now + long;
        if world.chance.half() {
            world.tally.count("outages", "of Databricks");
            world.tell("Databricks", || format!("answers nothing but errors for {long:?}"));
            world.hosts[0].down_until = until;
        } else {
            world.tally.count("outages", "of Kubernetes");
            world.tell("Kubernetes", || format!("answers nothing but errors for {long:?}"));
            world.ledger.kubernetes_down_until = until;
        }
    }
    if world.chance.odds(world.mood.absences) {
        let hours = world.chance.pick(&[1, 2, 25]);
        world.tally.count("outages", "of all operators, for hours");
        world.tell("world", || format!("all operators are away for {hours} h"));
        let away = Duration::from_secs(hours * 3600);
        for id in 0..world.processes.len() {
            process::kill(world, id, away);
        }
        world.away_until = world.now + away;
        world.ends += away;
        return world.after(away, go_on);
    }
    if world.mood.crash > 0 && world.chance.odds(200) {
        let id = world.chance.index(world.processes.len());
        if world.chance.half() { process::stop(world, id) } else { process::kill(world, id, Duration::from_secs(5)) }
    }
    world.after(STEP, go_on);
}

fn clocks_jump(world: &mut World) {
    let id = world.chance.index(world.processes.len());
    if !world.processes[id].is_up() {
        return;
    }
    world.tally.count("clocks", "jumped");
    let now = world.now;
    if world.chance.odds(3000) {
        let by = world.chance.seconds(1..=60);
        world.tell_of(id, || format!("its monotonic clock jumps ahead by {by:?}"));
        world.processes[id].clocks.mono_jumps(by, now);
    } else {
        let millis = i64::try_from(world.chance.below(600_000)).unwrap_or(0) - 300_000;
        world.tell_of(id, || format!("its wall clock jumps by {millis} ms"));
        world.processes[id].clocks.wall_jumps(millis);
    }
}
