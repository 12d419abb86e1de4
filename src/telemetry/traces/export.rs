//! The way to a collector: spans gather in a bounded queue and go out in batches. A batch that a collector does not take is
//! lost; that there is something wrong is told once, and once that it is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::{WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor};
use reqwest::blocking::Client;
use reqwest::redirect::Policy;

use super::{Collector, CollectorError};

/// Spans that wait, some hundred bytes each: a burst of two thousand starts.
const QUEUE: usize = 8192;
/// A batch.
const BATCH: usize = 512;
/// How long a collector may take for one.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn processor(collector: &Collector, instance: &str) -> Result<BatchSpanProcessor, CollectorError> {
    let failed = |error: &dyn std::fmt::Display| CollectorError::Client(error.to_string());
    // Made beside the runtime, in whose threads a blocking client cannot be. What is in its headers is for the collector alone: it
    // follows nobody elsewhere.
    let client = std::thread::spawn(|| Client::builder().redirect(Policy::none()).timeout(TIMEOUT).build());
    let client = client.join().map_err(|_| CollectorError::Client("the HTTP client could not be made".to_owned()))?;
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_endpoint(collector.traces())
        .with_timeout(TIMEOUT)
        .with_http_client(client.map_err(|error| failed(&error))?)
        .build()
        .map_err(|error| failed(&error))?;
    let config = BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_max_export_batch_size(BATCH).build();
    let told = Told { exporter, fails: AtomicBool::new(false) };
    let mut processor = BatchSpanProcessor::builder(told).with_batch_config(config).build();
    let attributes = [
        KeyValue::new("service.name", env!("CARGO_PKG_NAME")),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance.to_owned()),
    ];
    processor.set_resource(&Resource::builder().with_attributes(attributes).build());
    Ok(processor)
}

/// An exporter whose failures are told.
#[derive(Debug)]
struct Told<E> {
    exporter: E,
    fails: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let outcome = self.exporter.export(batch).await;
        match &outcome {
            Err(error) if !self.fails.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, "the collector takes no traces; they are lost until it does");
            }
            Ok(()) if self.fails.swap(false, Ordering::Relaxed) => {
                tracing::info!("the collector takes traces again");
            }
            _ => {}
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
