//! Which reconciles are under way, and since when; told at each scrape under controller-runtime's names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::CONTROLLERS;

const ACTIVE: &str = "controller_runtime_active_workers";
const LONGEST: &str = "workqueue_longest_running_processor_seconds";

/// What [`Reconciles`] tells.
pub(super) const NAMES: [&str; 2] = [ACTIVE, LONGEST];

/// The reconciles that are under way. Clones are one book.
#[derive(Debug, Clone, Default)]
pub(super) struct Reconciles(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    newest: u64,
    /// In the order of their begin.
    begun: BTreeMap<u64, (&'static str, Instant)>,
}

/// A reconcile that is under way until this is dropped.
#[derive(Debug)]
#[must_use = "the reconcile is over when this is dropped"]
pub struct Underway {
    reconciles: Reconciles,
    number: u64,
}

impl Reconciles {
    pub(super) fn begin(&self, controller: &'static str) -> Underway {
        let mut book = self.book();
        book.newest += 1;
        let number = book.newest;
        book.begun.insert(number, (controller, Instant::now()));
        Underway { reconciles: self.clone(), number }
    }

    /// How many of a controller are under way, and for how many seconds the oldest.
    fn of(&self, controller: &str) -> (i64, f64) {
        let book = self.book();
        let mut begun = book.begun.values().filter(|(whose, _)| *whose == controller).map(|(_, begun)| begun);
        let oldest = begun.next();
        let count = i64::try_from(begun.count()).unwrap_or(i64::MAX);
        oldest.map_or((0, 0.0), |oldest| (count.saturating_add(1), oldest.elapsed().as_secs_f64()))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.reconciles.book().begun.remove(&self.number);
    }
}

impl Collector for Reconciles {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let figures = CONTROLLERS.map(|controller| (controller, self.of(controller)));
        let help = "Reconciles that are under way";
        let mut active = encoder.encode_descriptor(ACTIVE, help, None, MetricType::Gauge)?;
        for (controller, (count, _)) in figures {
            ConstGauge::new(count).encode(active.encode_family(&[("controller", controller)])?)?;
        }
        let help = "Seconds since the begin of the oldest reconcile that is under way";
        let mut longest = encoder.encode_descriptor(LONGEST, help, None, MetricType::Gauge)?;
        for (controller, (_, seconds)) in figures {
            ConstGauge::new(seconds).encode(longest.encode_family(&[("name", controller)])?)?;
        }
        Ok(())
    }
}
