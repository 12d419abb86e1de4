//! Nothing that is secret, and nothing of an answer beyond what is promised, is ever told: whole lives of runs, by each way to
//! prove an identity, through every error there is, in operators that log all that can be logged; then the search.

mod marks;
pub(crate) mod proxy;
mod troubles;

use std::collections::BTreeSet;

use data_encoding::BASE64;
use e2e::cluster::{AuditLevel, ControlPlane};
use e2e::stage::{OperatorProcess, Stage};
use e2e::wait::eventually;
use e2e::workspace::{Ending, Fault, Kind as Trouble, Operation, Options, Script, TaskScript};
use futures::future::join_all;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use self::marks::Marks;
use self::proxy::Proxy;
use self::troubles::TOLD;
use crate::authentication::{Kind, World};
use crate::{notebook, run_now, submit};

const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");

/// Everything, that of the libraries included.
const ALL: &str = "--log-level=trace,databricks_run_operator=trace";

/// A world whose every secret is a mark, and whose every answer has some.
struct Scene {
    world: World,
    marks: Marks,
    /// Marks that a person wrote into the requests of runs, where they may stand. Nothing else repeats them.
    in_requests: Marks,
    client_id: String,
    parameter: String,
    job: i64,
}

impl Scene {
    async fn set(stage: Stage) -> Self {
        let (mut marks, mut in_requests) = (Marks::default(), Marks::default());
        let world = World::on(stage, &marks.mark("the secret")).await;
        let client_id = marks.mark("the client id in the Secret");
        let parameter = in_requests.mark("a parameter");
        let databricks = &world.stage.databricks;
        let header = marks.mark("a header");
        let unannounced = marks.mark("a field that nobody knows");
        databricks.configure(|settings| {
            let names = ["server", "set-cookie", "www-authenticate", "x-databricks-reason-phrase", "link"];
            settings.headers = names.map(|name| (name.to_owned(), format!("a={header}"))).into();
            settings.unannounced = json!({&unannounced: [&unannounced]});
        });
        let link = marks.mark("a pre-signed link");
        let with_link = marks.mark("a header that goes with a pre-signed link");
        let signed = format!("https://bucket.s3.amazonaws.com/artifacts?X-Amz-Signature={link}");
        let task = TaskScript::default()
            .notebook_result("a result that may be told")
            .leaving(
                "dbt_output",
                json!({"artifacts_link": signed, "artifacts_headers": {"x-amz-security-token": with_link}}),
            )
            .leaving("sql_output", json!({"query_output": {"output_link": signed, "query_text": with_link}}))
            .leaving("dashboard_output", json!({"page_snapshots": [{"page_display_name": link}]}))
            .running_forever();
        let job = databricks.job("nightly").script(Script::new().task("main", task)).id();
        Self { world, marks, in_requests, client_id, parameter, job }
    }

    fn stage(&self) -> &Stage {
        &self.world.stage
    }

