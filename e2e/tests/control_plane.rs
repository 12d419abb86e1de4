//! The control plane that every other test stands on: it starts, keeps tests apart, and leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may fail as the tests do")]

use std::{
    env,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use e2e::{
    cluster::{self, Cluster, ControlPlane, kubernetes_version},
    jwt,
    wait::{eventually, wait_gone},
};
use k8s_openapi::{
    api::{
        core::v1::{ConfigMap, ServiceAccount},
        events::v1::Event,
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams},
    core::GroupVersionKind,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// As a manifest would say it.
fn object<K: DeserializeOwned>(manifest: Value) -> K {
    serde_json::from_value(manifest).unwrap()
}

fn config_map(name: &str) -> ConfigMap {
    object(json!({ "metadata": { "name": name } }))
}

fn uses_the_pinned_build() -> bool {
    ["E2E_KUBECONFIG", "E2E_CONTAINER_IMAGE", "KUBEBUILDER_ASSETS"]
        .iter()
        .all(|variable| env::var_os(variable).is_none())
}

#[tokio::test]
async fn the_api_server_answers_with_the_version_that_is_pinned() -> Outcome {
    let version = cluster::shared().await.client().await?.apiserver_version().await?;
    if uses_the_pinned_build() {
        let pinned = kubernetes_version()?;
        assert_eq!(version.git_version, pinned);
        assert!(pinned.starts_with(&format!("v{}.{}.", version.major, version.minor)), "{version:?}");
    }
    Ok(())
}

#[tokio::test]
async fn kubectl_reaches_the_cluster() -> Outcome {
    let cluster = cluster::shared().await;
    let namespace = cluster.namespace("kubectl").await?;
    let said = cluster.kubectl_command(["get", "namespace", namespace.name(), "-o", "name"]).output().await?;
    assert_eq!(String::from_utf8(said.stdout)?.trim(), format!("namespace/{namespace}"));
    Ok(())
}

#[tokio::test]
async fn a_service_account_is_given_tokens_for_any_audience_that_the_cluster_s_published_keys_prove() -> Outcome {
    let cluster = cluster::shared().await;
    let namespace = cluster.namespace("audience").await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client().await?, &namespace);
    accounts.create(&PostParams::default(), &object(json!({ "metadata": { "name": "runner" } }))).await?;
    let issuer = cluster.token_issuer().await?;
    for audience in ["https://databricks.example/oidc/v1/token", "api://AzureADTokenExchange"] {
        let token = cluster.token(&namespace, "runner", audience, Duration::from_mins(10)).await?;
        let claims = jwt::verify(&token, &serde_json::from_value(issuer.jwks.clone())?)?;
        assert_eq!((claims.issuer, claims.audiences), (issuer.issuer.clone(), vec![audience.to_owned()]));
        assert_eq!(claims.subject, format!("system:serviceaccount:{namespace}:runner"));
        assert_eq!(Some(claims.expires - 600), claims.not_before);
    }
    Ok(())
}

#[tokio::test]
async fn tests_do_not_see_each_others_objects() -> Outcome {
    let cluster = cluster::shared().await;
    let client = cluster.client().await?;
    let (mine, other) = (cluster.namespace("mine").await?, cluster.namespace("mine").await?);
    Api::namespaced(client.clone(), &mine).create(&PostParams::default(), &config_map("settings")).await?;
    let others: Api<ConfigMap> = Api::namespaced(client, &other);
    assert!(others.get_opt("settings").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn a_deleted_namespace_goes_with_all_that_is_in_it() -> Outcome {
    if let Some(assets) = env::var_os("KUBEBUILDER_ASSETS")
        && !Path::new(&assets).join("kube-controller-manager").is_file()
    {
        return Ok(()); // Nothing deletes namespaces there.
    }
    let cluster = cluster::shared().await;
    let namespace = cluster.namespace("deleted").await?;
    let config_maps: Api<ConfigMap> = Api::namespaced(cluster.client().await?, &namespace);
    config_maps.create(&PostParams::default(), &config_map("settings")).await?;
    namespace.delete(cluster).await?;
    assert!(config_maps.get_opt("settings").await?.is_none());
    Ok(())
}

#[tokio::test]
async fn an_object_goes_with_its_owner() -> Outcome {
    if env::var_os("KUBEBUILDER_ASSETS").is_some() {
        return Ok(()); // Usually without a garbage collector.
    }
    let cluster = cluster::shared().await;
    let namespace = cluster.namespace("owned").await?;
    let config_maps: Api<ConfigMap> = Api::namespaced(cluster.client().await?, &namespace);
    let parent = config_maps.create(&PostParams::default(), &config_map("owner")).await?;
    let mut child = config_map("owned");
    child.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        name: parent.name_any(),
        uid: parent.uid().unwrap(),
        ..OwnerReference::default()
    }]);
    config_maps.create(&PostParams::default(), &child).await?;
    config_maps.delete("owner", &DeleteParams::default()).await?;
    wait_gone(&config_maps, "owned").await;
    Ok(())
}

