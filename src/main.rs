//! Arguments in, operator out; nothing else lives here.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use databricks_run_operator::api::crd::crds_yaml;
use databricks_run_operator::cli::{Cli, Command};
use databricks_run_operator::telemetry::memory::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(arguments) => arguments.serve(),
        Command::LogLevel(arguments) => match arguments.ask() {
            Ok(level) => {
                println!("{level}");
                ExitCode::SUCCESS
            }
            Err(why) => {
                eprintln!("databricks-run-operator: {why}");
                ExitCode::FAILURE
            }
        },
        // A reader that closes the pipe early (`| head`) has what it wants.
        Command::Crds => match std::io::stdout().write_all(crds_yaml().as_bytes()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                eprintln!("cannot print the definitions: {error}");
                ExitCode::FAILURE
            }
            _ => ExitCode::SUCCESS,
        },
    }
}
