//! An operator outside the cluster, with proxies around.

use e2e::stage::{OperatorProcess, Stage, config};
use kube::config::Kubeconfig;
use tempfile::NamedTempFile;

use crate::hygiene::proxy::Proxy;
use crate::run_now;

const OPERATOR: &str = env!("CARGO_BIN_EXE_operator");
/// What the proxy says to whoever comes first.
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// The stage's kubeconfig, with this proxy on the way.
fn kubeconfig_with(stage: &Stage, proxy: &str) -> NamedTempFile {
    let mut kubeconfig = Kubeconfig::read_from(stage.rights.kubeconfig()).unwrap();
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|cluster| cluster.cluster.as_mut()) {
        cluster.proxy_url = Some(proxy.to_owned());
    }
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), serde_saphyr::to_string(&kubeconfig).unwrap()).unwrap();
    file
}

async fn brings_a_run_to_its_end(stage: &Stage, operator: &OperatorProcess) {
    let job = stage.databricks.job("nightly").id();
    operator.logs("all objects are known; working").await;
    stage.apply(&stage.run("nightly", run_now(job))).await;
    let run = stage.finished("nightly").await;
    assert_eq!(run.text("state"), "Succeeded", "{}", stage.story(&run));
}

#[tokio::test]
async fn an_api_server_is_reached_through_the_proxy_that_its_kubeconfig_names() {
    let stage = Stage::set("api-proxy").await;
    // `me:secret`, as HTTP writes it.
    let proxy = Proxy::start("Basic bWU6c2VjcmV0".to_owned(), BUSY.to_owned()).await;
    let kubeconfig = kubeconfig_with(&stage, &format!("http://me:secret@127.0.0.1:{}", proxy.port));
    let operator = stage.process_with(OPERATOR, &[], &[format!("KUBECONFIG={}", kubeconfig.path().display())]);
    brings_a_run_to_its_end(&stage, &operator).await;
    assert!(proxy.connected() > 0);
    assert!(!operator.log().contains("secret@"), "{}", operator.log());
}

#[tokio::test]
async fn a_proxy_of_the_environment_is_not_for_what_is_on_this_machine_or_named_in_no_proxy() {
    let stage = Stage::set("no-proxy").await;
    // The workspace is on this machine; the API server may be elsewhere.
    let api_server = config(stage.rights.kubeconfig()).await.cluster_url.host().unwrap().to_owned();
    let no_proxy = format!("NO_PROXY=127.0.0.1,{api_server}");
    let environment = ["HTTPS_PROXY=http://proxy.invalid:3128".to_owned(), no_proxy];
    let operator = stage.process_with(OPERATOR, &[], &environment);
    brings_a_run_to_its_end(&stage, &operator).await;
}

#[tokio::test]
async fn a_proxy_that_cannot_be_used_is_told_in_one_line_with_its_remedy() {
    let stage = Stage::set("bad-proxy").await;
    let kubeconfig = kubeconfig_with(&stage, "socks5://me:secret@127.0.0.1:1080");
    let operator = stage.process_with(OPERATOR, &[], &[format!("KUBECONFIG={}", kubeconfig.path().display())]);
    operator.logs("write HTTPS_PROXY, or proxy-url in the kubeconfig, as http://HOST:PORT").await;
    assert!(!operator.log().contains("secret"), "{}", operator.log());
    assert!(!operator.ended_well());
}
