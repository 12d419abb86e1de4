//! `cargo bench-load`: how the operator does under load, in figures.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use e2e::bench::{Failure, Kind, Options, Programs, Scenario, baseline, play, release_build};

/// Measures the operator as it is released, on a real Kubernetes API server and fake Databricks workspaces whose answers take 50
/// to 200 ms, beside a baseline that follows each run with a call of its own. Prints tables, and writes everything as JSON. All
/// scenarios together take an hour and a half; a machine that does anything else meanwhile spoils the figures.
#[derive(Parser)]
#[command(name = "cargo bench-load", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The scenarios; default: all.
    #[arg(value_enum)]
    scenarios: Vec<Scenario>,
    /// Multiply numbers of objects by this, for a trial. The figures of a trial mean nothing.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    scale: f64,
    /// Leave the baseline out.
    #[arg(long)]
    without_baseline: bool,
    /// Leave the operator out.
    #[arg(long, conflicts_with = "without_baseline")]
    only_baseline: bool,
    /// Measure this program instead of one that is built from this checkout.
    #[arg(long, value_name = "FILE")]
    operator: Option<PathBuf>,
    /// Where the JSON is written.
    #[arg(long, value_name = "FILE", default_value = "target/bench-load.json")]
    json: PathBuf,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Be the baseline.
    #[command(hide = true)]
    Baseline {
        #[arg(long)]
        namespace: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match &arguments.command {
        Some(Command::Baseline { namespace }) => baseline::follow(namespace).await.map(|()| true),
        None => measure(&arguments).await,
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            // If nobody reads that either, the exit code remains.
            let _ = writeln!(io::stderr(), "bench-load: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything could be measured and all that is promised was kept.
async fn measure(arguments: &Arguments) -> Result<bool, Failure> {
    let operator = match &arguments.operator {
        Some(operator) => std::path::absolute(operator)?,
        None => release_build().await?,
    };
    let subjects = match (arguments.without_baseline, arguments.only_baseline) {
        (true, _) => vec![Kind::Operator],
        (_, true) => vec![Kind::Baseline],
        _ => vec![Kind::Operator, Kind::Baseline],
    };
    let scenarios = if arguments.scenarios.is_empty() { Scenario::ALL.to_vec() } else { arguments.scenarios.clone() };
    let programs = Programs { operator, baseline: std::env::current_exe()? };
    let options = Options { scenarios, subjects, scale: arguments.scale, programs, progress };
    let report = play(&options).await;
    let mut out = io::stdout().lock();
    writeln!(out, "\n{report}")?;
    if let Some(folder) = arguments.json.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&arguments.json, serde_json::to_vec_pretty(&report)?)?;
    let broken = report.broken();
    for promise in &broken {
        writeln!(out, "not kept: {promise}")?;
    }
    Ok(broken.is_empty() && report.failures.is_empty())
}

/// Beside the tables, which are what is asked for.
fn progress(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
