//! Installing custom resource definitions so that the next request can use them.

use hyper::Request;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
    runtime::wait::{Condition, conditions::is_crd_established},
};
use serde_json::Value;

use super::error::Error;
use crate::wait;

/// Who owns the fields that the test kit applies.
pub(super) const FIELD_MANAGER: &str = "e2e";

/// Applies the definitions in `manifests` (each may hold several documents) and waits until they are served.
pub(super) async fn install(client: &Client, manifests: &[&str]) -> Result<(), Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let apply = PatchParams::apply(FIELD_MANAGER).force().validation_strict();
    let mut applied = Vec::new();
    for manifest in manifests {
        // Untyped, so that strict validation sees every field as it was written.
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(manifest).map_err(|error| Error::Manifest(error.to_string()))?;
        for document in documents {
            let name = document["metadata"]["name"].as_str();
            let name = name.ok_or_else(|| Error::Manifest("a document has no metadata.name".to_owned()))?;
            let patched = api.patch(name, &apply, &Patch::Apply(&document)).await;
            applied.push(patched.map_err(Error::api(format!("apply custom resource definition {name}")))?);
        }
    }
    for crd in &applied {
        wait::try_wait_for(&api, &crd.name_any(), "established", |crd| is_crd_established().matches_object(Some(crd)))
            .await?;
        for resource in served(crd) {
            await_served(client, &resource).await?;
        }
    }
    Ok(())
}

fn served(crd: &CustomResourceDefinition) -> Vec<ApiResource> {
    let versions = crd.spec.versions.iter().filter(|version| version.served);
    let kind = |version: &str| GroupVersionKind::gvk(&crd.spec.group, version, &crd.spec.names.kind);
    versions.map(|version| ApiResource::from_gvk_with_plural(&kind(&version.name), &crd.spec.names.plural)).collect()
}

/// A definition is established a moment before its resource answers, and that a moment before it is explained.
async fn await_served(client: &Client, resource: &ApiResource) -> Result<(), Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let what = format!("{} to be served", resource.plural);
    let served = async || {
        api.list(&ListParams::default().limit(1)).await.map_err(|error| error.to_string())?;
        let schema = Request::get(format!("/openapi/v3/apis/{}/{}", resource.group, resource.version)).body(Vec::new());
        let schema = client.request_text(schema.map_err(|error| error.to_string())?).await;
        let path = format!("/{}\"", resource.plural);
        let known = schema.map_err(|error| error.to_string())?.contains(&path);
        known.then_some(()).ok_or_else(|| "kubectl explain does not know it yet".to_owned())
    };
    Ok(wait::try_eventually(&what, served).await?)
}
