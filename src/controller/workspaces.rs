//! The workspace controller, one for both kinds: makes the connection of each workspace object, checks it by getting a token
//! and making one cheap call, says so in `Ready`, and wakes the runs that waited for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::connections::{Connections, MadeOf, Usable};
use super::kubernetes::{Kubernetes, MANAGER};
use super::ports::StoreError;
use super::readiness::{Finding, Nature, News, Obstacle, tell, told_obstacle};
use super::secrets::{OperatorsOwn, Secrets};
use super::subject::{Subject, Workspace, WorkspaceKey};
use crate::api::cluster_workspace::AllowedNamespaces;
use crate::api::conditions::Reason;
use crate::api::status::WorkspacePin;
use crate::api::workspace::{DatabricksWorkspaceSpec, DatabricksWorkspaceStatus};
use crate::api::workspace_auth::AuthWay;
use crate::databricks::Principal;
use crate::databricks::client::{Client, InvalidSettings};
use crate::databricks::error::Error;
use crate::databricks::health::Health;
use crate::databricks::host::Host;
use crate::databricks::limiters::Limiters;
use crate::databricks::network::Network;
use crate::databricks::observer::Observer;
use crate::databricks::settings::{JobsApiVersion, Settings};
use crate::lifecycle::Severity;
use crate::poller;

/// A workspace that can be used is checked again after this time.
const RECHECK: Duration = Duration::from_mins(5);
/// One that cannot is checked again after this time and up to half as long again.
const RETRY: Duration = Duration::from_secs(10);
/// So many checks in a row must fail before a workspace that could be used counts as out: one lost answer is no outage.
const FAILURES: u32 = 3;
/// The pause between them.
const BETWEEN_FAILURES: Duration = Duration::from_secs(2);

/// Is told of a workspace that runs may wait for, when what they wait for may have come.
pub(super) type Changed = Box<dyn Fn(&WorkspaceKey) + Send + Sync>;

/// What the workspaces of one watch need.
pub(super) struct Workspaces {
    pub(super) kubernetes: Kubernetes,
    pub(super) connections: Arc<Connections>,
    pub(super) limiters: Arc<Limiters>,
    pub(super) network: Network,
    pub(super) entra_login: Option<Host>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) submit_timeout: Duration,
    /// What the cluster's own workspaces may use.
    pub(super) own: OperatorsOwn,
    /// Wakes the runs that wait for it.
    pub(super) changed: Changed,
    /// Told to look again at a workspace whose poller has begun or ceased to fail.
    pub(super) look_again: mpsc::Sender<WorkspaceKey>,
    /// Whom each of them admitted at the last look.
    pub(super) allowed: Mutex<HashMap<WorkspaceKey, AllowedNamespaces>>,
}

/// What a check has shown.
enum Checked {
    /// The workspace can be used; in words, and by whom.
    Usable(String, Principal),
    /// Nothing: our own rate limit asks to come back after this time.
    NotNow(Duration),
}

impl Workspaces {
    /// Looks at one workspace object; the time after which to look again.
    pub(super) async fn reconcile<K: Workspace>(&self, object: &K) -> Result<Duration, StoreError> {
        let subject = object.subject();
        let key = &subject.key;
        self.notice_admission(&subject);
        let outcome = match &subject.spec {
            Ok(spec) => self.check(&subject, spec).await,
            Err(error) => {
                self.connections.refuse(key, key.pin(None));
                Err(Obstacle::stands(Reason::SpecUnreadable, error.to_string()))
            }
        };
        let known = self.connections.usable(key);
        let mut principal = Principal::NotAsked;
        let outcome = match outcome {
            Ok(Checked::NotNow(wait)) => return Ok(wait.max(Duration::from_secs(1))),
            Ok(Checked::Usable(message, named)) => {
                principal = named;
                Ok(message)
            }
            Err(obstacle) if known == Some(Usable::Yes) && self.is_hiccup(key, &obstacle) => {
                return Ok(BETWEEN_FAILURES);
            }
            Err(obstacle) => Err(obstacle.in_the_same_outage(match known {
                Some(Usable::No(reason, message)) => Some((reason, message)),
                _ => told_obstacle(subject.status.as_ref()),
            })),
        };
        let usable = match &outcome {
            Ok(_) => Usable::Yes,
            Err(obstacle) => Usable::No(obstacle.reason, obstacle.message.clone()),
        };
        match (self.connections.set_usable(key, usable.clone()), usable) {
            // Nobody waits for what could be used until now: each finds out by its own next call.
            (None, _) | (Some(Usable::Yes), Usable::No(..)) => {}
            (Some(_), _) => (self.changed)(key),
        }
        self.report::<K>(&subject, principal, &outcome).await?;
        Ok(match outcome {
            Ok(_) => RECHECK,
            Err(_) => RETRY.mul_f64(1.0 + rand::random::<f64>() / 2.0),
        })
    }

