//! Whether a token can be had and the API answers: what a workspace's `Ready` says.

use std::time::SystemTime;

use super::list_runs::ListRuns;
use crate::databricks::client::Client;
use crate::databricks::error::Error;
use crate::databricks::limiter::Lane;
use crate::databricks::observer::Operation;
use crate::databricks::settings::JobsApiVersion;

/// The API answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Databricks' time.
    pub server_time: Option<SystemTime>,
}

impl Client {
    /// Gets a token if there is none and lists one run: the cheapest call that needs no object to exist. It goes first:
    /// it is rare, and everything waits for what it finds.
    pub async fn check(&self, version: JobsApiVersion) -> Result<Checked, Error> {
        self.permission(Operation::ListRuns, Lane::Cancel, "check")?;
        let query = ListRuns { limit: 1, ..ListRuns::default() };
        let page = self.runs_page(version, &query, self.call_deadline()).await?;
        Ok(Checked { server_time: page.server_time })
    }
}
