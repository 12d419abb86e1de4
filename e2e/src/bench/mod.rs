//! The load bench: named scenarios on a real API server and fake workspaces that take their time and count requests, with the
//! operator as it is released and with a baseline in its place. What comes out is figures, for people and as JSON.
//!
//! Nothing is asserted here. A figure that passes what is promised of it is marked, and the program says how many there are.

pub mod baseline;
mod figures;
mod people;
mod report;
mod scenarios;
mod scrape;
mod subject;
mod window;
mod witness;
mod world;

use std::time::Instant;

pub use self::figures::{Figure, Outcome};
pub use self::report::Report;
pub use self::scenarios::Scenario;
pub use self::subject::{Kind, Programs, release_build};

use self::scenarios::Players;

/// Why the bench could not go on.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What is played.
#[derive(Debug)]
pub struct Options {
    /// The scenarios, in this order.
    pub scenarios: Vec<Scenario>,
    /// Who is put to them.
    pub subjects: Vec<Kind>,
    /// Numbers of objects are multiplied by this, for a trial.
    pub scale: f64,
    /// The programs that are measured.
    pub programs: Programs,
    /// Told a line now and then.
    pub progress: fn(&str),
}

/// Plays the scenarios, each with each subject. One that cannot be played to its end is told and left out.
pub async fn play(options: &Options) -> Report {
    // Only the first caller of a process does anything.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut report = Report::default();
    for scenario in &options.scenarios {
        for kind in options.subjects.iter().copied().filter(|kind| *kind == Kind::Operator || scenario.has_baseline()) {
            let begun = Instant::now();
            let players = Players { programs: &options.programs, kind };
            let told = match scenario.play(players, options.scale).await {
                Ok(outcomes) => {
                    report.outcomes.extend(outcomes);
                    "done".to_owned()
                }
                Err(failure) => {
                    let told = format!("{scenario:?} with {kind:?}: {failure}");
                    report.failures.push(told.clone());
                    told
                }
            };
            (options.progress)(&format!("{scenario:?}, {kind:?}: {told} after {:.0} s", begun.elapsed().as_secs_f64()));
        }
    }
    report
}
