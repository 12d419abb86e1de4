//! The demo's story, chapter by chapter. Each shows something and then checks that it is what was promised.

use std::time::Duration;

use databricks_run_operator::api::workspace::WorkspaceObject;
use tokio::time::{Instant, sleep};

use super::expectations::Expectations;
use super::screen::{Screen, Tone};
use super::table::{Row, Table};
use super::world::{Answer, World};
use super::{ERROR, Failure, RESULT, TRACE};
use crate::stage::{RunView, WORKSPACE};
use crate::wait::{deadline, try_wait_for};
use crate::workspace::{Fault, GUIDE, Kind, Operation};

/// Between two looks at the runs: often enough to seem alive.
const LOOK: Duration = Duration::from_millis(200);

/// The manifest of the workspace, and what stands there for its host.
const PROD: &str = include_str!("workspace.yaml");
const PLACEHOLDER: &str = "https://WORKSPACE-HOST";

/// The runs that are started, in the order of the table.
const RUNS: [(&str, &str); 4] = [
    ("nightly-etl", include_str!("nightly-etl.yaml")),
    ("sales-report", include_str!("sales-report.yaml")),
    ("backfill", include_str!("backfill.yaml")),
    ("hourly-export", include_str!("hourly-export.yaml")),
];

/// The manifest that is refused.
const OLD_FORM: &str = include_str!("old-form.yaml");

/// The demo as it goes on.
pub(super) struct Story {
    pub(super) screen: Screen,
    pub(super) expectations: Expectations,
    pub(super) world: World,
}

impl Story {
    pub(super) async fn tell(&mut self) -> Result<(), Failure> {
        self.connect().await?;
        self.start_runs().await?;
        self.watch_them().await?;
        self.tell_success().await?;
        self.tell_failure().await?;
        self.tell_lost_answer().await?;
        self.cancel_by_deleting().await?;
        self.refuse().await?;
        self.count()?;
        self.conclude()
    }

    /// Shows a command, runs it, and shows its answer.
    async fn kubectl(&mut self, command_line: &str) -> Result<Answer, Failure> {
        self.screen.command(command_line)?;
        let answer = self.world.kubectl(command_line).await?;
        self.screen.block((!answer.succeeded).then_some(Tone::Bad), &answer.text)?;
        Ok(answer)
    }

    /// The same for a command that must succeed.
    async fn works(&mut self, command_line: &str) -> Result<String, Failure> {
        let answer = self.kubectl(command_line).await?;
        let refused = || format!("`{command_line}` should succeed but says {:?}", answer.text.trim());
        self.expectations.came(if answer.succeeded { Ok(()) } else { Err(refused()) });
        Ok(answer.text)
    }

