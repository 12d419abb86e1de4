//! etcd, kube-apiserver and kube-controller-manager as processes of their own, tuned for a life of seconds.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    AuditLevel, Binaries, Cluster,
    certificates::Certificates,
    error::Error,
    folder::Folder,
    kubeconfig,
    leash::{Launch, Leash},
    port,
};
use crate::wait;

/// How often another port is tried when somebody was faster.
const PORT_ATTEMPTS: u8 = 5;

/// The controllers that a cluster without nodes has work for: deleting what a namespace or an owner leaves behind, and the service
/// accounts and certificates that each namespace is given.
const CONTROLLERS: &str = "namespace-controller,garbage-collector-controller,serviceaccount-controller,\
                           serviceaccount-token-controller,root-ca-certificate-publisher-controller,\
                           clusterrole-aggregation-controller";

/// What to start.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    audit: AuditLevel,
    audit_log: Option<PathBuf>,
    without_controllers: bool,
    listen: Option<SocketAddr>,
}

impl Builder {
    /// How much the audit log records of each request.
    #[must_use]
    pub fn audit(self, audit: AuditLevel) -> Self {
        Self { audit, ..self }
    }

    /// Where the audit log is written, otherwise in a folder that goes away with the control plane.
    #[must_use]
    pub fn audit_log(self, file: PathBuf) -> Self {
        Self { audit_log: Some(file), ..self }
    }

    /// Leaves out the controller manager: deleted namespaces stay, and owned objects outlive their owners.
    #[must_use]
    pub fn without_controllers(self) -> Self {
        Self { without_controllers: true, ..self }
    }

    /// Where the API server listens, otherwise on any free port of 127.0.0.1. A place that somebody has taken is an error.
    #[must_use]
    pub fn listen(self, address: SocketAddr) -> Self {
        Self { listen: Some(address), ..self }
    }

    /// Starts it and waits until the API server is ready. The first time this may build it, for minutes.
    pub async fn start(self) -> Result<ControlPlane, Error> {
        ControlPlane::start(self, &Binaries::find().await?).await
    }
}

/// A control plane that ends when this is dropped, and with this process at the latest.
///
/// The order of the fields is the order in which they end.
pub struct ControlPlane {
    controller_manager: Option<Leash>,
    /// `None` while it is stopped.
    api_server: Option<Leash>,
    api_server_launch: Launch,
    etcd: Leash,
    folder: Folder,
    cluster: Cluster,
}

impl ControlPlane {
    /// Everything by default: audit log of metadata, with the controller manager where there is one.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    async fn start(options: Builder, binaries: &Binaries) -> Result<Self, Error> {
        let folder = Folder::create()?;
        let certificates = Certificates::create(&folder)?;
        let policy = folder.file("audit-policy.yaml");
        fs::write(&policy, options.audit.policy()).map_err(Error::system("write", &policy))?;

        let etcd = Leash::start(&etcd(binaries, &folder), &folder)?;
        let mut control_plane = Self {
            controller_manager: None,
            api_server: None,
            api_server_launch: Launch { name: "", program: binaries.kube_apiserver.clone(), arguments: Vec::new() },
            etcd,
            cluster: Cluster {
                kubeconfig: folder.file("kubeconfig"),
                kubectl: binaries.kubectl.clone(),
                audit_log: Some(options.audit_log.unwrap_or_else(|| folder.file("audit.log"))),
                folder: Some(folder.path().to_owned()),
            },
            folder,
        };
        control_plane.find_port(options.listen, binaries, &certificates).await?;
        if let Some(program) = binaries.kube_controller_manager.as_ref().filter(|_| !options.without_controllers) {
            let launch = controller_manager(program, &control_plane.cluster, &certificates);
            control_plane.controller_manager = Some(Leash::start(&launch, &control_plane.folder)?);
        }
        Ok(control_plane)
    }

    /// Starts the API server for the first time, on a port that turns out to be free unless one is given.
    async fn find_port(
        &mut self,
        given: Option<SocketAddr>,
        binaries: &Binaries,
        certificates: &Certificates,
    ) -> Result<(), Error> {
        let attempts = if given.is_some() { 1 } else { PORT_ATTEMPTS };
        for attempt in 1.. {
            let address = match given {
                Some(address) => address,
                None => port::free().map_err(Error::system("find a port on", "127.0.0.1"))?,
            };
            let url = format!("https://127.0.0.1:{}", address.port());
            let kubeconfig = kubeconfig::of_administrator(&url, certificates);
            fs::write(&self.cluster.kubeconfig, kubeconfig)
                .map_err(Error::system("write", &self.cluster.kubeconfig))?;
            self.api_server_launch = api_server(binaries, &self.folder, &self.cluster, certificates, address);
            match self.start_api_server().await {
                Err(Error::Ended { log, .. }) if log.contains("address already in use") && attempt < attempts => {}
                outcome => return outcome,
            }
        }
        Ok(())
    }

    /// How to reach it.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Whether deleted namespaces go away and owned objects are collected: not so with assets that lack the controller manager.
    #[must_use]
    pub fn has_controllers(&self) -> bool {
        self.controller_manager.is_some()
    }

    /// Kills the API server, as a crash would; etcd keeps what it was told. Returns when the port is free.
    pub fn stop_api_server(&mut self) {
        self.api_server = None;
    }

    /// Starts the API server on the port it had and waits until it is ready; kills it first if it runs.
    pub async fn start_api_server(&mut self) -> Result<(), Error> {
        self.stop_api_server();
        let api_server = self.api_server.insert(Leash::start(&self.api_server_launch, &self.folder)?);
        let client = self.cluster.client().await?;
        let mut ended = None;
        let readiness = wait::try_eventually("the API server to be ready", async || {
            // One that has ended will never be ready: leave the loop at once, with the reason kept.
            if let Err(error) = self.etcd.check().and_then(|()| api_server.check()) {
                ended = Some(error);
                return Ok(());
            }
            is_ready(&client).await
        });
        let readiness = readiness.await;
        let log = api_server.log_end();
        let outcome = match (ended, readiness) {
            (Some(error), _) => Err(error),
            (None, Err(source)) => Err(Error::NotReady { source, log }),
            (None, Ok(())) => Ok(()),
        };
        if outcome.is_err() {
            self.stop_api_server();
        }
        outcome
    }

    /// Freezes the API server: connections are accepted and never answered.
    pub fn pause_api_server(&mut self) -> Result<(), Error> {
        self.signal_api_server("STOP")
    }

    /// Lets a frozen API server go on.
    pub fn resume_api_server(&mut self) -> Result<(), Error> {
        self.signal_api_server("CONT")
    }

    fn signal_api_server(&mut self, signal: &'static str) -> Result<(), Error> {
        self.api_server.as_mut().map_or(Ok(()), |api_server| api_server.signal(signal))
    }
}

