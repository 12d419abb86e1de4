//! Tools and how to call them.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use e2e::cluster::{Binaries, Cluster};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Release, Deployment and namespace are called so wherever a test does not say otherwise, as in `config/`.
pub(crate) const NAME: &str = "databricks-run-operator";

/// The folder of the chart.
pub(crate) const CHART: &str = "charts/databricks-run-operator";

/// The kinds of Prometheus Operator, to a chart that looks whether they are there.
pub(crate) const MONITORING: [&str; 3] = [
    "monitoring.coreos.com/v1/PodMonitor",
    "monitoring.coreos.com/v1/PrometheusRule",
    "monitoring.coreos.com/v1/ServiceMonitor",
];

/// A path of the repository.
pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)
}

/// What a program printed; the test fails if the program does.
#[track_caller]
pub(crate) fn printed(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{err}\n{out}", output.status);
    out.into_owned()
}

/// What a script of `.ci` prints.
pub(crate) async fn script(name: &str, arguments: &[&str]) -> String {
    // What it says while it builds is for those who wait.
    let mut script = Command::new("bash");
    script.arg(root(".ci").join(name)).args(arguments).stderr(Stdio::inherit());
    printed(&script.output().await.unwrap()).trim().to_owned()
}

/// Helm of one major version.
pub(crate) struct Helm {
    program: PathBuf,
    home: tempfile::TempDir,
}

impl Helm {
    /// All that the chart is made for.
    pub(crate) async fn each() -> [Self; 2] {
        [Self::named("helm-4").await, Self::named("helm-3").await]
    }

    /// One of `.ci/tools`.
    pub(crate) async fn named(tool: &str) -> Self {
        Self { program: script("go-tool", &[tool]).await.into(), home: tempfile::tempdir().unwrap() }
    }

    /// What it does with these arguments; without anything of the user's own.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Output {
        let mut helm = Command::new(&self.program);
        helm.args(arguments).current_dir(root("")).env("HELM_CACHE_HOME", self.home.path());
        helm.env("HELM_CONFIG_HOME", self.home.path()).env("HELM_DATA_HOME", self.home.path());
        helm.env_remove("KUBECONFIG").kill_on_drop(true).output().await.unwrap()
    }

    /// What it renders.
    pub(crate) async fn template(&self, arguments: &[&str]) -> String {
        let all = [&["template", NAME, CHART, "--namespace", NAME, "--kube-version", "1.36.3"][..], arguments].concat();
        printed(&self.run(&all).await)
    }
}

/// The files of values in the chart, as the chart's users might have them.
pub(crate) fn ci_values() -> Vec<String> {
    let entries = std::fs::read_dir(root(CHART).join("ci")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() > 4, "{names:?}");
    names.into_iter().map(|name| format!("{CHART}/ci/{name}")).collect()
}

/// The objects of a manifest.
pub(crate) fn objects(manifest: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(manifest).unwrap();
    all.into_iter().filter(|object| !object.is_null()).collect()
}

/// The objects of a folder of `config/`.
pub(crate) async fn kustomized(folder: &str) -> Vec<Value> {
    let kubectl = Binaries::find().await.unwrap().kubectl().to_owned();
    let output = Command::new(kubectl).arg("kustomize").arg(root("config").join(folder)).output().await.unwrap();
    objects(&printed(&output))
}

/// `kubectl apply` with the administrator's rights; an answer with a warning is a failure.
pub(crate) async fn apply(cluster: &Cluster, arguments: &[&str], objects: &[Value]) -> Output {
    let all = [&["apply", "--server-side", "--warnings-as-errors"][..], arguments].concat();
    let mut kubectl = cluster.kubectl_command(all);
    let mut child = kubectl
        .args(["--filename", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let mut input = child.stdin.take().unwrap();
    let text = list.to_string();
    let write = async move {
        // It may have ended before it read everything; then its own words say why.
        let _ = input.write_all(text.as_bytes()).await;
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    output.unwrap()
}

/// `kubectl` with the administrator's rights.
pub(crate) async fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    printed(&cluster.kubectl_command(arguments).output().await.unwrap())
}

/// A namespace that lets in what the profile `restricted` does, and warns of nothing else.
pub(crate) async fn restricted_namespace(cluster: &Cluster, name: &str) {
    let labels = serde_json::json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let namespace =
        serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    printed(&apply(cluster, &[], &[namespace]).await);
}

/// Installs the kinds of the operator and of Prometheus Operator.
pub(crate) async fn install_definitions(cluster: &Cluster) {
    let ours = databricks_run_operator::api::crd::crds_yaml();
    let folder = PathBuf::from(script("prometheus-operator-crds", &[]).await);
    let kinds = ["podmonitors", "prometheusrules", "servicemonitors"];
    let file = |kind: &str| std::fs::read_to_string(folder.join(format!("monitoring.coreos.com_{kind}.yaml"))).unwrap();
    let theirs = kinds.map(file);
    let all: Vec<&str> = theirs.iter().map(String::as_str).chain([ours.as_str()]).collect();
    cluster.install_crds(&all).await.unwrap();
}
