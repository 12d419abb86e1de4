//! The workshop: a copy of the source, in which a mutation is made, compiled, tried and unmade.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::copy::copy;
use super::table::{Mutation, Replacement};

/// Why mutations could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source could not be copied.
    #[error("the source cannot be copied: {0}")]
    Copy(String),
    /// The text that a mutation replaces is not there.
    #[error("{mutation}: the text it replaces is not in {file} exactly once; correct e2e/src/mutations/table.rs")]
    Moved {
        /// Which.
        mutation: &'static str,
        /// Where.
        file: &'static str,
    },
    /// The mutated source does not compile.
    #[error("{mutation} does not compile:\n{output}")]
    Compile {
        /// Which.
        mutation: &'static str,
        /// What the compiler says.
        output: String,
    },
    /// A program could not be started.
    #[error("cannot start {0}: {1}")]
    Start(&'static str, std::io::Error),
}

/// A mutation that was found out, from one starting seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caught {
    /// After how many worlds.
    pub worlds: u64,
    /// Which promise was broken, and how.
    pub how: String,
}

/// What came of a mutation: one entry per starting seed, none where it was not found out.
#[derive(Debug)]
pub struct Trial {
    /// By starting seed.
    pub caught: Vec<Option<Caught>>,
}

impl Trial {
    /// The mean number of worlds until it was found out; none if it once was not.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let worlds: Option<Vec<u64>> = self.caught.iter().map(|caught| caught.as_ref().map(|it| it.worlds)).collect();
        let worlds = worlds.filter(|worlds| !worlds.is_empty())?;
        #[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
        let mean = worlds.iter().sum::<u64>() as f64 / worlds.len() as f64;
        Some(mean)
    }
}

/// The copy of the source, and where it is compiled.
pub struct Workshop {
    source: PathBuf,
    target: PathBuf,
}

impl Workshop {
    /// Sets one up below `target`, the folder that cargo compiles into. It compiles into a folder of its own: in a shared
    /// one cargo takes what the copy was compiled to for what the source is, and `cargo simulate` would run a mutant.
    pub fn set_up(root: &Path, target: &Path) -> Result<Self, Error> {
        let (source, target) = (target.join("mutations/source"), target.join("mutations/target"));
        copy(root, &source)?;
        Ok(Self { source, target })
    }

    /// Makes a mutation and lets the simulation look for it: up to so many worlds from each starting seed.
    pub fn try_out(&self, mutation: &Mutation, starts: &[u64], worlds: u64) -> Result<Trial, Error> {
        let unmade = self.make(mutation)?;
        let trial = self.build(mutation).and_then(|program| {
            let caught = starts.iter().map(|start| look(&program, *start, worlds)).collect::<Result<_, _>>()?;
            Ok(Trial { caught })
        });
        for (file, text) in unmade {
            std::fs::write(&file, text).map_err(|error| Error::Copy(format!("{}: {error}", file.display())))?;
        }
        trial
    }

    /// Replaces the text; what the files were before.
    fn make(&self, mutation: &Mutation) -> Result<Vec<(PathBuf, String)>, Error> {
        let mut before = Vec::new();
        for Replacement { file, from, to } in mutation.replacements {
            let path = self.source.join(file);
            let moved = Error::Moved { mutation: mutation.name, file };
            let Ok(text) = std::fs::read_to_string(&path) else { return Err(moved) };
            if text.matches(from).count() != 1 {
                return Err(moved);
            }
            std::fs::write(&path, text.replace(from, to))
                .map_err(|error| Error::Copy(format!("{}: {error}", path.display())))?;
            before.insert(0, (path, text));
        }
        Ok(before)
    }

    fn build(&self, mutation: &Mutation) -> Result<PathBuf, Error> {
        let output = Command::new("cargo")
            .args(["build", "--quiet", "--profile", "simulation", "--package", "e2e", "--bin", "simulate"])
            .current_dir(&self.source)
            .env("CARGO_TARGET_DIR", &self.target)
            .output()
            .map_err(|error| Error::Start("cargo", error))?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Compile { mutation: mutation.name, output });
        }
        Ok(self.target.join("simulation/simulate"))
    }
}

/// Lives through worlds from a seed on until a promise is broken.
fn look(program: &Path, start: u64, worlds: u64) -> Result<Option<Caught>, Error> {
    let output = Command::new(program)
        .args(["--from", &start.to_string(), "--seeds", &worlds.to_string()])
        .output()
        .map_err(|error| Error::Start("the simulation", error))?;
    Ok(found(&output, start))
}

/// The first seed that the simulation names, as a distance from the start.
fn found(output: &Output, start: u64) -> Option<Caught> {
    if output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let (seed, how) = text.lines().find_map(|line| line.strip_prefix("  seed ")?.split_once(": "))?;
    let seed: u64 = seed.parse().ok()?;
    Some(Caught { worlds: seed.checked_sub(start)? + 1, how: how.to_owned() })
}
