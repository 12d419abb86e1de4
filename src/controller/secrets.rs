//! Secrets and ConfigMaps, read with `get` alone and only in the namespace of the object that names them: the namespace
//! comes from metadata, never from a spec.

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use secrecy::SecretString;

use super::kubernetes::Kubernetes;
use super::ports::StoreError;
use crate::api::workspace::KeyRef;
use crate::databricks::credentials::{Assertion, AssertionRequest, Credentials, SecretKey};
use crate::databricks::error::CredentialsError;

/// The Secrets of one namespace.
pub(super) struct Secrets {
    pub(super) kubernetes: Kubernetes,
    pub(super) namespace: String,
}

impl Credentials for Secrets {
    fn read<'a>(&'a self, what: &'a SecretKey) -> BoxFuture<'a, Result<SecretString, CredentialsError>> {
        async move {
            let api: Api<Secret> = Api::namespaced(self.kubernetes.client(), &self.namespace);
            let secret = self.kubernetes.call(api.get_opt(&what.name)).await;
            let secret = found(secret, "Secret", &what.name, &self.namespace)?;
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
        let why = format!("a token of {} is not offered yet; use an identity with a secret", what.source);
        async move { Err(CredentialsError::NotAllowed(why)) }.boxed()
    }
}

/// The text of one key of a ConfigMap.
pub(super) async fn config_text(
    kubernetes: &Kubernetes,
    namespace: &str,
    what: &KeyRef,
) -> Result<String, CredentialsError> {
    let api: Api<ConfigMap> = Api::namespaced(kubernetes.client(), namespace);
    let map = found(kubernetes.call(api.get_opt(&what.name)).await, "ConfigMap", &what.name, namespace)?;
    let text = map.data.and_then(|mut data| data.remove(&what.key));
    text.ok_or_else(|| no_key("ConfigMap", &what.name, &what.key))
}

fn found<T>(
    answer: Result<Option<T>, StoreError>,
    kind: &str,
    name: &str,
    namespace: &str,
) -> Result<T, CredentialsError> {
    match answer {
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

fn no_key(kind: &str, name: &str, key: &str) -> CredentialsError {
    CredentialsError::NotFound(format!("{kind} `{name}` has no key `{key}`; add it, or correct the reference to it"))
}
