//! Many runs at once in a workspace that allows few requests a second: who is served first, and that everybody is served.
//!
//! `E2E_FAIR_RUNS=2000` is the size that is promised; see CONTRIBUTING.md for the whole command. Of the small size not all can
//! be asked: on a busy machine its runs come so slowly that nobody has to wait.

use std::collections::HashMap;
use std::future::ready;
use std::time::{Duration, Instant};

use databricks_run_operator::api::run::RunObject;
use e2e::stage::{RunView, Stage};
use e2e::wait::eventually;
use e2e::workspace::{Ending, Entry, Fault, Kind, Operation, Options, RetryAfter, RunRecord, Script};
use futures::{StreamExt, stream};
use kube::ResourceExt;
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};

use crate::run_now;

const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");
/// What the workspace allows a second.
const ALLOWED: u32 = 10;
/// What the operator would ask for a second: its default, which is more.
const FLAGS: [&str; 4] = ["--requests-per-second", "15", "--submit-timeout", "30s"];
/// How long finding out what is allowed may take, in milliseconds of the log.
const FINDING_OUT: i64 = 30_000;
/// How many runs are cancelled at a time.
const CANCELED: usize = 3;
/// How many objects are created at a time.
const AT_A_TIME: usize = 16;
/// How long the workspace asks for a pause at the begin, in seconds: long beside what is done meanwhile.
const PAUSE: u64 = 15;
/// Of so many, some wait for minutes, however busy the machine is.
const AT_SCALE: usize = 1000;

