//! A workspace whose clock a test moves, a client that trusts it, and a few words to speak to it.

use std::time::Duration;

use e2e::workspace::{Clock, Options, Workspace};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

/// An instant long past, so that nothing here can depend on today.
pub(crate) const START: i64 = 1_700_000_000_000;

/// A workspace whose clock a test moves, and a client that trusts it.
pub(crate) struct Bench {
    pub(crate) workspace: Workspace,
    pub(crate) http: reqwest::Client,
    pub(crate) token: String,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()
    }

    pub(crate) fn error(&self) -> (u16, String, String) {
        let body = self.json();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        (self.status, text("error_code"), text("message"))
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(Options::default().clock(Clock::manual(START)))
    }

    pub(crate) fn with(options: Options) -> Self {
        // Another test of this binary may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let workspace = Workspace::start(options).expect("a workspace");
        let http = client(workspace.ca_pem());
        let token = workspace.token().to_owned();
        Self { workspace, http, token }
    }

    /// Trusts these authorities from now on.
    pub(crate) fn trust(&mut self, bundle: &str) {
        self.http = client(bundle);
    }

    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.workspace.host());
        self.http.request(method, url).bearer_auth(&self.token)
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.text().await.expect("a body") }
    }

    pub(crate) async fn post(&self, call: &str, body: Value) -> Answer {
        let request = self.request(reqwest::Method::POST, &format!("/api/2.1/jobs/{call}"));
        self.send(request.body(body.to_string())).await
    }

    pub(crate) async fn get(&self, call: &str) -> Answer {
        self.send(self.request(reqwest::Method::GET, &format!("/api/2.1/jobs/{call}"))).await
    }

    pub(crate) async fn run(&self, id: i64) -> Value {
        self.get(&format!("runs/get?run_id={id}")).await.ok()
    }

    pub(crate) async fn run_now(&self, job: i64, token: &str) -> i64 {
        let answer = self.post("run-now", json!({ "job_id": job, "idempotency_token": token })).await;
        answer.ok()["run_id"].as_i64().unwrap()
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.workspace.clock().advance(Duration::from_secs(seconds));
    }
}

fn client(bundle: &str) -> reqwest::Client {
    reqwest::Client::builder()
        .tls_certs_only(reqwest::Certificate::from_pem_bundle(bundle.as_bytes()).unwrap())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

pub(crate) fn notebook(key: &str) -> Value {
    json!({ "task_key": key, "notebook_task": { "notebook_path": "/Shared/etl" }, "existing_cluster_id": "c" })
}

pub(crate) fn after(key: &str, ahead: &str) -> Value {
    let mut task = notebook(key);
    task["depends_on"] = json!([{ "task_key": ahead }]);
    task
}

pub(crate) fn life(run: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    (text(&run["state"]["life_cycle_state"]), text(&run["state"]["result_state"]))
}
