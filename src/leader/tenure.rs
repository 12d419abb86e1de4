//! Until when the lease is surely ours, and whoever asks for it.

use std::time::Duration;

use tokio::sync::watch;

/// Until when the lease is surely ours. Instants are times since the process began, on a clock that never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tenure {
    /// An effect may begin before this instant. At it, the lease has not been renewed for the renew deadline.
    pub begin_before: Duration,
    /// What has begun is given up at this instant: a little later, and safely before anybody else can hold the lease.
    pub end_by: Duration,
    /// How often this process has come to lead.
    pub term: u64,
}

impl Tenure {
    /// Without an election, always.
    pub const ALWAYS: Self = Self { begin_before: Duration::MAX, end_by: Duration::MAX, term: 1 };

    /// Whether an effect may begin now.
    #[must_use]
    pub fn permits(&self, now: Duration) -> bool {
        now < self.begin_before
    }
}

/// Where to ask whether this process leads. Clones see the same.
#[derive(Debug, Clone)]
pub struct Lead(watch::Receiver<Tenure>);

impl Lead {
    /// For a process that takes part in no election.
    #[must_use]
    pub fn always() -> Self {
        Self(watch::channel(Tenure::ALWAYS).1)
    }

    /// For a candidate, and where to say what becomes of it.
    #[must_use]
    pub fn of_a_candidate() -> (watch::Sender<Tenure>, Self) {
        let (tenure, lead) = watch::channel(Tenure::default());
        (tenure, Self(lead))
    }

    /// Whether an effect may begin now.
    #[must_use]
    pub fn permits(&self, now: Duration) -> bool {
        self.tenure().permits(now)
    }

    /// What is known now.
    #[must_use]
    pub fn tenure(&self) -> Tenure {
        *self.0.borrow()
    }

    /// Ends when something else is known; never where nobody says anything any more.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_may_do_nothing_before_it_leads_and_whoever_is_alone_may_always() {
        assert!(!Tenure::default().permits(Duration::ZERO));
        assert!(Lead::always().permits(Duration::from_hours(100_000)));
        let (tenure, lead) = Lead::of_a_candidate();
        assert!(!lead.permits(Duration::ZERO));
        tenure.send_replace(Tenure { begin_before: Duration::from_secs(10), ..Tenure::default() });
        assert!(lead.permits(Duration::from_millis(9999)) && !lead.permits(Duration::from_secs(10)));
    }
}
