//! Databricks, as far as starting exactly once and telling the truth need it: it remembers tokens in one of three ways, its
//! runs live, end, are cancelled with delay, vanish; its reads lag, and it answers with errors that may hide an effect.

mod course;
mod list;
mod people;
mod repair;
mod run;
mod trouble;

use std::collections::BTreeMap;
use std::time::Duration;

use databricks_run_operator::api::status::Endpoint;
use databricks_run_operator::databricks::error::{ApiError, Error};
use databricks_run_operator::databricks::ids::{JobId, RunId};
use databricks_run_operator::databricks::model::{NotebookOutput, RunOutput};
use databricks_run_operator::lifecycle::step::{FoundRun, JobMatch, RunTarget};
use databricks_run_operator::poller::Read;
use serde_json::Value;

pub(super) use list::list_live;
pub(super) use people::{cancel_somewhere, delete_somewhere, repair_somewhere};
pub(super) use repair::repair;
pub(super) use run::SimRun;
pub(super) use trouble::{answer, is_down};

use super::chance::Chance;
use super::clock::{epoch_millis, server_time};
use super::invariants;
use super::mood::Idempotency;
use super::world::World;
use course::{CANCELED, Face, PENDING, TERMINATING};

/// The job that objects mostly run.
pub(super) const JOB: i64 = 5;
/// A job that is continuous: a start of it names no run.
pub(super) const CONTINUOUS_JOB: i64 = 6;
/// A job that is not there.
pub(super) const NO_JOB: i64 = 404;
/// A parameter that is refused.
pub(super) const BAD_DAY: &str = "never";
/// A name that one job has, a name that two have.
pub(super) const JOB_NAMES: [(&str, usize); 3] = [("nightly", 1), ("twice", 2), ("nobody", 0)];

/// For what a line is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    ForAStart,
    ToCancel(RunId),
    ToRead,
    /// One after the other: the workspace may have moved since that was decided.
    ForOutputs,
}

/// One workspace.
#[derive(Debug)]
pub(super) struct Databricks {
    pub(super) runs: BTreeMap<i64, SimRun>,
    /// The runs that each token started, the newest last.
    tokens: BTreeMap<String, Vec<i64>>,
    next_id: i64,
    pub(super) down_until: Duration,
}

impl Databricks {
    /// The workspaces of both hosts.
    pub(super) fn both(chance: &mut Chance) -> Vec<Self> {
        // Far above 2^53, and of one host never of the other.
        let first = i64::try_from(chance.below(1 << 40)).unwrap_or(0);
        [1_i64 << 60, 1_i64 << 61]
            .map(|base| Self {
                runs: BTreeMap::new(),
                tokens: BTreeMap::new(),
                next_id: base + first,
                down_until: Duration::ZERO,
            })
            .into()
    }
}

fn not_found(message: String) -> Error {
    Error::NotFound(ApiError { http_status: 400, message, ..ApiError::default() })
}

fn refused(message: &str) -> Error {
    Error::Rejected(ApiError { http_status: 400, message: message.to_owned(), ..ApiError::default() })
}

/// `run-now` and `runs/submit`.
pub(super) fn start(
    world: &mut World,
    host: usize,
    endpoint: Endpoint,
    body: &str,
    token: &str,
) -> Result<Option<RunId>, Error> {
    let mode = world.mood.idempotency;
    let databricks = &mut world.hosts[host];
    let known = databricks.tokens.get(token).and_then(|runs| runs.last()).and_then(|run| databricks.runs.get(run));
    match known {
        Some(run) if run.deleted.is_some() && mode == Idempotency::Remembered => {
            return Err(refused("the run of this idempotency_token has been deleted"));
        }
        Some(run) if run.is_live() || (mode != Idempotency::OnlyActive && run.deleted.is_none()) => {
            let id = run.id;
            world.tally.count("starts", "repeated: the run there is");
            world.tell("Databricks", || format!("this token's run is {id} already"));
            return Ok(Some(RunId(id)));
        }
        _ => {}
    }
    let body: Value = serde_json::from_str(body).map_err(|_| refused("no JSON"))?;
    if body.pointer("/job_parameters/day").and_then(Value::as_str) == Some(BAD_DAY) {
        return Err(refused("day is no date"));
    }
    let job = match endpoint {
        Endpoint::RunNow => body.get("job_id").and_then(Value::as_i64).unwrap_or(NO_JOB),
        Endpoint::Submit => 0,
    };
    if job == NO_JOB {
        return Err(not_found(format!("Job {job} does not exist.")));
    }
    if job == CONTINUOUS_JOB {
        world.tally.count("starts", "of a continuous job: no run id");
        return Ok(None);
    }
    let name = body.get("run_name").and_then(Value::as_str).unwrap_or("nightly").to_owned();
    Ok(Some(RunId(begin(world, host, job, name, token))))
}