    /// Writes the Secret of an identity that has one.
    async fn write_secret(&self, kind: Kind, value: &str) {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": kind.name()},
            "stringData": {"value": value, "id": self.client_id}});
        self.stage().apply(&secret).await;
    }

    /// What is done in Databricks and in Microsoft Entra for a way.
    fn trust(&self, kind: Kind) {
        match kind {
            Kind::OAuthM2M => self.stage().databricks.accept_client(&self.client_id, self.world.secret()),
            other => self.world.trust(other),
        }
    }

    /// Whom Databricks takes it for.
    fn principal(&self, kind: Kind) -> String {
        if kind == Kind::OAuthM2M { self.client_id.clone() } else { kind.principal() }
    }

    /// Applies the workspace object of a way.
    async fn connect(&self, kind: Kind) {
        let mut object = self.world.workspace(kind);
        if kind == Kind::OAuthM2M {
            let key = |key: &str| json!({"name": kind.name(), "key": key});
            object["spec"]["auth"]["oauthM2M"] =
                json!({"clientIdSecretRef": key("id"), "clientSecretRef": key("value")});
        }
        self.stage().apply(&object).await;
    }

    /// Applies a run.
    async fn ask(&self, kind: Kind, name: &str, body: Value) {
        let mut run = self.stage().run(name, body);
        run["spec"]["workspaceRef"]["name"] = json!(kind.name());
        if let Some(body) = run["spec"].get_mut("runNow").and_then(Value::as_object_mut) {
            body.insert("job_parameters".to_owned(), json!({"day": self.parameter}));
        }
        self.stage().apply(&run).await;
    }

    /// Sets each of these faults once.
    fn disturb(&self, faults: impl IntoIterator<Item = Fault>) {
        for fault in faults {
            self.stage().databricks.fault(fault.once());
        }
    }

    /// Waits until each fault that is set has struck, and takes them all back.
    async fn struck(&self, by: &str, operator: &OperatorProcess) {
        let databricks = &self.stage().databricks;
        eventually(&format!("each trouble to be met {by}"), async || {
            let spared: Vec<_> = databricks.faults().into_iter().filter(|(_, hits, _)| *hits == 0).collect();
            if spared.is_empty() {
                Ok(())
            } else {
                Err(format!("{spared:?}\n{}\nthe operator logs:\n{}", databricks.story(), own_lines(&operator.log())))
            }
        })
        .await;
        databricks.clear_faults();
    }

    /// The names of the runs of a way that meet one trouble each.
    fn names(kind: Kind, troubles: &[Trouble]) -> Vec<String> {
        (0..troubles.len()).map(|number| format!("{}-{number}", kind.name())).collect()
    }

    /// No identity is trusted, and whoever is asked repeats what was sent.
    async fn be_refused(&mut self) {
        let wrong = self.marks.mark("a wrong secret");
        let (token, login) = (troubles::no_token(&mut self.marks), troubles::no_login(&mut self.marks));
        let databricks = &self.stage().databricks;
        databricks.fault(Fault::on(Operation::Token, token.clone()));
        databricks.fault(Fault::on(Operation::ListRuns, token));
        self.world.login.fault(Fault::everywhere(login));
        for kind in Kind::ALL {
            if kind.is_federated() {
                self.world.grant(kind).await;
            } else {
                self.trust(kind);
                self.write_secret(kind, &wrong).await;
            }
            self.connect(kind).await;
        }
        join_all(Kind::ALL.map(|kind| self.world.until(kind, "False", "Unauthorized"))).await;
        databricks.clear_faults();
        self.world.login.clear_faults();
        for kind in Kind::ALL.into_iter().filter(|kind| !kind.is_federated()) {
            self.write_secret(kind, self.world.secret()).await;
        }
        join_all(Kind::ALL.map(|kind| self.world.until(kind, "True", "WorkspaceReady"))).await;
    }

    /// Starts runs through every trouble; one is refused for good, and one fails by itself.
    async fn start(&mut self, troubles: &[Trouble], operator: &OperatorProcess) {
        let refusal = troubles::refusal(&mut self.marks);
        for kind in Kind::ALL {
            let refused = format!("{}-refused", kind.name());
            self.disturb([Fault::on(Operation::RunNow, refusal.clone())]);
            self.ask(kind, &refused, run_now(self.job)).await;
            let run = self.stage().finished(&refused).await;
            assert!(run.text("state") == "Rejected" && run.message("Ready").contains(TOLD), "{:#}", run.status());
        }
        for kind in Kind::ALL {
            // Each in its turn: faults that strike one request together are one.
            let in_turn =
                (1..).zip(troubles).map(|(nth, trouble)| Fault::on(Operation::RunNow, trouble.clone()).from_nth(nth));
            self.disturb(in_turn);
            for name in Self::names(kind, troubles) {
                self.ask(kind, &name, run_now(self.job)).await;
            }
            self.struck("by the start of a run", operator).await;
            self.ask(
                kind,
                &format!("{}-fails", kind.name()),
                submit("fails", json!([notebook("load", "/Shared/fail")])),
            )
            .await;
        }
        for kind in Kind::ALL {
            for name in Self::names(kind, troubles) {
                self.stage().running(&name).await;
            }
            let run = self.stage().finished(&format!("{}-fails", kind.name())).await;
            assert_eq!(run.text("state"), "Failed", "{:#}", run.status());
        }
    }

    /// Disturbs this call for each of these runs of every way, one trouble each.
    async fn disturb_each(&self, operation: Operation, troubles: &[Trouble], which: impl Fn(usize) -> bool) {
        for kind in Kind::ALL {
            for (number, name) in Self::names(kind, troubles).iter().enumerate().filter(|(number, _)| which(*number)) {
                let run_id: i64 = self.stage().now(name).await.text("runId").parse().unwrap();
                let about = match operation {
                    Operation::GetOutput => self.stage().databricks.run(run_id).unwrap().tasks[0].run_id,
                    _ => run_id,
                };
                self.disturb([Fault::on(operation, troubles[number].clone()).about_run(about)]);
            }
        }
    }

    /// The workspace objects go, and come back.
    async fn lose_workspaces(&self) {
        for kind in Kind::ALL {
            self.stage().workspaces().delete(&kind.name(), &DeleteParams::default()).await.unwrap();
        }
        for kind in Kind::ALL {
            let lost = format!("{}-lost", kind.name());
            self.ask(kind, &lost, run_now(self.job)).await;
            // It may be faster than the news that the workspace is gone.
            let seen = ["WorkspaceNotFound", "Running"];
            self.stage().until(&lost, "waiting, or started", |run| seen.contains(&&*run.reason("Ready"))).await;
            self.connect(kind).await;
        }
        join_all(Kind::ALL.map(|kind| self.world.until(kind, "True", "WorkspaceReady"))).await;
    }

    /// Every token that was given is refused from now on, and there is a new secret for who has nothing else.
    async fn revoke(&mut self) {
        let rotated = self.marks.mark("a rotated token");
        for kind in Kind::ALL {
            self.stage().databricks.revoke_tokens_of(&self.principal(kind));
        }
        join_all([self.world.until(Kind::Pat, "False", "Unauthorized")]).await;
        self.stage().databricks.accept_token(&rotated, &Kind::Pat.principal(), None);
        self.write_secret(Kind::Pat, &rotated).await;
        join_all(Kind::ALL.map(|kind| self.world.until(kind, "True", "WorkspaceReady"))).await;
    }

    /// Ends all runs: some are deleted and cancelled, with troubles, the others succeed, and their outputs are troubled.
    async fn end(&self, troubles: &[Trouble], operator: &OperatorProcess) {
        let is_deleted = |number: usize| number.is_multiple_of(2);
        self.disturb_each(Operation::Cancel, troubles, is_deleted).await;
        for kind in Kind::ALL {
            for (_, name) in Self::names(kind, troubles).iter().enumerate().filter(|(number, _)| is_deleted(*number)) {
                self.stage().delete(name).await;
            }
        }
        self.struck("by a cancellation", operator).await;
        // One in two is disturbed; of the others the output is read.
        self.disturb_each(Operation::GetOutput, troubles, |number| number % 4 == 1).await;
        for run in self.stage().databricks.runs() {
            self.stage().databricks.finish(run.id);
        }
        self.struck("by the reading of an output", operator).await;
        for kind in Kind::ALL {
            for (number, name) in Self::names(kind, troubles).iter().enumerate() {
                if is_deleted(number) {
                    self.stage().gone(name).await;
                    continue;
                }
                let run = self.stage().finished(name).await;
                assert_eq!(run.text("state"), "Succeeded", "{:#}", run.status());
                let result = &run.status()["outputs"][0]["result"];
                assert!(number % 4 == 1 || *result == "a result that may be told", "{:#}", run.status());
            }
        }
    }

    /// An operator that logs all there is.
    fn operator(&self, flags: &[&str], environment: &[String]) -> OperatorProcess {
        let login = format!("--entra-login-host={}", self.world.login.host());
        let mut flags = flags.to_vec();
        flags.extend([ALL, &login]);
        let environment: Vec<_> = environment.iter().cloned().chain(["RUST_BACKTRACE=1".to_owned()]).collect();
        self.stage().process_with(OPERATOR, &flags, &environment)
    }

    /// Learns what became secret only while the test ran: tokens, assertions, headers, and the operator's own token.
    fn learn_credentials(&mut self) {
        let credentials = self.stage().databricks.credentials();
        let assertions = credentials.iter().filter(|text| text.split('.').count() == 3).count();
        assert!(assertions > 2, "the assertions are among what was sent: {}", credentials.len());
        for credential in credentials.iter().filter(|text| *text != self.world.stage.databricks.token()) {
            self.marks.know("a credential that was sent or given", credential);
        }
        let kubeconfig: Value =
            serde_saphyr::from_str(&std::fs::read_to_string(self.stage().rights.kubeconfig()).unwrap()).unwrap();
        let own = kubeconfig["users"][0]["user"]["token"].as_str().unwrap().to_owned();
        self.marks.know("the operator's own token", &own);
    }

    /// Searches the objects and the events of the namespace.
    async fn search_objects(&self) {
        let all = ListParams::default();
        for run in self.stage().runs().list(&all).await.unwrap() {
            let status = serde_json::to_string_pretty(&run.status).unwrap();
            self.marks.assert_none_in(&format!("the status of {}", run.name_any()), &status);
        }
        for workspace in self.stage().workspaces().list(&all).await.unwrap() {
            let text = serde_json::to_string_pretty(&workspace).unwrap();
            self.marks.assert_none_in(&format!("workspace {}", workspace.name_any()), &text);
        }
        let events: Api<Event> = Api::namespaced(self.stage().client.clone(), &self.stage().namespace);
        let events = serde_json::to_string_pretty(&events.list(&all).await.unwrap()).unwrap();
        assert!(events.contains(TOLD), "events tell what may be told:\n{events}");
        self.search("the events", &events);
    }

    /// Searches for all marks.
    #[track_caller]
    fn search(&self, place: &str, text: &str) {
        self.marks.assert_none_in(place, text);
        self.in_requests.assert_none_in(place, text);
    }
}