#[tokio::test]
async fn a_service_account_may_do_what_its_role_says_and_no_more() -> Outcome {
    let cluster = cluster::shared().await;
    let namespace = cluster.namespace("rbac").await?;
    let client = cluster.client().await?;
    let post = PostParams::default();
    let reader: ServiceAccount = object(json!({ "metadata": { "name": "reader" } }));
    Api::namespaced(client.clone(), &namespace).create(&post, &reader).await?;
    let role: Role = object(json!({
        "metadata": { "name": "reader" },
        "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"] }],
    }));
    Api::namespaced(client.clone(), &namespace).create(&post, &role).await?;
    let binding: RoleBinding = object(json!({
        "metadata": { "name": "reader" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" },
        "subjects": [{ "kind": "ServiceAccount", "name": "reader", "namespace": namespace.name() }],
    }));
    Api::namespaced(client, &namespace).create(&post, &binding).await?;

    let as_reader: Api<ConfigMap> = Api::namespaced(cluster.client_as(&namespace, "reader").await?, &namespace);
    eventually("the reader to read", async || {
        as_reader.list(&ListParams::default()).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let refusal = as_reader.create(&post, &config_map("forbidden")).await.unwrap_err();
    assert!(matches!(&refusal, kube::Error::Api(status) if status.is_forbidden()), "{refusal}");

    let kubeconfig = cluster.kubeconfig_for_service_account(&namespace, "reader").await?;
    let who = Command::new(cluster.kubectl())
        .args(["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}", "--kubeconfig"])
        .arg(kubeconfig.path())
        .output()?;
    assert_eq!(String::from_utf8(who.stdout)?, format!("system:serviceaccount:{namespace}:reader"));
    Ok(())
}

/// A definition in the group whose requests are recorded.
fn sample_crd(plural: &str, kind: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{ name: {plural}.dbrun.dev }}
spec:
  group: dbrun.dev
  scope: Namespaced
  names: {{ kind: {kind}, plural: {plural} }}
  versions:
    - name: v1alpha1
      served: true
      storage: true
      schema: {{ openAPIV3Schema: {{ type: object, x-kubernetes-preserve-unknown-fields: true }} }}
"
    )
}

async fn use_sample(cluster: &Cluster, namespace: &str, plural: &str, kind: &str) -> Outcome {
    cluster.install_crds(&[&sample_crd(plural, kind)]).await?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("dbrun.dev", "v1alpha1", kind));
    let samples: Api<DynamicObject> = Api::namespaced_with(cluster.client().await?, namespace, &resource);
    samples.create(&PostParams::default(), &DynamicObject::new("first", &resource)).await?;
    Ok(())
}

#[tokio::test]
async fn a_custom_resource_can_be_used_once_its_definition_is_installed() -> Outcome {
    let cluster = cluster::shared().await;
    let namespace = cluster.namespace("crds").await?;
    use_sample(cluster, &namespace, "installsamples", "InstallSample").await
}

