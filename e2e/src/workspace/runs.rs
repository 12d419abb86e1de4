//! What the workspace remembers of runs: facts only (when it started, what was asked, when it was cancelled).
//! No state is stored; `lifecycle` computes it from these facts.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::clock::Millis;
use super::lifecycle::Plan;
use super::script::{Script, TaskScript};

/// Runs leave the workspace this long after they started.
pub(super) const KEPT_FOR: Millis = 60 * 24 * 3600 * 1000;

/// One run of a job, or one one-off run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: i64,
    pub(super) kind: RunType,
    pub(super) job_id: i64,
    pub(super) name: String,
    pub(super) principal: String,
    pub(super) idempotency_token: Option<String>,
    pub(super) body: Value,
    pub(super) job_parameters: Vec<JobParameter>,
    pub(super) created: Millis,
    pub(super) timeout: Option<Millis>,
    /// The run whose end lets this one out of the queue.
    pub(super) behind: Option<i64>,
    pub(super) generations: Vec<Generation>,
    plan: Option<Plan>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunType {
    Job,
    Submit,
}

impl RunType {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Job => "JOB_RUN",
            Self::Submit => "SUBMIT_RUN",
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct JobParameter {
    pub(super) name: String,
    pub(super) default: String,
    pub(super) value: Option<String>,
}

/// The first execution of a run, or a repair of it.
#[derive(Debug)]
pub(super) struct Generation {
    /// None for the first.
    pub(super) repair_id: Option<i64>,
    pub(super) started: Millis,
    pub(super) script: Script,
    pub(super) tasks: Vec<Task>,
    pub(super) cancelled_at: Option<Millis>,
    /// When a test told it to stop working and end as its script says.
    pub(super) finished_at: Option<Millis>,
}

/// One task of a generation, with a run id per attempt it may take.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) key: String,
    pub(super) body: Value,
    pub(super) script: TaskScript,
    pub(super) first_attempt: u32,
    pub(super) run_ids: Vec<i64>,
    pub(super) iteration_ids: Vec<i64>,
    pub(super) cancelled_at: Option<Millis>,
}

impl Task {
    /// `depends_on`: the keys, with the outcome asked of a condition.
    pub(super) fn depends_on(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let list = self.body.get("depends_on").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(|dependency| {
            let key = dependency.get("task_key")?.as_str()?;
            Some((key, dependency.get("outcome").and_then(Value::as_str)))
        })
    }
}

/// What a run needs to be created.
pub(super) struct NewRun {
    pub(super) id: i64,
    pub(super) kind: RunType,
    pub(super) job_id: i64,
    pub(super) name: String,
    pub(super) principal: String,
    pub(super) idempotency_token: Option<String>,
    pub(super) body: Value,
    pub(super) job_parameters: Vec<JobParameter>,
    pub(super) timeout: Option<Millis>,
    pub(super) behind: Option<i64>,
    pub(super) first: Generation,
}

/// All runs, newest first where order matters.
#[derive(Debug, Default)]
pub(super) struct Runs {
    by_id: BTreeMap<i64, Run>,
    by_start: BTreeSet<(Millis, i64)>,
    /// Task run id → job run id. Iterations of a for-each task are here too.
    parents: HashMap<i64, i64>,
    started: usize,
}

impl Runs {
    pub(super) fn add(&mut self, new: NewRun) {
        let run = Run {
            id: new.id,
            kind: new.kind,
            job_id: new.job_id,
            name: new.name,
            principal: new.principal,
            idempotency_token: new.idempotency_token,
            body: new.body,
            job_parameters: new.job_parameters,
            created: new.first.started,
            timeout: new.timeout,
            behind: new.behind,
            generations: Vec::new(),
            plan: None,
        };
        self.by_start.insert((run.created, run.id));
        self.started += 1;
        let id = run.id;
        self.by_id.insert(id, run);
        self.add_generation(id, new.first);
    }

    pub(super) fn add_generation(&mut self, id: i64, generation: Generation) {
        for task in &generation.tasks {
            for task_run in task.run_ids.iter().chain(&task.iteration_ids) {
                self.parents.insert(*task_run, id);
            }
        }
        self.change(id, |run| run.generations.push(generation));
    }

    /// Forgets a run, as runs/delete does.
    pub(super) fn remove(&mut self, id: i64) -> Option<Run> {
        let run = self.by_id.remove(&id)?;
        self.by_start.remove(&(run.created, id));
        for task in run.generations.iter().flat_map(|generation| &generation.tasks) {
            for task_run in task.run_ids.iter().chain(&task.iteration_ids) {
                self.parents.remove(task_run);
            }
        }
        Some(run)
    }

    /// The run, unless it is too old to be kept.
    pub(super) fn get(&self, id: i64, now: Millis) -> Option<&Run> {
        self.by_id.get(&id).filter(|run| now - run.created < KEPT_FOR)
    }

    /// Runs started since the beginning, those deleted since included.
    pub(super) fn ever_started(&self) -> usize {
        self.started
    }

    /// Whether a run or a task run has this id.
    pub(super) fn is_known(&self, id: i64) -> bool {
        self.by_id.contains_key(&id) || self.parents.contains_key(&id)
    }

    /// The job run a task run belongs to.
    pub(super) fn parent_of(&self, task_run: i64, now: Millis) -> Option<&Run> {
        self.get(*self.parents.get(&task_run)?, now)
    }

    /// Newest first, from just before `cursor` on.
    pub(super) fn newest_first(&self, cursor: Option<(Millis, i64)>, now: Millis) -> impl Iterator<Item = &Run> {
        let before = cursor.unwrap_or((Millis::MAX, i64::MAX));
        self.by_start.range(..before).rev().filter_map(move |(_, id)| self.get(*id, now))
    }

    /// What will become of the run. Computed once per change of its facts, since nothing else moves it.
    pub(super) fn plan(&self, run: &Run) -> Plan {
        match &run.plan {
            Some(plan) => plan.clone(),
            None => Plan::of(run, self.released_at(run)),
        }
    }

    pub(super) fn released_at(&self, run: &Run) -> Option<Millis> {
        let ahead = self.by_id.get(&run.behind?)?;
        Some(self.plan(ahead).end())
    }

    /// Changes the facts of a run and what follows from them.
    pub(super) fn change(&mut self, id: i64, edit: impl FnOnce(&mut Run)) {
        if let Some(run) = self.by_id.get_mut(&id) {
            edit(run);
            // What a queued run will do depends on another run, so it is never kept.
            run.plan = match run.behind {
                Some(_) => None,
                None => Some(Plan::of(run, None)),
            };
        }
    }

    pub(super) fn is_active(&self, run: &Run, now: Millis) -> bool {
        match &run.plan {
            Some(plan) => now < plan.end(),
            None => now < self.plan(run).end(),
        }
    }

    pub(super) fn active(&self, now: Millis) -> impl Iterator<Item = &Run> {
        self.newest_first(None, now).filter(move |run| self.is_active(run, now))
    }

    /// The life cycle state, cheaply enough to filter thousands of runs.
    pub(super) fn life_cycle_state(&self, run: &Run, now: Millis) -> String {
        match &run.plan {
            Some(plan) => plan.run_state(now).life_cycle_state,
            None => self.plan(run).run_state(now).life_cycle_state,
        }
    }
}
