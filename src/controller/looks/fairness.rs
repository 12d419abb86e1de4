//! Under more load than Kubernetes takes, every object has its turn: the real controller and reconciler, and an API server that
//! answers one request after the other.

use std::collections::HashMap;
use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::http::{Method, Request, Response};
use futures::future::BoxFuture;
use kube::client::Body;
use kube::runtime::{reflector, watcher};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::api::run::RunObject;
use crate::controller::connections::Connections;
use crate::controller::gate::Gate;
use crate::controller::known::Known;
use crate::controller::kubernetes::Kubernetes;
use crate::controller::process::Clocks;
use crate::controller::reconcile::Reconciler;
use crate::leader::Lead;
use crate::lifecycle::run_key::VERSIONS;
use crate::lifecycle::{Settings, TakeOver};
use crate::poller::SystemClock;
use crate::telemetry::Metrics;

/// Objects that are edited whenever something was written of them.
const HOT: usize = 60;
/// Objects that want to be written once.
const COLD: usize = 120;

/// A request to the API server, and where its answer goes.
struct Asked {
    method: Method,
    /// The object's name, or that of the Event.
    name: String,
    body: Value,
    answer: oneshot::Sender<Value>,
}

/// The way to the API server.
#[derive(Clone)]
struct Way(mpsc::UnboundedSender<Asked>);

impl tower::Service<Request<Body>> for Way {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let requests = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = serde_json::from_slice(&body.collect_bytes().await.unwrap()).unwrap();
            let name = parts.uri.path().trim_end_matches("/status").rsplit('/').next().unwrap().to_owned();
            let (answer, answered) = oneshot::channel();
            requests.send(Asked { method: parts.method, name, body, answer }).ok().unwrap();
            let answer: Value = answered.await.unwrap();
            Ok(Response::new(Body::from(serde_json::to_vec(&answer).unwrap())))
        })
    }
}

/// The objects as the API server has them, and the watch of them.
struct Store {
    objects: HashMap<String, Value>,
    version: u64,
    writer: reflector::store::Writer<Kept>,
    changes: mpsc::UnboundedSender<Kept>,
}

impl Store {
    /// Keeps an object and tells the watch of it.
    fn put(&mut self, name: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.objects.insert(name.to_owned(), object.clone());
        let seen = Kept::from(serde_json::from_value::<RunObject>(object.clone()).unwrap());
        self.writer.apply_watcher_event(&watcher::Event::Apply(seen.clone()));
        self.changes.send(seen).ok().unwrap();
        object
    }

    fn create(&mut self, name: &str) {
        let metadata = json!({"namespace": "a", "name": name, "uid": name, "generation": 1});
        let spec = json!({"workspaceRef": {"name": "nowhere"}, "runNow": {"job_id": 1}});
        self.put(
            name,
            json!({"apiVersion": "dbrun.dev/v1alpha1", "kind": "DatabricksRun", "metadata": metadata, "spec": spec}),
        );
    }

    /// A merge patch of the status.
    fn patch(&mut self, name: &str, patch: &Value) -> Value {
        let mut object = self.objects[name].clone();
        merge(&mut object["status"], &patch["status"]);
        self.put(name, object)
    }

    /// Somebody edits the spec.
    fn edit(&mut self, name: &str) {
        let mut object = self.objects[name].clone();
        let generation = object["metadata"]["generation"].as_i64().unwrap() + 1;
        object["metadata"]["generation"] = generation.into();
        self.put(name, object);
    }
}

fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else { return *into = patch.clone() };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut into[name], value);
        }
    }
}

fn operator(way: Way, metrics: &Arc<Metrics>) -> Arc<Operator> {
    let clock = SystemClock::start();
    let gate = Gate::new(Lead::always(), clock);
    let kubernetes =
        Kubernetes::new(kube::Client::new(way, "default"), "test", gate.clone(), Clocks(clock), Arc::clone(metrics));
    let (wakes, _) = mpsc::channel(1);
    let known = Known { workspaces: Vec::new(), cluster: None };
    let connections = Arc::new(Connections::new(known, clock, gate, wakes, Arc::clone(metrics)));
    let settings = Settings {
        holder: "test".to_owned(),
        submit_timeout: Duration::from_secs(30),
        deletion_deadline: Duration::from_mins(4),
        run_keys: VERSIONS,
        ttl_keep_keys: Vec::new(),
        take_over: TakeOver::WhenUnchanged,
    };
    Arc::new(Reconciler::new(kubernetes, connections, Clocks(clock), settings, Lead::always(), Arc::clone(metrics)))
}

/// So many looks are under way.
async fn under_way(metrics: &Metrics, count: usize) {
    let told = format!("controller_runtime_active_workers{{controller=\"databricksrun\"}} {count}");
    while !metrics.encode().lines().any(|line| line == told) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn however_often_some_objects_change_every_other_one_is_served_before_their_third_turn() {
    let metrics = Arc::new(Metrics::new());
    let (way, mut requests) = mpsc::unbounded_channel();
    let (changes, mut told) = mpsc::unbounded_channel();
    let (store, mut writer) = reflector::store();
    // An empty list: before there is one no look begins.
    for event in [watcher::Event::Init, watcher::Event::InitDone] {
        writer.apply_watcher_event(&event);
    }
    let mut objects = Store { objects: HashMap::new(), version: 0, writer, changes };
    // The hot ones come first.
    for number in 0..HOT + COLD {
        objects.create(&if number < HOT { format!("hot-{number}") } else { format!("cold-{number}") });
    }
    let watch = futures::stream::poll_fn(move |context| told.poll_recv(context)).map(Ok).boxed();
    let operator = operator(Way(way), &metrics);
    let never = futures::stream::pending;
    let looks = looks_at_runs(watch, store, never(), futures::stream::pending(), std::future::pending(), operator);
    let looks = tokio::spawn(looks);
    under_way(&metrics, HOT + COLD).await;

    let mut served: HashMap<String, usize> = HashMap::new();
    let mut cold = 0;
    while cold < COLD {
        let Asked { method, name, body, answer } = requests.recv().await.unwrap();
        if method != Method::PATCH {
            // An Event.
            answer.send(body).unwrap();
            continue;
        }
        answer.send(objects.patch(&name, &body)).unwrap();
        let turns = served.entry(name.clone()).or_default();
        *turns += 1;
        if name.starts_with("hot") {
            assert!(*turns < 3, "{name} has its third turn, and {} others had none", COLD - cold);
            objects.edit(&name);
        } else {
            cold += usize::from(*turns == 1);
        }
    }
    let hot = served.iter().filter(|(name, _)| name.starts_with("hot")).map(|(_, turns)| turns).sum::<usize>();
    assert!(hot >= HOT, "those that change are served, too: {hot}");
    looks.abort();
}