#[tokio::test]
async fn writes_can_be_counted_from_the_audit_log() -> Outcome {
    let cluster = cluster::shared().await;
    if cluster.audit_log().is_none() {
        return Ok(()); // It is its owner's, or the image keeps none.
    }
    let namespace = cluster.namespace("audited").await?;
    use_sample(cluster, &namespace, "auditsamples", "AuditSample").await?;
    let writes = eventually("the write to be recorded", async || {
        let entries = cluster.audit_entries().map_err(|error| error.to_string())?;
        let mine = entries.into_iter().filter(|entry| entry.object_ref.namespace == *namespace && entry.is_write());
        let mine: Vec<_> = mine.collect();
        if mine.is_empty() { Err("no write is recorded".to_owned()) } else { Ok(mine) }
    })
    .await;
    let [write] = &writes[..] else { panic!("{writes:?}") };
    assert_eq!((write.verb.as_str(), write.object_ref.resource.as_str()), ("create", "auditsamples"));
    assert_eq!((write.user.username.as_str(), write.response_status.code), ("admin", 201));
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_crashes_comes_back_with_its_objects() -> Outcome {
    let mut control_plane = ControlPlane::builder().without_controllers().start().await?;
    let client = control_plane.cluster().client().await?;
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    config_maps.create(&PostParams::default(), &config_map("kept")).await?;

    control_plane.stop_api_server();
    assert!(config_maps.get("kept").await.is_err());
    control_plane.start_api_server().await?;
    config_maps.get("kept").await?;

    control_plane.pause_api_server()?;
    let events: Api<Event> = Api::default_namespaced(client);
    let nothing = ListParams::default();
    let question = events.list(&nothing);
    tokio::pin!(question);
    assert!(futures::poll!(&mut question).is_pending());
    control_plane.resume_api_server()?;
    question.await?;
    Ok(())
}

/// `cargo control-plane`, ready, in a process group of its own as a terminal would start it.
struct Running {
    child: Child,
    folder: PathBuf,
    process_ids: Vec<String>,
}

impl Running {
    fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let child = Command::new(env!("CARGO_BIN_EXE_control-plane"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut running = Self { child, folder: PathBuf::new(), process_ids: Vec::new() };
        let kubeconfig = BufReader::new(running.child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(PathBuf::from(line.trim().strip_prefix("export KUBECONFIG=")?)));
        running.folder = kubeconfig.ok_or("it ended before it was ready")?;
        running.folder.pop();
        for entry in running.folder.read_dir()? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "pid") {
                running.process_ids.push(std::fs::read_to_string(file)?.trim().to_owned());
            }
        }
        let ids = &running.process_ids;
        assert!(ids.len() >= 2 && ids.iter().all(|id| kill("0", id)), "{ids:?} run");
        Ok(running)
    }

    async fn leaves_nothing(&self) {
        eventually("nothing to be left", async || {
            let left: Vec<&String> = self.process_ids.iter().filter(|id| kill("0", id)).collect();
            match self.folder.exists() {
                false if left.is_empty() => Ok(()),
                exists => Err(format!("processes {left:?} run; {} exists: {exists}", self.folder.display())),
            }
        })
        .await;
    }
}

/// A test that fails half-way leaves nothing behind either.
impl Drop for Running {
    fn drop(&mut self) {
        // It can only fail for a process that was waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The shell's `kill`; a negative id is a process group.
fn kill(signal: &str, process_id: &str) -> bool {
    let kill = Command::new("sh").args(["-c", "kill -s $1 -- $2 2>/dev/null", "kill", signal, process_id]).status();
    kill.unwrap().success()
}

#[tokio::test]
async fn a_killed_process_leaves_nothing_behind() -> Outcome {
    let mut running = Running::start()?;
    running.child.kill()?;
    running.child.wait()?;
    running.leaves_nothing().await;
    Ok(())
}

#[tokio::test]
async fn a_process_that_is_asked_to_end_leaves_nothing_behind() -> Outcome {
    let mut running = Running::start()?;
    assert!(kill("TERM", &running.child.id().to_string()));
    assert!(running.child.wait()?.success());
    assert!(!running.folder.exists(), "all is gone before it ends");
    running.leaves_nothing().await;
    Ok(())
}

#[tokio::test]
async fn a_ctrl_c_in_the_terminal_leaves_nothing_behind() -> Outcome {
    let mut running = Running::start()?;
    assert!(kill("INT", &format!("-{}", running.child.id())));
    assert!(running.child.wait()?.success());
    running.leaves_nothing().await;
    Ok(())
}
