//! `jobs/runs/get`: a run with all its tasks.

use std::collections::HashMap;

use super::{Answered, Pages};
use crate::databricks::client::{Client, Request};
use crate::databricks::error::{Error, TransportError};
use crate::databricks::ids::RunId;
use crate::databricks::limiter::Lane;
use crate::databricks::model::{Run, RunTask};
use crate::databricks::observer::Operation;
use crate::databricks::settings::JobsApiVersion;

/// A hundred tasks a page and a thousand tasks a run, each repeated a few times: more pages than these are a loop.
const MAX_PAGES: usize = 100;
/// Attempts of tasks, and repairs, that one run can have.
const MAX_PARTS: usize = 20_000;
const OPERATION: Operation = Operation::GetRun;

impl Client {
    /// A run as it is now: all pages put together, the newest attempt of each task.
    pub async fn get_run(&self, version: JobsApiVersion, run: RunId) -> Result<Answered<Run>, Error> {
        self.permission(OPERATION, Lane::Poll, run)?;
        self.read_run(version, run, false).await
    }

    /// The same with the history of its repairs, and ahead of all polls: a decision to start something waits for it.
    pub async fn get_run_with_history(&self, version: JobsApiVersion, run: RunId) -> Result<Answered<Run>, Error> {
        self.permission(OPERATION, Lane::Submit, (run, "history"))?;
        self.read_run(version, run, true).await
    }

    async fn read_run(&self, version: JobsApiVersion, run: RunId, history: bool) -> Result<Answered<Run>, Error> {
        let deadline = self.call_deadline();
        let mut pages = Pages::at_most(MAX_PAGES);
        let mut whole: Option<Answered<Run>> = None;
        loop {
            let mut request = Request::get(OPERATION, version, "runs/get")
                .about(run)
                .query("run_id", run)
                .query_if("include_history", history.then_some("true"));
            if let Some(token) = pages.token() {
                request = request.query("page_token", token);
                self.charge();
            }
            let answer = self.send(&request, deadline).await?;
            let mut page: Run = answer.json()?;
            let next_page_token = page.next_page_token.take();
            if page.run_id != run {
                let why = format!("it speaks of run {} where {run} was asked for", page.run_id);
                return Err(Error::Transport(TransportError::UnreadableAnswer(why)));
            }
            // The state is the first page's, hence the oldest: at worst a run is seen to end one poll later.
            let mut so_far = match whole.take() {
                Some(mut whole) => {
                    whole.value.tasks.extend(page.tasks);
                    whole.value.repair_history.extend(page.repair_history);
                    whole
                }
                None => Answered { value: page, server_time: answer.server_time },
            };
            if so_far.value.tasks.len().max(so_far.value.repair_history.len()) > MAX_PARTS {
                return Err(Error::Transport(TransportError::UnreadableAnswer(
                    "it has more tasks than can be".to_owned(),
                )));
            }
            if !pages.turn(next_page_token)? {
                so_far.value.tasks = newest_attempts(so_far.value.tasks);
                return Ok(so_far);
            }
            whole = Some(so_far);
        }
    }
}

/// A repeated task is listed once per attempt under the same key. Keeps the newest of each, where the first one stood.
fn newest_attempts(tasks: Vec<RunTask>) -> Vec<RunTask> {
    // The place at which the first attempt of a task stood, and that of its newest.
    let mut newest: HashMap<&str, (usize, usize)> = HashMap::with_capacity(tasks.len());
    for (place, task) in tasks.iter().enumerate() {
        let (_, best) = newest.entry(&task.task_key).or_insert((place, place));
        if age(task) >= age(&tasks[*best]) {
            *best = place;
        }
    }
    if newest.len() == tasks.len() {
        return tasks;
    }
    let mut places: Vec<(usize, usize)> = newest.into_values().collect();
    places.sort_unstable();
    let mut tasks: Vec<Option<RunTask>> = tasks.into_iter().map(Some).collect();
    places.into_iter().filter_map(|(_, best)| tasks[best].take()).collect()
}

fn age(task: &RunTask) -> (i64, i64) {
    (task.attempt_number, task.start_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(key: &str, attempt_number: i64, start_time: i64) -> RunTask {
        RunTask { task_key: key.to_owned(), attempt_number, start_time, ..RunTask::default() }
    }

    #[test]
    fn of_a_repeated_task_the_newest_attempt_is_kept_where_the_first_one_stood() {
        let tasks = vec![task("b", 0, 1), task("a", 2, 9), task("b", 1, 5), task("a", 0, 1), task("a", 1, 4)];
        assert_eq!(newest_attempts(tasks), vec![task("b", 1, 5), task("a", 2, 9)]);
    }

    #[test]
    fn attempts_of_the_same_number_are_told_apart_by_their_start() {
        assert_eq!(newest_attempts(vec![task("a", 0, 7), task("a", 0, 3)]), vec![task("a", 0, 7)]);
    }
}
