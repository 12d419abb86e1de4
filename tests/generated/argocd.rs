//! `config/argocd/argocd-cm.yaml`: the scripts of `config/argocd/resource_customizations` as keys of Argo CD's `ConfigMap`.

use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "\
# What Argo CD must know of our kinds, for those whose Argo CD does not have it. It adds keys and takes none away:
#
#   kubectl patch configmap argocd-cm --namespace argocd --patch-file config/argocd/argocd-cm.yaml
#
# Made of the scripts in resource_customizations by: UPDATE=1 cargo test --test generated
apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  namespace: argocd
  labels:
    app.kubernetes.io/name: argocd-cm
    app.kubernetes.io/part-of: argocd
data:
";

/// The file, of the scripts in this folder.
pub(crate) fn config_map(customizations: &Path) -> String {
    let mut text = HEAD.to_owned();
    for group in names(customizations) {
        for kind in names(&customizations.join(&group)) {
            let folder = customizations.join(&group).join(&kind);
            block(
                &mut text,
                2,
                &format!("resource.customizations.health.{group}_{kind}"),
                &read(&folder.join("health.lua")),
            );
            if folder.join("actions").is_dir() {
                let actions = actions(&folder.join("actions"));
                block(&mut text, 2, &format!("resource.customizations.actions.{group}_{kind}"), &actions);
            }
        }
    }
    text
}

/// The actions of one kind, themselves YAML.
fn actions(folder: &Path) -> String {
    let mut text = String::new();
    block(&mut text, 0, "discovery.lua", &read(&folder.join("discovery.lua")));
    text.push_str("definitions:\n");
    for name in names(folder) {
        let script = folder.join(&name).join("action.lua");
        if script.is_file() {
            writeln!(text, "  - name: {name}").unwrap();
            block(&mut text, 4, "action.lua", &read(&script));
        }
    }
    text
}

/// A key with a text of many lines.
fn block(into: &mut String, indent: usize, key: &str, text: &str) {
    writeln!(into, "{:indent$}{key}: |", "").unwrap();
    for line in text.lines() {
        let line = format!("{:width$}{line}", "", width = indent + 2);
        writeln!(into, "{}", line.trim_end()).unwrap();
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// What is in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

#[test]
fn each_script_arrives_as_it_is() {
    let customizations = super::root("config/argocd/resource_customizations");
    let map: serde_json::Value = serde_saphyr::from_str(&config_map(&customizations)).unwrap();
    let folder = customizations.join("dbrun.dev/DatabricksRun");
    let data = &map["data"];
    assert_eq!(data["resource.customizations.health.dbrun.dev_DatabricksRun"], read(&folder.join("health.lua")));
    let actions = data["resource.customizations.actions.dbrun.dev_DatabricksRun"].as_str().unwrap();
    let actions: serde_json::Value = serde_saphyr::from_str(actions).unwrap();
    assert_eq!(actions["discovery.lua"], read(&folder.join("actions/discovery.lua")));
    for action in actions["definitions"].as_array().unwrap() {
        let script = folder.join("actions").join(action["name"].as_str().unwrap()).join("action.lua");
        assert_eq!(action["action.lua"], read(&script));
    }
    assert_eq!(data.as_object().unwrap().len(), 4);
}
