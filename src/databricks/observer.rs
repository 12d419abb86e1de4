//! What a client tells of its calls, for metrics. A trait, because this room uses no other room.

use std::time::Duration;

/// The operations of the client, as metrics and logs name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `jobs/run-now`
    RunNow,
    /// `jobs/runs/submit`
    Submit,
    /// `jobs/runs/get`
    GetRun,
    /// `jobs/runs/get-output`
    GetOutput,
    /// `jobs/runs/cancel`
    CancelRun,
    /// `jobs/runs/repair`
    RepairRun,
    /// `jobs/runs/list`
    ListRuns,
    /// `jobs/list`
    ListJobs,
    /// `preview/scim/v2/Me`: who the credential belongs to
    Me,
    /// The token endpoint, the workspace's or Microsoft Entra's
    Token,
    /// `oidc/.well-known/oauth-authorization-server`: where the workspace's token endpoint is
    Discovery,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::RunNow,
        Self::Submit,
        Self::GetRun,
        Self::GetOutput,
        Self::CancelRun,
        Self::RepairRun,
        Self::ListRuns,
        Self::ListJobs,
        Self::Me,
        Self::Token,
        Self::Discovery,
    ];

    /// A stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunNow => "run-now",
            Self::Submit => "submit",
            Self::GetRun => "get-run",
            Self::GetOutput => "get-output",
            Self::CancelRun => "cancel-run",
            Self::RepairRun => "repair-run",
            Self::ListRuns => "list-runs",
            Self::ListJobs => "list-jobs",
            Self::Me => "me",
            Self::Token => "token",
            Self::Discovery => "discovery",
        }
    }
}

/// One HTTP exchange, or one that the rate limit held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// `Ok`, or [`super::error::Error::reason`].
    pub outcome: &'static str,
    /// The status of the answer, if one came.
    pub http_status: Option<u16>,
    /// From the first byte to the last; zero when nothing was sent.
    pub duration: Duration,
}

/// Is told of every call. Must not block.
pub trait Observer: Send + Sync + 'static {
    /// One call has ended.
    fn call(&self, call: &Call);
}

/// Tells nobody.
impl Observer for () {
    fn call(&self, _: &Call) {}
}
