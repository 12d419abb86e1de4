//! `cargo crash-test`: kills operator processes at every step and counts what that does to runs.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use databricks_run_operator::cli::RunArgs;
use e2e::crash::{Options, play};

/// Kills operator processes with SIGKILL, at every named point between two steps and at random times, on a real Kubernetes API
/// server and a fake Databricks workspace, while objects are created, edited, suspended, cancelled, repaired and deleted and the
/// workspace loses answers. Ends with 0 only if no run was started twice, no two requests of one start were under way at once, no run was left behind and no
/// object ever told a wrong verdict. About three seconds a kill; needs Go 1.26 or newer the first time.
#[derive(Parser)]
#[command(name = "cargo crash-test", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// How many processes to kill.
    #[arg(long, value_name = "N", default_value_t = 100)]
    kills: u32,
    /// Have two replicas elect a leader, and kill whichever leads or stands by: a lease of fifteen seconds runs out each time, so
    /// about twelve seconds a kill.
    #[arg(long)]
    leader_elect: bool,
    /// What moves, targets and faults are drawn from; default: another one each time.
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Be one of the operators.
    #[command(hide = true)]
    Run(RunArgs),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Run(operator)) => operator.serve(),
        None => match test(arguments.kills, arguments.leader_elect, arguments.seed.unwrap_or_else(rand::random)) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(failure) => {
                // If nobody reads that either, the exit code remains.
                let _ = writeln!(io::stderr(), "crash-test: {failure}");
                ExitCode::FAILURE
            }
        },
    }
}

/// Whether all is as it should be.
fn test(kills: u32, election: bool, seed: u64) -> Result<bool, Box<dyn std::error::Error>> {
    let program = std::env::current_exe()?.to_str().ok_or("this program's path is no text")?.to_owned();
    let options = Options { kills, election, seed, program, progress: say };
    say(&format!("seed {seed}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(play(&options))?;
    say(&report.to_string());
    if !report.logs().is_empty() {
        let path = std::env::temp_dir().join(format!("crash-test-{seed}.log"));
        std::fs::write(&path, report.logs())?;
        say(&format!("the logs of the last operators are in {}", path.display()));
    }
    Ok(report.is_clean())
}

/// Whoever reads this from a pipe may have read enough; that is no reason to end.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
