//! How metrics come into a registry: each by its whole name, which is kept.

use prometheus_client::collector::Collector;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

/// Puts metrics into a registry and keeps their names.
#[derive(Default)]
pub(super) struct Registration {
    pub(super) registry: Registry,
    pub(super) names: Vec<String>,
}

impl Registration {
    pub(super) fn register(&mut self, prefix: &str, name: &str, help: &str, metric: impl Metric) {
        let name = format!("{prefix}_{name}");
        self.registry.register(name.clone(), help, metric);
        self.names.push(name);
    }

    pub(super) fn add<M: Metric + Clone>(&mut self, prefix: &str, name: &str, help: &str, metric: M) -> M {
        self.register(prefix, name, help, metric.clone());
        metric
    }

    pub(super) fn family<L, M>(&mut self, prefix: &str, name: &str, help: &str) -> Family<L, M>
    where
        L: Clone + std::hash::Hash + Eq,
        M: Default,
        Family<L, M>: Metric,
    {
        self.add(prefix, name, help, Family::default())
    }

    pub(super) fn histograms<L>(
        &mut self,
        prefix: &str,
        name: &str,
        help: &str,
        new: fn() -> Histogram,
    ) -> Family<L, Histogram, fn() -> Histogram>
    where
        L: Clone + std::hash::Hash + Eq,
        Family<L, Histogram, fn() -> Histogram>: Metric,
    {
        self.add(prefix, name, help, Family::new_with_constructor(new))
    }

    /// Metrics of these names that are made up at each scrape.
    pub(super) fn collected(&mut self, names: impl IntoIterator<Item = &'static str>, collector: impl Collector) {
        self.names.extend(names.into_iter().map(str::to_owned));
        self.registry.register_collector(Box::new(collector));
    }
}
