//! What can be said on the command line. Each flag of `run` has a twin in the environment.

use clap::{Args, Parser, Subcommand};

/// Runs Databricks jobs from Kubernetes objects: one object, one run, started exactly once, told truthfully.
#[derive(Debug, Parser)]
#[command(name = "databricks-run-operator", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the cluster that KUBECONFIG names, or the one this runs in, until SIGTERM.
    Run(RunArgs),
    /// Print the custom resource definitions, for `kubectl apply -f -`.
    Crds,
}

/// How to serve.
#[derive(Debug, Args)]
pub struct RunArgs {}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
