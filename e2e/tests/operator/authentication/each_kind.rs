//! A run by each of the ways.

use std::collections::BTreeSet;

use e2e::workspace::Operation;

use super::{Kind, TENANT, World};

#[tokio::test]
async fn a_run_succeeds_by_each_way_to_prove_an_identity() {
    let world = World::set("each-kind").await;
    let job = world.stage.databricks.job("nightly").id();
    for kind in Kind::ALL {
        world.grant(kind).await;
        world.connect(kind).await;
    }
    let _operator = world.operator().await;
    for kind in Kind::ALL {
        world.ask(kind, job).await;
    }
    for kind in Kind::ALL {
        let status = world.until(kind, "True", "WorkspaceReady").await.status.unwrap();
        assert_eq!(status.auth_kind.as_deref(), Some(kind.field()));
        let run = world.stage.finished(&format!("by-{}", kind.name())).await;
        assert_eq!(run.text("state"), "Succeeded", "{kind:?}: {}", world.stage.story(&run));
    }
    let started = world.stage.databricks.requests_for(Operation::RunNow);
    let by: BTreeSet<_> = started.iter().filter_map(|entry| entry.principal.clone()).collect();
    assert_eq!(by, Kind::ALL.map(Kind::principal).into(), "each acts as its own principal");
    world.stage.assert_started_once_each(Kind::ALL.len());
}

#[tokio::test]
async fn the_login_host_sees_nothing_but_requests_for_tokens_of_its_own_identities() {
    let world = World::set("login-host").await;
    for kind in Kind::ALL {
        world.grant(kind).await;
        world.connect(kind).await;
    }
    let _operator = world.operator().await;
    for kind in Kind::ALL {
        world.until(kind, "True", "WorkspaceReady").await;
    }
    let asked: BTreeSet<_> = world.login.requests().into_iter().map(|entry| (entry.path, entry.principal)).collect();
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let expected = [Kind::AzureServicePrincipal, Kind::AzureWorkloadIdentity];
    assert_eq!(asked, expected.map(|kind| (path.clone(), Some(kind.principal()))).into());
    assert!(world.login.requests().iter().all(|entry| entry.workspace_id.is_none()));
}
