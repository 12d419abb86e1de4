//! The way to the API server: which one, and whether through a proxy.
//!
//! kube takes `HTTPS_PROXY` for whatever a kubeconfig names, and holds `NO_PROXY` against the proxy's name instead of the API
//! server's (kube-client 5.0.0). So the proxy is chosen here, and as kubectl chooses it.

use std::net::IpAddr;

use axum::http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::Config;
use kube::config::Kubeconfig;

/// What KUBECONFIG says, or the Pod that this runs in.
pub(super) async fn config() -> Result<Config, String> {
    let mut config = Config::infer().await.map_err(|error| {
        format!("no Kubernetes cluster is configured: {error}; set KUBECONFIG, or run in a Pod with a ServiceAccount")
    })?;
    config.proxy_url = match Kubeconfig::read() {
        Ok(kubeconfig) => {
            let environment = Environment {
                proxy: variable(["HTTPS_PROXY", "https_proxy"]),
                none_for: variable(["NO_PROXY", "no_proxy"]),
            };
            environment.proxy_of(&config.cluster_url, own_proxy(&kubeconfig))?
        }
        // A Pod reaches its API server directly.
        Err(_) => None,
    };
    Ok(config)
}

fn variable(names: [&str; 2]) -> String {
    names.into_iter().filter_map(|name| std::env::var(name).ok()).find(|value| !value.is_empty()).unwrap_or_default()
}

/// The proxy that a kubeconfig names for the cluster of its current context.
fn own_proxy(kubeconfig: &Kubeconfig) -> Option<&str> {
    let current = kubeconfig.current_context.as_deref()?;
    let context = kubeconfig.contexts.iter().find(|context| context.name == current)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.as_deref().filter(|proxy| !proxy.is_empty())
}

/// What the environment says of proxies.
struct Environment {
    proxy: String,
    none_for: String,
}

impl Environment {
    /// Through which proxy this API server is reached. Its kubeconfig's `own` is meant for it whatever the environment says.
    fn proxy_of(&self, api_server: &Uri, own: Option<&str>) -> Result<Option<Uri>, String> {
        let proxy = match own {
            Some(own) => own,
            None if self.proxy.is_empty() || self.is_reached_directly(api_server) => return Ok(None),
            None => &self.proxy,
        };
        let proxy = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
        let usable = |proxy: &Uri| matches!(proxy.scheme_str(), Some("http" | "https")) && proxy.host().is_some();
        // What it is is not told: it may hold a password.
        proxy.parse().ok().filter(usable).map(Some).ok_or_else(|| {
            "the proxy on the way to the API server cannot be used: write HTTPS_PROXY, or proxy-url in the kubeconfig, as \
             http://HOST:PORT, or name the API server in NO_PROXY"
                .to_owned()
        })
    }

    fn is_reached_directly(&self, api_server: &Uri) -> bool {
        let host = api_server.host().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            || Matcher::builder().all("http://proxy").no(&*self.none_for).build().intercept(api_server).is_none()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn proxy(api_server: &str, own: Option<&str>, proxy: &str, none_for: &str) -> Result<Option<String>, String> {
        let environment = Environment { proxy: proxy.to_owned(), none_for: none_for.to_owned() };
        environment.proxy_of(&api_server.parse().unwrap(), own).map(|uri| uri.map(|uri| uri.to_string()))
    }

    #[test]
    fn the_proxy_of_the_environment_is_for_all_that_no_proxy_does_not_name() {
        let (far, through) = ("https://k8s.corp.example:6443", "http://proxy.corp.example:3128");
        let expected = Ok(Some(format!("{through}/")));
        assert_eq!(proxy(far, None, through, ""), expected);
        assert_eq!(
            proxy(far, None, through, "proxy.corp.example,10.0.0.0/8"),
            expected,
            "the proxy is not what is reached"
        );
        assert_eq!(proxy(far, None, "proxy.corp.example:3128", ""), expected, "a scheme may be left out");
        for none_for in ["k8s.corp.example", ".corp.example", "*"] {
            assert_eq!(proxy(far, None, through, none_for), Ok(None), "{none_for}");
        }
        assert_eq!(proxy("https://10.1.2.3:6443", None, through, "10.0.0.0/8"), Ok(None));
        assert_eq!(proxy(far, None, "", ""), Ok(None));
    }

    #[test]
    fn what_is_on_this_machine_is_reached_directly() {
        for near in ["https://127.0.0.1:6443", "https://localhost:6443", "https://[::1]:6443"] {
            assert_eq!(proxy(near, None, "http://proxy.corp.example:3128", ""), Ok(None), "{near}");
        }
    }

    #[test]
    fn a_kubeconfig_s_own_proxy_counts_whatever_the_environment_says() {
        let own = proxy("https://127.0.0.1:6443", Some("http://own:1"), "http://other:2", "*");
        assert_eq!(own, Ok(Some("http://own:1/".to_owned())));
        let kubeconfig = json!({"current-context": "b", "contexts": [
            {"name": "a", "context": {"cluster": "one"}}, {"name": "b", "context": {"cluster": "two"}},
        ], "clusters": [
            {"name": "one", "cluster": {"proxy-url": "http://one:1"}}, {"name": "two", "cluster": {"proxy-url": "http://two:2"}},
        ]});
        assert_eq!(own_proxy(&serde_json::from_value(kubeconfig).unwrap()), Some("http://two:2"));
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_told_with_a_remedy_and_without_its_password() {
        for unusable in ["socks5://me:secret@proxy:1080", "http://me:secret@pro xy:3128"] {
            let why = proxy("https://k8s.corp.example", None, unusable, "").unwrap_err();
            assert!(why.contains("HTTPS_PROXY") && why.contains("NO_PROXY") && !why.contains("secret"), "{why}");
        }
    }
}