/// Whether the API server says so of itself.
pub(super) async fn is_ready(client: &kube::Client) -> Result<(), String> {
    let request = http_get("/readyz?verbose")?;
    // The body of a failure also says "ok" for each part that is; kube answers `Err` for any status but success.
    client.request_text(request).await.map(drop).map_err(|error| error.to_string())
}

fn http_get(path: &str) -> Result<hyper::Request<Vec<u8>>, String> {
    hyper::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())
}

/// `--NAME=VALUE`.
fn flag(name: &str, value: impl Into<OsString>) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value.into());
    flag
}

fn unix_url(socket: &Path) -> OsString {
    let mut url = OsString::from("unix://");
    url.push(socket);
    url
}

/// What etcd tells others of where it is. There are no others; and an older one does not take a socket's path here.
const NOWHERE: &str = "http://127.0.0.1:1";

fn etcd(binaries: &Binaries, folder: &Folder) -> Launch {
    // Sockets in a folder that is ours alone: no port to clash, and nobody else can read what the API server stores.
    let clients = unix_url(&folder.file("etcd.sock"));
    let peers = unix_url(&folder.file("peers.sock"));
    let arguments = vec![
        flag("name", "control-plane"),
        flag("data-dir", folder.file("etcd")),
        flag("listen-client-urls", clients),
        flag("advertise-client-urls", NOWHERE),
        flag("listen-peer-urls", peers),
        flag("initial-advertise-peer-urls", NOWHERE),
        flag("initial-cluster", format!("control-plane={NOWHERE}")),
        // Its data is thrown away with it, and waiting for a disk is most of what etcd does.
        flag("unsafe-no-fsync", "true"),
        flag("log-level", "warn"),
    ];
    Launch { name: "etcd", program: binaries.etcd.clone(), arguments }
}

fn api_server(
    binaries: &Binaries,
    folder: &Folder,
    cluster: &Cluster,
    certificates: &Certificates,
    address: SocketAddr,
) -> Launch {
    let mut arguments = vec![
        flag("bind-address", address.ip().to_string()),
        flag("secure-port", address.port().to_string()),
        // Nobody looks for the API server through its own Service here, and a loopback address may not be written there.
        flag("endpoint-reconciler-type", "none"),
        flag("etcd-servers", unix_url(&folder.file("etcd.sock"))),
        flag("cert-dir", folder.path()),
        flag("tls-cert-file", &certificates.server_certificate_file),
        flag("tls-private-key-file", &certificates.server_key_file),
        flag("client-ca-file", &certificates.authority_file),
        flag("authorization-mode", "RBAC"),
        flag("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
        flag("service-account-key-file", &certificates.token_public_key_file),
        flag("service-account-signing-key-file", &certificates.token_key_file),
        flag("service-cluster-ip-range", "10.0.0.0/24"),
        flag("allow-privileged", "true"),
        flag("profiling", "false"),
    ];
    if let Some(log) = &cluster.audit_log {
        arguments.push(flag("audit-policy-file", folder.file("audit-policy.yaml")));
        arguments.push(flag("audit-log-path", log));
    }
    Launch { name: "kube-apiserver", program: binaries.kube_apiserver.clone(), arguments }
}

fn controller_manager(program: &Path, cluster: &Cluster, certificates: &Certificates) -> Launch {
    let arguments = vec![
        flag("kubeconfig", &cluster.kubeconfig),
        flag("controllers", CONTROLLERS),
        flag("service-account-private-key-file", &certificates.token_key_file),
        flag("root-ca-file", &certificates.authority_file),
        flag("leader-elect", "false"),
        // No port of its own: nobody asks it anything.
        flag("secure-port", "0"),
        // Tests create and delete namespaces by the dozen; the default would make them queue.
        flag("kube-api-qps", "500"),
        flag("kube-api-burst", "500"),
    ];
    Launch { name: "kube-controller-manager", program: program.to_owned(), arguments }
}
