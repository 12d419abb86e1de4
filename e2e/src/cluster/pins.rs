//! The versions of Kubernetes that the tests can build: the newest, and the oldest that the chart allows.

use std::env;

use super::error::Error;

/// Which of them is built: its major and minor version. The newest unless it is set.
const VARIABLE: &str = "E2E_KUBERNETES_VERSION";

/// A control plane that can be built.
#[derive(Debug)]
pub(super) struct Pin {
    /// Of Kubernetes, as its Go module has it.
    pub(super) version: &'static str,
    /// Parts of this program, so that it need not find the repository it was built from.
    pub(super) go_mod: &'static str,
    pub(super) go_sum: &'static str,
}

const NEWEST: Pin = Pin {
    version: "v1.36.3",
    go_mod: include_str!("../../control-plane/go.mod"),
    go_sum: include_str!("../../control-plane/go.sum"),
};

const OLDEST: Pin = Pin {
    version: "v1.32.13",
    go_mod: include_str!("../../control-plane/oldest/go.mod"),
    go_sum: include_str!("../../control-plane/oldest/go.sum"),
};

impl Pin {
    /// The one that the environment asks for.
    pub(super) fn asked_for() -> Result<&'static Self, Error> {
        Self::of(&env::var(VARIABLE).unwrap_or_default())
    }

    fn of(asked: &str) -> Result<&'static Self, Error> {
        if asked.is_empty() {
            return Ok(&NEWEST);
        }
        let pins = [&NEWEST, &OLDEST];
        let known = || pins.map(Self::release).join(" and ");
        let found = pins.into_iter().find(|pin| pin.release() == asked);
        found.ok_or_else(|| Error::NoPin { variable: VARIABLE, asked: asked.to_owned(), known: known() })
    }

    /// Its major and minor version, as in `1.36`.
    pub(super) fn release(&self) -> String {
        let mut numbers = self.version.trim_start_matches('v').splitn(3, '.');
        format!("{}.{}", numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
    }
}

/// The version of Kubernetes that is built where no other cluster is given.
pub fn kubernetes_version() -> Result<&'static str, Error> {
    Ok(Pin::asked_for()?.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_named_are_the_ones_pinned() {
        for pin in [&NEWEST, &OLDEST] {
            assert!(pin.go_mod.contains(&format!("\tk8s.io/kubernetes {} ", pin.version)), "{}", pin.version);
        }
    }

    #[test]
    fn the_oldest_is_the_oldest_that_the_chart_allows() {
        let chart = include_str!("../../../charts/databricks-run-operator/Chart.yaml");
        assert!(chart.contains(&format!("kubeVersion: \">={}.0-0\"", OLDEST.release())), "{chart}");
    }

    #[test]
    fn a_version_is_asked_for_by_its_first_two_numbers_and_one_that_is_not_pinned_is_refused() {
        assert_eq!(Pin::of("").unwrap().version, NEWEST.version);
        assert_eq!(Pin::of("1.32").unwrap().version, OLDEST.version);
        assert_eq!(Pin::of("1.36").unwrap().version, NEWEST.version);
        let refusal = Pin::of("1.30").unwrap_err().to_string();
        assert!(refusal.contains("E2E_KUBERNETES_VERSION=1.30") && refusal.contains("1.36 and 1.32"), "{refusal}");
    }
}
