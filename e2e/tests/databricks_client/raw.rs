//! Answers the fake workspace is too well behaved for: a server that writes whatever bytes it is given.

use databricks_run_operator::databricks::error::Error;
use databricks_run_operator::databricks::ids::RunId;
use databricks_run_operator::databricks::settings::Settings;

use crate::bench::{Bench, V};
use crate::teller::Teller;

pub(crate) async fn asked(head: &str, body: &[u8]) -> Error {
    let answer = [format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes(), body].concat();
    let server = Teller::new(move |_| answer.clone()).await;
    let bench = Bench::new();
    let settings = Settings { host: server.host().parse().unwrap(), ca_bundle: Some(server.ca()), ..bench.pat() };
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
