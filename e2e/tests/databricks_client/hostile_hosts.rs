//! Hosts that are meant to have a credential sent where it must not go: by their form, by their name, by where their
//! name server says they are, by what they answer. Whatever they try, nobody is contacted with a credential.
//!
//! The corpus is `hostile-hosts.json`. A new trick becomes a new line there.

use std::io;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use databricks_run_operator::databricks::client::{Client, InvalidSettings};
use databricks_run_operator::databricks::error::{Error, Executed};
use databricks_run_operator::databricks::host::Host;
use databricks_run_operator::databricks::host_policy::HostPolicy;
use databricks_run_operator::databricks::ids::RunId;
use databricks_run_operator::databricks::limiters::Limiters;
use databricks_run_operator::databricks::network::Network;
use databricks_run_operator::databricks::proxy::AllowedProxies;
use databricks_run_operator::databricks::resolver::Lookup;
use databricks_run_operator::databricks::settings::{Auth, Settings};
use e2e::workspace::{Fault, Kind, Operation};
use futures::future::BoxFuture;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::bench::{Bench, V, key, loopback, run_now, token};
use crate::raw;

/// A name that the default list allows; fake workspaces are made to have a certificate for it.
const NAME: &str = "dbc-1.cloud.databricks.com";

#[derive(Deserialize)]
struct Corpus {
    form: Vec<String>,
    name: Vec<String>,
    address: Vec<(String, Vec<IpAddr>)>,
}

fn corpus(port: u16) -> Corpus {
    let text = include_str!("hostile-hosts.json").replace("{port}", &port.to_string());
    serde_json::from_str(&text).expect("the corpus can be read")
}

/// Counts connections to the loopback addresses.
struct Trap {
    port: u16,
    caught: Arc<AtomicUsize>,
}