/// A run begins.
fn begin(world: &mut World, host: usize, job: i64, name: String, token: &str) -> i64 {
    let (strange, stubborn) = (world.mood.strange, world.mood.stubborn);
    let course = course::course(&mut world.chance, strange);
    let run = SimRun {
        id: world.hosts[host].next_id,
        token: token.to_owned(),
        job,
        name,
        started: world.now,
        faces: vec![(world.now, course.first().map_or(PENDING, |(_, face)| *face))],
        course: 0,
        deleted: None,
        cancel_asked: false,
        stubborn: world.chance.odds(stubborn),
        tasks: world.chance.pick(&[1, 3]),
        denials: 0,
        repaired_by_people: false,
        repairs: Vec::new(),
        stray: false,
    };
    let id = run.id;
    // Tasks have ids of their own, next to their run's.
    world.hosts[host].next_id += 10;
    world.hosts[host].runs.insert(id, run);
    world.tally.count("starts", "a run began");
    invariants::run_begins(world, host, id);
    world.hosts[host].tokens.entry(token.to_owned()).or_default().push(id);
    take_course(world, host, id, &course[1..]);
    id
}

/// Arranges the faces that a run will have, as long as nothing puts it on another course.
fn take_course(world: &mut World, host: usize, id: i64, course: &[(Duration, Face)]) {
    let Some(number) = world.hosts[host].runs.get(&id).map(|run| run.course) else { return };
    let mut at = world.now;
    for (after, face) in course {
        at += *after;
        let face = *face;
        world.at(at, move |world| show(world, host, id, number, face));
    }
}

fn show(world: &mut World, host: usize, id: i64, course: u32, face: Face) {
    let now = world.now;
    let Some(run) = world.hosts[host].runs.get_mut(&id) else { return };
    if run.course != course || run.deleted.is_some() {
        return;
    }
    run.faces.push((now, face));
    if let Some((state, reason)) = face.word {
        world.tally.count("runs ended", format!("{state} {reason}"));
    }
    world.tell("Databricks", || format!("run {id} is {}/{} {}/{}", face.life, face.result, face.status, face.code));
}

/// `runs/get`, with or without the history of repairs.
pub(super) fn get(world: &mut World, host: usize, RunId(id): RunId, history: bool) -> Result<Read, Error> {
    let gone = || not_found(format!("Run {id} does not exist."));
    let lag = lag(world, 30);
    let (now, lags) = (world.now, !lag.is_zero());
    let denies = lags && world.chance.odds(2000);
    let run = world.hosts[host].runs.get_mut(&id).ok_or_else(gone)?;
    let then = now.saturating_sub(lag);
    if run.deleted.is_some_and(|deleted| deleted <= then) {
        return Err(gone());
    }
    // It is denied at most twice in its life: that is not enough to be believed.
    if (denies || (lags && then < run.started)) && run.denials < 2 {
        run.denials += 1;
        world.tally.count("reads", "the run is denied though it is there");
        world.tell("Databricks", || format!("denies that there is a run {id}"));
        return Err(gone());
    }
    let run = run.described(then, history);
    if lags {
        world.tally.count("reads", "older than the run is");
    }
    Ok(Read { run, server_time: Some(server_time(now)) })
}

