//! Traces of requests, as a collector gets them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use e2e::stage::Stage;
use e2e::wait::eventually;
use e2e::workspace::Script;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode as Verdict;
use prost::Message;

use crate::run_now;

/// What a collector was told.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    /// Starts one on a free port; gives its address, too.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let routes = axum::Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (collector, address)
    }

    /// The spans of a name.
    fn spans(&self, name: &str) -> Vec<Span> {
        self.0.lock().unwrap().iter().filter(|span| span.name == name).cloned().collect()
    }

    /// The one span of a name, as soon as it is there.
    async fn span(&self, name: &str) -> Span {
        let found =
            eventually(name, async || self.spans(name).pop().ok_or_else(|| "nothing was told of it".to_owned())).await;
        assert_eq!(self.spans(name).len(), 1, "{name}");
        found
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if headers.get("authorization").is_none_or(|value| value != "Bearer told") {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    let spans = request.resource_spans.into_iter().flat_map(|it| it.scope_spans).flat_map(|it| it.spans);
    collector.0.lock().unwrap().extend(spans);
    StatusCode::OK
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    let value = span.attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    Some(match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

#[tokio::test]
async fn a_request_is_one_trace_from_its_start_to_its_verdict_through_a_restart_of_the_operator() {
    let stage = Stage::set("traces").await;
    let (collector, address) = Collector::start().await;
    let flag = format!("--otlp-endpoint={address}");
    let headers = ["OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer told".to_owned()];
    let script =
        Script::new().pending_for(Duration::from_millis(40)).running_forever().failing("no such table", "at 1");
    let job = stage.databricks.job("nightly").script(script).id();
    let mut operator = stage.process_with(env!("CARGO_BIN_EXE_operator"), &[&flag], &headers);
    stage.apply(&stage.run("nightly", run_now(job))).await;
    let run_id = stage.running("nightly").await.text("runId");
    // Killed, it would tell nothing of what it had not sent yet.
    operator.terminate();
    assert!(operator.ended_well());

    let _operator = stage.process_with(env!("CARGO_BIN_EXE_operator"), &[&flag], &headers);
    stage.databricks.finish(run_id.parse().unwrap());
    let run = stage.finished("nightly").await;
    let root = collector.span("DatabricksRun").await;
    assert_eq!(attribute(&root, "dbrun.name").as_deref(), Some("nightly"));
    assert_eq!(attribute(&root, "dbrun.uid"), run.0.metadata.uid);
    assert_eq!(attribute(&root, "dbrun.state").as_deref(), Some("Failed"));
    let status = root.status.clone().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (Verdict::Error, "RunFailed"));
    assert!(root.parent_span_id.is_empty());

    let of_run = collector.span("run").await;
    assert_eq!(attribute(&of_run, "databricks.run_id").as_deref(), Some(run_id.as_str()));
    for part in ["submit", "run"] {
        let span = collector.span(part).await;
        assert_eq!((&span.trace_id, &span.parent_span_id), (&root.trace_id, &root.span_id), "{part}");
    }
    for part in ["setup", "execution"] {
        let span = collector.span(part).await;
        assert_eq!((&span.trace_id, &span.parent_span_id), (&root.trace_id, &of_run.span_id), "{part}");
    }
    let starts = collector.spans("run-now");
    let polls = collector.spans("get-run");
    assert_eq!(starts.len(), 1);
    for call in starts.iter().chain(&polls) {
        assert_eq!((&call.trace_id, &call.parent_span_id), (&root.trace_id, &root.span_id), "{call:?}");
        assert_eq!(
            (call.kind(), attribute(call, "http.response.status_code").as_deref()),
            (SpanKind::Client, Some("200"))
        );
    }
    let whose = collector.spans("me");
    assert!(whose.iter().all(|call| call.trace_id != root.trace_id && call.parent_span_id.is_empty()), "{whose:?}");
}