impl Trap {
    async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let caught = Arc::default();
        tokio::spawn(Self::count(listener, Arc::clone(&caught)));
        // Where the machine has no IPv6 nothing can be caught there either.
        if let Ok(listener) = TcpListener::bind(("::1", port)).await {
            tokio::spawn(Self::count(listener, Arc::clone(&caught)));
        }
        Self { port, caught }
    }

    async fn count(listener: TcpListener, caught: Arc<AtomicUsize>) {
        while listener.accept().await.is_ok() {
            caught.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn caught(&self) -> usize {
        self.caught.load(Ordering::SeqCst)
    }
}

/// A name server that gives these answers in turn, the last one for ever.
struct Answers {
    answers: Vec<Vec<IpAddr>>,
    asked: Mutex<Vec<String>>,
}

impl Answers {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parsed = |answer: &&[&str]| answer.iter().map(|address| address.parse().expect("an address")).collect();
        Arc::new(Self { answers: answers.iter().map(parsed).collect(), asked: Mutex::default() })
    }

    fn always(answer: Vec<IpAddr>) -> Arc<Self> {
        Arc::new(Self { answers: vec![answer], asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Lookup for Answers {
    fn lookup<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let mut asked = self.asked.lock().unwrap();
        let answer = self.answers.get(asked.len()).or(self.answers.last()).cloned().unwrap_or_default();
        asked.push(name.to_owned());
        Box::pin(async move { Ok(answer) })
    }
}

/// A client as the operator makes it, and what the operator says where it makes none.
fn client(bench: &Bench, host: Host, network: Network) -> Result<Client, InvalidSettings> {
    let ca_bundle = Some(bench.workspace.ca_pem().to_owned());
    let settings = Settings { network, ca_bundle, ..Settings::new(host, Auth::Pat { token: key() }) };
    let limiter = Limiters::default().for_host(&settings.host);
    Client::new(settings, bench.secret.clone(), limiter, bench.calls.clone())
}

/// The address of a fake workspace under a name of Databricks'.
fn named(bench: &Bench) -> Host {
    let (_, port) = bench.workspace.host().rsplit_once(':').unwrap();
    format!("https://{NAME}:{port}").parse().unwrap()
}

/// The default list of hosts, which may lead to this address too.
fn leading_to(address: &str) -> HostPolicy {
    HostPolicy::default().with_addresses([address]).unwrap()
}

#[tokio::test]
async fn no_host_of_the_corpus_is_contacted() {
    let trap = Trap::set().await;
    let bench = Bench::new();
    let corpus = corpus(trap.port);
    let count = corpus.form.len() + corpus.name.len() + corpus.address.len();
    assert!(count >= 60, "{count} hosts");
    let in_good_form: Vec<_> = corpus.form.iter().filter(|text| text.parse::<Host>().is_ok()).collect();
    assert!(in_good_form.is_empty(), "{in_good_form:?}");
    for text in corpus.name {
        let host = text.parse::<Host>().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let server = Answers::always(vec!["127.0.0.1".parse().unwrap()]);
        let made = client(&bench, host, Network::default().resolving_with(server.clone()));
        assert!(matches!(made, Err(InvalidSettings::HostNotAllowed(_))), "{text:?}: {made:?}");
        assert!(server.asked().is_empty(), "{text:?} is not even looked up");
    }
    for (text, leads_to) in corpus.address {
        let host: Host = text.parse().unwrap();
        let server = Answers::always(leads_to.clone());
        let client = client(&bench, host, Network::default().resolving_with(server)).unwrap();
        let error = client.run_now(V, &run_now(1), &token("t")).await.unwrap_err();
        let told = (error.reason(), error.executed());
        assert_eq!(told, ("HostNotAllowed", Executed::No), "{text:?} at {leads_to:?}: {error}");
        assert!(error.to_string().contains("--allowed-address"), "{error}");
    }
    assert_eq!(trap.caught(), 0);
}

#[tokio::test]
async fn the_trap_of_these_tests_catches_who_comes() {
    let trap = Trap::set().await;
    let bench = Bench::new();
    for (host, network) in [
        (format!("https://127.0.0.1:{}", trap.port), loopback()),
        (
            format!("https://{NAME}:{}", trap.port),
            Network::new(leading_to("127.0.0.1"), AllowedProxies::default())
                .resolving_with(Answers::new(&[&["127.0.0.1"]])),
        ),
    ] {
        let before = trap.caught();
        client(&bench, host.parse().unwrap(), network).unwrap().check(V).await.unwrap_err();
        assert!(trap.caught() > before, "{host}");
    }
}

#[tokio::test]
async fn a_name_server_that_changes_its_mind_gets_nothing_and_has_no_moment_to_do_so() {
    let bench = Bench::named(NAME);
    let server = Answers::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let network = Network::new(leading_to("127.0.0.1"), AllowedProxies::default()).resolving_with(server.clone());
    let client = client(&bench, named(&bench), network).unwrap();
    client.check(V).await.unwrap();
    client.check(V).await.unwrap();
    assert_eq!(server.asked(), [NAME], "one question per connection: what was judged is what was connected to");
    // The next request needs a connection of its own.
    bench.workspace.fault(Fault::on(Operation::ListRuns, Kind::Reset).once());
    client.check(V).await.unwrap_err();
    let error = client.check(V).await.unwrap_err();
    assert_eq!(error.reason(), "HostNotAllowed", "{error}");
    assert!(error.to_string().contains("127.0.0.2, a loopback address"), "{error}");
}

#[tokio::test]
async fn of_several_addresses_only_the_permitted_ones_are_used() {
    let bench = Bench::named(NAME);
    let server = Answers::new(&[&["169.254.169.254", "127.0.0.2", "127.0.0.1", "10.0.0.1"]]);
    let network = Network::new(leading_to("127.0.0.1"), AllowedProxies::default()).resolving_with(server);
    client(&bench, named(&bench), network).unwrap().check(V).await.unwrap();
}

#[tokio::test]
async fn a_redirect_is_followed_nowhere() {
    let trap = Trap::set().await;
    for location in [
        "http://169.254.169.254/latest/meta-data/iam/security-credentials/".to_owned(),
        "https://kubernetes.default.svc/api".to_owned(),
        format!("https://127.0.0.1:{}/", trap.port),
        format!("http://127.0.0.1:{}/", trap.port),
        format!("//127.0.0.1:{}/", trap.port),
        format!("https://localhost:{}/api/2.1/jobs/runs/get", trap.port),
    ] {
        for status in [301, 302, 303, 307, 308] {
            let error = raw::asked(&format!("{status} Elsewhere\r\nLocation: {location}"), b"").await;
            assert!(matches!(error, Error::WrongHost(_)), "{status} to {location}: {error}");
            assert!(!error.to_string().contains("169.254"), "{error}");
        }
    }
    assert_eq!(trap.caught(), 0);
}

/// A proxy on a loopback address: what it was asked, up to the blank line, and then a tunnel to `to`, whatever was asked.
async fn proxy(to: u16) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&requests);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                let mut tunnel = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && tunnel.read_line(&mut head).await.is_ok_and(|read| read > 0) {}
                log.lock().unwrap().push(head);
                tunnel.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
                let mut workspace = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                // Either side may go away; that is how tunnels end.
                let _ = copy_bidirectional(&mut tunnel, &mut workspace).await;
            });
        }
    });
    (port, requests)
}