fn count() -> usize {
    std::env::var("E2E_FAIR_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// The objects as they are now. A watch tells: to list thousands over and over would be a burden to all.
struct Objects(Store<RunObject>);

impl Objects {
    fn of(stage: &Stage) -> Self {
        let (store, writer) = reflector::store();
        let changes = watcher(stage.runs(), watcher::Config::default()).default_backoff().reflect(writer);
        tokio::spawn(changes.for_each(|_| ready(())));
        Self(store)
    }

    fn all(&self) -> Vec<RunView> {
        self.0.state().iter().map(|object| RunView((**object).clone())).collect()
    }

    /// Waits until so many meet this; their names, in no order.
    async fn some(&self, count: usize, what: &str, meets: impl Fn(&RunView) -> bool) -> Vec<String> {
        eventually(&format!("{count} runs to be {what}"), async || {
            let met = self.all().into_iter().filter(&meets).map(|run| run.0.name_any());
            let met: Vec<_> = met.collect();
            if met.len() >= count { Ok(met) } else { Err(format!("{} are", met.len())) }
        })
        .await
    }
}

/// The jobs, each with what the objects of its runs must say in the end. They run until they are told to finish.
fn jobs(stage: &Stage) -> Vec<(i64, &'static str)> {
    let courses = [
        ("nightly", Script::new().notebook_result("42"), "Succeeded"),
        ("hourly", Script::new(), "Succeeded"),
        ("broken", Script::new().failing("ValueError: no rows", "line 3"), "Failed"),
        ("lost", Script::new().ending(Ending::of_code("DRIVER_ERROR")), "Failed"),
    ];
    let job = |(name, script, state): (&str, Script, &'static str)| {
        (stage.databricks.job(name).script(script.running_forever()).id(), state)
    };
    courses.map(job).into()
}

fn object(stage: &Stage, name: &str, job: i64) -> Value {
    let mut object = stage.run(name, run_now(job));
    object["spec"]["polling"] = json!({});
    object
}

/// Has two runs wait for their start, and takes them back.
async fn take_back(stage: &Stage, prefix: &str) {
    let job = stage.databricks.job("unwanted").id();
    let [deleted, suspended] = ["deleted", "suspended"].map(|name| format!("{prefix}-{name}"));
    for name in [&deleted, &suspended] {
        stage.apply(&object(stage, name, job)).await;
        stage.until(name, "about to be started", |run| !run.status()["intent"].is_null()).await;
    }
    stage.delete(&deleted).await;
    stage.edit(&suspended, json!({"suspend": true})).await;
    stage.gone(&deleted).await;
    stage.suspended(&suspended).await;
}

/// Asks for an end of these runs, one after the other; how many other requests were sent between a status that says so and the
/// cancellation, at the most.
async fn cancel(stage: &Stage, runs: &[RunView]) -> usize {
    let mut longest = 0;
    for run in runs {
        let (name, id) = (run.0.name_any(), run.text("runId").parse().unwrap());
        stage.edit(&name, json!({"cancel": true})).await;
        stage.until(&name, "about to be canceled", |run| !run.status()["cancel"].is_null()).await;
        let said = stage.databricks.requests().len();
        let about_it = |entry: &Entry| entry.run_id == Some(id) && succeeded(entry);
        let sent = stage.databricks.wait_for_request(Operation::Cancel, about_it).await.unwrap().number;
        longest = longest.max(sent.saturating_sub(said));
    }
    longest
}

fn succeeded(entry: &Entry) -> bool {
    entry.status == Some(200)
}

fn share(part: usize, whole: usize) -> f64 {
    let count = |count: usize| f64::from(u32::try_from(count).unwrap());
    100.0 * count(part) / count(whole.max(1))
}

fn of(entries: &[&Entry], operation: Operation) -> usize {
    entries.iter().filter(|entry| entry.operation == operation).count()
}

/// Few answers are refusals, once it is known what is allowed.
fn assert_few_refusals(requests: &[Entry]) {
    let begun = requests.iter().find(|entry| entry.operation == Operation::RunNow).unwrap().received;
    let refused = |entries: &[&Entry]| entries.iter().filter(|entry| entry.status == Some(429)).count();
    let answers: Vec<_> = requests.iter().filter(|entry| entry.status.is_some()).collect();
    let later: Vec<_> = answers.iter().filter(|entry| entry.received >= begun + FINDING_OUT).copied().collect();
    let (all, late) = (refused(&answers), refused(&later));
    println!("{} answers, {all} of them 429 ({:.2} %)", answers.len(), share(all, answers.len()));
    println!("after 30 s: {} answers, {late} of them 429 ({:.2} %)", later.len(), share(late, later.len()));
    // Of the small size all is finding out.
    if count() >= AT_SCALE {
        assert!(share(late, later.len()) < 1.0, "{late} of {} answers are 429", later.len());
    }
}

/// While runs wait to be started most of what is allowed goes to starts, and a little to looking.
fn assert_starts_come_first(requests: &[Entry]) {
    let is_start = |entry: &&Entry| entry.operation == Operation::RunNow && succeeded(entry);
    let (first, last) = (requests.iter().find(is_start).unwrap(), requests.iter().rfind(is_start).unwrap());
    let meanwhile: Vec<_> = requests[first.number..=last.number].iter().filter(|it| succeeded(it)).collect();
    let starts = of(&meanwhile, Operation::RunNow);
    // Many runs are looked at in lists, where that costs less.
    let polls = of(&meanwhile, Operation::GetRun) + of(&meanwhile, Operation::ListRuns);
    let seconds = Duration::from_millis(u64::try_from(last.received - first.received).unwrap()).as_secs_f64();
    println!(
        "{starts} starts in {seconds:.1} s, {polls} polls and {} other calls meanwhile",
        meanwhile.len() - starts - polls
    );
    if starts >= AT_SCALE {
        assert!(share(starts, meanwhile.len()) > 60.0, "{starts} of {} calls are starts", meanwhile.len());
        assert!(share(polls, meanwhile.len()) > 3.0, "{polls} of {} calls are polls", meanwhile.len());
    }
}

/// Every object says of its run what the workspace does.
fn assert_ended_right(objects: &[RunView], records: &[RunRecord], states: &HashMap<i64, &str>) {
    let records: HashMap<String, &RunRecord> = records.iter().map(|run| (run.id.to_string(), run)).collect();
    for run in objects {
        let record = records[&run.text("runId")];
        let result = record.result_state.clone().unwrap_or_default();
        let state = if result == "CANCELED" { "Canceled" } else { states[&record.job_id] };
        assert!(!record.active, "{record:#?}");
        assert_eq!(run.text("state"), state, "{:#}\n{record:#?}", run.status());
        assert_eq!(run.text("resultState"), result, "{:#}", run.status());
    }
    let canceled = objects.iter().filter(|run| run.text("state") == "Canceled").count();
    assert_eq!(canceled, 2 * CANCELED);
}

#[tokio::test]
async fn many_runs_share_few_requests_and_everyone_is_served_in_turn() {
    let count = count();
    let stage = Stage::bare_with("fair", Options::default()).await;
    stage.databricks.configure(|settings| {
        settings.requests_per_second = Some(ALLOWED);
        settings.latency = Some((Duration::from_millis(50), Duration::from_millis(200)));
    });
    stage.connect().await;
    let jobs = jobs(&stage);
    let job_of = |number: usize| jobs[number % jobs.len()].0;
    let throttled = Kind::throttled(Some(RetryAfter::Seconds(PAUSE)));
    stage.databricks.fault(Fault::on(Operation::RunNow, throttled).once());
    let _operator = stage.process(OPERATOR, &FLAGS);
    stage.workspace_ready("True", "WorkspaceReady").await;
    let objects = Objects::of(&stage);

    // The first start is answered with a request for a pause: all must wait.
    stage.apply(&object(&stage, "run-0", job_of(0))).await;
    stage.databricks.wait_for_request(Operation::RunNow, |entry| entry.status == Some(429)).await.unwrap();
    take_back(&stage, "paused").await;
    let asked = stage.databricks.count(Operation::RunNow);
    assert_eq!(asked, 1, "they were let go of while they had to wait:\n{}", stage.databricks.story());

    let begun = Instant::now();
    let wanted = (1..count).map(|number| object(&stage, &format!("run-{number}"), job_of(number)));
    let create = |object: Value| {
        let stage = &stage;
        async move { drop(stage.apply(&object).await) }
    };
    stream::iter(wanted).for_each_concurrent(AT_A_TIME, create).await;
    println!("{count} objects were created in {:.1} s", begun.elapsed().as_secs_f64());
    if count >= AT_SCALE {
        take_back(&stage, "queued").await;
        let started = stage.databricks.runs_started();
        println!("{started} of {count} had been started when two who waited behind them had been let go of");
        assert!(started < count / 2, "{started} of {count} were started first");
    }

    objects.some(CANCELED, "started", |run| !run.text("runId").is_empty()).await;
    let live = |run: &RunView| !run.text("runId").is_empty() && run.text("completionTime").is_empty();
    let mut first: Vec<_> = objects.all().into_iter().filter(live).collect();
    first.truncate(CANCELED);
    let waiting = count - stage.databricks.runs_started();
    let sent = cancel(&stage, &first).await;
    println!("a cancellation was sent after at most {sent} other calls while {waiting} starts were to come");
    let story = || stage.databricks.story();
    assert!(
        count < AT_SCALE || sent < waiting / 2,
        "{sent} calls were sent before it, {waiting} starts were to come:\n{}",
        story()
    );

    objects.some(count, "started", |run| !run.text("runId").is_empty()).await;
    let mut last: Vec<_> = objects.all().into_iter().filter(live).collect();
    let polled = last.len();
    last.truncate(CANCELED);
    let sent = cancel(&stage, &last).await;
    println!("a cancellation was sent after at most {sent} other calls while {polled} runs were looked at");
    assert!(sent < polled / 2, "{sent} calls were sent before it, {polled} runs were looked at:\n{}", story());

    for run in stage.databricks.runs() {
        stage.databricks.finish(run.id);
    }
    let all_ended = Instant::now();
    objects.some(count, "finished", |run| run.condition("Finished") == "True" && !run.0.is_held()).await;
    println!("all ends were known {:.0} s after all had ended at once", all_ended.elapsed().as_secs_f64());
    println!("all was done after {:.0} s", begun.elapsed().as_secs_f64());
    let is_wanted = |run: &RunView| run.0.name_any().starts_with("run-");
    let (wanted, idle): (Vec<_>, Vec<_>) = objects.all().into_iter().partition(is_wanted);
    assert_ended_right(&wanted, &stage.databricks.runs(), &jobs.into_iter().collect());
    assert_eq!(wanted.len(), count);
    assert!(idle.iter().all(|run| run.text("state") == "Suspended"), "{idle:#?}");
    let requests = stage.databricks.requests();
    assert_starts_come_first(&requests);
    assert_few_refusals(&requests);
    stage.assert_started_once_each(count);
}
