//! The workspace controller: makes the connection of each workspace object, checks it by getting a token and making one
//! cheap call, says so in `Ready`, and wakes the runs that waited for it.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::Store;
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::connections::{Connections, MadeOf, Usable, pin_of};
use super::kubernetes::{Kubernetes, MANAGER};
use super::ports::StoreError;
use super::secrets::{Secrets, config_text};
use crate::api::conditions::{READY, RECONCILING, Reason, STALLED, set_condition};
use crate::api::status::WorkspacePin;
use crate::api::workspace::{DatabricksWorkspaceSpec, DatabricksWorkspaceStatus, WorkspaceObject};
use crate::databricks::client::{Client, InvalidSettings};
use crate::databricks::credentials::SecretKey;
use crate::databricks::error::{CredentialsError, Error};
use crate::databricks::health::Health;
use crate::databricks::host::Host;
use crate::databricks::limiters::Limiters;
use crate::databricks::network::Network;
use crate::databricks::observer::Observer;
use crate::databricks::settings::{Auth, ClientId, JobsApiVersion, Settings};
use crate::poller;

/// A workspace that can be used is checked again after this time.
const RECHECK: Duration = Duration::from_mins(5);
/// One that cannot is checked again after this time and up to half as long again.
const RETRY: Duration = Duration::from_secs(10);

/// Is told of a workspace, by namespace and name, that has become usable or has ceased to be.
pub(super) type Changed = Box<dyn Fn(&str, &str) + Send + Sync>;

/// What the workspaces of one namespace set (all, or one namespace) need.
pub(super) struct Workspaces {
    pub(super) kubernetes: Kubernetes,
    pub(super) connections: Arc<Connections>,
    pub(super) limiters: Arc<Limiters>,
    pub(super) network: Network,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) submit_timeout: Duration,
    pub(super) store: Store<WorkspaceObject>,
    /// Wakes the runs that wait for it.
    pub(super) changed: Changed,
    /// Told to look again at a workspace whose poller has begun or ceased to fail.
    pub(super) look_again: mpsc::Sender<(String, String)>,
}

/// What a check has shown.
enum Checked {
    /// The workspace can be used; in words.
    Usable(String),
    /// Nothing: our own rate limit asks to come back after this time.
    NotNow(Duration),
}

/// Why a workspace cannot be used, and whether it may come right by itself.
struct Obstacle {
    reason: Reason,
    message: String,
    passes: bool,
}

