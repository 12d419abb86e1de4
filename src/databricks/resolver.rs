//! Where a name leads, asked once per connection and judged at once: the connector is given the permitted addresses and
//! nothing else, so a name server has no moment between check and use in which to change its mind.
//!
//! Hosts that are addresses never come here; [`crate::databricks::network`]'s list judges them before a connection is
//! made. Nor do the names of workspaces behind a proxy, which resolves them itself; what comes here then is the proxy's
//! own name, and proxies are the administrator's choice wherever they are.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::host::Host;
use super::host_policy::{HostPolicy, NotAllowed};
use super::network::Network;

/// Asks where a name leads.
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of a name. Must end by itself; whoever asks has a deadline all the same.
    fn lookup<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;
}

/// Asks the system: its hosts file and its name servers.
pub(super) struct SystemLookup;

impl Lookup for SystemLookup {
    fn lookup<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// The resolver of the connections to one host.
pub(super) struct Resolver(Arc<Inner>);

struct Inner {
    host: Host,
    hosts: Arc<HostPolicy>,
    lookup: Arc<dyn Lookup>,
}

impl Resolver {
    pub(super) fn new(network: &Network, host: Host) -> Self {
        Self(Arc::new(Inner { host, hosts: Arc::clone(network.hosts()), lookup: Arc::clone(network.lookup()) }))
    }
}

impl Inner {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let addresses = self.lookup.lookup(name).await?;
        if !name.trim_end_matches('.').eq_ignore_ascii_case(self.host.name()) {
            // A proxy's.
            return Ok(addresses);
        }
        Ok(permitted(&self.hosts, &self.host, addresses)?)
    }
}

/// Those a connection may go to; an error if there were some and none of them is.
fn permitted(hosts: &HostPolicy, host: &Host, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, NotAllowed> {
    let mut refused = None;
    let mut permitted = Vec::with_capacity(addresses.len());
    for address in addresses {
        match hosts.permits(host, address) {
            Ok(()) => permitted.push(address),
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    match refused {
        Some(error) if permitted.is_empty() => Err(error),
        _ => Ok(permitted),
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = inner.resolve(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(addresses: &[&str]) -> Result<Vec<String>, NotAllowed> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let host = "https://dbc-1.cloud.databricks.com".parse().unwrap();
        let permitted = permitted(&HostPolicy::default(), &host, addresses)?;
        Ok(permitted.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn only_permitted_addresses_are_handed_on() {
        assert_eq!(of(&["127.0.0.1", "8.8.8.8", "::1", "2a00::1"]).unwrap(), ["8.8.8.8", "2a00::1"]);
        assert!(of(&[]).unwrap().is_empty(), "a name without addresses is no matter of permission");
    }

    #[test]
    fn a_name_that_leads_nowhere_else_is_refused_with_the_first_address() {
        let error = of(&["10.0.0.1", "127.0.0.1"]).unwrap_err();
        assert!(matches!(error, NotAllowed::Address { address, .. } if address.to_string() == "10.0.0.1"), "{error}");
    }
}
