//! `cargo simulate`: lives through thousands of worlds in which everything goes wrong, and holds the operator's promises
//! against what really happened.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use databricks_run_operator::telemetry::Metrics;
use e2e::simulation::{AfterFailure, Telling, many, run};

/// Drives the operator's own code through simulated worlds, one per seed, and checks after every step that no promise is
/// broken. Prints what was covered; ends with 1 and the story of the world when a promise is broken.
#[derive(Parser)]
#[command(name = "cargo simulate")]
struct Arguments {
    /// How many worlds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Go on after a broken promise, and list them all.
    #[arg(long)]
    keep_going: bool,
    /// Tell the story of this one world, line by line.
    #[arg(long, conflicts_with_all = ["seeds", "from", "jobs"])]
    seed: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::stdout().lock();
    let told = match arguments.seed {
        Some(seed) => tell(&mut out, seed),
        None => live(&mut out, &arguments),
    };
    // Nobody reads any more: what was found is found.
    told.unwrap_or(ExitCode::FAILURE)
}

fn live(out: &mut impl Write, arguments: &Arguments) -> io::Result<ExitCode> {
    let begun = Instant::now();
    let after = if arguments.keep_going { AfterFailure::GoOn } else { AfterFailure::Stop };
    let findings = many(arguments.from, arguments.seeds, arguments.jobs, after);
    write!(out, "{findings}")?;
    let took = begun.elapsed().as_secs_f64();
    let Some((seed, _)) = findings.failures.first_key_value() else {
        writeln!(out, "{} worlds in {took:.1} s: no promise was broken", findings.worlds)?;
        return Ok(ExitCode::SUCCESS);
    };
    writeln!(out, "{} worlds in {took:.1} s, of which {} break a promise:", findings.worlds, findings.failures.len())?;
    for (seed, how) in &findings.failures {
        writeln!(out, "  seed {seed}: {how}")?;
    }
    writeln!(out, "\nThe story of seed {seed} (cargo simulate --seed {seed}):\n")?;
    tell(out, *seed)?;
    Ok(ExitCode::FAILURE)
}

fn tell(out: &mut impl Write, seed: u64) -> io::Result<ExitCode> {
    let outcome = run(seed, Telling::Told, &Arc::new(Metrics::new()));
    write!(out, "{}", outcome.story)?;
    match outcome.broken {
        None => {
            writeln!(out, "\nno promise was broken")?;
            Ok(ExitCode::SUCCESS)
        }
        Some(broken) => {
            writeln!(
                out,
                "\n{} is broken: {}\n  {}",
                broken.invariant.name(),
                broken.how,
                broken.invariant.sentence()
            )?;
            Ok(ExitCode::FAILURE)
        }
    }
}