fn port(host: &str) -> u16 {
    host.rsplit_once(':').unwrap().1.parse().unwrap()
}

#[tokio::test]
async fn an_allowed_proxy_is_told_the_name_and_no_credential() {
    let bench = Bench::named(NAME);
    let (proxy, requests) = proxy(port(bench.workspace.host())).await;
    let server = Answers::new(&[&["127.0.0.1"]]);
    let proxies = AllowedProxies::new(["proxy.corp.example"]).unwrap();
    let network = Network::new(HostPolicy::default(), proxies).resolving_with(server.clone());
    let network = network.through(format!("http://proxy.corp.example:{proxy}").parse().unwrap()).unwrap();
    client(&bench, named(&bench), network).unwrap().check(V).await.unwrap();
    let requests = requests.lock().unwrap().clone();
    let port = port(bench.workspace.host());
    assert!(requests[0].starts_with(&format!("CONNECT {NAME}:{port} HTTP/1.1\r\n")), "{requests:?}");
    assert!(requests.iter().all(|head| !head.to_lowercase().contains("authorization")), "{requests:?}");
    assert!(!requests[0].contains(bench.workspace.token()), "{requests:?}");
    assert_eq!(server.asked(), ["proxy.corp.example"], "the proxy resolves the workspace's name");
}

/// Run by the test after it, in a process whose environment names a proxy.
#[tokio::test]
#[ignore = "needs an environment of its own"]
async fn in_an_environment_with_a_proxy() {
    let bench = Bench::named(NAME);
    let proxy = port(&std::env::var("HTTPS_PROXY").unwrap());
    let listener = TcpListener::bind(("127.0.0.1", proxy)).await.unwrap();
    let first_line = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut head = String::new();
        BufReader::new(stream).read_line(&mut head).await.unwrap();
        head
    });
    // The name of the proxy leads to an address no workspace may have.
    let network = Network::default().resolving_with(Answers::new(&[&["127.0.0.1"]]));
    client(&bench, named(&bench), network).unwrap().get_run(V, RunId(1)).await.unwrap_err();
    assert!(first_line.await.unwrap().starts_with(&format!("CONNECT {NAME}:")));
}

#[tokio::test]
async fn the_proxy_of_the_environment_is_used_wherever_it_is() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "hostile_hosts::in_an_environment_with_a_proxy"]);
    command.env("HTTPS_PROXY", format!("http://proxy.corp.example:{free}")).env_remove("NO_PROXY");
    let output = command.env_remove("no_proxy").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}
