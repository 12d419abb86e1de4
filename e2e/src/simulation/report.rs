//! Many worlds, on several threads, and what was found in them.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use databricks_run_operator::telemetry::Metrics;

use super::{Invariant, Outcome, Tally, Telling, run};

/// What was found in many worlds.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many worlds were lived through.
    pub worlds: u64,
    /// What they went through, together.
    pub tally: Tally,
    /// The seeds with a broken promise and how it was broken.
    pub failures: BTreeMap<u64, String>,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.tally)?;
        writeln!(f, "invariants checked after every step of {} worlds", self.worlds)?;
        for invariant in Invariant::ALL {
            writeln!(f, "  {}: {}", invariant.name(), invariant.sentence())?;
        }
        Ok(())
    }
}

/// What follows a broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// No more worlds.
    Stop,
    /// All the others.
    GoOn,
}

/// Lives through so many worlds, from this seed on, on so many threads.
#[must_use]
pub fn many(from: u64, seeds: u64, threads: usize, after: AfterFailure) -> Findings {
    let next = AtomicU64::new(from);
    let findings = Mutex::new(Findings::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let metrics = Arc::new(Metrics::new());
                let (mut tally, mut worlds) = (Tally::default(), 0);
                while after == AfterFailure::GoOn || !has_failed(&findings) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from.saturating_add(seeds) {
                        break;
                    }
                    worlds += 1;
                    match contained(seed, Telling::Silent, &metrics) {
                        Ok(outcome) => {
                            tally.add(&outcome.tally);
                            if let Some(broken) = outcome.broken {
                                fail(&findings, seed, format!("{}: {}", broken.invariant.name(), broken.how));
                            }
                        }
                        Err(why) => fail(&findings, seed, format!("a panic: {why}")),
                    }
                }
                let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
                findings.worlds += worlds;
                findings.tally.add(&tally);
            });
        }
    });
    findings.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn fail(findings: &Mutex<Findings>, seed: u64, how: String) {
    findings.lock().unwrap_or_else(PoisonError::into_inner).failures.insert(seed, how);
}

fn has_failed(findings: &Mutex<Findings>) -> bool {
    !findings.lock().unwrap_or_else(PoisonError::into_inner).failures.is_empty()
}

/// One world; a panic in it is a finding.
fn contained(seed: u64, telling: Telling, metrics: &Arc<Metrics>) -> Result<Outcome, String> {
    catch_unwind(AssertUnwindSafe(|| run(seed, telling, metrics))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
    })
}
