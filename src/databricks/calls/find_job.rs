//! `jobs/list` by name. Databricks ignores case there and names are not unique, so the match is made here.

use serde::Deserialize;

use super::Pages;
use crate::databricks::bounded;
use crate::databricks::client::{Client, Request};
use crate::databricks::error::Error;
use crate::databricks::ids::JobId;
use crate::databricks::limiter::Lane;
use crate::databricks::model::Job;
use crate::databricks::observer::Operation;
use crate::databricks::settings::JobsApiVersion;

/// A workspace holds 10,000 saved jobs, and a server may ignore the filter and give 20 a page.
const MAX_PAGES: usize = 500;

/// How many jobs have exactly this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobMatch {
    /// None that this identity may see.
    None,
    /// This one.
    One(JobId),
    /// So many.
    Several(usize),
}

#[derive(Deserialize)]
struct Page {
    #[serde(default, deserialize_with = "bounded::list")]
    jobs: Vec<Job>,
    next_page_token: Option<String>,
}

impl Client {
    /// Finds a job by its exact, case-sensitive name.
    pub async fn find_job(&self, version: JobsApiVersion, name: &str) -> Result<JobMatch, Error> {
        const OPERATION: Operation = Operation::ListJobs;
        self.permission(OPERATION, Lane::Submit, name)?;
        let deadline = self.call_deadline();
        let mut pages = Pages::at_most(MAX_PAGES);
        let mut found = JobMatch::None;
        loop {
            let mut request = Request::get(OPERATION, version, "list").query("name", name).query("limit", 100);
            if let Some(token) = pages.token() {
                request = request.query("page_token", token);
                self.charge();
            }
            let page: Page = self.send(&request, deadline).await?.json()?;
            for job in page.jobs.iter().filter(|job| job.settings.name.as_deref() == Some(name)) {
                found = match found {
                    JobMatch::None => JobMatch::One(job.job_id),
                    JobMatch::One(_) => JobMatch::Several(2),
                    JobMatch::Several(n) => JobMatch::Several(n + 1),
                };
            }
            if !pages.turn(page.next_page_token)? {
                return Ok(found);
            }
        }
    }
}
