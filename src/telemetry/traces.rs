//! OpenTelemetry traces, sent to a collector by OTLP over HTTP. Without a collector nothing is made and nothing is sent.
//!
//! Of a trace and of its lasting parts the ids are made of what they are about. So a process that takes over goes on with the
//! trace, and what is told twice is one span told twice.

mod export;

use std::fmt;
use std::future::Future;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanEvents, SpanLinks, SpanProcessor};
use sha2::{Digest, Sha256};
use thiserror::Error;
use url::Url;

/// Where a collector takes spans: the base address of OTLP over HTTP, such as `http://collector:4318`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector(Url);

/// Why a text is no collector's address, or one cannot be used.
#[derive(Debug, Error)]
pub enum CollectorError {
    /// Not an address. What was given is not repeated: it may hold a password.
    #[error(
        "a collector's address is `http://` or `https://`, a host and a port, such as http://collector:4318, without user, query or \
         fragment; what a collector wants to see of us goes into OTEL_EXPORTER_OTLP_HEADERS"
    )]
    Address,
    /// The client could not be made.
    #[error("traces cannot be sent: {0}")]
    Client(String),
}

impl FromStr for Collector {
    type Err = CollectorError;

    fn from_str(text: &str) -> Result<Self, CollectorError> {
        let url = Url::parse(text).map_err(|_| CollectorError::Address)?;
        let is_plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
        let is_http = ["http", "https"].contains(&url.scheme()) && url.has_host() && url.fragment().is_none();
        if is_plain && is_http { Ok(Self(url)) } else { Err(CollectorError::Address) }
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Collector {
    /// Where traces go, as the specification of OTLP/HTTP has it.
    fn traces(&self) -> String {
        format!("{}/v1/traces", self.0.as_str().trim_end_matches('/'))
    }
}

/// The trace of one request of one object, all its attempts included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(TraceId);

impl Trace {
    /// The trace of the request with this run key.
    #[must_use]
    pub fn of(uid: &str, run_key: &str) -> Self {
        Self(TraceId::from_bytes(digest(&["trace", uid, run_key])))
    }

    /// The id of its root: the request as a whole.
    #[must_use]
    pub fn root(self) -> SpanId {
        self.part("request", "")
    }

    /// The id of a lasting part of it.
    #[must_use]
    pub fn part(self, name: &str, which: &str) -> SpanId {
        SpanId::from_bytes(digest(&["span", &self.0.to_string(), name, which]))
    }
}

/// The beginning of a hash of words, which are kept apart.
fn digest<const N: usize>(words: &[&str]) -> [u8; N] {
    let mut hash = Sha256::new();
    for word in words {
        hash.update(word.len().to_be_bytes());
        hash.update(word);
    }
    let hash = hash.finalize();
    std::array::from_fn(|at| hash[at])
}

tokio::task_local! {
    static CURRENT: Option<Trace>;
}

/// Works for a trace: calls that are made meanwhile belong to it.
pub async fn during<T>(trace: Option<Trace>, work: impl Future<Output = T>) -> T {
    CURRENT.scope(trace, work).await
}

/// For which trace the task works, if it does so for one.
fn current() -> Option<Trace> {
    CURRENT.try_with(|trace| *trace).ok().flatten()
}

/// A part of a trace that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its trace.
    pub trace: Trace,
    /// Its id.
    pub id: SpanId,
    /// The part it is a part of; none for the root.
    pub parent: Option<SpanId>,
    /// Whether it is a call, or something within.
    pub kind: SpanKind,
    /// What it is.
    pub name: &'static str,
    /// When it began.
    pub start: SystemTime,
    /// When it ended. By clocks that disagree this may be before its beginning; then it took no time.
    pub end: SystemTime,
    /// What is known of it.
    pub attributes: Vec<KeyValue>,
    /// Whether it went well, where that can be said.
    pub status: Status,
}

/// Where spans go. Clones are one.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<BatchSpanProcessor>>);

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.are_told() { "Traces(told)" } else { "Traces(off)" })
    }
}

impl Traces {
    /// Sends spans to a collector, from a thread of its own. `instance` is this process's name.
    pub fn to(collector: &Collector, instance: &str) -> Result<Self, CollectorError> {
        Ok(Self(Some(Arc::new(export::processor(collector, instance)?))))
    }

    /// Whether anybody hears of spans.
    #[must_use]
    pub fn are_told(&self) -> bool {
        self.0.is_some()
    }

    /// Tells of a span. Never waits: what comes faster than the collector takes it is lost.
    pub fn tell(&self, span: Span) {
        let Some(processor) = &self.0 else { return };
        processor.on_end(SpanData {
            span_context: SpanContext::new(span.trace.0, span.id, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent_span_id: span.parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: false,
            span_kind: span.kind,
            name: span.name.into(),
            start_time: span.start,
            end_time: span.end.max(span.start),
            attributes: span.attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: span.status,
            instrumentation_scope: InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
                .with_version(env!("CARGO_PKG_VERSION"))
                .build(),
        });
    }

    /// Tells of a call that has just ended: as a part of the trace the task works for, else in a trace of its own.
    pub fn tell_call(&self, name: &'static str, took: Duration, attributes: Vec<KeyValue>, status: Status) {
        let (trace, end) = (current(), SystemTime::now());
        self.tell(Span {
            trace: trace.unwrap_or_else(|| Trace(TraceId::from_bytes(rand::random()))),
            id: SpanId::from_bytes(rand::random()),
            parent: trace.map(Trace::root),
            kind: SpanKind::Client,
            name,
            start: end.checked_sub(took).unwrap_or(end),
            end,
            attributes,
            status,
        });
    }

    /// Sends what is left, and ends. Waits for the collector for some seconds at most, so it is not for a runtime's own threads.
    pub fn end(&self) {
        let Some(processor) = &self.0 else { return };
        if let Err(error) = processor.shutdown() {
            tracing::warn!(%error, "the last traces may not have reached the collector");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_an_address_without_secrets() {
        let traces = |text: &str| text.parse::<Collector>().map(|collector| collector.traces()).ok();
        assert_eq!(traces("http://collector:4318").as_deref(), Some("http://collector:4318/v1/traces"));
        assert_eq!(traces("https://otlp.example/base/").as_deref(), Some("https://otlp.example/base/v1/traces"));
        for text in ["", "collector:4318", "ftp://a", "http://u:p@a", "http://u@a", "http://a?key=1", "http://a#b"] {
            let error = text.parse::<Collector>().unwrap_err().to_string();
            assert!(error.contains("http://collector:4318") && !error.contains("u:p"), "{text}: {error}");
        }
    }

    #[test]
    fn ids_are_made_of_what_they_are_about() {
        let trace = Trace::of("uid", "v1:key");
        assert_eq!(trace, Trace::of("uid", "v1:key"));
        assert_ne!(trace, Trace::of("uidv", "1:key"));
        assert_eq!(trace.part("run", "7"), trace.part("run", "7"));
        assert_ne!(trace.part("run", "7"), trace.part("run", "8"));
        assert_ne!(trace.root(), Trace::of("uid", "v1:other").root());
    }

    #[tokio::test]
    async fn a_task_works_for_one_trace_and_knows_none_beside() {
        let trace = Some(Trace::of("uid", "key"));
        assert_eq!(current(), None);
        assert_eq!(during(trace, async { current() }).await, trace);
        assert_eq!(during(trace, during(None, async { current() })).await, None);
        assert_eq!(current(), None);
    }
}