/// The last lines of a log that are the operator's own, for messages of failed tests.
fn own_lines(log: &str) -> String {
    let own: Vec<_> = log.lines().filter(|line| line.contains("databricks_run_operator")).collect();
    own[own.len().saturating_sub(60)..].join("\n")
}

#[tokio::test]
async fn no_secret_and_no_answer_is_told_by_whole_lives_through_every_error() {
    let control_plane = ControlPlane::builder().audit(AuditLevel::RequestResponse).start().await.unwrap();
    let stage = Stage::on(control_plane.cluster(), "hygiene", Options::default().speed(5)).await;
    let mut scene = Scene::set(stage).await;
    let troubles = troubles::passing(&mut scene.marks);

    let first = scene.operator(&[], &[]);
    scene.be_refused().await;
    scene.start(&troubles, &first).await;
    scene.disturb_each(Operation::GetRun, &troubles, |_| true).await;
    scene.struck("by a poll", &first).await;
    scene.lose_workspaces().await;
    let (first_metrics, first_log) = (first.scrape().await, first.log());
    first.kill();

    let password = scene.marks.mark("the password of a proxy");
    let authorization = format!("Basic {}", BASE64.encode(format!("operator:{password}").as_bytes()));
    scene.marks.know("the password of a proxy", &authorization);
    let refusal = scene.marks.mark("the refusal of a proxy");
    let refusal = format!("HTTP/1.1 407 No\r\nx-why: {refusal}\r\ncontent-length: 32\r\n\r\n{refusal}");
    let proxy = Proxy::start(authorization, refusal).await;
    let address = format!("ALL_PROXY=http://operator:{password}@127.0.0.1:{}", proxy.port);
    let second = scene.operator(&["--log-format=json"], &[address]);
    scene.revoke().await;
    scene.end(&troubles, &second).await;
    assert!(proxy.connected() > 0, "the proxy was used");
    let (second_metrics, second_log) = (second.scrape().await, second.log());

    scene.learn_credentials();
    for (place, text) in [("the log of the first operator", &first_log), ("the log of the second", &second_log)] {
        assert!(text.contains("TRACE") && text.contains(TOLD), "{place} tells all that may be told");
        assert!(!text.contains("panicked"), "{place}: {text}");
        scene.search(place, text);
    }
    for (place, text) in
        [("/metrics of the first operator", &first_metrics), ("/metrics of the second", &second_metrics)]
    {
        assert!(text.contains("databricks"), "{text}");
        scene.search(place, text);
    }
    scene.search_objects().await;
    let audit = std::fs::read_to_string(control_plane.cluster().audit_log().unwrap()).unwrap();
    let asked: BTreeSet<_> = control_plane
        .cluster()
        .audit_entries_that_say(&scene.stage().rights.user())
        .unwrap()
        .iter()
        .map(|entry| (entry.verb.clone(), entry.object_ref.resource.clone(), entry.request_object.is_some()))
        .collect();
    for (verb, resource, body) in [
        ("get", "secrets", false),
        ("create", "serviceaccounts", true),
        ("patch", "databricksruns", true),
        ("create", "events", true),
    ] {
        assert!(asked.contains(&(verb.to_owned(), resource.to_owned(), body)), "{verb} {resource} is not in {asked:?}");
    }
    scene.marks.assert_none_in("the audit log of the API server", &audit);
    assert_eq!(scene.stage().databricks.overlaps().len(), 0, "{}", scene.stage().databricks.story());
}

