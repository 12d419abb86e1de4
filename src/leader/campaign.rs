//! The task around an election: asks what it says, with a deadline for each request, says what came of it in [`Tenure`], in the
//! log and in the metrics, and gives the Lease back at the end.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

use super::election::{Answer, Ask, Election, Now, Turn};
use super::tenure::Tenure;
use crate::telemetry::Metrics;

/// How long giving back the Lease may take. Afterwards it runs out by itself.
const FAREWELL: Duration = Duration::from_secs(3);

/// Where Leases are.
pub trait Leases: Send + Sync + 'static {
    /// Asks; why there is no answer, if there is none.
    fn ask(&self, name: &str, ask: &Ask) -> impl Future<Output = Result<Answer, String>> + Send;
}

/// The Leases of a namespace, on a Kubernetes API server.
pub struct ApiLeases {
    api: Api<Lease>,
    namespace: String,
}

impl ApiLeases {
    /// Those of this namespace. The client must not repeat requests by itself.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.to_owned() }
    }
}

impl Leases for ApiLeases {
    async fn ask(&self, name: &str, ask: &Ask) -> Result<Answer, String> {
        let parameters = PostParams::default();
        let answer = match ask {
            Ask::Read => self.api.get(name).await,
            Ask::Create(lease) => self.api.create(&parameters, lease).await,
            Ask::Replace(lease) => self.api.replace(name, &parameters, lease).await,
        };
        match answer {
            Ok(lease) => Ok(Answer::Lease(Box::new(lease))),
            // Where a Lease cannot even be created, it is the namespace that is missing.
            Err(kube::Error::Api(status)) if status.code == 404 && !matches!(ask, Ask::Create(_)) => {
                Ok(Answer::Missing)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Answer::Conflict),
            Err(error) => Err(told(&error, &self.namespace)),
        }
    }
}

/// What to say of a request that failed, with what helps where somebody has to do something about it.
fn told(error: &kube::Error, namespace: &str) -> String {
    let code = if let kube::Error::Api(status) = error { status.code } else { 0 };
    match code {
        403 => format!(
            "{error}; grant it (config/rbac/operator/leader-election.yaml, bound in the namespace {namespace}), or start the \
             operator with --leader-elect=false if no other replica runs"
        ),
        404 => format!("{error}; create the namespace {namespace}, or name another with --leader-elect-namespace"),
        _ => error.to_string(),
    }
}

/// A candidate at work.
pub struct Campaign<L> {
    leases: L,
    election: Election,
    /// The zero of all instants.
    start: Instant,
    tenure: watch::Sender<Tenure>,
    metrics: Arc<Metrics>,
    told: Told,
}

/// What was said last, so that nothing is said twice.
#[derive(Default)]
struct Told {
    leads: bool,
    holder: Option<String>,
    failing: bool,
}

impl<L: Leases> Campaign<L> {
    /// A candidate that counts its instants from `start` and says in `tenure` what becomes of it.
    pub fn new(
        leases: L,
        election: Election,
        start: Instant,
        tenure: watch::Sender<Tenure>,
        metrics: Arc<Metrics>,
    ) -> Self {
        metrics.set_leading(election.name(), false);
        Self { leases, election, start, tenure, metrics, told: Told::default() }
    }

    /// Campaigns, and leads when it comes to that, until `stop` ends; then gives the Lease back.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) {
        let mut stop = pin!(stop);
        loop {
            self.round().await;
            let rest = self.election.rest(self.mono(), rand::random());
            tokio::select! {
                () = &mut stop => break,
                () = self.rest(rest) => {}
            }
        }
        self.election.leave();
        self.publish();
        if std::mem::take(&mut self.told.leads) {
            self.metrics.set_leading(self.election.name(), false);
            tracing::info!(lease = self.election.name(), "leading no more; the lease is given back");
        }
        if timeout(FAREWELL, self.give_back()).await.is_err() {
            tracing::warn!(lease = self.election.name(), "the lease could not be given back; it runs out by itself");
        }
    }

    async fn give_back(&mut self) {
        loop {
            self.round().await;
            if self.election.ask(self.now()).is_none() {
                return;
            }
            sleep(self.election.rest(self.mono(), 0.0)).await;
        }
    }

    /// Waits, and says so when the lease lapses meanwhile.
    async fn rest(&mut self, rest: Duration) {
        let end = self.mono() + rest;
        let lapse = self.election.tenure().begin_before;
        if self.told.leads && lapse < end {
            sleep_until((self.start + lapse).into()).await;
            self.tell();
        }
        sleep_until((self.start + end).into()).await;
    }

    async fn round(&mut self) {
        while let Some(ask) = self.election.ask(self.now()) {
            let sent = self.mono();
            let answer = self.answer(&ask).await;
            let turn = self.election.answered(&ask, sent, answer, self.now());
            self.tell();
            if turn == Turn::Over {
                return;
            }
        }
    }

    async fn answer(&mut self, ask: &Ask) -> Answer {
        let deadline = self.election.timing().request();
        let asked = timeout(deadline, self.leases.ask(self.election.name(), ask)).await;
        match asked.unwrap_or_else(|_| Err(format!("no answer within {deadline:?}"))) {
            Ok(answer) => {
                if std::mem::take(&mut self.told.failing) {
                    tracing::info!(lease = self.election.name(), "the lease can be asked for again");
                }
                answer
            }
            Err(error) => {
                if !std::mem::replace(&mut self.told.failing, true) {
                    let lease = self.election.name();
                    tracing::warn!(lease, error, "the lease could not be read or written; it is tried again");
                }
                Answer::None
            }
        }
    }

    /// Has whoever sends something know it.
    fn publish(&self) {
        let tenure = self.election.tenure();
        self.tenure.send_if_modified(|known| std::mem::replace(known, tenure) != tenure);
    }

    /// Says what is news.
    fn tell(&mut self) {
        self.publish();
        let (tenure, lease) = (self.election.tenure(), self.election.name());
        let leads = tenure.permits(self.start.elapsed());
        if leads != self.told.leads {
            self.told.leads = leads;
            self.metrics.set_leading(lease, leads);
            if leads {
                tracing::info!(lease, term = tenure.term, "leading");
            } else {
                tracing::warn!(lease, holder = self.election.holder(), "no longer leading; nothing new is begun");
            }
        }
        let holder = self.election.holder();
        if !leads && holder.is_some() && holder != self.told.holder.as_deref() {
            tracing::info!(lease, holder, "standing by");
        }
        self.told.holder = holder.map(str::to_owned);
    }

    fn mono(&self) -> Duration {
        self.start.elapsed()
    }

    fn now(&self) -> Now {
        Now { mono: self.mono(), wall: Timestamp::now() }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_lease_that_cannot_be_had_is_told_with_what_helps() {
        let refused = |code| {
            let status = Status { code, message: "no".to_owned(), ..Status::default() };
            told(&kube::Error::Api(Box::new(status)), "platform")
        };
        assert!(refused(403).contains("leader-election.yaml, bound in the namespace platform"), "{}", refused(403));
        assert!(refused(404).contains("create the namespace platform"), "{}", refused(404));
        assert!(!refused(500).contains("platform"), "{}", refused(500));
    }
}
