//! `cargo demo`: shows what the operator does, on a real Kubernetes API server, and checks that it did it.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use databricks_run_operator::telemetry::logs::{self, LogFormat, LogLevel};
use e2e::demo::{Demo, Failure, Play};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Shows what the operator does: a real Kubernetes API server, a fake Databricks workspace, runs that succeed, fail, are cancelled
/// and refused. Takes half a minute; the first time it builds the control plane, which takes minutes and needs Go 1.26 or newer.
/// Ends with 0 only if every run ended as it should.
#[derive(Parser)]
#[command(name = "cargo demo")]
struct Arguments {
    /// Leave everything up afterwards, to look around in, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Show the operator's log on standard error.
    #[arg(long)]
    verbose: bool,
    /// For the demo's own test: let a run end otherwise than promised.
    #[arg(long, hide = true)]
    break_a_promise: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            // If nobody reads that either, the exit code remains.
            let _ = writeln!(io::stderr(), "\ndemo: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every run ended as it should.
async fn run(arguments: Arguments) -> Result<bool, Failure> {
    // Before anything is started, so that a signal at any time ends with everything cleaned up.
    let mut signals = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    if arguments.verbose {
        logs::init(LogFormat::Text, &LogLevel::default())?;
    }
    let play = if arguments.break_a_promise { Play::OtherThanPromised } else { Play::AsPromised };
    let mut demo = tokio::select! {
        played = Demo::play(play) => played?,
        () = any(&mut signals) => return Err("stopped before its end; everything is removed".into()),
    };
    if arguments.keep {
        demo.introduce()?;
        any(&mut signals).await;
    } else {
        demo.advise()?;
    }
    Ok(demo.kept_its_promises())
}

async fn any(signals: &mut [Signal; 2]) {
    let [interrupt, terminate] = signals;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
