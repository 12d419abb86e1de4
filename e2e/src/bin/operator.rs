//! The operator, built here so that tests have a program to start and kill.

use std::process::ExitCode;

use clap::Parser;
use databricks_run_operator::cli::{Cli, Command};
use databricks_run_operator::telemetry::memory::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => arguments.serve(),
        Command::Crds | Command::LogLevel(_) => ExitCode::FAILURE,
    }
}
