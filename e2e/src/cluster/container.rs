//! A control plane in a container, started through testcontainers on any Docker engine of this machine.
//!
//! The image keeps to what k3s does: it serves the Kubernetes API over TLS on port 6443, with 127.0.0.1 among the names of its
//! certificate, and leaves the administrator's kubeconfig in a file. `e2e/container/build` makes such an image of what the other
//! tests run as processes. Its audit log is followed into a file of ours; an image may also keep none.
//!
//! A destructor does not run when a process is killed, and never for a static. So, as in `leash` and `folder`, a shell that waits
//! for the end of a pipe removes the container: with the `docker` command, which must reach the same engine.

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use kube::config::Kubeconfig;
use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt,
    bollard::models::{HostConfig, PortBinding},
    core::IntoContainerPort,
    runners::AsyncRunner,
};

use super::{
    Cluster,
    control_plane::is_ready,
    error::Error,
    folder::Folder,
    kubeconfig,
    leash::{Launch, Leash},
};
use crate::wait;

/// Where an image serves the Kubernetes API.
const API_PORT: u16 = 6443;

/// Where it leaves the administrator's kubeconfig.
const KUBECONFIG: &str = "/etc/rancher/k3s/k3s.yaml";

/// Where it keeps the API server's audit log, if it keeps one.
const AUDIT_LOG: &str = "/var/log/kubernetes/audit/audit.log";

/// Instead of the image's own, separated by blanks: k3s wants `server`.
const ARGUMENTS: &str = "E2E_CONTAINER_ARGUMENTS";

/// `true` for an image that mounts things, as k3s does.
const PRIVILEGED: &str = "E2E_CONTAINER_PRIVILEGED";

/// Waits for the end of its input, then removes the container. One that the engine was just asked for may appear a little later.
const SHELL: &str = r#"
cat
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    docker container inspect "$1" && docker rm --force --volumes "$1" && break
    sleep 1
done
"#;

/// How much of a container's log is shown in an error.
const LOG_LINES: usize = 25;

/// A control plane that ends with this process at the latest.
///
/// The order of the fields is the order in which they end.
pub struct Container {
    name: String,
    _audit: Option<Leash>,
    _removal: Child,
    _folder: Folder,
    cluster: Cluster,
}

impl Container {
    /// Starts one and waits until its API server is ready. An image that the engine does not have is pulled.
    pub(super) async fn start(image: &str) -> Result<Self, Error> {
        let failed = |reason: String| Error::Container { image: image.to_owned(), reason };
        let name = format!("control-plane-{:016x}", rand::random::<u64>());
        let folder = Folder::create()?;
        let removal = remove_at_the_end(&name)?;
        let container = request(image, &name).start().await.map_err(|error| failed(error.to_string()))?;
        same_engine(&name).map_err(failed)?;
        let kubeconfig = folder.file("kubeconfig");
        if readiness(&container, &kubeconfig).await? == Readiness::Ended {
            let log = log_end(&container).await;
            return Err(failed(format!("the container ended on its own; its log ends with\n{log}")));
        }
        let audit = follow_audit(&container, &name, &folder).await?;
        let audit_log = audit.as_ref().map(|_| folder.file("audit.log"));
        let folder_path = Some(folder.path().to_owned());
        // Its destructor would need a runtime; the shell removes it in any case.
        std::mem::forget(container);
        let cluster = Cluster { folder: folder_path, audit_log, ..Cluster::existing(kubeconfig).await? };
        Ok(Self { name, _audit: audit, _removal: removal, _folder: folder, cluster })
    }

    /// What the engine calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to reach it.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

/// Starts the shell that removes the container of this name once we are gone.
fn remove_at_the_end(name: &str) -> Result<Child, Error> {
    Command::new("sh")
        .args(["-c", SHELL, "remove-container", name])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(Error::system("start", "sh"))
}

fn request(image: &str, name: &str) -> ContainerRequest<GenericImage> {
    let (repository, tag) = name_and_tag(image);
    let arguments = env::var(ARGUMENTS).unwrap_or_default();
    GenericImage::new(repository, tag)
        .with_exposed_port(API_PORT.tcp())
        .with_container_name(name)
        .with_cmd(arguments.split_whitespace())
        .with_privileged(env::var(PRIVILEGED).is_ok_and(|value| value == "true"))
        .with_host_config_modifier(publish_on_loopback)
}

/// The engine would publish it on every address of this machine.
fn publish_on_loopback(host: &mut HostConfig) {
    let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(String::new()) };
    host.publish_all_ports = Some(false);
    host.port_bindings = Some([(API_PORT.tcp().to_string(), Some(vec![binding]))].into());
}

