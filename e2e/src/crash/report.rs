//! What the crash test has found, in the words it is printed in.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use databricks_run_operator::controller::fail_points::FailPoint;

use super::Options;
use super::killer::Death;

/// How often processes died at one place.
#[derive(Debug, Clone, Copy, Default)]
struct Deaths {
    kills: u32,
    /// Those that left a start open.
    within_a_start: u32,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    seed: u64,
    points: BTreeMap<&'static str, Deaths>,
    at_random: Deaths,
    in_vain: u32,
    recoveries: Vec<Duration>,
    last_end: Duration,
    took: Duration,
    logs: String,
    /// Objects that were created.
    pub objects: usize,
    /// Runs that were asked for.
    pub requests: usize,
    /// Runs that were started.
    pub runs: usize,
    /// Repairs of runs.
    pub repairs: usize,
    /// Runs too many.
    pub duplicates: Vec<String>,
    /// Requests of one start that were under way at once.
    pub overlaps: Vec<String>,
    /// Processes that were frozen and woke up again.
    pub naps: usize,
    /// Requests of one start that met because a process was frozen at the send; one run all the same.
    pub overlaps_of_sleepers: usize,
    /// Requests that arrived while the effect of one whose client was dead was still to come; no fault of anybody's.
    pub late_effects: usize,
    /// Runs that nobody speaks of.
    pub orphans: Vec<String>,
    /// What objects said that was not so.
    pub wrong: Vec<String>,
}

impl Report {
    pub(super) fn new(options: &Options) -> Self {
        let points = FailPoint::ALL.iter().map(|point| (point.as_str(), Deaths::default()));
        Self { seed: options.seed, points: points.collect(), ..Self::default() }
    }

    /// How many processes were killed.
    #[must_use]
    pub fn kills(&self) -> u32 {
        self.at_random.kills + self.points.values().map(|deaths| deaths.kills).sum::<u32>()
    }

    /// How many were killed while a start was open.
    #[must_use]
    pub fn kills_within_a_start(&self) -> u32 {
        self.at_random.within_a_start + self.points.values().map(|deaths| deaths.within_a_start).sum::<u32>()
    }

    /// Whether all is as it should be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        [&self.duplicates, &self.overlaps, &self.orphans, &self.wrong].iter().all(|found| found.is_empty())
    }

    pub(super) fn killed(&mut self, death: Death) {
        let deaths = match death.at {
            Some(point) => self.points.entry(point).or_default(),
            None => &mut self.at_random,
        };
        deaths.kills += 1;
        deaths.within_a_start += u32::from(death.open > 0);
        self.in_vain += u32::from(death.in_vain);
    }

    pub(super) fn recovered(&mut self, after: Duration) {
        self.recoveries.push(after);
    }

    pub(super) fn last_end(&mut self, after: Duration) {
        self.last_end = after;
    }

    pub(super) fn took(&mut self, time: Duration) {
        self.took = time;
    }

    pub(super) fn keep_logs(&mut self, logs: String) {
        self.logs = logs;
    }

    /// The logs of the last operators; empty when all is as it should be.
    #[must_use]
    pub fn logs(&self) -> &str {
        &self.logs
    }

    pub(super) fn progress(&self, elapsed: Duration) -> String {
        let last = self.recoveries.last().map_or(0.0, Duration::as_secs_f64);
        format!(
            "{:>4} kills after {:>4} s, {} while a start was open; recovered {last:.1} s after the last",
            self.kills(),
            elapsed.as_secs(),
            self.kills_within_a_start()
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<34} {:>6} {:>22}", "killed", "kills", "while a start was open")?;
        let mut row =
            |name: &str, deaths: Deaths| writeln!(f, "  {name:<32} {:>6} {:>22}", deaths.kills, deaths.within_a_start);
        for point in FailPoint::ALL {
            row(point.as_str(), self.points.get(point.as_str()).copied().unwrap_or_default())?;
        }
        row("at a random time", self.at_random)?;
        row("in all", Deaths { kills: self.kills(), within_a_start: self.kills_within_a_start() })?;
        let longest = self.recoveries.iter().max().map_or(0.0, Duration::as_secs_f64);
        let rows = [
            ("of these, before the point they were to die at", self.in_vain.to_string()),
            ("objects", self.objects.to_string()),
            ("requests (edits and creations)", self.requests.to_string()),
            ("runs started", self.runs.to_string()),
            ("repairs of runs", self.repairs.to_string()),
            ("effects that landed after their sender had died", self.late_effects.to_string()),
            ("processes frozen for a while beside others", self.naps.to_string()),
            ("overlapping POSTs of one frozen at the send", self.overlaps_of_sleepers.to_string()),
            ("longest time to recover", format!("{longest:.1} s")),
            ("from the last kill to the end of everything", format!("{:.1} s", self.last_end.as_secs_f64())),
            ("duplicates", self.duplicates.len().to_string()),
            ("overlapping POSTs", self.overlaps.len().to_string()),
            ("orphans", self.orphans.len().to_string()),
            ("wrong verdicts", self.wrong.len().to_string()),
        ];
        for (name, value) in rows {
            writeln!(f, "{name:<50} {value:>14}")?;
        }
        for (name, found) in [
            ("duplicate", &self.duplicates),
            ("overlap", &self.overlaps),
            ("orphan", &self.orphans),
            ("wrong verdict", &self.wrong),
        ] {
            for one in found {
                writeln!(f, "\n{name}: {one}")?;
            }
        }
        write!(f, "seed {}, {} s", self.seed, self.took.as_secs())
    }
}