    fn manifest(&mut self, file: &str, text: &str) -> Result<(), Failure> {
        self.world.write(file, text)?;
        self.screen.command(&format!("cat {file}"))?;
        Ok(self.screen.block(None, text)?)
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        self.screen.heading("A workspace and its credential")?;
        self.manifest("workspace.yaml", &PROD.replace(PLACEHOLDER, self.world.databricks.host()))?;
        let token = self.world.databricks.token().to_owned();
        self.works(&format!("kubectl create secret generic databricks --from-literal=token={token}")).await?;
        self.works("kubectl create configmap ca --from-file=ca.crt").await?;
        self.works("kubectl apply -f workspace.yaml").await?;
        let ready = |workspace: &WorkspaceObject| {
            let conditions = workspace.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        let waited = try_wait_for(&self.world.workspaces(), WORKSPACE, "ready", ready).await;
        self.expectations.came(waited.map(drop).map_err(|timed_out| timed_out.to_string()));
        self.works("kubectl get databricksworkspace").await?;
        Ok(())
    }

    async fn start_runs(&mut self) -> Result<(), Failure> {
        self.screen.heading("Four runs")?;
        for (name, manifest) in RUNS {
            self.manifest(&format!("{name}.yaml"), manifest)?;
        }
        self.works("kubectl apply -f nightly-etl.yaml -f sales-report.yaml -f backfill.yaml").await?;
        // The next start after these is that of hourly-export, and it shall be the one whose answer is lost.
        let end = Instant::now() + deadline();
        while self.world.databricks.runs_started() < 3 && Instant::now() < end {
            sleep(LOOK).await;
        }
        self.world.databricks.fault(Fault::on(Operation::RunNow, Kind::LoseAnswer).once());
        self.works("kubectl apply -f hourly-export.yaml").await?;
        Ok(())
    }

    /// Until all have finished, but for the one that would run for hours: that is seen running.
    async fn watch_them(&mut self) -> Result<(), Failure> {
        self.screen.heading("What becomes of them")?;
        self.screen.line("")?;
        let (end, names) = (Instant::now() + deadline(), RUNS.map(|(name, _)| name));
        let mut table = Table::new();
        loop {
            let runs = self.world.runs(&names).await?;
            table.show(&mut self.screen, &runs.iter().map(Row::of).collect::<Vec<_>>())?;
            let settled = |run: &RunView| {
                let long = run.0.metadata.name.as_deref() == Some("backfill") && run.text("state") == "Running";
                long || run.condition("Finished") == "True"
            };
            if runs.len() == names.len() && runs.iter().all(settled) {
                self.expectations.came(Ok(()));
                break;
            }
            if Instant::now() > end {
                let seconds = deadline().as_secs();
                self.expectations.came(Err(format!("the runs should have ended within {seconds} s")));
                break;
            }
            sleep(LOOK).await;
        }
        self.works("kubectl get dbrun").await?;
        Ok(())
    }

    /// A run as it is now, held to what its state, its result and its conditions should be.
    async fn ended(&mut self, name: &str, state: &str, result: &str, succeeded: &str) -> Result<RunView, Failure> {
        let run = self.world.runs(&[name]).await?.pop().ok_or_else(|| format!("run {name} is gone"))?;
        let expect = &mut self.expectations;
        expect.equal(&format!("{name}: state"), &run.text("state").as_str(), &state);
        expect.equal(&format!("{name}: result"), &run.text("resultState").as_str(), &result);
        let conditions = ["Finished", "Succeeded", "Ready"].map(|kind| run.condition(kind));
        let should_be = ["True", succeeded, succeeded].map(str::to_owned);
        expect.equal(&format!("{name}: conditions Finished, Succeeded, Ready"), &conditions, &should_be);
        Ok(run)
    }

    async fn tell_success(&mut self) -> Result<(), Failure> {
        self.screen.heading("nightly-etl: a run that succeeds leaves its result")?;
        self.works("kubectl wait dbrun/nightly-etl --for=condition=Finished --timeout=60s").await?;
        let result = self.works("kubectl get dbrun nightly-etl -o jsonpath='{.status.outputs[0].result}'").await?;
        self.ended("nightly-etl", "Succeeded", "SUCCESS", "True").await?;
        self.expectations.equal("nightly-etl: its notebook's result", &result.as_str(), &RESULT);
        Ok(())
    }

    async fn tell_failure(&mut self) -> Result<(), Failure> {
        self.screen.heading("sales-report: a run that fails leaves the cause")?;
        let tasks = "TASKS:.status.tasks[*].taskKey,RESULTS:.status.tasks[*].resultState";
        self.works(&format!("kubectl get dbrun sales-report -o custom-columns={tasks}")).await?;
        let condition = r#"{.status.conditions[?(@.type=="Succeeded")].message}"#;
        let message = self.works(&format!("kubectl get dbrun sales-report -o jsonpath='{condition}'")).await?;
        let trace = "{.status.outputs[0].errorTrace}";
        let trace = self.works(&format!("kubectl get dbrun sales-report -o jsonpath='{trace}'")).await?;
        let run = self.ended("sales-report", "Failed", "FAILED", "False").await?;
        let status = run.status();
        let of_task = |key: &str| {
            let tasks = status["tasks"].as_array().into_iter().flatten();
            let mut results = tasks.filter(|task| task["taskKey"] == key).map(|task| task["resultState"].to_string());
            results.next().unwrap_or_default()
        };
        let expect = &mut self.expectations;
        for (key, result) in [("extract", "SUCCESS"), ("load", "FAILED"), ("report", "UPSTREAM_FAILED")] {
            expect.equal(&format!("sales-report: task {key}"), &of_task(key), &format!("{result:?}"));
        }
        expect.says("sales-report: the message", &message, &format!("task `load`: {ERROR}"));
        expect.equal("sales-report: the trace", &trace.as_str(), &TRACE);
        Ok(())
    }

    async fn tell_lost_answer(&mut self) -> Result<(), Failure> {
        self.screen.heading("hourly-export: a lost answer starts no second run")?;
        let run = self.ended("hourly-export", "Succeeded", "SUCCESS", "True").await?;
        let run_id = run.text("runId");
        let databricks = &self.world.databricks;
        let requests: Vec<_> = databricks.requests_for(Operation::RunNow);
        let token = requests.iter().find(|entry| !entry.faults.is_empty());
        let token = token.and_then(|entry| entry.idempotency_token.clone()).unwrap_or_default();
        let requests: Vec<_> =
            requests.into_iter().filter(|entry| entry.idempotency_token.as_deref() == Some(token.as_str())).collect();
        let started = databricks.runs_by_token(&token);
        self.screen.line(format_args!("\n  Requests to start it, all with idempotency_token {token}:"))?;
        for entry in &requests {
            let answer = match entry.status {
                Some(status) => format!("{status}, run {}", entry.run_id.unwrap_or_default()),
                None => "the run was started, the answer never arrived".to_owned(),
            };
            self.screen.line(format_args!("    {} {}   {answer}", entry.method, entry.path))?;
        }
        self.screen.line(format_args!("  Runs in the workspace with that token: {}", started.len()))?;
        let expect = &mut self.expectations;
        expect.equal("hourly-export: an answer was lost, then one arrived", &requests.len(), &2);
        let started: Vec<_> = started.iter().map(|run| run.id.to_string()).collect();
        expect.equal("hourly-export: runs in the workspace", &started, &vec![run_id]);
        Ok(())
    }

    async fn cancel_by_deleting(&mut self) -> Result<(), Failure> {
        self.screen.heading("backfill: deleting a live run cancels it")?;
        let live = self.world.runs(&["backfill"]).await?.pop();
        let run_id: i64 = live.and_then(|run| run.text("runId").parse().ok()).unwrap_or_default();
        let before = self.world.databricks.run(run_id).map(|run| run.life_cycle_state).unwrap_or_default();
        self.works("kubectl delete dbrun backfill --timeout=60s").await?;
        let after = self.world.databricks.run(run_id);
        let is = after.map(|run| (run.life_cycle_state, run.result_state.unwrap_or_default(), run.cancelled));
        if let Some((life_cycle_state, result, _)) = &is {
            self.screen.line(format_args!(
                "\n  Run {run_id} in the workspace: {before} before, {life_cycle_state} {result} now"
            ))?;
        }
        let gone = self.kubectl("kubectl get dbrun backfill").await?;
        let expect = &mut self.expectations;
        expect.equal("backfill: the run before", &before.as_str(), &"RUNNING");
        expect.equal("backfill: the run after", &is, &Some(("TERMINATED".to_owned(), "CANCELED".to_owned(), true)));
        expect.says("backfill: its object", &gone.text, "not found");
        Ok(())
    }

    async fn refuse(&mut self) -> Result<(), Failure> {
        self.screen.heading("old-form: what cannot work is refused at once, with the remedy")?;
        self.manifest("old-form.yaml", OLD_FORM)?;
        let refusal = self.kubectl("kubectl apply -f old-form.yaml").await?;
        let remedy = "task fields must stand in `submit.tasks`";
        self.expectations.equal("old-form: accepted", &refusal.succeeded, &false);
        self.expectations.says("old-form: the refusal", &refusal.text, remedy);
        Ok(())
    }

    /// As many runs as objects, and never two requests of one run side by side.
    fn count(&mut self) -> Result<(), Failure> {
        self.screen.heading("What the workspace says")?;
        let databricks = &self.world.databricks;
        let (started, mut runs) = (databricks.runs_started(), databricks.runs());
        runs.reverse();
        self.screen.line("")?;
        for run in &runs {
            let result = run.result_state.as_deref().unwrap_or("-");
            self.screen
                .line(format_args!("    {:<20} {:<14} {:<15} {result}", run.id, run.name, run.life_cycle_state))?;
        }
        let expect = &mut self.expectations;
        expect.equal("runs started for four objects", &started, &RUNS.len());
        expect.equal("start requests that overlapped", &databricks.overlaps().len(), &0);
        expect.equal("runs that are still live", &runs.iter().filter(|run| run.active).count(), &0);
        Ok(())
    }

    fn conclude(&mut self) -> Result<(), Failure> {
        let (kept, broken) = (self.expectations.kept(), self.expectations.broken());
        if broken.is_empty() {
            let line = format!("All was as it should be: {kept} of {kept} checks hold, four objects, four runs.");
            return Ok(self.screen.line(format_args!("\n{}", self.screen.paint(Tone::Good, line)))?);
        }
        let line = format!("Not as it should be: {} of {} checks failed.", broken.len(), kept + broken.len());
        let broken: Vec<String> = broken.iter().map(|what| format!("  - {what}\n")).collect();
        let line = self.screen.paint(Tone::Bad, line);
        Ok(self.screen.write(&format!("\n{line}\n{}", broken.concat()))?)
    }

    /// What to type next.
    pub(super) fn advise(&mut self) -> Result<(), Failure> {
        let text = format!("To look around yourself: `cargo demo -- --keep`, and in another terminal\n\n{LOOK_AROUND}");
        Ok(self.screen.line(format_args!("\n{text}"))?)
    }

    /// Commands for another terminal.
    pub(super) fn introduce(&mut self) -> Result<(), Failure> {
        let (kubeconfig, kubectl) = (self.world.cluster.kubeconfig_path(), self.world.cluster.kubectl());
        let text = format!(
            "Everything is still up. In another terminal, type

  export KUBECONFIG={}
  alias kubectl={}
{LOOK_AROUND}
  kubectl apply -f e2e/src/demo/backfill.yaml

and write runs of your own.
{GUIDE}

Ctrl-C ends it and removes everything.",
            kubeconfig.display(),
            kubectl.display()
        );
        Ok(self.screen.line(format_args!("\n{text}"))?)
    }
}

/// What there is to see.
const LOOK_AROUND: &str = "  kubectl get dbrun -o wide
  kubectl describe dbrun sales-report
  kubectl get dbrun nightly-etl -o yaml
  kubectl get events
  kubectl explain databricksrun.spec.submit.tasks.notebook_task";