/// A colon before the last slash belongs to a registry's port.
fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

#[derive(PartialEq)]
enum Readiness {
    Ready,
    Ended,
}

/// Waits until the API server is ready and its kubeconfig in this file.
async fn readiness(container: &ContainerAsync<GenericImage>, kubeconfig: &Path) -> Result<Readiness, Error> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let readiness = wait::try_eventually("the API server in the container to be ready", async || {
        // One that has ended will never be ready.
        if !container.is_running().await.map_err(|error| text(&error))? {
            return Ok(Readiness::Ended);
        }
        let inside = container.copy_file_from(KUBECONFIG, Vec::new()).await.map_err(|error| text(&error))?;
        let port = container.get_host_port_ipv4(API_PORT).await.map_err(|error| text(&error))?;
        fs::write(kubeconfig, served_at(&format!("https://127.0.0.1:{port}"), &inside)?)
            .map_err(|error| text(&error))?;
        is_ready(&kubeconfig::client(kubeconfig).await.map_err(|error| text(&error))?).await?;
        Ok(Readiness::Ready)
    });
    match readiness.await {
        Ok(readiness) => Ok(readiness),
        Err(source) => Err(Error::NotReady { source, log: log_end(container).await }),
    }
}

/// Has what the container writes into its audit log written into `audit.log` of the folder; `None` if it keeps none.
async fn follow_audit(
    container: &ContainerAsync<GenericImage>,
    name: &str,
    folder: &Folder,
) -> Result<Option<Leash>, Error> {
    if container.copy_file_from(AUDIT_LOG, Vec::new()).await.is_err() {
        return Ok(None);
    }
    // What tail says of a log that is replaced is no entry.
    let arguments = ["exec", name, "sh", "-c", "exec tail -n +1 -F \"$0\" 2>/dev/null", AUDIT_LOG];
    let arguments = arguments.map(Into::into).to_vec();
    Leash::start(&Launch { name: "audit", program: "docker".into(), arguments }, folder).map(Some)
}

/// Whether the command that will remove the container knows it.
fn same_engine(name: &str) -> Result<(), String> {
    let inspection = Command::new("docker").args(["container", "inspect", "--format", "{{.Id}}", name]).output();
    let said = match inspection {
        Ok(inspection) if inspection.status.success() => return Ok(()),
        Ok(inspection) => String::from_utf8_lossy(&inspection.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(format!("the docker command cannot see the container that it is to remove: {said}; set DOCKER_HOST for both"))
}

/// The kubeconfig with its cluster at this address: in the container it is another.
fn served_at(url: &str, kubeconfig: &[u8]) -> Result<String, String> {
    let text = str::from_utf8(kubeconfig).map_err(|error| error.to_string())?;
    let mut kubeconfig = Kubeconfig::from_yaml(text).map_err(|error| format!("{KUBECONFIG}: {error}"))?;
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        cluster.server = Some(url.to_owned());
    }
    serde_saphyr::to_string(&kubeconfig).map_err(|error| error.to_string())
}

async fn log_end(container: &ContainerAsync<GenericImage>) -> String {
    let mut log = container.stdout_to_vec().await.unwrap_or_default();
    log.extend(container.stderr_to_vec().await.unwrap_or_default());
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_s_port_is_not_a_tag() {
        assert_eq!(name_and_tag("rancher/k3s:v1.36.3-k3s1"), ("rancher/k3s", "v1.36.3-k3s1"));
        assert_eq!(name_and_tag("localhost:5000/control-plane"), ("localhost:5000/control-plane", "latest"));
        assert_eq!(name_and_tag("control-plane"), ("control-plane", "latest"));
    }

    #[test]
    fn a_kubeconfig_leads_to_the_published_port_with_the_same_credentials() {
        let inside = "apiVersion: v1
kind: Config
clusters:
  - name: default
    cluster: { server: 'https://127.0.0.1:6443', certificate-authority-data: Q0E= }
users:
  - name: default
    user: { client-certificate-data: Q0VSVA==, client-key-data: S0VZ }
contexts:
  - name: default
    context: { cluster: default, user: default }
current-context: default
";
        let outside = served_at("https://127.0.0.1:32768", inside.as_bytes()).unwrap();
        let read = |text: &str| serde_saphyr::from_str::<serde_json::Value>(text).unwrap();
        let mut expected = read(inside);
        expected["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:32768".into();
        assert_eq!(read(&outside), expected);
    }
}
