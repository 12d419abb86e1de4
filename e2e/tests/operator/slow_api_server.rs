//! An API server whose every answer takes a while, as with a crowded one or one that is far away.

use std::time::Duration;

use databricks_run_operator::controller::Options;
use e2e::stage::{Load, Operator, Stage, config, options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// A start is sent on a view of the object that is at most a quarter of this old.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(6);
/// Of each answer; much less than that.
const LATE: Duration = Duration::from_millis(300);
/// So many that they wait longer than that for their turn to ask the API server: 32 do so at once.
const RUNS: usize = 200;

/// Listens where `server` is to be reached with this delay, for as long as the test's runtime lives; its port.
async fn delayed(server: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(&server).await else { continue };
            let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
            tokio::spawn(pass_on(from_client, to_server, Duration::ZERO));
            tokio::spawn(pass_on(from_server, to_client, LATE));
        }
    });
    port
}

/// Hands on what comes, each piece after this time; as much at once as there is.
async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, after: Duration) {
    let (keep, mut kept) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, piece)) = kept.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    });
    let mut piece = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        if keep.send((Instant::now() + after, piece[..read].to_vec())).is_err() {
            return;
        }
    }
}

/// How many requests of this method the operator has had an answer to.
fn answered(operator: &Operator, method: &str) -> usize {
    let metrics = operator.metrics.encode();
    let of_method = format!("method=\"{method}\"");
    let counts =
        metrics.lines().filter(|line| line.starts_with("rest_client_requests_total{") && line.contains(&of_method));
    counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<usize>().ok()).sum()
}

#[tokio::test]
async fn runs_that_wait_for_their_turn_at_a_slow_api_server_are_started_and_it_is_not_asked_again_and_again() {
    let stage = Stage::set("slow").await;
    let mut config = config(stage.rights.kubeconfig()).await;
    let server = config.cluster_url.authority().unwrap().to_string();
    config.cluster_url = format!("https://127.0.0.1:{}", delayed(server).await).parse().unwrap();
    let options = Options { submit_timeout: SUBMIT_TIMEOUT, namespaces: stage.served(), ..options(&stage.namespace) };
    let operator = Operator::start(config, options);
    stage.workspace_ready("True", "WorkspaceReady").await;
    let before = answered(&operator, "GET");

    let mut load = Load::working_for(&stage, Duration::from_secs(1));
    load.add(RUNS).await;
    load.assert_true_verdicts().await;

    // One look before each start at most; and some of the workspace.
    let asked = answered(&operator, "GET") - before;
    assert!(asked <= RUNS + 20, "{asked} reads for {RUNS} runs\n{}", operator.metrics.encode());
}
