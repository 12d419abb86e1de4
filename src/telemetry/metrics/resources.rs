//! What this process uses of the machine, asked for at each scrape.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::super::memory;
use super::super::process::process;

const ALLOCATED: &str = "databricks_operator_allocator_allocated_bytes";
const RESIDENT: &str = "databricks_operator_allocator_resident_bytes";
const CPU: &str = "process_cpu_seconds";
const OPEN_FILES: &str = "process_open_fds";
const MEMORY: &str = "process_resident_memory_bytes";
const START: &str = "process_start_time_seconds";

/// What [`Resources`] tells.
pub(super) const NAMES: [&str; 6] = [ALLOCATED, RESIDENT, CPU, OPEN_FILES, MEMORY, START];

/// Asks the system and the allocator.
#[derive(Debug)]
pub(super) struct Resources {
    started: f64,
}

impl Resources {
    /// Of a process that starts now.
    pub(super) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: since_epoch.as_secs_f64() }
    }
}

impl Collector for Resources {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let encoder = &mut encoder;
        tell(encoder, START, "When this process started, in seconds since 1970", &ConstGauge::new(self.started))?;
        if let Some(process) = process() {
            tell(encoder, CPU, "Processor time of this process", &ConstCounter::new(process.cpu_seconds))?;
            tell(encoder, OPEN_FILES, "Open files and sockets of this process", &gauge(process.open_files))?;
            tell(encoder, MEMORY, "Memory of this process", &gauge(process.resident))?;
        }
        if let Some(usage) = memory::usage() {
            tell(
                encoder,
                ALLOCATED,
                "Memory that the program has asked for and not given back",
                &gauge(usage.allocated),
            )?;
            tell(encoder, RESIDENT, "Memory that the allocator has from the system", &gauge(usage.resident))?;
        }
        Ok(())
    }
}

fn tell(encoder: &mut DescriptorEncoder, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(figure: u64) -> ConstGauge {
    ConstGauge::new(i64::try_from(figure).unwrap_or(i64::MAX))
}
