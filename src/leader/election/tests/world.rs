//! Candidates, a Lease and everything that lies between them, made of a seed, in virtual time. There is one true time; each
//! candidate has a monotonic clock of its own speed and a wall clock that says anything.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::leader::election::{Answer, Ask, Election, Now, Timing, Turn, holder};

/// What goes wrong, in percent of requests or of the seconds that pass.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// Requests that never arrive, answers that never come back, effects that come after the sender gave up, slow answers.
    pub(super) network: u32,
    /// Candidates cut off for a while.
    pub(super) partitions: u32,
    /// Candidates that stand still for a while, their clocks running on.
    pub(super) pauses: u32,
    /// Machines that are suspended: their monotonic clocks stand still, too.
    pub(super) suspensions: u32,
    /// Candidates that die or leave, and are replaced.
    pub(super) ends: u32,
    /// People and tools: the holder overwritten, the Lease deleted, labelled.
    pub(super) meddling: u32,
    /// Wall clocks that jump.
    pub(super) clocks: u32,
    /// By how much monotonic clocks run fast or slow.
    pub(super) drift: u32,
}

type Id = usize;

/// The longest time for which anything stands still, or is on its way.
pub(super) const LONGEST_STAND: Duration = Duration::from_secs(90);

#[derive(Debug)]
enum Event {
    Round(Id),
    Arrives(Id, u64, Ask),
    Answered(Id, u64, Answer),
    TooLate(Id, u64),
    Call(Id),
    Second,
}

#[derive(Debug)]
struct Call {
    /// Ended by itself, in true time.
    done: Duration,
}

pub(super) struct Candidate {
    name: String,
    pub(super) election: Election,
    /// Speed of its monotonic clock.
    speed: f64,
    born: Duration,
    /// How long its clock has stood still before, and when it last did.
    stood: Duration,
    suspended: (Duration, Duration),
    wall: i64,
    alive: bool,
    still_until: Duration,
    cut_off_until: Duration,
    request: u64,
    asking: Option<(Ask, Duration)>,
    calls: Vec<Call>,
    /// When the Lease ceased to carry its name, on its own clock; reset when it does again.
    lost_at: Option<Duration>,
}

impl Candidate {
    fn mono(&self, now: Duration) -> Duration {
        let (from, until) = self.suspended;
        let stood = self.stood + now.min(until).saturating_sub(from);
        now.saturating_sub(self.born + stood).mul_f64(self.speed)
    }

    fn suspend(&mut self, from: Duration, until: Duration) {
        self.stood += self.suspended.1.saturating_sub(self.suspended.0);
        self.suspended = (from, until);
        self.still_until = until;
    }

    fn leads(&self, now: Duration) -> bool {
        self.alive && self.election.tenure().permits(self.mono(now))
    }
}

/// How long it took until somebody led after the leader was gone.
#[derive(Debug, Default)]
pub(super) struct HandOvers {
    pub(super) released: Vec<Duration>,
    pub(super) dead: Vec<Duration>,
}

pub(super) struct World {
    pub(super) now: Duration,
    random: StdRng,
    pub(super) faults: Faults,
    pub(super) candidates: Vec<Candidate>,
    lease: Option<Lease>,
    version: u64,
    agenda: BTreeMap<(Duration, u64), Event>,
    arranged: u64,
    last_request: u64,
    pub(super) hand_overs: HandOvers,
    gone: Option<(Duration, bool)>,
    /// Somebody beside the candidates has written the Lease, or a machine was suspended: two may lead for a while.
    disturbed: bool,
    pub(super) calls: u64,
    pub(super) given_up: u64,
    pub(super) takeovers: u64,
}