/// How old what is read is.
fn lag(world: &mut World, seconds: u64) -> Duration {
    let lags = !world.calm && world.chance.odds(world.mood.lag);
    if lags { world.chance.millis(1..=seconds * 1000) } else { Duration::ZERO }
}

/// `runs/cancel`: accepted now, done a while later, if at all.
pub(super) fn cancel(world: &mut World, host: usize, RunId(id): RunId) -> Result<(), Error> {
    let gone = || not_found(format!("Run {id} does not exist."));
    let run = world.hosts[host].runs.get_mut(&id).filter(|run| run.deleted.is_none()).ok_or_else(gone)?;
    let is_first = !std::mem::replace(&mut run.cancel_asked, true);
    if is_first && run.is_live() && !run.stubborn {
        let wait = world.chance.seconds(0..=40);
        world.after(wait, move |world| stop(world, host, id));
    }
    world.tally.count("cancels", if is_first { "first" } else { "repeated" });
    world.tell("Databricks", || format!("takes note that run {id} is to be cancelled"));
    Ok(())
}

fn stop(world: &mut World, host: usize, id: i64) {
    let Some(run) = world.hosts[host].runs.get_mut(&id).filter(|run| run.is_live()) else { return };
    run.course += 1;
    let course = run.course;
    show(world, host, id, course, TERMINATING);
    let wait = world.chance.seconds(1..=10);
    world.after(wait, move |world| show(world, host, id, course, Face::ended(CANCELED)));
}

/// `runs/get-output`, of a task.
pub(super) fn output(world: &mut World, host: usize, RunId(task): RunId) -> Result<RunOutput, Error> {
    let of_task = world.hosts[host].runs.range(task - 9..task).next_back();
    let Some((_, run)) = of_task.filter(|(_, run)| run.deleted.is_none()) else {
        return Err(not_found(format!("Run {task} does not exist.")));
    };
    Ok(RunOutput {
        error: run.face().fails.then(|| "ValueError: no rows".to_owned()),
        error_trace: run.face().fails.then(|| "Traceback\n".repeat(2000)),
        notebook_output: Some(NotebookOutput { result: Some("x".repeat(9000)), truncated: false }),
        ..RunOutput::default()
    })
}

/// `jobs/list` by name.
#[expect(clippy::unnecessary_wraps, reason = "the shape of every answer")]
pub(super) fn find_job(_: &mut World, _: usize, name: &str) -> Result<JobMatch, Error> {
    let count = JOB_NAMES.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count);
    Ok(match count {
        0 => JobMatch::None,
        1 => JobMatch::One(JobId(JOB)),
        several => JobMatch::Several(several),
    })
}

/// `runs/list`: what began a moment ago may not be in it yet.
#[expect(clippy::unnecessary_wraps, reason = "the shape of every answer")]
pub(super) fn find_runs(
    world: &mut World,
    host: usize,
    target: &RunTarget,
    since: i64,
) -> Result<Vec<FoundRun>, Error> {
    // Where reads lag at all, lists lag often: whoever takes an absence for an answer shall be found out.
    let lags = !world.calm && world.mood.lag > 0 && world.chance.odds(4000);
    let lag = if lags { world.chance.seconds(1..=60) } else { Duration::ZERO };
    let then = world.now.saturating_sub(lag);
    let wanted = |run: &SimRun| match target {
        RunTarget::Job(JobId(job)) => run.job == *job,
        RunTarget::Name(name) => run.job == 0 && run.name == *name,
    };
    let listed = world.hosts[host]
        .runs
        .values()
        .filter(|run| run.deleted.is_none() && run.started <= then && epoch_millis(run.started) >= since)
        .filter(|run| wanted(run));
    let found: Vec<FoundRun> =
        listed.map(|run| FoundRun { run: RunId(run.id), ended: run.face_at(then).1.word.is_some() }).collect();
    world.tell("Databricks", || format!("lists the runs of {target:?} as {found:?}"));
    Ok(found)
}
