//! The files of `config/rbac/`, and where a test puts what they hold.

use std::path::Path;

use serde_json::Value;

use crate::cluster::{Cluster, error::Error, namespace::LABEL};

/// The ServiceAccount, and the operator's namespace, as the files call them.
pub(super) const ACCOUNT: &str = "databricks-run-operator";

/// The served namespaces, as the files call them.
const SERVED: [&str; 2] = ["team-a", "team-b"];

/// The namespace that there is in every cluster.
const OF_EVERY_CLUSTER: &str = "default";

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/rbac");

/// What `kubectl apply -k` would apply for a folder of `config/rbac/`.
pub(super) async fn render(cluster: &Cluster, folder: &str) -> Result<Vec<Value>, Error> {
    let path = Path::new(FOLDER).join(folder);
    let mut kubectl = tokio::process::Command::new(cluster.kubectl());
    kubectl.arg("kustomize").arg(&path).kill_on_drop(true);
    let output = kubectl.output().await.map_err(Error::system("run kubectl kustomize with", &path))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Manifest(format!("kubectl kustomize {}: {why}", path.display())));
    }
    read(&String::from_utf8_lossy(&output.stdout))
}

/// The documents of a manifest.
pub(super) fn read(manifest: &str) -> Result<Vec<Value>, Error> {
    serde_saphyr::from_multiple(manifest).map_err(|error| Error::Manifest(error.to_string()))
}

/// The objects with the operator at home in one namespace and serving others. What is for more namespaces than are served is
/// left out.
pub(super) fn placed(objects: &[Value], home: &str, served: &[&str]) -> Vec<Value> {
    let place = |name: &str| match SERVED.iter().position(|it| *it == name) {
        Some(index) => served.get(index).map(|&name| name.to_owned()),
        None if name == OF_EVERY_CLUSTER => Some(name.to_owned()),
        None => Some(home.to_owned()),
    };
    let mut all = Vec::new();
    for object in objects {
        let mut object = object.clone();
        match object["metadata"]["namespace"].as_str().map(place) {
            Some(Some(namespace)) => object["metadata"]["namespace"] = namespace.into(),
            Some(None) => continue,
            None => {}
        }
        // What is granted beside others must say in its name whose it is.
        if object["kind"] != "ServiceAccount" {
            rename(&mut object["metadata"]["name"], home);
        }
        object["metadata"]["labels"][LABEL] = home.into();
        if let Some(role) = object.get_mut("roleRef") {
            rename(&mut role["name"], home);
        }
        for subject in object.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(namespace) = subject["namespace"].as_str().and_then(place) {
                subject["namespace"] = namespace.into();
            }
        }
        all.push(object);
    }
    all
}

fn rename(name: &mut Value, home: &str) {
    if let Some(old) = name.as_str() {
        *name = format!("{old}-{home}").into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_bound_for_others_than_are_served_is_left_out() {
        let binding = |namespace: &str| {
            json!({"kind": "RoleBinding", "metadata": {"name": "b", "namespace": namespace},
                "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"namespace": ACCOUNT}]})
        };
        let placed = placed(&[binding("team-a"), binding("team-b")], "home-1", &["mine"]);
        let [only] = &placed[..] else { panic!("{placed:?}") };
        assert_eq!(only["metadata"]["namespace"], "mine");
        assert_eq!(
            (&only["roleRef"]["name"], &only["subjects"][0]["namespace"]),
            (&json!("r-home-1"), &json!("home-1"))
        );
    }
}
