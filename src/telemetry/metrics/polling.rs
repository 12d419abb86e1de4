//! How far the looking at live runs in Databricks has come; told at each scrape, and not at all where it is not known.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::gauged;

const UNREAD: &str = "databricks_operator_runs_unread";
const OVERDUE: &str = "databricks_operator_polls_overdue";

/// What [`Told`] tells.
pub(super) const NAMES: [&str; 2] = [UNREAD, OVERDUE];

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Polling {
    /// Live runs that were not looked at yet.
    pub unread: usize,
    /// Live runs whose poll should have been sent long ago.
    pub overdue: usize,
}

/// What is known of it. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<Mutex<Option<Polling>>>);

impl Told {
    pub(super) fn set(&self, polling: Option<Polling>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = polling;
    }
}

impl Collector for Told {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Polling { unread, overdue }) = known else { return Ok(()) };
        for (name, help, count) in [
            (UNREAD, "Live runs that this process has not looked at in Databricks since it began to lead", unread),
            (OVERDUE, "Live runs whose poll was due more than ten seconds ago and has not been sent", overdue),
        ] {
            let gauge = ConstGauge::new(gauged(count));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}
