//! Answers that are meant to fill the memory, to take for ever or to have no end. Each meets its bound, and the bound is
//! told.

use std::time::Duration;

use databricks_run_operator::databricks::ListRuns;
use databricks_run_operator::databricks::error::{Error, TransportError};
use databricks_run_operator::databricks::ids::RunId;

use crate::bench::{V, run_now, token};
use crate::raw::{Served, answer, asked, client};

const JSON: &str = "200 OK\r\nContent-Type: application/json";

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
    let error = asked(&format!("{JSON}\r\nContent-Encoding: gzip"), &bomb).await;
    assert!(error.to_string().contains("longer than 4194304 bytes"), "{error}");
}

#[tokio::test]
async fn a_compressed_error_is_measured_too_and_judged_by_its_status() {
    let error = asked("503 Service Unavailable\r\nContent-Encoding: gzip", &bomb()).await;
    assert_eq!(error.reason(), "Unavailable", "{error}");
}

#[tokio::test]
async fn an_answer_has_four_megabytes_and_an_output_sixteen() {
    for (megabytes, run, output) in
        [(5, "longer than 4194304", "expected"), (17, "longer than 4194304", "longer than 16777216")]
    {
        let body = answer(JSON, &vec![b' '; megabytes << 20]);
        let client = client(move |_| body.clone(), |_| ()).await;
        let error = client.get_run(V, RunId(1)).await.unwrap_err().to_string();
        assert!(error.contains(run), "{megabytes} MB: {error}");
        let error = client.get_output(V, RunId(1)).await.unwrap_err().to_string();
        assert!(error.contains(output), "{megabytes} MB: {error}");
    }
}

#[tokio::test]
async fn a_length_that_is_announced_is_not_believed() {
    let error = asked(&format!("{JSON}\r\nContent-Length: 99999999999999"), b"{}").await;
    assert!(matches!(error, Error::Transport(TransportError::UnreadableAnswer(_))), "{error}");
}

#[tokio::test]
async fn a_long_error_page_is_not_read_to_its_end_and_judged_by_its_status() {
    let error = asked("503 Service Unavailable", &vec![b'x'; 1 << 20]).await;
    assert_eq!(error.reason(), "Unavailable", "{error}");
}

#[tokio::test]
async fn headers_are_bounded_in_number_and_in_size() {
    let many = (0..200).map(|number| format!("\r\nX-Header-{number}: x")).collect::<Vec<_>>().concat();
    let long = format!("\r\nX-Long: {}", "x".repeat(1 << 20));
    for (what, headers) in [("many", many), ("long", long)] {
        let error = asked(&format!("{JSON}{headers}"), br#"{"run_id":1}"#).await;
        assert!(matches!(error, Error::Transport(TransportError::NoAnswer(_))), "{what}: {error}");
        assert!(error.to_string().len() < 300, "{what}: {error}");
    }
}

#[tokio::test]
async fn json_however_deep_overflows_nothing() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    // What is not read is passed over, level by level.
    let unread = format!(r#"{{"run_id":1,"x":{}}}"#, deep(1_000_000));
    let client = client(move |_| answer(JSON, unread.as_bytes()), |_| ()).await;
    assert_eq!(client.get_run(V, RunId(1)).await.unwrap().value.run_id, RunId(1));
    // What is read has a form, and no room for more.
    for field in ["run_id", "tasks", "state", "run_name"] {
        let error = asked(JSON, format!(r#"{{"run_id":1,"{field}":{}}}"#, deep(1_000_000)).as_bytes()).await;
        assert!(error.to_string().contains("not the JSON that was expected"), "{field}: {error}");
    }
    // An error may have any form, down to serde_json's 128 levels.
    for (levels, reason) in [(100, "Rejected"), (128, "WrongHost"), (30_000, "WrongHost")] {
        let body = format!(r#"{{"error_code":"INVALID_STATE","message":"no","details":{}}}"#, deep(levels));
        let error = asked("400 Bad Request", body.as_bytes()).await;
        assert_eq!(error.reason(), reason, "{levels}: {error}");
    }
}

#[tokio::test]
async fn pages_that_go_round_are_given_up() {
    let error = asked(JSON, br#"{"run_id":1,"next_page_token":"again"}"#).await;
    assert!(error.to_string().contains("in a circle"), "{error}");
}

#[tokio::test]
async fn pages_without_end_are_given_up() {
    let page = |number: usize| answer(JSON, format!(r#"{{"run_id":1,"next_page_token":"{number}"}}"#).as_bytes());
    let client = client(page, |_| ()).await;
    for error in [client.get_run(V, RunId(1)).await.unwrap_err(), client.find_job(V, "nightly").await.unwrap_err()] {
        assert!(error.to_string().contains("more pages than can be"), "{error}");
    }
    let found = client.find_runs(V, &ListRuns::default(), 7, |_| true).await.unwrap();
    assert!(!found.complete, "a search has the bound its caller gives it");
}

#[tokio::test]
async fn lists_without_end_are_given_up() {
    let tasks = vec![r#"{"task_key":"a"}"#; 10_001].join(",");
    let error = asked(JSON, format!(r#"{{"run_id":1,"tasks":[{tasks}]}}"#).as_bytes()).await;
    assert!(error.to_string().contains("not the JSON that was expected"), "{error}");

    let tasks: Vec<_> = (0..9000).map(|number| format!(r#"{{"task_key":"{number}"}}"#)).collect();
    let tasks = tasks.join(",");
    let page = move |number: usize| {
        answer(JSON, format!(r#"{{"run_id":1,"tasks":[{tasks}],"next_page_token":"{number}"}}"#).as_bytes())
    };
    let error = client(page, |_| ()).await.get_run(V, RunId(1)).await.unwrap_err();
    assert!(error.to_string().contains("more tasks than can be"), "{error}");
}

#[tokio::test]
async fn texts_are_cut_as_they_are_read() {
    let body = format!(r#"{{"run_id":1,"state":{{"state_message":"{}"}}}}"#, "x".repeat(3 << 20));
    let client = client(move |_| answer(JSON, body.as_bytes()), |_| ()).await;
    let run = client.get_run(V, RunId(1)).await.unwrap().value;
    assert_eq!(run.state.unwrap().state_message.unwrap().len(), 4096);
}

#[tokio::test]
async fn an_answer_of_one_byte_a_second_ends_with_the_deadline_wherever_it_is() {
    let whole = answer(JSON, br#"{"run_id":1}"#);
    let body_begins = whole.len() - 12;
    for at_once in [0, 20, body_begins, body_begins + 1] {
        let whole = whole.clone();
        let drip = move |_| Served {
            pieces: [vec![whole[..at_once].to_vec()], whole[at_once..].iter().map(|byte| vec![*byte]).collect()]
                .concat(),
            pause: Duration::from_secs(1),
        };
        let soon = Duration::from_millis(1500);
        let client = client(drip, |settings| (settings.call_timeout, settings.submit_timeout) = (soon, soon)).await;
        for error in [
            client.get_run(V, RunId(1)).await.unwrap_err(),
            client.run_now(V, &run_now(1), &token("t")).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Transport(TransportError::NoAnswer(_))), "{at_once}: {error}");
            assert!(error.to_string().contains(" within "), "{at_once}: {error}");
        }
    }
}
