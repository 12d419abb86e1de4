//! `cargo bench-instructions`: how many instructions the two things take that the operator does most: deciding that there is
//! nothing to do, and reading what Databricks says of a run. Counted by callgrind, so the load of the machine does not matter.

use std::hint::black_box;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use clap::Parser;
use databricks_run_operator::api::run::RunObject;
use databricks_run_operator::api::status::DatabricksRunStatus;
use databricks_run_operator::databricks::model::Run;
use databricks_run_operator::lifecycle::run_key::VERSIONS;
use databricks_run_operator::lifecycle::{
    Memory, Now, Observed, Reading, Settings, Step, Subject, TakeOver, WorkspaceView, decide,
};
use serde_json::{Value, json};

/// Times that a thing is done in the run that is compared with one in which it is not done.
const TIMES: u32 = 20;

/// Counts instructions. Without arguments it prints the table; the others are for itself.
#[derive(Parser)]
#[command(name = "cargo bench-instructions")]
struct Arguments {
    /// Do this one thing, so many times.
    #[arg(long, requires = "times", hide = true)]
    case: Option<String>,
    #[arg(long, hide = true)]
    times: Option<u32>,
}

/// What is counted: its name, what it is, and how it is done so many times.
type Case = (&'static str, &'static str, fn(u32) -> Result<(), String>);

const CASES: [Case; 4] = [
    ("decide-3", "decide: nothing has changed of a live run of 3 tasks", |times| decide_often(3, times)),
    ("decide-100", "decide: nothing has changed of a live run of 100 tasks", |times| decide_often(100, times)),
    ("decode-3", "decode: a runs/get answer of 3 tasks", |times| decode_often(3, times)),
    ("decode-100", "decode: a runs/get answer of 100 tasks", |times| decode_often(100, times)),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match (arguments.case, arguments.times) {
        (Some(case), Some(times)) => one(&case, times),
        _ => table(&mut io::stdout().lock()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stderr(), "{why}");
            ExitCode::FAILURE
        }
    }
}

fn one(name: &str, times: u32) -> Result<(), String> {
    let case = CASES.iter().find(|(case, ..)| *case == name);
    case.map_or_else(|| Err(format!("there is no case `{name}`")), |(.., run)| run(times))
}

fn table(out: &mut impl Write) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = folder.path().join("callgrind.out");
    let print = |out: &mut dyn Write, line: &str| writeln!(out, "{line}").map_err(|error| error.to_string());
    print(out, "| what | bytes | instructions |\n| --- | --- | --- |")?;
    for (name, what, _) in CASES {
        let (none, all) = (count(&program, &file, name, 0)?, count(&program, &file, name, TIMES)?);
        let bytes = name.strip_prefix("decode-").map_or(Ok(String::new()), |tasks| {
            let tasks = tasks.parse().map_err(|_| format!("`{name}` names no number of tasks"))?;
            Ok::<_, String>(answer(tasks).to_string().len().to_string())
        })?;
        print(out, &format!("| {what} | {bytes} | {} |", all.saturating_sub(none) / u64::from(TIMES)))?;
    }
    Ok(())
}

/// The instructions of a whole process that does a thing so many times.
fn count(program: &Path, file: &Path, case: &str, times: u32) -> Result<u64, String> {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", file.display())).arg(program);
    valgrind.args(["--case", case, "--times", &times.to_string()]).stdout(Stdio::null()).stderr(Stdio::piped());
    let ended = valgrind.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            "valgrind is not installed; install it (apt-get install valgrind) and try again".to_owned()
        }
        _ => format!("valgrind: {error}"),
    })?;
    if !ended.status.success() {
        return Err(String::from_utf8_lossy(&ended.stderr).into_owned());
    }
    let told = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let total = told.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    total.and_then(|total| total.trim().parse().ok()).ok_or_else(|| "callgrind has not told a total".to_owned())
}

