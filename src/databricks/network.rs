//! What lies between this process and a workspace: which hosts and addresses are allowed, through which proxy, and who
//! says where a name leads. One for the whole process; a workspace object with a proxy of its own has a variant of it.

use std::fmt;
use std::sync::Arc;

use super::host::Host;
use super::host_policy::{HostPolicy, NotAllowed};
use super::proxy::{AllowedProxies, ProxyUrl};
use super::resolver::{Lookup, SystemLookup};

/// The way to Databricks. Cheap to clone.
#[derive(Clone)]
pub struct Network {
    hosts: Arc<HostPolicy>,
    proxies: Arc<AllowedProxies>,
    proxy: Option<ProxyUrl>,
    lookup: Arc<dyn Lookup>,
}

/// A proxy the administrator has not allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the operator's administrator does not allow the proxy {0}; remove spec.proxyUrl, or have it allowed \
     (--allowed-proxy)"
)]
pub struct ProxyNotAllowed(String);

impl Default for Network {
    fn default() -> Self {
        Self::new(HostPolicy::default(), AllowedProxies::default())
    }
}

impl Network {
    /// The network of this machine, by its own name servers.
    #[must_use]
    pub fn new(hosts: HostPolicy, proxies: AllowedProxies) -> Self {
        Self { hosts: Arc::new(hosts), proxies: Arc::new(proxies), proxy: None, lookup: Arc::new(SystemLookup) }
    }

    /// The same with another way to resolve names.
    #[must_use]
    pub fn resolving_with(self, lookup: Arc<dyn Lookup>) -> Self {
        Self { lookup, ..self }
    }

    /// The same through this proxy, if the administrator allows it; the proxy of the environment is not used then.
    pub fn through(&self, proxy: ProxyUrl) -> Result<Self, ProxyNotAllowed> {
        if self.proxies.allows(&proxy) {
            Ok(Self { proxy: Some(proxy), ..self.clone() })
        } else {
            Err(ProxyNotAllowed(proxy.to_string()))
        }
    }

    /// Whether credentials may be sent to this host, as far as its name tells.
    pub fn check(&self, host: &Host) -> Result<(), NotAllowed> {
        self.hosts.check(host)
    }

    pub(super) fn hosts(&self) -> &Arc<HostPolicy> {
        &self.hosts
    }

    pub(super) fn proxy(&self) -> Option<&ProxyUrl> {
        self.proxy.as_ref()
    }

    pub(super) fn lookup(&self) -> &Arc<dyn Lookup> {
        &self.lookup
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("hosts", &self.hosts).field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_used_only_where_the_administrator_allows_it() {
        let proxy: ProxyUrl = "http://proxy.example:3128".parse().unwrap();
        let error = Network::default().through(proxy.clone()).unwrap_err().to_string();
        assert!(error.contains("http://proxy.example:3128") && error.contains("--allowed-proxy"), "{error}");
        let allowed = AllowedProxies::new(["proxy.example:3128"]).unwrap();
        let network = Network::new(HostPolicy::default(), allowed).through(proxy.clone()).unwrap();
        assert_eq!(network.proxy(), Some(&proxy));
    }
}
