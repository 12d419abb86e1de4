//! Runs that are alive while something happens to the operator, each with the verdict that Databricks gives in the end.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;

use super::{RunView, Stage};
use crate::wait::eventually;

/// How many objects are applied at once.
const AT_ONCE: usize = 16;

/// The version of each run's object, by its name; how far it is until so many show that their run is executed.
pub async fn versions_of_running(stage: &Stage, count: usize) -> Result<BTreeMap<String, String>, String> {
    let objects = stage.runs().list(&ListParams::default()).await.map_err(|error| error.to_string())?;
    let runs: Vec<_> = objects.items.into_iter().map(RunView).collect();
    let running = runs.iter().filter(|run| run.text("state") == "Running").count();
    let version = |run: RunView| (run.0.name_any(), run.0.resource_version().unwrap_or_default());
    if running == count { Ok(runs.into_iter().map(version).collect()) } else { Err(format!("{running} of {count}")) }
}

/// Four of five of its runs succeed, and the fifth raises.
pub struct Load<'a> {
    stage: &'a Stage,
    good: i64,
    bad: i64,
    expected: Vec<(String, &'static str)>,
}

#[expect(clippy::missing_panics_doc, reason = "a load that is not as it should be fails the test")]
impl<'a> Load<'a> {
    /// Of runs whose tasks work this long; [`Duration::MAX`]: until they are told to finish.
    #[must_use]
    pub fn working_for(stage: &'a Stage, span: Duration) -> Self {
        let good = stage.databricks.job("good").running_for(span).id();
        let bad = stage.databricks.job("bad").running_for(span).failing("ValueError: no rows", "trace").id();
        Self { stage, good, bad, expected: Vec::new() }
    }

    /// Applies so many more runs.
    pub async fn add(&mut self, count: usize) {
        let first = self.expected.len();
        let more = (first..first + count).map(|number| {
            let (job, verdict) = if number % 5 == 4 { (self.bad, "Failed") } else { (self.good, "Succeeded") };
            (format!("run-{number}"), job, verdict)
        });
        let more: Vec<_> = more.collect();
        let stage = self.stage;
        let applied = more.iter().map(|(name, job, _)| stage.run(name, json!({"runNow": {"job_id": job}})));
        stream::iter(applied)
            .for_each_concurrent(AT_ONCE, async |run| {
                stage.apply(&run).await;
            })
            .await;
        self.expected.extend(more.into_iter().map(|(name, _, verdict)| (name, verdict)));
    }

    /// Waits until Databricks is known to execute every one of them.
    pub async fn all_running(&self) {
        let count = self.expected.len();
        eventually("all runs to be running", async || versions_of_running(self.stage, count).await).await;
    }

    /// Waits until all have finished, prints what was wrong, and fails unless each was started once and ended as
    /// Databricks says it did.
    pub async fn assert_true_verdicts(&self) {
        let mut wrong = 0;
        for (name, expected) in &self.expected {
            let run = self.stage.finished(name).await;
            if run.text("state") != *expected {
                wrong += 1;
                println!("{name} is {} and not {expected}: {}", run.text("state"), self.stage.story(&run));
            }
        }
        let (count, started) = (self.expected.len(), self.stage.databricks.runs_started());
        println!("{count} runs, {} too many, {wrong} wrong verdicts", started.saturating_sub(count));
        assert_eq!(wrong, 0);
        self.stage.assert_started_once_each(count);
    }
}