/// What `runs/get` answers about a live run of so many tasks.
fn answer(tasks: usize) -> Value {
    let task = |number: usize| {
        let (life, start) = if number == 0 { ("RUNNING", 1_767_225_601_000_i64) } else { ("BLOCKED", 0) };
        json!({
            "run_id": 9_007_199_254_740_993_i64 + i64::try_from(number).unwrap_or_default(),
            "task_key": format!("step_{number}"),
            "description": "Reads what came in since yesterday, and writes what is to be reported.",
            "notebook_task": {"notebook_path": "/Shared/etl/step", "source": "WORKSPACE",
                "base_parameters": {"day": "2026-01-01", "region": "eu-west"}},
            "depends_on": if number == 0 { json!([]) } else { json!([{"task_key": format!("step_{}", number - 1)}]) },
            "new_cluster": {"spark_version": "15.4.x-scala2.12", "node_type_id": "Standard_DS3_v2", "num_workers": 8,
                "spark_conf": {"spark.sql.shuffle.partitions": "200"}},
            "run_if": "ALL_SUCCESS", "timeout_seconds": 0, "email_notifications": {}, "attempt_number": 0,
            "state": {"life_cycle_state": life, "state_message": "", "user_cancelled_or_timedout": false},
            "status": {"state": life}, "start_time": start, "end_time": 0,
            "setup_duration": 0, "execution_duration": 0, "cleanup_duration": 0,
            "run_page_url": format!("https://adb-1234567890123456.7.azuredatabricks.net/?o=1234567890123456#job/5/run/{number}"),
        })
    };
    json!({
        "job_id": 5, "run_id": 7, "number_in_job": 7, "original_attempt_run_id": 7, "creator_user_name": "etl@example.com",
        "state": {"life_cycle_state": "RUNNING", "state_message": "In run", "user_cancelled_or_timedout": false},
        "status": {"state": "RUNNING"}, "start_time": 1_767_225_600_000_i64, "end_time": 0, "setup_duration": 0,
        "execution_duration": 0, "cleanup_duration": 0, "run_duration": 0, "trigger": "ONE_TIME", "run_name": "nightly",
        "run_page_url": "https://adb-1234567890123456.7.azuredatabricks.net/?o=1234567890123456#job/5/run/7",
        "run_type": "JOB_RUN", "format": "MULTI_TASK", "tasks": (0..tasks).map(task).collect::<Vec<_>>(),
    })
}

fn decode_often(tasks: usize, times: u32) -> Result<(), String> {
    let body = answer(tasks).to_string();
    for _ in 0..times {
        black_box(serde_json::from_slice::<Run>(black_box(body.as_bytes())).map_err(|error| error.to_string())?);
    }
    Ok(())
}

fn decide_often(tasks: usize, times: u32) -> Result<(), String> {
    let wrong = |error: &dyn std::fmt::Display| error.to_string();
    let object = json!({
        "apiVersion": "dbrun.dev/v1alpha1", "kind": "DatabricksRun",
        "metadata": {"name": "nightly", "namespace": "team", "uid": "0d7e5f3c-1111-4222-8333-444455556666", "generation": 1},
        "spec": {"workspaceRef": {"name": "prod"}, "runNow": {"job_id": 5, "job_parameters": {"day": "2026-01-01"}}},
        "status": {
            "observedGeneration": 1, "runId": "7", "serial": 1, "attempt": 1, "requestedAt": "2026-01-01T00:00:00Z",
            "firstSubmitTime": "2026-01-01T00:00:00Z", "submitTime": "2026-01-01T00:00:00Z",
            "workspace": {"kind": "DatabricksWorkspace", "name": "prod", "host": "https://workspace.test", "jobsApiVersion": "2.1"},
        },
    });
    let object: RunObject = serde_json::from_value(object).map_err(|error| wrong(&error))?;
    let spec = object.spec().map_err(|error| wrong(&error))?;
    let run: Run = serde_json::from_value(answer(tasks)).map_err(|error| wrong(&error))?;
    let mut status = object.status.unwrap_or_default();
    let workspace = WorkspaceView::Ready { pin: status.workspace.clone().unwrap_or_default() };
    let reading = Reading { run: Some(run.into()), read_at: Duration::from_mins(1), ..Reading::default() };
    let settings = Settings {
        holder: "bench".to_owned(),
        submit_timeout: Duration::from_secs(30),
        deletion_deadline: Duration::from_mins(4),
        run_keys: VERSIONS,
        ttl_keep_keys: Vec::new(),
        take_over: TakeOver::AsLeader,
    };
    let now =
        Now { wall: "2026-01-01T00:05:00Z".parse().map_err(|error| wrong(&error))?, mono: Duration::from_mins(5) };
    let memory = Memory::default();
    let step = |status: &DatabricksRunStatus| {
        let subject = Subject {
            uid: "0d7e5f3c-1111-4222-8333-444455556666",
            generation: 1,
            deletion: None,
            held: true,
            start_mark: None,
            rerun: None,
            cancel: None,
            repair: None,
            kept_by: None,
            spec: Ok(&spec),
            status,
        };
        let seen =
            Observed { subject, workspace: &workspace, reading: Some(&reading), memory: &memory, settings: &settings };
        decide(black_box(&seen), now)
    };
    // What is new is recorded first; from then on nothing is.
    while let Step::Record(change) = step(&status) {
        status = *change.status;
    }
    for _ in 0..times {
        if !matches!(black_box(step(&status)), Step::Wait(_)) {
            return Err("there is something to do, which is not what is to be counted".to_owned());
        }
    }
    Ok(())
}
