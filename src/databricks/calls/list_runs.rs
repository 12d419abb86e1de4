//! `jobs/runs/list`: many runs at a time, without their tasks, newest first.

use serde::Deserialize;

use super::RunsPage;
use crate::databricks::bounded;
use crate::databricks::client::{Client, Deadline, Request};
use crate::databricks::error::Error;
use crate::databricks::ids::JobId;
use crate::databricks::limiter::Lane;
use crate::databricks::model::Run;
use crate::databricks::observer::Operation;
use crate::databricks::settings::JobsApiVersion;

/// The most rows Databricks gives on one page.
pub const RUNS_PER_PAGE: u8 = 25;

/// Which runs to list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListRuns {
    /// Only runs of this job.
    pub job_id: Option<JobId>,
    /// Only runs that started at or after this time, in epoch milliseconds.
    pub start_time_from: Option<i64>,
    /// Only runs that started at or before this time, in epoch milliseconds.
    pub start_time_to: Option<i64>,
    /// Rows per page, 1 to 25.
    pub limit: u8,
    /// The page to begin with: the `next_page_token` of the one before.
    pub page_token: Option<String>,
}

impl Default for ListRuns {
    fn default() -> Self {
        Self { job_id: None, start_time_from: None, start_time_to: None, limit: RUNS_PER_PAGE, page_token: None }
    }
}

/// What [`Client::find_runs`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRuns {
    /// The runs that were wanted, newest first.
    pub runs: Vec<Run>,
    /// Whether every page was seen. Where not, what is missing here may still exist.
    pub complete: bool,
}

#[derive(Deserialize)]
struct Answer {
    /// Absent when there is none.
    #[serde(default, deserialize_with = "bounded::list")]
    runs: Vec<Run>,
    next_page_token: Option<String>,
}

impl Client {
    /// The runs of at most `max_pages` pages that `wanted` says yes to.
    pub async fn find_runs(
        &self,
        version: JobsApiVersion,
        query: &ListRuns,
        max_pages: usize,
        mut wanted: impl FnMut(&Run) -> bool + Send,
    ) -> Result<FoundRuns, Error> {
        self.permission(Operation::ListRuns, Lane::Submit, query)?;
        let deadline = self.call_deadline();
        let mut query = query.clone();
        let mut found = FoundRuns { runs: Vec::new(), complete: false };
        for page in 0..max_pages {
            if page > 0 {
                self.charge();
            }
            let answer = self.runs_page(version, &query, deadline).await?;
            found.runs.extend(answer.runs.into_iter().filter(&mut wanted));
            if answer.next_page_token.is_none() {
                found.complete = true;
                break;
            }
            query.page_token = answer.next_page_token;
        }
        Ok(found)
    }

    pub(super) async fn runs_page(
        &self,
        version: JobsApiVersion,
        query: &ListRuns,
        deadline: Deadline,
    ) -> Result<RunsPage, Error> {
        let request = Request::get(Operation::ListRuns, version, "runs/list")
            .query("limit", query.limit.clamp(1, RUNS_PER_PAGE))
            .query_if("job_id", query.job_id)
            .query_if("start_time_from", query.start_time_from)
            .query_if("start_time_to", query.start_time_to)
            .query_if("page_token", query.page_token.as_deref());
        let answer = self.send(&request, deadline).await?;
        let page: Answer = answer.json()?;
        Ok(RunsPage {
            runs: page.runs,
            next_page_token: page.next_page_token.filter(|token| !token.is_empty()),
            server_time: answer.server_time,
        })
    }
}