    /// Whether a check that failed says nothing yet against a workspace that could be used.
    fn is_hiccup(&self, key: &WorkspaceKey, obstacle: &Obstacle) -> bool {
        match obstacle.nature {
            Nature::Busy => true,
            Nature::Fails => self.connections.failed(key) < FAILURES,
            Nature::Outage | Nature::Waits | Nature::Stands => false,
        }
    }

    /// Whoever is admitted now may have waited for it; whoever no longer is says so at its next look.
    fn notice_admission(&self, subject: &Subject) {
        let Some(allowed) = &subject.allowed else { return };
        let mut known = self.allowed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.insert(subject.key.clone(), allowed.clone());
        known.retain(|key, _| self.connections.knows(key));
        drop(known);
        if before.is_some_and(|before| before != *allowed) {
            (self.changed)(&subject.key);
        }
    }

    /// Connects, if anything has changed, and checks.
    async fn check(&self, subject: &Subject, spec: &DatabricksWorkspaceSpec) -> Result<Checked, Obstacle> {
        let key = &subject.key;
        let pin = key.pin(Some(spec));
        let Some(secrets) = Secrets::of(key, &self.own, &self.kubernetes) else {
            self.connections.refuse(key, pin);
            return Err(Obstacle::stands(
                Reason::CredentialsUnusable,
                "the operator does not know its own namespace, where the credentials of a ClusterDatabricksWorkspace \
                 are; start it with --operator-namespace",
            ));
        };
        let settings = match self.settings(key, spec, &secrets).await {
            Ok(settings) => settings,
            Err(obstacle) => {
                // What passes takes no line away from runs that are under way: a namespace that is being deleted may
                // have lost its ConfigMap already.
                if obstacle.nature == Nature::Stands || !self.connections.leads_to(key, &pin) {
                    self.connections.refuse(key, pin);
                }
                return Err(obstacle);
            }
        };
        let made_of =
            MadeOf { uid: subject.uid.clone(), spec: subject.raw_spec.clone(), ca_bundle: settings.ca_bundle.clone() };
        let client = match self.connections.client(key, &made_of) {
            Some(client) => client,
            None => self.connect(key, pin, settings, secrets, made_of)?,
        };
        let version = spec.jobs_api_version.as_str().parse::<JobsApiVersion>().unwrap_or_default();
        match self.connections.call(client.check(version)).await {
            Ok(_) => {
                let kind = client.settings().auth.kind();
                let message = format!("a token could be had ({kind}) and {} answers", spec.host);
                let principal = self.connections.call(async { Ok(client.principal().await) }).await;
                Ok(Checked::Usable(message, principal.unwrap_or(Principal::NotAsked)))
            }
            Err(error) => match (&*client.health().borrow(), error) {
                // All calls together know better than this one, and say the same from the begin to the end.
                (Health::Outage { error, .. }, _) => Err(Obstacle::of(error).for_certain()),
                (Health::Answering, Error::NotNow(wait)) => Ok(Checked::NotNow(wait)),
                (Health::Answering, error) => Err(Obstacle::of(&error)),
            },
        }
    }

