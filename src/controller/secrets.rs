//! Secrets and ConfigMaps, read with `get` alone, and tokens of ServiceAccounts, all only where the object that names them
//! lives: the namespace comes from metadata, never from a spec. What an object of the whole cluster names is in the operator's
//! own namespace.

use std::fmt::Debug;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::core::NamespaceResourceScope;
use secrecy::SecretString;
use serde::de::DeserializeOwned;

use super::assertions::OwnTokens;
use super::kubernetes::Kubernetes;
use super::ports::StoreError;
use super::subject::WorkspaceKey;
use crate::api::workspace::KeyRef;
use crate::databricks::credentials::{Assertion, AssertionRequest, Credentials, SecretKey};
use crate::databricks::error::CredentialsError;
use crate::databricks::settings::AssertionSource;

/// What is the operator's own.
#[derive(Debug, Clone)]
pub(super) struct OperatorsOwn {
    /// Its namespace, if that is known.
    pub(super) namespace: Option<String>,
    /// Its tokens.
    pub(super) tokens: OwnTokens,
}

/// What lies in the one namespace that a workspace object's credentials come from.
#[derive(Clone)]
pub(super) struct Secrets {
    kubernetes: Kubernetes,
    namespace: Arc<str>,
    tokens: OwnTokens,
}

impl Secrets {
    /// Those of a workspace object: in its own namespace, or in the operator's where it has none; none where that is not
    /// known.
    pub(super) fn of(key: &WorkspaceKey, own: &OperatorsOwn, kubernetes: &Kubernetes) -> Option<Self> {
        let namespace = key.namespace().or(own.namespace.as_deref())?;
        // The operator's own token is lent to no namespace.
        let tokens = if key.namespace().is_none() { own.tokens.clone() } else { OwnTokens::new(None) };
        Some(Self { kubernetes: kubernetes.clone(), namespace: namespace.into(), tokens })
    }

    /// The text of one key of a ConfigMap.
    pub(super) async fn config_text(&self, what: &KeyRef) -> Result<String, CredentialsError> {
        let map: ConfigMap = self.read_object("ConfigMap", &what.name).await?;
        let text = map.data.and_then(|mut data| data.remove(&what.key));
        text.ok_or_else(|| no_key("ConfigMap", &what.name, &what.key))
    }

    /// The one way by which anything is read for a workspace object.
    async fn read_object<K>(&self, kind: &str, name: &str) -> Result<K, CredentialsError>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let namespace = &*self.namespace;
        let api: Api<K> = Api::namespaced(self.kubernetes.client(), namespace);
        match self.kubernetes.call(api.get_opt(name)).await {
            Ok(Some(object)) => Ok(object),
            Ok(None) => Err(CredentialsError::NotFound(format!(
                "{kind} `{name}` is not there; create it in namespace `{namespace}`"
            ))),
            Err(StoreError::Refused(why)) => Err(CredentialsError::NotAllowed(format!(
                "the operator may not read {kind} `{name}` in namespace `{namespace}`; grant it `get` there ({why})"
            ))),
            Err(error) => Err(CredentialsError::Unavailable(format!("{kind} `{name}` cannot be read now: {error}"))),
        }
    }
}

impl Credentials for Secrets {
    fn read<'a>(&'a self, what: &'a SecretKey) -> BoxFuture<'a, Result<SecretString, CredentialsError>> {
        async move {
            let secret: Secret = self.read_object("Secret", &what.name).await?;
            let value = secret.data.as_ref().and_then(|data| data.get(&what.key));
            let value = value.ok_or_else(|| no_key("Secret", &what.name, &what.key))?;
            match std::str::from_utf8(&value.0) {
                Ok(text) => Ok(SecretString::from(text)),
                Err(_) => Err(CredentialsError::Invalid(format!(
                    "key `{}` of Secret `{}` is not text; write the credential itself there",
                    what.key, what.name
                ))),
            }
        }
        .boxed()
    }

    fn assertion<'a>(&'a self, what: &'a AssertionRequest) -> BoxFuture<'a, Result<Assertion, CredentialsError>> {
        async move {
            match &what.source {
                AssertionSource::ServiceAccount(name) => {
                    let (kubernetes, namespace) = (&self.kubernetes, &*self.namespace);
                    self.tokens.of_service_account(kubernetes, namespace, name, &what.audience).await
                }
                AssertionSource::Operator => self.tokens.projected(&what.audience).await,
            }
        }
        .boxed()
    }
}

fn no_key(kind: &str, name: &str, key: &str) -> CredentialsError {
    CredentialsError::NotFound(format!("{kind} `{name}` has no key `{key}`; add it, or correct the reference to it"))
}
