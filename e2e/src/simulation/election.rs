//! Leader election, in the worlds that have one: the operator's own protocol over this world's Kubernetes and clocks. A process
//! without the lease sends nothing. That there may be two with it all the same, where clocks jump, is what makes it worth
//! simulating: no promise may rest on it.

use std::time::Duration;

use databricks_run_operator::leader::{Answer, Ask, Election, Lead, Now, Tenure, Timing, Turn};
use k8s_openapi::api::coordination::v1::Lease;
use tokio::sync::watch;

use super::faults::{self, Fate};
use super::network::Link;
use super::process::{self, ProcessId};
use super::world::World;

/// One world in so many has an election.
const ONE_IN: u64 = 3;

/// Whether the world of a seed has an election.
pub(super) fn is_held(seed: u64) -> bool {
    seed % ONE_IN == 1
}

/// A process's part in it.
pub(super) struct Candidacy {
    election: Election,
    tenure: watch::Sender<Tenure>,
    /// The request under way, and when it was sent on the process's clock.
    asking: Option<(u64, Ask, Duration)>,
    requests: u64,
    /// The term whose beginning was acted on; none while it does not lead.
    term: Option<u64>,
}

/// A candidate of this name, and where to ask whether it leads.
pub(super) fn candidate(name: &str) -> (Candidacy, Lead) {
    let (tenure, lead) = Lead::of_a_candidate();
    let election = Election::new(name, "databricks-run-operator", Timing::default());
    (Candidacy { election, tenure, asking: None, requests: 0, term: None }, lead)
}

/// Whether a process may send something now.
pub(super) fn permits(world: &World, id: ProcessId) -> bool {
    let process = &world.processes[id];
    process.lead.permits(process.clocks.read(world.now).mono)
}

fn now(world: &World, id: ProcessId) -> Now {
    let now = world.processes[id].clocks.read(world.now);
    Now { mono: now.mono, wall: now.wall }
}

/// A process takes part from now on.
pub(super) fn begin(world: &mut World, id: ProcessId) {
    if world.processes[id].candidacy.is_some() {
        round(world, id);
    }
}

/// A process gives its lease back.
pub(super) fn leave(world: &mut World, id: ProcessId) {
    if !process::can_act(world, id, move |world| leave(world, id)) {
        return;
    }
    let Some(candidacy) = &mut world.processes[id].candidacy else { return };
    candidacy.election.leave();
    candidacy.tenure.send_replace(candidacy.election.tenure());
    world.tally.count("elections", "given back");
    round(world, id);
}

fn round(world: &mut World, id: ProcessId) {
    if !process::can_act(world, id, move |world| round(world, id)) {
        return;
    }
    let now = now(world, id);
    let Some(candidacy) = &mut world.processes[id].candidacy else { return };
    // One that was told to leave in the middle of a request goes on when that is answered.
    if candidacy.asking.is_some() {
        return;
    }
    let Some(ask) = candidacy.election.ask(now) else { return };
    candidacy.requests += 1;
    let (request, deadline) = (candidacy.requests, candidacy.election.timing().request());
    candidacy.asking = Some((request, ask.clone(), now.mono));
    let (arrives, answered) = match faults::fate(world, Link::Kubernetes, deadline) {
        Fate::NotConnected { after } => (None, after),
        Fate::Answered { there, back } if there + back <= deadline => (Some((there, true)), there + back),
        Fate::Reset { there, told } => (Some((there, false)), told.min(deadline)),
        Fate::Answered { there, .. } | Fate::Silent { there } => (Some((there, false)), deadline),
    };
    if let Some((there, is_told)) = arrives {
        world.after(there, move |world| {
            let answer = effect(world, ask);
            if is_told {
                let back = answered.saturating_sub(there);
                world.after(back, move |world| learn(world, id, request, answer));
            }
        });
        if is_told {
            return;
        }
    }
    world.after(answered, move |world| learn(world, id, request, Answer::None));
}

fn effect(world: &mut World, ask: Ask) -> Answer {
    if !world.calm && world.now < world.ledger.kubernetes_down_until {
        return Answer::None;
    }
    match (ask, &world.lease) {
        (Ask::Read | Ask::Replace(_), None) => Answer::Missing,
        (Ask::Read, Some(lease)) => Answer::Lease(Box::new(lease.clone())),
        (Ask::Create(_), Some(_)) => Answer::Conflict,
        (Ask::Replace(new), Some(old)) if new.metadata.resource_version != old.metadata.resource_version => {
            Answer::Conflict
        }
        (Ask::Create(new) | Ask::Replace(new), before) => {
            let version = before.as_ref().and_then(|lease| lease.metadata.resource_version.as_ref()?.parse().ok());
            let mut lease: Lease = *new;
            lease.metadata.resource_version = Some((version.unwrap_or(0_u64) + 1).to_string());
            world.lease = Some(lease.clone());
            Answer::Lease(Box::new(lease))
        }
    }
}

fn learn(world: &mut World, id: ProcessId, request: u64, answer: Answer) {
    let again = answer.clone();
    if !process::can_act(world, id, move |world| learn(world, id, request, again)) {
        return;
    }
    let now = now(world, id);
    let dice = f64::from(u32::try_from(world.chance.below(1000)).unwrap_or(0)) / 1000.0;
    let Some(candidacy) = &mut world.processes[id].candidacy else { return };
    let Some((_, ask, sent)) = candidacy.asking.take_if(|(number, ..)| *number == request) else { return };
    let turn = candidacy.election.answered(&ask, sent, answer, now);
    candidacy.tenure.send_replace(candidacy.election.tenure());
    let rest = candidacy.election.rest(now.mono, dice);
    tell(world, id);
    match turn {
        Turn::Again => round(world, id),
        Turn::Over => world.after(rest, move |world| {
            tell(world, id);
            round(world, id);
        }),
    }
}

/// Who begins to lead looks at everything; who ceases to follows nothing.
fn tell(world: &mut World, id: ProcessId) {
    let leads = permits(world, id);
    let Some(candidacy) = &mut world.processes[id].candidacy else { return };
    let term = leads.then(|| candidacy.election.tenure().term);
    if std::mem::replace(&mut candidacy.term, term) == term {
        return;
    }
    if leads {
        world.tell_of(id, || "leads".to_owned());
        world.tally.count("elections", "won");
        let now = world.now;
        let places: Vec<_> = world.processes[id].view.objects().map(|(place, _)| place.clone()).collect();
        for place in places {
            process::trigger(world, id, &place, now);
        }
    } else {
        world.tell_of(id, || "leads no more".to_owned());
        world.tally.count("elections", "lost");
        world.processes[id].lines.follow_nothing();
    }
}
