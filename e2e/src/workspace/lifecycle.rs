//! The state of a run as a pure function of its facts and the present.
//!
//! [`Plan::of`] lays out everything that will happen to a run, to the millisecond, from its scripts and what was done to
//! it; [`Plan::run_state`] and [`Attempt::state`] look at one instant of it. Reading never advances anything.

use std::collections::{BTreeMap, BTreeSet};

use super::clock::Millis;
use super::dependencies::{self, Gate};
use super::endings::Ending;
use super::runs::{Generation, Run, Task};
use super::script::{Phase, Tells};

/// All that will happen to a run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    prelude: Vec<(Millis, Phase)>,
    /// When its tasks may begin: the end of queue and prelude.
    pub(super) works_from: Millis,
    /// When the current generation was started.
    started: Millis,
    stops_at: Option<Millis>,
    pub(super) attempts: Vec<Attempt>,
    end: Millis,
    ending: Ending,
    pub(super) tells: Tells,
}

/// One attempt of one task.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// Which generation and which of its tasks.
    pub(super) generation: usize,
    pub(super) task: usize,
    pub(super) key: String,
    pub(super) run_id: i64,
    pub(super) number: u32,
    /// A retry is not there before the attempt ahead of it has failed.
    pub(super) appears: Millis,
    pub(super) begins: Millis,
    pub(super) runs: Millis,
    pub(super) cleans_up: Millis,
    pub(super) end: Millis,
    pub(super) ending: Ending,
    is_retry: bool,
}

/// How something stands at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) life_cycle_state: String,
    pub(super) status: String,
    pub(super) message: String,
    /// Known from the moment it terminates.
    pub(super) ending: Option<Ending>,
    pub(super) ended: bool,
}

impl Standing {
    fn of(life_cycle_state: &str, status: &str, message: &str) -> Self {
        Self {
            life_cycle_state: life_cycle_state.to_owned(),
            status: status.to_owned(),
            message: message.to_owned(),
            ending: None,
            ended: false,
        }
    }

    fn terminating(ending: &Ending) -> Self {
        Self { ending: Some(ending.clone()), ..Self::of("TERMINATING", "TERMINATING", "") }
    }

    fn ended(ending: &Ending) -> Self {
        Self {
            life_cycle_state: ending.life_cycle_state.clone(),
            status: "TERMINATED".to_owned(),
            message: ending.message.clone(),
            ending: Some(ending.clone()),
            ended: true,
        }
    }
}

/// A cancellation or a time-out: from `at` on nothing begins and all that runs is being stopped.
#[derive(Clone, Debug)]
struct Stop {
    at: Millis,
    takes: Millis,
    ending: Ending,
}

impl Plan {
    /// `released` is when the run ahead of it in the queue ends, if it waits for one.
    pub(super) fn of(run: &Run, released: Option<Millis>) -> Self {
        let mut attempts = Vec::new();
        let mut last = None;
        for mut plan in Self::per_generation(run, released) {
            attempts.append(&mut plan.attempts);
            last = Some(plan);
        }
        let mut plan = last.unwrap_or_else(|| Self::empty(run.created));
        plan.attempts = attempts;
        plan
    }

    /// The first execution and each repair on its own.
    pub(super) fn per_generation(run: &Run, released: Option<Millis>) -> Vec<Self> {
        let mut done: BTreeMap<String, Ending> = BTreeMap::new();
        let plan = |(index, generation): (usize, &Generation)| {
            let released = released.filter(|_| index == 0);
            lay_out(run, index, generation, released, &mut done)
        };
        run.generations.iter().enumerate().map(plan).collect()
    }

    fn empty(at: Millis) -> Self {
        Self {
            prelude: Vec::new(),
            works_from: at,
            started: at,
            stops_at: None,
            attempts: Vec::new(),
            end: at,
            ending: Ending::success(),
            tells: Tells::Both,
        }
    }

    pub(super) fn end(&self) -> Millis {
        self.end
    }

    /// How the run stands.
    pub(super) fn run_state(&self, now: Millis) -> Standing {
        if now >= self.end {
            return Standing::ended(&self.ending);
        }
        if self.stops_at.is_some_and(|at| now >= at) {
            return Standing::terminating(&self.ending);
        }
        if let Some((_, phase)) = self.prelude.iter().find(|(until, _)| now < *until) {
            return Standing::of(&phase.life_cycle_state, &phase.status, &phase.message);
        }
        self.working_state(now)
    }

