//! The definitions of Flux's kinds, from the very modules that its controllers are built of: pinned by version and by sum, fetched
//! by `go` into its cache as the sources of the control plane are.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Module, version, and the sum of its content. The newest that Go 1.26 takes.
const MODULES: [(&str, &str, &str); 3] = [
    ("github.com/fluxcd/kustomize-controller", "v1.9.1", "h1:jggQk9hMsnXG9QdPWNSKhttH5NdVN+HXm/dbKAJ3Uw8="),
    ("github.com/fluxcd/source-controller", "v1.9.2", "h1:dPaSvA6Gd/YYsVCOALG8hq8ADA23fXK36yFzbj8tv/o="),
    ("github.com/fluxcd/helm-controller", "v1.6.1", "h1:b0XKTQCGlQy4nOGfEFMbn/e+/j9IMEHSDlKecbZkG9M="),
];

/// Their custom resource definitions, as YAML.
///
/// # Panics
/// When they cannot be had, or are others than those that are pinned.
#[expect(clippy::expect_used, reason = "without them nothing can be said about manifests for Flux")]
#[must_use]
pub fn definitions_of_flux() -> Vec<String> {
    let mut definitions = Vec::new();
    for (module, version, sum) in MODULES {
        let mut go = Command::new("go");
        go.args(["mod", "download", "-json", &format!("{module}@{version}")]);
        // The sum is compared here; outside of a module there is no file to compare it with.
        go.current_dir(std::env::temp_dir()).env("GOFLAGS", "-mod=mod").env("GOSUMDB", "off").env("GOWORK", "off");
        let output = go.output().expect("Go is installed (https://go.dev/dl)");
        let told: Value = serde_json::from_slice(&output.stdout).expect("go answers in JSON");
        assert_eq!((&told["Error"], &told["Sum"]), (&Value::Null, &sum.into()), "{told:#}");
        let folder = Path::new(told["Dir"].as_str().expect("a folder")).join("config/crd/bases");
        for file in folder.read_dir().expect("the module has definitions") {
            let path = file.expect("a file").path();
            definitions.push(std::fs::read_to_string(path).expect("a definition can be read"));
        }
    }
    definitions
}