impl World {
    pub(super) fn new(seed: u64, candidates: usize, faults: Faults) -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            random: StdRng::seed_from_u64(seed),
            faults,
            candidates: Vec::new(),
            lease: None,
            version: 0,
            agenda: BTreeMap::new(),
            arranged: 0,
            last_request: 0,
            hand_overs: HandOvers::default(),
            gone: None,
            disturbed: false,
            calls: 0,
            given_up: 0,
            takeovers: 0,
        };
        for _ in 0..candidates {
            world.join();
        }
        world.arrange(Duration::from_secs(1), Event::Second);
        world
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.random_range(range))
    }

    fn happens(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn arrange(&mut self, after: Duration, event: Event) {
        self.arranged += 1;
        self.agenda.insert((self.now + after, self.arranged), event);
    }

    fn join(&mut self) {
        let id = self.candidates.len();
        let drift = f64::from(self.faults.drift) / 100.0;
        let speed = 1.0 + drift * self.random.random_range(-1.0..=1.0);
        let name = format!("candidate-{id}");
        let wall = self.random.random_range(-100_000..100_000) * i64::from(self.faults.clocks.min(1));
        self.candidates.push(Candidate {
            election: Election::new(&name, "lock", Timing::default()),
            name,
            speed,
            born: self.now,
            stood: Duration::ZERO,
            suspended: (Duration::ZERO, Duration::ZERO),
            wall,
            alive: true,
            still_until: Duration::ZERO,
            cut_off_until: Duration::ZERO,
            request: 0,
            asking: None,
            calls: Vec::new(),
            lost_at: None,
        });
        let begins = self.millis(0..2000);
        self.arrange(begins, Event::Round(id));
        let calls = self.millis(0..3000);
        self.arrange(calls, Event::Call(id));
    }

    fn read(&self, id: Id) -> Now {
        let candidate = &self.candidates[id];
        let wall = 1_800_000_000 + i64::try_from(self.now.as_secs()).unwrap() + candidate.wall;
        Now { mono: candidate.mono(self.now), wall: Timestamp::from_second(wall).unwrap() }
    }

    /// Lives until then.
    pub(super) fn run(&mut self, until: Duration) {
        while let Some(first) = self.agenda.first_entry() {
            if first.key().0 > until {
                break;
            }
            let ((at, _), event) = first.remove_entry();
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        let of = match event {
            Event::Round(id) | Event::Answered(id, ..) | Event::TooLate(id, _) | Event::Call(id) => Some(id),
            Event::Arrives(..) | Event::Second => None,
        };
        if let Some(id) = of {
            if !self.candidates[id].alive {
                return;
            }
            if self.now < self.candidates[id].still_until {
                // Done when it goes on.
                let wait = self.candidates[id].still_until.saturating_sub(self.now);
                return self.arrange(wait, event);
            }
        }
        match event {
            Event::Round(id) if self.candidates[id].asking.is_some() => {}
            Event::Round(id) => self.ask(id),
            Event::Arrives(id, request, ask) => self.arrives(id, request, ask),
            Event::Answered(id, request, answer) => self.answered(id, request, answer),
            Event::TooLate(id, request) => self.answered(id, request, Answer::None),
            Event::Call(id) => self.call(id),
            Event::Second => self.second(),
        }
        self.check();
    }

    fn ask(&mut self, id: Id) {
        let now = self.read(id);
        let candidate = &mut self.candidates[id];
        let Some(ask) = candidate.election.ask(now) else {
            candidate.alive = false;
            return;
        };
        self.last_request += 1;
        let request = self.last_request;
        candidate.request = request;
        candidate.asking = Some((ask.clone(), now.mono));
        let deadline = candidate.election.timing().request().div_f64(candidate.speed);
        let cut_off = self.now < candidate.cut_off_until;
        self.arrange(deadline, Event::TooLate(id, request));
        if cut_off || self.happens(self.faults.network / 3) {
            return;
        }
        let there = match (self.happens(self.faults.network), self.happens(50)) {
            // After the sender has given up, or just slow.
            (true, true) => self.millis(5_000..40_000),
            (true, false) => self.millis(5..5_000),
            _ => self.millis(1..30),
        };
        self.arrange(there, Event::Arrives(id, request, ask));
    }

    fn arrives(&mut self, id: Id, request: u64, ask: Ask) {
        let answer = match (ask, &self.lease) {
            (Ask::Read | Ask::Replace(_), None) => Answer::Missing,
            (Ask::Read, Some(lease)) => Answer::Lease(Box::new(lease.clone())),
            (Ask::Create(_), Some(_)) => Answer::Conflict,
            (Ask::Replace(new), Some(old)) if new.metadata.resource_version != old.metadata.resource_version => {
                Answer::Conflict
            }
            (Ask::Create(new) | Ask::Replace(new), _) => Answer::Lease(Box::new(self.write(*new))),
        };
        let cut_off = self.now < self.candidates[id].cut_off_until;
        if cut_off || self.happens(self.faults.network) {
            return;
        }
        let back = if self.happens(self.faults.network) { self.millis(1..6_000) } else { self.millis(1..30) };
        self.arrange(back, Event::Answered(id, request, answer));
    }

    fn write(&mut self, mut lease: Lease) -> Lease {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        let (before, after) = (self.lease.as_ref().and_then(holder), holder(&lease));
        if before != after {
            self.takeovers += 1;
            let new = after.map(str::to_owned);
            self.changes_hands(new.as_deref());
        }
        self.lease = Some(lease.clone());
        lease
    }

    /// The Lease is about to carry this name and no other. Nothing of anybody else may be under way any more.
    fn changes_hands(&mut self, new: Option<&str>) {
        let (now, disturbed) = (self.now, self.disturbed);
        for candidate in &mut self.candidates {
            let mono = candidate.mono(now);
            if new == Some(&candidate.name) {
                candidate.lost_at = None;
                continue;
            }
            candidate.lost_at.get_or_insert(mono);
            if disturbed || new.is_none() || !candidate.alive {
                continue;
            }
            let name = &candidate.name;
            assert!(!candidate.election.tenure().permits(mono), "{name} leads although {new:?} does");
            let tenure = candidate.election.tenure();
            let under_way = candidate.calls.iter().any(|call| call.done > now) && mono < tenure.end_by;
            assert!(!under_way, "a call of {name} is under way although {new:?} leads");
        }
    }

    fn answered(&mut self, id: Id, request: u64, answer: Answer) {
        let now = self.read(id);
        let true_now = self.now;
        let candidate = &mut self.candidates[id];
        if candidate.request != request {
            return;
        }
        let Some((ask, sent)) = candidate.asking.take() else { return };
        let led = candidate.election.tenure().permits(now.mono);
        let turn = candidate.election.answered(&ask, sent, answer, now);
        let leads = candidate.leads(true_now);
        if leads && !led {
            let name = candidate.name.clone();
            self.begins_to_lead(&name);
        }
        match turn {
            Turn::Again => self.ask(id),
            Turn::Over => {
                let dice = self.random.random_range(0.0..1.0);
                let candidate = &self.candidates[id];
                let rest = candidate.election.rest(now.mono, dice).div_f64(candidate.speed);
                self.arrange(rest, Event::Round(id));
            }
        }
    }

    fn begins_to_lead(&mut self, name: &str) {
        let others = self.candidates.iter().filter(|other| other.name != name && other.leads(self.now));
        let others: Vec<&str> = others.map(|other| other.name.as_str()).collect();
        assert!(others.is_empty() || self.disturbed, "{name} and {others:?} lead at once");
        if let Some((since, released)) = self.gone.take() {
            let took = self.now.saturating_sub(since);
            if released { self.hand_overs.released.push(took) } else { self.hand_overs.dead.push(took) }
        }
    }

    /// Whoever leads calls somebody, as a submit does: for up to half a minute.
    fn call(&mut self, id: Id) {
        let (now, done) = (self.now, self.now + self.millis(50..30_000));
        let candidate = &mut self.candidates[id];
        let end_by = candidate.election.tenure().end_by;
        // Given up as soon as the process can.
        let gives_up = candidate.mono(now) >= end_by;
        let before = candidate.calls.len();
        candidate.calls.retain(|call| call.done > now && !gives_up);
        if gives_up {
            self.given_up += u64::try_from(before).unwrap();
        }
        if candidate.leads(now) {
            candidate.calls.push(Call { done });
            self.calls += 1;
        }
        let next = self.millis(10..2000);
        self.arrange(next, Event::Call(id));
    }

    /// The bound that holds whatever happens: nobody takes itself for the leader for longer than the renew deadline, on its own
    /// clock, after the Lease has ceased to carry its name.
    fn check(&self) {
        for candidate in self.candidates.iter().filter(|candidate| candidate.leads(self.now)) {
            if let Some(lost_at) = candidate.lost_at {
                let for_so_long = candidate.mono(self.now).saturating_sub(lost_at);
                let bound = candidate.election.timing().renew;
                assert!(for_so_long <= bound, "{} leads {for_so_long:?} after it lost the Lease", candidate.name);
            }
        }
    }

    /// What may happen at any time.
    fn second(&mut self) {
        self.arrange(Duration::from_secs(1), Event::Second);
        let id = self.random.random_range(0..self.candidates.len());
        if !self.candidates[id].alive {
            return;
        }
        if self.happens(self.faults.partitions) {
            self.candidates[id].cut_off_until = self.now + self.millis(1_000..60_000);
        }
        if self.happens(self.faults.pauses) && self.candidates[id].still_until <= self.now {
            self.candidates[id].still_until = self.now + self.millis(100..60_000);
        }
        if self.happens(self.faults.suspensions) && self.candidates[id].still_until <= self.now {
            let long = self.millis(1_000..90_000);
            self.candidates[id].suspend(self.now, self.now + long);
            self.disturbed = true;
        }
        if self.happens(self.faults.clocks) {
            self.candidates[id].wall = self.random.random_range(-1_000_000..1_000_000);
        }
        if self.happens(self.faults.meddling) {
            self.meddle();
        }
        if self.happens(self.faults.ends) {
            let gracefully = self.happens(50);
            self.end(id, gracefully);
            self.join();
        }
    }

    fn meddle(&mut self) {
        self.disturbed = true;
        let Some(mut lease) = self.lease.clone() else { return };
        match self.random.random_range(0..3) {
            0 => {
                lease.spec.get_or_insert_default().holder_identity = Some("somebody".to_owned());
                self.write(lease);
            }
            1 => {
                self.changes_hands(None);
                self.lease = None;
            }
            _ => {
                lease.metadata.labels.get_or_insert_default().insert("a".to_owned(), self.version.to_string());
                self.write(lease);
            }
        }
    }

    /// A candidate dies, or is asked to leave.
    pub(super) fn end(&mut self, id: Id, gracefully: bool) {
        if self.candidates[id].leads(self.now) {
            self.gone = Some((self.now, gracefully));
        }
        if gracefully {
            self.candidates[id].election.leave();
            self.arrange(Duration::ZERO, Event::Round(id));
        } else {
            self.candidates[id].alive = false;
        }
    }

    /// Nothing goes wrong any more. Who stands still goes on when it would have, which may take [`LONGEST_STAND`].
    pub(super) fn calm_down(&mut self) {
        self.faults = Faults { drift: self.faults.drift, ..Faults::default() };
        for candidate in &mut self.candidates {
            candidate.cut_off_until = Duration::ZERO;
        }
    }

    /// Who leads now.
    pub(super) fn leaders(&self) -> Vec<Id> {
        (0..self.candidates.len()).filter(|id| self.candidates[*id].leads(self.now)).collect()
    }
}