    /// While tasks are at work, the run is what the liveliest of them is.
    fn working_state(&self, now: Millis) -> Standing {
        let mut seen = BTreeSet::new();
        let mut has_run = false;
        for attempt in self.attempts.iter().filter(|attempt| attempt.end > self.started) {
            has_run |= attempt.runs <= now && attempt.begins < attempt.end;
            if now < attempt.end && now >= attempt.appears {
                seen.insert(attempt.phase(now));
            }
        }
        match seen.first() {
            Some(Activity::Pending) if !has_run => Standing::of("PENDING", "PENDING", "Waiting for cluster"),
            Some(Activity::Terminating) => Standing::terminating(&self.ending),
            Some(Activity::WaitingForRetry) => Standing::of("WAITING_FOR_RETRY", "WAITING", ""),
            _ => Standing::of("RUNNING", "RUNNING", "In run"),
        }
    }
}

/// Liveliest first: the run shows the first of those its tasks are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Activity {
    Running,
    Pending,
    Terminating,
    WaitingForRetry,
    Blocked,
}

impl Attempt {
    fn phase(&self, now: Millis) -> Activity {
        if now < self.begins {
            if self.is_retry { Activity::WaitingForRetry } else { Activity::Blocked }
        } else if now < self.runs {
            Activity::Pending
        } else if now < self.cleans_up {
            Activity::Running
        } else {
            Activity::Terminating
        }
    }

    /// How the attempt stands; `queued` while the whole run is still in its prelude.
    pub(super) fn state(&self, now: Millis, queued: bool) -> Standing {
        if now >= self.end {
            return Standing::ended(&self.ending);
        }
        match self.phase(now) {
            Activity::Blocked if queued => Standing::of("QUEUED", "QUEUED", ""),
            Activity::Blocked => Standing::of("BLOCKED", "BLOCKED", ""),
            Activity::WaitingForRetry => Standing::of("WAITING_FOR_RETRY", "WAITING", ""),
            Activity::Pending => Standing::of("PENDING", "PENDING", "Waiting for cluster"),
            Activity::Running => Standing::of("RUNNING", "RUNNING", "In run"),
            Activity::Terminating => Standing::terminating(&self.ending),
        }
    }
}

fn lay_out(
    run: &Run,
    index: usize,
    generation: &Generation,
    released: Option<Millis>,
    done: &mut BTreeMap<String, Ending>,
) -> Plan {
    let script = &generation.script;
    let mut at = generation.started;
    let mut prelude = Vec::new();
    if let Some(released) = released.filter(|released| *released > at) {
        at = released;
        prelude.push((at, queued_behind()));
    }
    for phase in &script.prelude {
        at += phase.lasts;
        prelude.push((at, phase.clone()));
    }
    let works_from = at;
    let stop = stop_of(run, generation);
    let mut attempts = Vec::new();
    let mut ends: BTreeMap<&str, Millis> = BTreeMap::new();
    for position in dependencies::order(&generation.tasks) {
        let task = &generation.tasks[position];
        let free_at = task.depends_on().filter_map(|(key, _)| ends.get(key).copied()).fold(works_from, Millis::max);
        let laid_out = match dependencies::gate(task, done) {
            Gate::Runs => attempts_of(task, free_at, generation.finished_at),
            Gate::Ends(ending) => vec![never_run(task, free_at, ending)],
        };
        let stop = task_stop(task, stop.as_ref(), script.cancel_takes);
        let laid_out = cut(laid_out, stop.as_ref());
        if let Some(last) = laid_out.last() {
            ends.insert(&task.key, last.end);
            done.insert(task.key.clone(), last.ending.clone());
        }
        attempts.extend(laid_out.into_iter().map(|attempt| Attempt { generation: index, task: position, ..attempt }));
    }
    // From the start, not from the end of the prelude: a run cancelled in the queue ends before it would have left it.
    let end = attempts.iter().map(|attempt| attempt.end).fold(generation.started, Millis::max);
    let stop = stop.filter(|stop| attempts.iter().any(|attempt| attempt.end > stop.at));
    let ending = match (&script.ending, &stop) {
        (_, Some(stop)) => stop.ending.clone(),
        (Some(ending), None) => ending.clone(),
        (None, None) => dependencies::run_ending(run, done),
    };
    Plan {
        prelude,
        works_from,
        started: generation.started,
        stops_at: stop.map(|stop| stop.at),
        attempts,
        end,
        ending,
        tells: script.tells,
    }
}