impl Workspaces {
    /// Looks at one workspace object; the time after which to look again.
    pub(super) async fn reconcile(&self, object: &WorkspaceObject) -> Result<Duration, StoreError> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let outcome = match object.spec() {
            Ok(spec) => self.check(&namespace, &name, object, &spec).await,
            Err(error) => {
                self.connections.refuse(&namespace, pin_of(&name, None));
                Err(Obstacle { reason: Reason::SpecUnreadable, message: error.to_string(), passes: false })
            }
        };
        let outcome = match outcome {
            Ok(Checked::NotNow(wait)) => return Ok(wait.max(Duration::from_secs(1))),
            Ok(Checked::Usable(message)) => Ok(message),
            Err(obstacle) => Err(obstacle),
        };
        let usable = match &outcome {
            Ok(_) => Usable::Yes,
            Err(obstacle) => Usable::No(obstacle.reason, format!("DatabricksWorkspace `{name}`: {}", obstacle.message)),
        };
        if self.connections.set_usable(&namespace, &name, usable) {
            (self.changed)(&namespace, &name);
        }
        self.report(object, &outcome).await?;
        Ok(match outcome {
            Ok(_) => RECHECK,
            Err(_) => RETRY.mul_f64(1.0 + rand::random::<f64>() / 2.0),
        })
    }

    /// Connects, if anything has changed, and checks.
    async fn check(
        &self,
        namespace: &str,
        name: &str,
        object: &WorkspaceObject,
        spec: &DatabricksWorkspaceSpec,
    ) -> Result<Checked, Obstacle> {
        let pin = pin_of(name, Some(spec));
        let settings = match self.settings(namespace, spec).await {
            Ok(settings) => settings,
            Err(obstacle) => {
                // What passes takes no line away from runs that are under way: a namespace that is being deleted may
                // have lost its ConfigMap already.
                if !obstacle.passes || !self.connections.leads_to(namespace, &pin) {
                    self.connections.refuse(namespace, pin);
                }
                return Err(obstacle);
            }
        };
        let uid = object.metadata.uid.clone();
        let made_of = MadeOf { uid, spec: object.spec.clone(), ca_bundle: settings.ca_bundle.clone() };
        let client = match self.connections.client(namespace, name, &made_of) {
            Some(client) => client,
            None => self.connect(namespace, pin, settings, made_of)?,
        };
        let version = spec.jobs_api_version.as_str().parse::<JobsApiVersion>().unwrap_or_default();
        match client.check(version).await {
            Ok(_) => {
                let kind = client.settings().auth.kind();
                Ok(Checked::Usable(format!("a token could be had ({kind}) and {} answers", spec.host)))
            }
            Err(error) => match (&*client.health().borrow(), error) {
                // All calls together know better than this one, and say the same from the begin to the end.
                (Health::Outage { error, .. }, _) => Err(obstacle(error)),
                (Health::Answering, Error::NotNow(wait)) => Ok(Checked::NotNow(wait)),
                (Health::Answering, error) => Err(obstacle(&error)),
            },
        }
    }

    fn connect(
        &self,
        namespace: &str,
        pin: WorkspacePin,
        settings: Settings,
        made_of: MadeOf,
    ) -> Result<Client, Obstacle> {
        let limiter = self.limiters.for_host(&settings.host);
        let secrets = Secrets { kubernetes: self.kubernetes.clone(), namespace: namespace.to_owned() };
        let client = Client::new(settings, Arc::new(secrets), limiter, Arc::clone(&self.observer)).map_err(|error| {
            let reason = match error {
                InvalidSettings::HostNotAllowed(_) => Reason::HostNotAllowed,
                _ => Reason::CredentialsUnusable,
            };
            Obstacle { reason, message: error.to_string(), passes: false }
        });
        let client = client.inspect_err(|_| self.connections.refuse(namespace, pin.clone()))?;
        let name = pin.name.clone();
        let refusals = self.connections.connect(namespace, pin, client.clone(), made_of);
        self.watch_health(client.health(), refusals, (namespace.to_owned(), name));
        Ok(client)
    }

    /// Has the workspace checked whenever an outage begins or ends, and whenever its poller begins or ceases to be refused,
    /// for as long as this connection lives.
    fn watch_health(
        &self,
        mut health: watch::Receiver<Health>,
        mut refusals: watch::Receiver<poller::Health>,
        who: (String, String),
    ) {
        let look_again = self.look_again.clone();
        tokio::spawn(async move {
            let mut refused = false;
            loop {
                let look = tokio::select! {
                    Ok(()) = health.changed() => true,
                    Ok(()) = refusals.changed() => {
                        let is_refused = matches!(*refusals.borrow_and_update(), poller::Health::Failing { .. });
                        is_refused || std::mem::replace(&mut refused, is_refused)
                    }
                    else => return,
                };
                if look && look_again.send(who.clone()).await.is_err() {
                    return;
                }
            }
        });
    }

    async fn settings(&self, namespace: &str, spec: &DatabricksWorkspaceSpec) -> Result<Settings, Obstacle> {
        let unusable = |message: String| Obstacle { reason: Reason::SpecUnreadable, message, passes: false };
        let host: Host = spec.host.parse().map_err(|error| unusable(format!("spec.host: {error}")))?;
        self.network.check(&host).map_err(|error| Obstacle {
            reason: Reason::HostNotAllowed,
            message: error.to_string(),
            passes: false,
        })?;
        let auth =
            auth(&spec.auth).ok_or_else(|| unusable("spec.auth must have exactly one of pat, oauthM2M".to_owned()))?;
        let mut settings = Settings::new(host, auth);
        settings.workspace_id.clone_from(&spec.workspace_id);
        settings.network = self.network.clone();
        settings.submit_timeout = self.submit_timeout;
        if let Some(bundle) = &spec.ca_bundle {
            let pem = config_text(&self.kubernetes, namespace, &bundle.config_map_ref).await;
            settings.ca_bundle = Some(pem.map_err(|error| obstacle(&Error::Credentials(error)))?);
        }
        Ok(settings)
    }

    /// Writes `Ready`, if it says anything new.
    async fn report(&self, object: &WorkspaceObject, outcome: &Result<String, Obstacle>) -> Result<(), StoreError> {
        let generation = object.metadata.generation.unwrap_or_default();
        let mut status = object.status.clone().unwrap_or_default();
        let (ready, other, reason, message) = match outcome {
            Ok(message) => ("True", None, Reason::WorkspaceReady, message),
            Err(Obstacle { reason, message, passes: true }) => ("False", Some(RECONCILING), *reason, message),
            Err(Obstacle { reason, message, passes: false }) => ("False", Some(STALLED), *reason, message),
        };
        let now = Timestamp::now();
        set_condition(&mut status.conditions, READY, ready, reason, message, generation, now);
        for kind in [RECONCILING, STALLED] {
            if other == Some(kind) {
                set_condition(&mut status.conditions, kind, "True", reason, message, generation, now);
            } else {
                status.conditions.retain(|condition| condition.type_ != kind);
            }
        }
        status.observed_generation = Some(generation);
        if object.status.as_ref() == Some(&status) {
            return Ok(());
        }
        match self.write(object, &status).await {
            // The object has changed or gone; its next event brings us back.
            Err(StoreError::Conflict | StoreError::Gone) => Ok(()),
            answer => answer,
        }
    }

    async fn write(&self, object: &WorkspaceObject, status: &DatabricksWorkspaceStatus) -> Result<(), StoreError> {
        let api: Api<WorkspaceObject> =
            Api::namespaced(self.kubernetes.client(), &object.namespace().unwrap_or_default());
        let patch = json!({"metadata": {"resourceVersion": object.metadata.resource_version}, "status": status});
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let name = object.name_any();
        self.kubernetes.call(api.patch_status(&name, &parameters, &Patch::Merge(&patch))).await.map(drop)
    }
}

