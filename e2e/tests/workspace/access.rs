//! Who may do what, and tokens that end.

use std::time::Duration;

use e2e::workspace::{Access, OWNER};
use serde_json::json;

use crate::bench::{Bench, life};

#[tokio::test]
async fn who_may_not_see_a_job_does_not_learn_whether_it_exists() {
    let mut bench = Bench::new();
    let job = bench.workspace.job("secret").id();
    let run = bench.run_now(job, "t").await;
    bench.workspace.accept_token("bob", "bob@example.com", None);
    bench.token = "bob".to_owned();
    bench.workspace.allow("bob@example.com", Some(job), Access::View);
    assert_eq!(life(&bench.run(run).await).0, "PENDING");
    assert_eq!(bench.post("runs/cancel", json!({ "run_id": run })).await.status, 403);
    assert_eq!(bench.post("run-now", json!({ "job_id": job })).await.status, 403);
    bench.workspace.allow("bob@example.com", None, Access::None);
    for path in [format!("runs/get?run_id={}", 5), "get?job_id=5".to_owned()] {
        let (status, code, message) = bench.get(&path).await.error();
        assert_eq!((status, code.as_str()), (403, "PERMISSION_DENIED"));
        assert!(message.contains("does not have View or Admin or Manage Run or Owner permissions on job"));
    }
}

#[tokio::test]
async fn oauth_tokens_are_given_to_clients_and_end() {
    let mut bench = Bench::new();
    let ask = |bench: &Bench, secret: &str| {
        let url = format!("{}/oidc/v1/token", bench.workspace.host());
        let request = bench.http.post(url).basic_auth("fake-client", Some(secret));
        request.body("grant_type=client_credentials&scope=all-apis")
    };
    let refused = bench.send(ask(&bench, "wrong")).await;
    assert_eq!((refused.status, refused.json()["error"].as_str().unwrap()), (401, "invalid_client"));
    bench.workspace.configure(|settings| {
        settings.expires_in_as_text = true;
        settings.token_margin = Duration::from_secs(30);
    });
    let granted = bench.send(ask(&bench, "fake-secret")).await.ok();
    assert_eq!(granted["expires_in"], "3600");
    granted["access_token"].as_str().unwrap().clone_into(&mut bench.token);
    assert_eq!(bench.get("runs/list").await.status, 200);
    bench.pass(3569);
    assert_eq!(bench.get("runs/list").await.status, 200);
    bench.pass(1);
    assert_eq!(bench.get("runs/list").await.error().1, "UNAUTHENTICATED");
    assert_eq!(bench.workspace.token_requests(), 2);
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_no_token_is_ever_in_the_log() {
    let bench = Bench::new();
    bench.get("runs/list").await.ok();
    bench.workspace.revoke_token(&bench.token);
    assert_eq!(bench.get("runs/list").await.status, 401);
    let entries = bench.workspace.requests();
    assert_eq!(entries[0].principal.as_deref(), Some(OWNER));
    assert_eq!(entries[1].principal, None);
    assert!(!serde_json::to_string(&entries).unwrap().contains(&bench.token));
}