fn queued_behind() -> Phase {
    Phase {
        life_cycle_state: "QUEUED".to_owned(),
        status: "QUEUED".to_owned(),
        message: "The job already has its maximum of concurrent runs.".to_owned(),
        lasts: 0,
    }
}

fn stop_of(run: &Run, generation: &Generation) -> Option<Stop> {
    // At least an instant, for a cancellation is never done when it is answered.
    let takes = generation.script.cancel_takes.max(1);
    let cancelled = generation.cancelled_at.map(|at| Stop { at, takes, ending: Ending::canceled() });
    let timed_out = run.timeout.map(|span| Stop { at: generation.started + span, takes, ending: Ending::timed_out() });
    earliest(cancelled, timed_out)
}

fn task_stop(task: &Task, of_run: Option<&Stop>, takes: Millis) -> Option<Stop> {
    let takes = takes.max(1);
    let own = task.cancelled_at.map(|at| Stop { at, takes, ending: Ending::canceled() });
    earliest(own, of_run.cloned())
}

fn earliest(one: Option<Stop>, other: Option<Stop>) -> Option<Stop> {
    one.into_iter().chain(other).min_by_key(|stop| stop.at)
}

/// The attempts of a task that is free to begin at `free_at`.
fn attempts_of(task: &Task, free_at: Millis, finished_at: Option<Millis>) -> Vec<Attempt> {
    let script = &task.script;
    let failures = script.failures_first.min(allowed_retries(task));
    let failing = match &script.ending {
        ending if ending.has_result("SUCCESS") => Ending::of_code("RUN_EXECUTION_ERROR"),
        ending => ending.clone(),
    };
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut begins = free_at;
    for (nth, run_id) in (0..=failures).zip(&task.run_ids) {
        let ending = if nth < script.failures_first { &failing } else { &script.ending };
        let runs = begins + script.pending;
        let natural = runs + script.running;
        let cleans_up = finished_at.map_or(natural, |at| natural.min(at.max(runs)));
        let end = cleans_up + script.terminating;
        attempts.push(Attempt {
            generation: 0,
            task: 0,
            key: task.key.clone(),
            run_id: *run_id,
            number: task.first_attempt + nth,
            appears: attempts.last().map_or(Millis::MIN, |ahead| ahead.end),
            begins,
            runs,
            cleans_up,
            end,
            ending: ending.clone(),
            is_retry: nth > 0,
        });
        begins = end + script.retry_after;
    }
    attempts
}

/// How often the service retries a task: `max_retries`, -1 for ever.
pub(super) fn allowed_retries(task: &Task) -> u32 {
    match task.body.get("max_retries").and_then(serde_json::Value::as_i64) {
        Some(-1) => u32::MAX,
        Some(count) => u32::try_from(count).unwrap_or(0),
        // A script that says the task is retried is enough: jobs may have automatic retries.
        None => task.script.failures_first,
    }
}

fn never_run(task: &Task, at: Millis, ending: Ending) -> Attempt {
    Attempt {
        generation: 0,
        task: 0,
        key: task.key.clone(),
        run_id: task.run_ids.first().copied().unwrap_or_default(),
        number: task.first_attempt,
        appears: Millis::MIN,
        begins: at,
        runs: at,
        cleans_up: at,
        end: at,
        ending,
        is_retry: false,
    }
}

/// What a stop leaves of a task's attempts.
fn cut(attempts: Vec<Attempt>, stop: Option<&Stop>) -> Vec<Attempt> {
    let Some(stop) = stop else { return attempts };
    let mut left = Vec::new();
    for mut attempt in attempts {
        let over = attempt.end <= stop.at;
        if !over {
            // A retry that had not appeared yet never will.
            if attempt.appears > stop.at {
                break;
            }
            attempt.begins = attempt.begins.min(stop.at);
            attempt.runs = attempt.runs.min(stop.at);
            attempt.cleans_up = stop.at;
            attempt.end = stop.at + stop.takes;
            attempt.ending = stop.ending.clone();
        }
        left.push(attempt);
        if !over {
            break;
        }
    }
    left
}
