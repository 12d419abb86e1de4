//! `docs/authentication.md`, done as it says: its commands are run, its objects applied and the files it has people write are
//! given to the fakes. `databricks` and `az` are stand-ins that do nothing; what they would do is done to the fakes instead.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use databricks_run_operator::api::conditions::Reason;
use e2e::wait::wait_for;
use e2e::workspace::FederationPolicy;
use serde_json::{Value, json};

use super::{TENANT, World, ready};

const DOCUMENT: &str = include_str!("../../../../docs/authentication.md");
const HOST: &str = "https://adb-1234567890123456.7.azuredatabricks.net";
const CLIENT_ID: &str = "3f0c1d2e-0000-4000-8000-123456789abc";

/// The fenced blocks of the document in order: what follows the fence, and the text.
fn blocks() -> Vec<(&'static str, String)> {
    let mut blocks = Vec::new();
    let mut lines = DOCUMENT.lines();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let text = lines.by_ref().take_while(|line| line.trim_start() != "```");
            let text: Vec<&str> = text.map(|line| line.get(indent..).unwrap_or_default()).collect();
            blocks.push((language, text.join("\n") + "\n"));
        }
    }
    blocks
}

/// The tables of the document: the cells of each row.
fn rows() -> impl Iterator<Item = Vec<&'static str>> {
    let cells = |line: &'static str| line.trim_matches('|').split('|').map(str::trim).collect();
    DOCUMENT.lines().filter(|line| line.starts_with('|')).map(cells)
}

/// A folder with the files that people are told to write, and with the programs they call.
fn desk(world: &World) -> tempfile::TempDir {
    let desk = tempfile::tempdir().unwrap();
    for program in ["databricks", "az"] {
        let path = desk.path().join(program);
        fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    symlink(world.stage.cluster.kubectl(), desk.path().join("kubectl")).unwrap();
    desk
}

async fn type_in(world: &World, desk: &Path, script: &str) {
    for secret in ["client-secret", "token"] {
        fs::write(desk.join(secret), "right").unwrap();
    }
    let path = format!("{}:{}", desk.display(), std::env::var("PATH").unwrap());
    let mut shell = tokio::process::Command::new("sh");
    shell.args(["-eu", "-c", script]).current_dir(desk).env("PATH", path);
    shell.env("KUBECONFIG", world.stage.cluster.kubeconfig_path()).kill_on_drop(true);
    let output = shell.output().await.unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
}

fn is_about_rights(object: &Value) -> bool {
    ["Role", "RoleBinding"].map(Some).contains(&object["kind"].as_str())
}

/// Applies an object of the document; the name of a workspace object that is to become ready.
async fn apply(world: &World, object: &Value) -> Option<String> {
    let kind = object["kind"].as_str().unwrap();
    let text =
        object.to_string().replace("team-a", &world.stage.namespace).replace(HOST, world.stage.databricks.host());
    if kind == "ClusterDatabricksWorkspace" {
        // An object of the whole cluster would be every operator's.
        world.stage.kubectl_reading(&["apply", "--dry-run=server", "--filename=-"], &text).await;
        return None;
    }
    let mut object: Value = serde_json::from_str(&text).unwrap();
    let workspace = (kind == "DatabricksWorkspace").then(|| object["metadata"]["name"].as_str().unwrap().to_owned());
    if workspace.is_some() {
        object["spec"]["caBundle"] = world.stage.workspace_object()["spec"]["caBundle"].clone();
    }
    world.stage.apply(&object).await;
    workspace
}

/// What `az` would have done with the file.
fn federate_in_entra(world: &World, credential: &str) {
    let credential: Value = serde_json::from_str(credential).unwrap();
    let text = |field: &str| credential[field].as_str().unwrap().to_owned();
    let policy = FederationPolicy {
        issuer: text("issuer"),
        audiences: serde_json::from_value(credential["audiences"].clone()).unwrap(),
        subject: text("subject"),
        keys: serde_json::from_value(world.issuer.jwks.clone()).unwrap(),
    };
    world.login.federate(TENANT, CLIENT_ID, policy);
}

#[tokio::test]
async fn who_types_what_the_document_says_gets_five_workspaces_that_are_ready() {
    let world = World::set("document").await;
    let desk = desk(&world);
    let mut workspaces = Vec::new();
    for (language, text) in blocks() {
        let placed = text.replace("team-a", &world.stage.namespace).replace(HOST, world.stage.databricks.host());
        match language {
            "sh" => type_in(&world, desk.path(), &placed).await,
            "yaml" => {
                let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
                let (rights, objects): (Vec<_>, Vec<_>) = objects.into_iter().partition(is_about_rights);
                let rights: Vec<String> = rights.iter().map(Value::to_string).collect();
                world.stage.rights.grant_also(&rights.join("\n---\n")).await.unwrap();
                for object in objects {
                    workspaces.extend(apply(&world, &object).await);
                }
            }
            "yaml part" => {}
            other => panic!("nobody checks blocks of {other}"),
        }
    }
    assert_eq!(workspaces, ["federated", "workload-identity", "oauth", "service-principal", "personal"]);
    let read = |name: &str| fs::read_to_string(desk.path().join(name)).unwrap();
    let databricks = &world.stage.databricks;
    databricks.federate(CLIENT_ID, FederationPolicy::from_account_api(&read("policy.json")).unwrap());
    federate_in_entra(&world, &read("credential.json"));
    databricks.accept_client(CLIENT_ID, "right");
    databricks.accept_token("right", CLIENT_ID, None);
    world.login.accept_secret(TENANT, CLIENT_ID, "right");
    let _operator = world.operator().await;
    for name in workspaces {
        wait_for(&world.stage.workspaces(), &name, "Ready", |object| ready(object).0 == "True").await;
    }
    assert_eq!(json!(world.login.token_requests()), json!(2));
}

#[test]
fn every_reason_for_which_a_workspace_is_not_ready_is_in_the_document() {
    let told: Vec<&str> = rows().map(|row| row[0].trim_matches('`')).collect();
    for reason in [
        Reason::CredentialsNotFound,
        Reason::CredentialsUnusable,
        Reason::Unauthorized,
        Reason::Forbidden,
        Reason::HostNotAllowed,
        Reason::Unreachable,
        Reason::Throttled,
        Reason::QuotaExceeded,
        Reason::SpecUnreadable,
    ] {
        assert!(told.contains(&reason.as_str()), "{} is missing", reason.as_str());
    }
}
