//! What kind of world a seed makes: which faults there are and how likely each is. Some worlds are calm and go deep, some
//! suffer from one thing, some from everything.

use std::time::Duration;

use databricks_run_operator::poller::Sweeping;

use super::chance::Chance;

/// How long Databricks lets a token stand for its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idempotency {
    /// For ever; once its run is deleted the token is refused. As documented.
    Remembered,
    /// As long as the run is active.
    OnlyActive,
    /// As long as the run exists.
    ForgottenOnDeletion,
}

/// A world's likelihoods. Odds are in ten-thousandths.
#[derive(Debug, Clone)]
pub(super) struct Mood {
    /// Operator processes at a time.
    pub(super) operators: usize,
    /// Objects there are at first.
    pub(super) objects: usize,
    /// How long faults happen and people act.
    pub(super) length: Duration,
    pub(super) idempotency: Idempotency,
    /// That a process dies, at each of its awaits.
    pub(super) crash: u32,
    /// That a process stands still for a while, at each of its awaits.
    pub(super) pause: u32,
    /// That Kubernetes does a write and its answer is lost.
    pub(super) store_lost: u32,
    /// That Kubernetes does not answer a call.
    pub(super) store_down: u32,
    /// That a listing gives an older state.
    pub(super) stale_read: u32,
    /// The watch's longest lag, in milliseconds.
    pub(super) watch_lag: u64,
    /// That a delivery of the watch becomes a relist, perhaps of an older state.
    pub(super) relist: u32,
    /// That no connection to Databricks is made.
    pub(super) not_connected: u32,
    /// That Databricks' answer is lost.
    pub(super) lost: u32,
    /// That a request takes effect only after the client has given up.
    pub(super) late: u32,
    /// That Databricks answers with an error.
    pub(super) trouble: u32,
    /// That our own rate limit says: not now.
    pub(super) not_now: u32,
    /// That a read lags or denies that there is a run.
    pub(super) lag: u32,
    /// That a run takes a strange course.
    pub(super) strange: u32,
    /// That a run cannot be cancelled.
    pub(super) stubborn: u32,
    /// That clocks jump, at each step of time's own course.
    pub(super) clocks: u32,
    /// That Databricks or Kubernetes is down for a while, likewise.
    pub(super) outages: u32,
    /// That all processes are away for hours, likewise.
    pub(super) absences: u32,
    /// Seconds between two acts of people, about.
    pub(super) people: u64,
    /// Whether people do rude things: wipe, restore, take finalizers off, move the workspace.
    pub(super) rude: bool,
    /// Whether people meddle in Databricks: cancel, delete and repair runs there.
    pub(super) meddling: bool,
    /// Whether processes of an older and of a newer version take turns.
    pub(super) versions: bool,
    /// Whether pollers sweep, whatever that costs.
    pub(super) sweeping: Sweeping,
}

impl Mood {
    pub(super) fn pick(chance: &mut Chance) -> Self {
        // How many of the faults are there: none, some, most.
        let share = chance.weighted(&[(1, 0), (5, 3000), (3, 6500)]);
        let mut dose = |low: u32, high: u32| match (chance.odds(share), chance.half()) {
            (false, _) => 0,
            (true, false) => low,
            (true, true) => high,
        };
        let mut mood = Self {
            crash: dose(30, 300),
            pause: dose(30, 200),
            store_lost: dose(100, 1000),
            store_down: dose(100, 1000),
            stale_read: dose(500, 3000),
            watch_lag: u64::from(dose(5_000, 20_000)),
            relist: dose(300, 1500),
            not_connected: dose(200, 1500),
            lost: dose(300, 3000),
            late: dose(200, 1500),
            trouble: dose(300, 2500),
            not_now: dose(200, 1500),
            lag: dose(500, 3000),
            strange: dose(1000, 5000),
            stubborn: dose(300, 2000),
            clocks: dose(300, 2000),
            outages: dose(200, 1000),
            absences: dose(20, 100),
            rude: dose(1, 1) > 0,
            meddling: dose(1, 1) > 0,
            versions: dose(1, 1) > 0,
            sweeping: Sweeping::Never,
            operators: 1,
            objects: 1,
            length: Duration::ZERO,
            idempotency: Idempotency::Remembered,
            people: 0,
        };
        mood.operators = chance.weighted(&[(2, 1), (2, 2)]);
        mood.objects = chance.weighted(&[(5, 1), (3, 2), (1, 3)]);
        mood.length = chance.seconds(300..=2400);
        mood.people = chance.weighted(&[(2, 20), (3, 60), (3, 180), (2, 600)]);
        mood.idempotency = chance.weighted(&[
            (8, Idempotency::Remembered),
            (1, Idempotency::OnlyActive),
            (1, Idempotency::ForgottenOnDeletion),
        ]);
        if chance.half() {
            mood.sweeping = Sweeping::Always;
        }
        mood
    }

    /// What the story opens with.
    pub(super) fn in_words(&self) -> String {
        let odds = [
            ("crash", self.crash),
            ("pause", self.pause),
            ("lost writes", self.store_lost),
            ("Kubernetes fails", self.store_down),
            ("stale listings", self.stale_read),
            ("relists", self.relist),
            ("not connected", self.not_connected),
            ("lost answers", self.lost),
            ("late effects", self.late),
            ("errors", self.trouble),
            ("rate limit", self.not_now),
            ("lagging reads", self.lag),
            ("strange runs", self.strange),
            ("stubborn runs", self.stubborn),
            ("clocks", self.clocks),
            ("outages", self.outages),
            ("absences", self.absences),
        ];
        let faults: Vec<String> = odds
            .iter()
            .filter(|(_, odds)| *odds > 0)
            .map(|(name, odds)| format!("{name} {}.{:02} %", odds / 100, odds % 100))
            .collect();
        let people = match (self.rude, self.meddling) {
            (false, false) => "polite",
            (true, false) => "rude",
            (false, true) => "meddling in Databricks",
            (true, true) => "rude and meddling in Databricks",
        };
        format!(
            "{} operator(s){}, {} object(s), {:?} tokens, watch lag up to {} ms; people act every {} s or so and are {people}; \
             faults for {} s: {}",
            self.operators,
            if self.versions { " of two versions" } else { "" },
            self.objects,
            self.idempotency,
            self.watch_lag,
            self.people,
            self.length.as_secs(),
            if faults.is_empty() { "none".to_owned() } else { faults.join(", ") },
        )
    }
}
