//! Answers the fake workspace is too well behaved for: a server that writes whatever bytes it is given.

use std::sync::Arc;

use databricks_run_operator::databricks::error::Error;
use databricks_run_operator::databricks::ids::RunId;
use databricks_run_operator::databricks::settings::Settings;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::bench::{Bench, V};

/// Serves `answer` to every request until the test's runtime ends; its address and certificate.
pub(crate) async fn server(answer: Vec<u8>) -> (String, String) {
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|n| n > 0) {}
                // The client may go away in the middle: that is what is tested.
                let _ = stream.write_all(&answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (host, certified.cert.pem())
}

pub(crate) async fn asked(head: &str, body: &[u8]) -> Error {
    let answer = [format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(), body].concat();
    let (host, ca) = server(answer).await;
    let bench = Bench::new();
    let settings = Settings { host: host.parse().unwrap(), ca_bundle: Some(ca), ..bench.pat() };
    bench.client(settings).get_run(V, RunId(1)).await.unwrap_err()
}

/// A gzip stream of eight million blanks in 51 kB: one literal, then "again, 258 times" over and over, in deflate's fixed
/// code. Its checksum is missing, which nobody gets to see.
fn bomb() -> Vec<u8> {
    let mut bits: Vec<bool> = vec![true, true, false];
    let mut code = |value: u32, length: u32| (0..length).rev().for_each(|bit| bits.push(value >> bit & 1 == 1));
    code(0x30 + u32::from(b' '), 8);
    for _ in 0..31_000 {
        code(0b1100_0101, 8);
        code(0, 5);
    }
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    bytes.extend(bits.chunks(8).map(|byte| byte.iter().rev().fold(0_u8, |sum, bit| sum << 1 | u8::from(*bit))));
    bytes
}

#[tokio::test]
async fn a_compressed_answer_is_measured_as_it_unfolds() {
    let bomb = bomb();
    assert!(bomb.len() < 60_000);
    let error = asked("200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip", &bomb).await;
    assert!(error.to_string().contains("longer than 4194304 bytes"), "{error}");
}

#[tokio::test]
async fn a_long_error_page_is_not_read_to_its_end_and_judged_by_its_status() {
    let error = asked("503 Service Unavailable", &vec![b'x'; 1 << 20]).await;
    assert_eq!(error.reason(), "Unavailable", "{error}");
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
async fn pages_without_end_are_given_up() {
    let error = asked("200 OK", br#"{"run_id":1,"next_page_token":"again"}"#).await;
    assert!(error.to_string().contains("in a circle"), "{error}");
}

#[tokio::test]
async fn what_is_not_http_at_all_is_no_answer() {
    let error = asked("what?", b"").await;
    assert_eq!(error.reason(), "Unreachable", "{error}");
}