#[tokio::test]
async fn with_an_output_of_no_bytes_results_logs_and_traces_are_kept_out_and_errors_are_told() {
    let mut marks = Marks::default();
    let stage = Stage::set("no-bytes").await;
    let (result, logs, trace) = (marks.mark("a result"), marks.mark("the logs"), marks.mark("a trace"));
    let script = |ending| TaskScript::default().notebook_result(&result).logs(&logs).ending(ending);
    let job = stage.databricks.job("nightly").tasks(vec![
        notebook("good", "/Shared/etl"),
        json!({"task_key": "python", "spark_python_task": {"python_file": "/Shared/etl.py"}}),
        json!({"task_key": "bad", "spark_python_task": {"python_file": "/Shared/bad.py"}}),
    ]);
    let failure = Ending::exception("ValueError: no rows", &format!("Traceback\n{trace}"));
    let job = job
        .script(
            Script::new()
                .task("good", script(Ending::success()))
                .task("python", script(Ending::success()))
                .task("bad", script(failure)),
        )
        .id();
    let _operator = stage.operator().await;
    for (name, bytes) in [("told", 4096), ("quiet", 0)] {
        let mut object = stage.run(name, run_now(job));
        object["spec"]["output"] = json!({"maxBytes": bytes});
        stage.apply(&object).await;
    }
    let told = stage.finished("told").await.status().to_string();
    assert_eq!(marks.found_in(&told).len(), 3, "with bytes, all three are told: {told}");
    let quiet = stage.finished("quiet").await;
    assert!(quiet.message("Succeeded").contains("ValueError: no rows"), "{}", stage.story(&quiet));
    marks.assert_none_in("the status", &quiet.status().to_string());
    marks.assert_none_in("the events", &stage.events("quiet").await.join("\n"));
}