    fn connect(
        &self,
        key: &WorkspaceKey,
        pin: WorkspacePin,
        settings: Settings,
        secrets: Secrets,
        made_of: MadeOf,
    ) -> Result<Client, Obstacle> {
        let limiter = self.limiters.for_host(&settings.host);
        let client = Client::new(settings, Arc::new(secrets), limiter, Arc::clone(&self.observer)).map_err(|error| {
            let reason = match error {
                InvalidSettings::HostNotAllowed(_) => Reason::HostNotAllowed,
                _ => Reason::CredentialsUnusable,
            };
            Obstacle::stands(reason, error.to_string())
        });
        let client = client.inspect_err(|_| self.connections.refuse(key, pin.clone()))?;
        let refusals = self.connections.connect(key, pin, client.clone(), made_of);
        self.watch_health(client.health(), refusals, key.clone());
        self.watch_credentials(client.refused(), key.clone());
        Ok(client)
    }

    /// Has a workspace that could be used checked when any call is refused for its credentials, for as long as this connection
    /// lives. (One that cannot be used is checked every few seconds anyway.)
    fn watch_credentials(&self, mut refused: watch::Receiver<bool>, who: WorkspaceKey) {
        let (look_again, connections) = (self.look_again.clone(), Arc::clone(&self.connections));
        tokio::spawn(async move {
            while refused.changed().await.is_ok() {
                if *refused.borrow_and_update() && connections.usable(&who) == Some(Usable::Yes) {
                    if look_again.send(who.clone()).await.is_err() {
                        return;
                    }
                    // Credentials that are refused now and then are no reason to check all the time.
                    tokio::time::sleep(RETRY).await;
                }
            }
        });
    }

    /// Has the workspace checked whenever an outage begins or ends, and whenever its poller begins or ceases to be refused,
    /// for as long as this connection lives.
    fn watch_health(
        &self,
        mut health: watch::Receiver<Health>,
        mut refusals: watch::Receiver<poller::Health>,
        who: WorkspaceKey,
    ) {
        let look_again = self.look_again.clone();
        tokio::spawn(async move {
            let mut refused = false;
            loop {
                let look = tokio::select! {
                    Ok(()) = health.changed() => true,
                    Ok(()) = refusals.changed() => {
                        let is_refused = matches!(*refusals.borrow_and_update(), poller::Health::Failing { .. });
                        let was_refused = std::mem::replace(&mut refused, is_refused);
                        is_refused || was_refused
                    }
                    else => return,
                };
                if look && look_again.send(who.clone()).await.is_err() {
                    return;
                }
            }
        });
    }

    /// Writes `Ready`, if it says anything new, and tells what is news.
    async fn report<K: Workspace>(
        &self,
        subject: &Subject,
        principal: Principal,
        outcome: &Result<String, Obstacle>,
    ) -> Result<(), StoreError> {
        let way = subject.spec.as_ref().ok().and_then(|spec| spec.auth.way()).map(AuthWay::name);
        let finding = Finding { generation: subject.generation, auth: way, principal, outcome };
        let (status, news) = tell(subject.status.as_ref(), &finding, Timestamp::now());
        if subject.status.as_ref() == Some(&status) {
            return Ok(());
        }
        match self.write::<K>(subject, &status).await {
            Ok(()) => {
                if let Some(news) = news {
                    self.announce(subject, &news).await;
                }
                Ok(())
            }
            // The object has changed or gone, and its next event brings us back; or we do not lead.
            Err(StoreError::Conflict | StoreError::Gone | StoreError::NotLeading) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn announce(&self, subject: &Subject, news: &News) {
        let reason = news.reason.as_str();
        if news.severity == Severity::Warning {
            tracing::warn!(workspace = %subject.key, reason, "{}", news.note);
        } else {
            tracing::info!(workspace = %subject.key, reason, "{}", news.note);
        }
        self.kubernetes.event(&subject.reference, news.severity, reason, &news.note).await;
    }

    async fn write<K: Workspace>(
        &self,
        subject: &Subject,
        status: &DatabricksWorkspaceStatus,
    ) -> Result<(), StoreError> {
        let api = K::api(self.kubernetes.client(), &subject.key);
        let patch = json!({"metadata": {"resourceVersion": subject.resource_version}, "status": status});
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let (name, patch) = (subject.key.name(), Patch::Merge(&patch));
        self.kubernetes.write(api.patch_status(name, &parameters, &patch)).await.map(drop)
    }
}
