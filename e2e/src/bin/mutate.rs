//! `cargo mutate-rules`: breaks each rule that a promise rests on, one at a time, in a copy of the source, and prints after how
//! many worlds the simulation finds out.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use e2e::mutations::{MUTATIONS, Mutation, Trial, Workshop};

/// Breaks each rule that a promise rests on, one at a time, in a copy of the source, and prints after how many worlds the
/// simulation finds out. Ends with 1 when it does not find one out. Each mutation is compiled anew, which takes a minute or two.
#[derive(Parser)]
#[command(name = "cargo mutate-rules")]
struct Arguments {
    /// Only mutations with this in their names.
    #[arg(value_name = "NAME")]
    only: Vec<String>,
    /// From how many starting seeds each is looked for.
    #[arg(long, default_value_t = 5)]
    starts: u64,
    /// Worlds at most from each.
    #[arg(long, default_value_t = 2000)]
    worlds: u64,
}

/// Starting seeds lie so far apart that no two looks share a world.
const APART: u64 = 1_000_000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match all(&mut io::stdout().lock(), &arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn all(out: &mut impl Write, arguments: &Arguments) -> Result<bool, Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let workshop = Workshop::set_up(&root, &target)?;
    let starts: Vec<u64> = (1..=arguments.starts).map(|start| start * APART).collect();
    let wanted = |mutation: &&Mutation| {
        arguments.only.is_empty() || arguments.only.iter().any(|part| mutation.name.contains(part.as_str()))
    };
    let mut missed = Vec::new();
    for mutation in MUTATIONS.iter().filter(wanted) {
        let begun = Instant::now();
        let trial = workshop.try_out(mutation, &starts, arguments.worlds)?;
        tell(out, mutation, &trial, begun.elapsed().as_secs())?;
        if trial.mean().is_none() {
            missed.push(mutation.name);
        }
    }
    match missed.as_slice() {
        [] => writeln!(out, "every mutation was found out from every start within {} worlds", arguments.worlds)?,
        missed => writeln!(out, "not found out: {}", missed.join(", "))?,
    }
    Ok(missed.is_empty())
}

fn tell(out: &mut impl Write, mutation: &Mutation, trial: &Trial, seconds: u64) -> io::Result<()> {
    let each: Vec<String> =
        trial.caught.iter().map(|caught| caught.as_ref().map_or("-".to_owned(), |it| it.worlds.to_string())).collect();
    let mean = trial.mean().map_or("not found out".to_owned(), |mean| format!("{mean:.1} worlds in the mean"));
    writeln!(out, "{}: {mean} ({}; {seconds} s)", mutation.name, each.join(", "))?;
    if let Some(how) = trial.caught.iter().flatten().next() {
        writeln!(out, "    {}", how.how)?;
    }
    out.flush()
}
