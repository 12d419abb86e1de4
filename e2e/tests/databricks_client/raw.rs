//! Answers the fake workspace is too well behaved for: a server that writes whatever bytes it is given.

use std::time::Duration;

use databricks_run_operator::databricks::client::Client;
use databricks_run_operator::databricks::error::Error;
use databricks_run_operator::databricks::ids::RunId;
use databricks_run_operator::databricks::settings::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::bench::{Bench, V};
use crate::teller::identity;

/// What is served: bytes, and how long to wait after each piece of them.
pub(crate) struct Served {
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) pause: Duration,
}

impl From<Vec<u8>> for Served {
    fn from(bytes: Vec<u8>) -> Self {
        Self { pieces: vec![bytes], pause: Duration::ZERO }
    }
}

/// Serves this, told the number of the request, until the test's runtime ends; its address and certificate.
pub(crate) async fn server<T: Into<Served>>(answer: impl Fn(usize) -> T + Send + 'static) -> (String, String) {
    let (acceptor, ca) = identity();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, served) = (acceptor.clone(), answer(number).into());
            number += 1;
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|n| n > 0) {}
                for piece in served.pieces {
                    // The client may go away in the middle: that is what is tested.
                    if stream.write_all(&piece).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                    if !served.pause.is_zero() {
                        tokio::time::sleep(served.pause).await;
                    }
                }
                let _ = stream.shutdown().await;
            });
        }
    });
    (host, ca)
}

/// A whole answer on a connection that ends with it.
pub(crate) fn answer(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(), body].concat()
}

/// A client of a server that serves this.
pub(crate) async fn client<T: Into<Served>>(
    served: impl Fn(usize) -> T + Send + 'static,
    change: impl FnOnce(&mut Settings),
) -> Client {
    let (host, ca) = server(served).await;
    let bench = Bench::new();
    let mut settings = Settings { host: host.parse().unwrap(), ca_bundle: Some(ca), ..bench.pat() };
    change(&mut settings);
    bench.client(settings)
}

/// What becomes of asking for run 1 when this is answered.
pub(crate) async fn asked(head: &str, body: &[u8]) -> Error {
    let answer = answer(head, body);
    client(move |_| answer.clone(), |_| ()).await.get_run(V, RunId(1)).await.unwrap_err()
}

#[tokio::test]
async fn an_error_that_breaks_off_is_judged_by_its_status() {
    let error = asked("403 Forbidden\r\nContent-Length: 1000", br#"{"error_code":"PERM"#).await;
    assert_eq!(error.reason(), "Forbidden", "{error}");
}

#[tokio::test]
async fn a_run_that_was_not_asked_for_is_not_believed() {
    let error = asked("200 OK", br#"{"run_id":2,"state":{"life_cycle_state":"TERMINATED"}}"#).await;
    assert!(error.to_string().contains("run 2 where 1 was asked for"), "{error}");
}

#[tokio::test]
async fn what_is_not_http_at_all_is_no_answer() {
    let error = asked("what?", b"").await;
    assert_eq!(error.reason(), "Unreachable", "{error}");
}
