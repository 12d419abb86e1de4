//! Who waits for whom: the order of tasks, whether a task runs at all (`run_if`, conditions, disabled ones), and what
//! the ends of the tasks mean for the run.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::endings::Ending;
use super::runs::{Run, Task};

/// Whether a task runs.
pub(super) enum Gate {
    Runs,
    Ends(Ending),
}

/// The positions of the tasks, each after those it depends on. A circle, which submit refuses, is cut anywhere.
pub(super) fn order(tasks: &[Task]) -> Vec<usize> {
    let keys: BTreeMap<&str, usize> = tasks.iter().enumerate().map(|(at, task)| (task.key.as_str(), at)).collect();
    let mut waits: Vec<usize> = vec![0; tasks.len()];
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); tasks.len()];
    for (at, task) in tasks.iter().enumerate() {
        for ahead in task.depends_on().filter_map(|(key, _)| keys.get(key)) {
            waits[at] += 1;
            followers[*ahead].push(at);
        }
    }
    let mut free: BTreeSet<usize> = (0..tasks.len()).filter(|at| waits[*at] == 0).collect();
    let mut ordered = Vec::with_capacity(tasks.len());
    while let Some(at) = free.pop_first() {
        ordered.push(at);
        for follower in &followers[at] {
            waits[*follower] -= 1;
            if waits[*follower] == 0 {
                free.insert(*follower);
            }
        }
    }
    let placed: BTreeSet<usize> = ordered.iter().copied().collect();
    ordered.extend((0..tasks.len()).filter(|at| !placed.contains(at)));
    ordered
}

/// Whether `task` runs, given how those before it ended.
pub(super) fn gate(task: &Task, done: &BTreeMap<String, Ending>) -> Gate {
    if task.body.get("disabled").and_then(Value::as_bool) == Some(true) {
        return Gate::Ends(Ending::disabled());
    }
    let ahead: Vec<(&Ending, Option<&str>)> =
        task.depends_on().filter_map(|(key, outcome)| Some((done.get(key)?, outcome))).collect();
    if ahead.is_empty() {
        return Gate::Runs;
    }
    let wrong_outcome = |(ending, outcome): &(&Ending, Option<&str>)| {
        outcome.is_some_and(|outcome| !ending.message.eq_ignore_ascii_case(outcome))
    };
    if ahead.iter().any(wrong_outcome) {
        return Gate::Ends(Ending::excluded());
    }
    let failed = ahead.iter().filter(|(ending, _)| ending.is_failure()).count();
    let succeeded = ahead.iter().filter(|(ending, _)| ending.has_result("SUCCESS")).count();
    let run_if = task.body.get("run_if").and_then(Value::as_str);
    let runs = match run_if.unwrap_or("ALL_SUCCESS") {
        "ALL_DONE" => true,
        "NONE_FAILED" => failed == 0,
        "AT_LEAST_ONE_SUCCESS" => succeeded > 0,
        "AT_LEAST_ONE_FAILED" => failed > 0,
        "ALL_FAILED" => failed == ahead.len(),
        _ => succeeded == ahead.len(),
    };
    if runs {
        return Gate::Runs;
    }
    let canceled =
        |(ending, _): &(&Ending, Option<&str>)| ending.has_result("CANCELED") || ending.has_result("UPSTREAM_CANCELED");
    Gate::Ends(match run_if {
        Some(rule) if rule != "ALL_SUCCESS" => Ending::excluded(),
        _ if ahead.iter().any(canceled) => Ending::upstream_canceled(),
        _ if failed > 0 => Ending::upstream_failed(),
        _ => Ending::excluded(),
    })
}

/// What the latest ends of a run's tasks mean for the run: its leaves decide, the rest can only spoil a success.
pub(super) fn run_ending(run: &Run, done: &BTreeMap<String, Ending>) -> Ending {
    let tasks = run.generations.first().map_or(&[][..], |first| &first.tasks);
    let depended_on: BTreeSet<&str> = tasks.iter().flat_map(Task::depends_on).map(|(key, _)| key).collect();
    let ends: Vec<(&str, &Ending)> =
        tasks.iter().filter_map(|task| Some((task.key.as_str(), done.get(&task.key)?))).collect();
    if let [(key, only)] = ends[..] {
        return only.of_run(key);
    }
    if let Some((_, first)) = ends.first()
        && ends.iter().all(|(_, ending)| ending.life_cycle_state == "SKIPPED")
    {
        return (*first).clone();
    }
    let leaf_failed = ends.iter().any(|(key, ending)| ending.is_failure() && !depended_on.contains(key));
    let a_cause = |(_, ending): &&(&str, &Ending)| {
        ending.is_failure() && !ending.has_result("UPSTREAM_FAILED") && !ending.has_result("UPSTREAM_CANCELED")
    };
    match ends.iter().find(a_cause) {
        Some((key, cause)) if leaf_failed => cause.of_run(key),
        Some(_) => Ending::success_with_failures(),
        None => Ending::success(),
    }
}

/// The end of a condition task: success, with its outcome as the message the gates read.
pub(super) fn condition_ending(condition: &Value) -> Ending {
    let side = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default();
    let (left, right) = (side("left"), side("right"));
    let numbers = || Some((left.parse::<f64>().ok()?, right.parse::<f64>().ok()?));
    let holds = match side("op") {
        "EQUAL_TO" => left == right,
        "NOT_EQUAL" => left != right,
        "GREATER_THAN" => numbers().is_some_and(|(left, right)| left > right),
        "GREATER_THAN_OR_EQUAL" => numbers().is_some_and(|(left, right)| left >= right),
        "LESS_THAN" => numbers().is_some_and(|(left, right)| left < right),
        _ => numbers().is_some_and(|(left, right)| left <= right),
    };
    Ending::success().saying(if holds { "true" } else { "false" })
}

/// Refuses a task that waits for one that is not there, and tasks that wait for each other.
pub(super) fn check(tasks: &[Value]) -> Result<(), String> {
    let key = |task: &Value| task.get("task_key").and_then(Value::as_str).unwrap_or_default().to_owned();
    let ahead = |task: &Value| -> Vec<String> {
        let list = task.get("depends_on").and_then(Value::as_array);
        list.into_iter().flatten().map(key).collect()
    };
    let mut waiting: BTreeMap<String, Vec<String>> = tasks.iter().map(|task| (key(task), ahead(task))).collect();
    for (task, ahead) in &waiting {
        if let Some(missing) = ahead.iter().find(|ahead| !waiting.contains_key(*ahead)) {
            return Err(format!("Task {task} depends on task {missing}, which does not exist."));
        }
    }
    loop {
        let free: Vec<String> = waiting
            .iter()
            .filter(|(_, ahead)| !ahead.iter().any(|key| waiting.contains_key(key)))
            .map(|(task, _)| task.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        for task in free {
            waiting.remove(&task);
        }
    }
    match waiting.keys().next() {
        Some(task) => Err(format!("Task {task} is part of a circular dependency.")),
        None => Ok(()),
    }
}
