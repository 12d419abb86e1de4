//! What `cargo demo` runs: a person with nothing but Rust and Go sees what the operator does, on a real Kubernetes API server.
//!
//! Everything shown happens: the commands are run as they are printed, the manifests are the files beside this one, and what
//! Databricks would do is done by the fake workspace. And everything claimed is checked (`expectations`), so that a demo which
//! ends well proves something. `e2e/tests/demo.rs` plays it.

mod chapters;
mod expectations;
mod screen;
mod table;
mod world;

use std::time::Duration;

use databricks_run_operator::api::crd::crds_yaml;

use self::chapters::Story;
use self::expectations::Expectations;
use self::screen::{Screen, Tone};
use self::world::World;
use crate::cluster::{Binaries, ControlPlane, kubernetes_version};
use crate::workspace::{Options, Script, TaskScript, Workspace};

/// Why the demo could not go on, in words.
pub type Failure = Box<dyn std::error::Error>;

/// What the workspace plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// What the demo promises.
    AsPromised,
    /// Something else, to prove that it would be noticed: the run that should succeed fails.
    OtherThanPromised,
}

/// A demo that has been played; everything in it is still up until this is dropped.
pub struct Demo {
    story: Story,
}

impl Demo {
    /// Plays it on standard output.
    pub async fn play(play: Play) -> Result<Self, Failure> {
        let mut screen = Screen::standard_output();
        let world = set_the_stage(&mut screen, play).await?;
        let mut story = Story { screen, expectations: Expectations::default(), world };
        story.tell().await?;
        Ok(Self { story })
    }

    /// Whether everything was as promised.
    #[must_use]
    pub fn kept_its_promises(&self) -> bool {
        self.story.expectations.broken().is_empty()
    }

    /// Tells how to look around while everything is up.
    pub fn introduce(&mut self) -> Result<(), Failure> {
        self.story.introduce()
    }

    /// Tells how to see it all for oneself.
    pub fn advise(&mut self) -> Result<(), Failure> {
        self.story.advise()
    }
}

async fn set_the_stage(screen: &mut Screen, play: Play) -> Result<World, Failure> {
    // Only the first caller of a process does anything; the operator's own start does the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let introduction =
        "The operator between a real Kubernetes API server and a fake Databricks workspace, all on this machine.";
    screen.line(screen.paint(Tone::Faint, introduction))?;
    screen.heading("Setting the stage")?;
    // The first time this takes minutes and shows its own progress, so it is no step of ours.
    Binaries::find().await?;
    let what = format!("Kubernetes {}: etcd, kube-apiserver, kube-controller-manager", kubernetes_version()?);
    let control_plane = screen.step(&what, async { Ok::<_, Failure>(ControlPlane::builder().start().await?) }).await?;
    let install = async { Ok::<_, Failure>(control_plane.cluster().install_crds(&[&crds_yaml()]).await?) };
    screen.step("The kinds DatabricksRun and DatabricksWorkspace (kubectl apply -f crds/)", install).await?;
    let databricks = Workspace::start(Options::default())?;
    write_the_play(&databricks, play);
    let what = format!("A fake Databricks workspace at {}, over TLS", databricks.host());
    screen.step(&what, async { Ok::<_, Failure>(()) }).await?;
    screen.step("The operator", World::begin(control_plane, databricks)).await
}

/// The error of the task that fails, as a notebook would raise it.
const ERROR: &str = "AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] The table or view `sales`.`orders` cannot be found.";

/// Its trace.
const TRACE: &str = "\
---------------------------------------------------------------------------
AnalysisException                         Traceback (most recent call last)
File <command-1204>, line 3
      1 day = dbutils.widgets.get(\"day\")
      2 target = \"sales.daily\"
----> 3 orders = spark.table(\"sales.orders\").where(f\"day = '{day}'\")
AnalysisException: [TABLE_OR_VIEW_NOT_FOUND] The table or view `sales`.`orders` cannot be found.";

/// What the notebook of the run that succeeds hands to `dbutils.notebook.exit`.
const RESULT: &str = r#"{"day":"2026-11-23","rows":1204}"#;

/// The jobs of the workspace, and what their runs do.
fn write_the_play(databricks: &Workspace, play: Play) {
    let (short, long) = (Duration::from_secs(1), Duration::from_secs(3));
    let nightly = databricks.job("nightly-etl").parameter("day", "").running_for(long);
    let _ = match play {
        Play::AsPromised => nightly.notebook_result(RESULT),
        Play::OtherThanPromised => nightly.failing(ERROR, TRACE),
    };
    let _ = databricks.job("hourly-export").notebook_result("exported").running_for(short);
    let _ = databricks.job("backfill").running_forever();
    let load = TaskScript::default().pending_for(Duration::ZERO).running_for(short).failing(ERROR, TRACE);
    databricks.on_run_name("sales-report", Script::new().running_for(short).task("load", load));
}