fn auth(auth: &crate::api::workspace::Auth) -> Option<Auth> {
    let key = |reference: &crate::api::workspace::KeyRef| SecretKey {
        name: reference.name.clone(),
        key: reference.key.clone(),
    };
    match (&auth.pat, &auth.oauth_m2m) {
        (Some(pat), None) => Some(Auth::Pat { token: key(&pat.secret_ref) }),
        (None, Some(oauth)) => {
            let client_id = match (&oauth.client_id, &oauth.client_id_secret_ref) {
                (Some(id), None) => ClientId::Literal(id.clone()),
                (None, Some(reference)) => ClientId::Secret(key(reference)),
                _ => return None,
            };
            Some(Auth::OauthM2m { client_id, client_secret: key(&oauth.client_secret_ref) })
        }
        _ => None,
    }
}

/// What a failed check means for the workspace.
fn obstacle(error: &Error) -> Obstacle {
    let reason = match error {
        Error::NoToken(no) => obstacle(&no.cause).reason,
        Error::Credentials(CredentialsError::NotFound(_)) => Reason::CredentialsNotFound,
        Error::Credentials(_) => Reason::CredentialsUnusable,
        Error::Unauthenticated(_) => Reason::Unauthorized,
        Error::Forbidden(_) => Reason::Forbidden,
        Error::HostNotAllowed(_) => Reason::HostNotAllowed,
        Error::Throttled { .. } | Error::NotNow(_) => Reason::Throttled,
        Error::QuotaExceeded(_) => Reason::QuotaExceeded,
        Error::NotFound(_)
        | Error::NoSuchRoute(_)
        | Error::Rejected(_)
        | Error::Unavailable(_)
        | Error::Transport(_)
        | Error::WrongHost(_) => Reason::Unreachable,
    };
    Obstacle { reason, message: error.told(), passes: true }
}
