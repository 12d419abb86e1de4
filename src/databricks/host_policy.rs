//! Which hosts a credential may be sent to at all. The administrator's list decides, not the workspace object's author;
//! a name that is on it must lead to a permitted address as well (`address_policy`), on every connection (`resolver`).
//!
//! A domain on the list allows everything below it. Names of the cluster or the local network and addresses are never
//! allowed by what they end in, only each by itself: there is no domain of which all of them are meant.

use std::net::IpAddr;

use url::Host as UrlHost;

use super::address_policy::AddressPolicy;
pub use super::address_policy::InvalidRange;
use super::host::Host;

/// The clouds' own domains.
pub const DEFAULT_ALLOWED: [&str; 6] = [
    "cloud.databricks.com",
    "cloud.databricks.us",
    "azuredatabricks.net",
    "databricks.azure.us",
    "databricks.azure.cn",
    "gcp.databricks.com",
];

/// Last parts of names that lead into the cluster, the machine or the local network.
const LOCAL: [&str; 10] =
    ["arpa", "corp", "home", "internal", "intranet", "lan", "local", "localdomain", "localhost", "svc"];

/// A list of allowed hosts and of allowed addresses. A domain allows itself and everything below it; an address or a
/// local name exactly itself. Ports are not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPolicy {
    names: Vec<Entry>,
    addresses: AddressPolicy,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Exactly(String),
    Below(String),
}

/// An entry that cannot stand in the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{entry}` is no allowed host: {why}; write a domain such as `cloud.databricks.com`, an address or `localhost`"
)]
pub struct InvalidEntry {
    entry: String,
    why: String,
}

/// A host or an address a credential may not be sent to. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// The host is not on the list.
    #[error(
        "the operator's administrator does not allow the host {0}; correct spec.host, or have it allowed \
         (--allowed-host)"
    )]
    Host(String),
    /// The host is, but none of the addresses it leads to.
    #[error(
        "the host {host} leads to {address}, {what}, where no credential is sent; correct spec.host or the name \
         server, or have the operator's administrator allow it, as for a Private Link (--allowed-address)"
    )]
    Address {
        /// The host.
        host: String,
        /// One of its addresses.
        address: IpAddr,
        /// What that is.
        what: &'static str,
    },
}

impl Default for HostPolicy {
    fn default() -> Self {
        let names = DEFAULT_ALLOWED.iter().map(|domain| Entry::Below((*domain).to_owned())).collect();
        Self { names, addresses: AddressPolicy::default() }
    }
}

impl HostPolicy {
    /// Reads a list of hosts. `*.` or `.` before a domain means the domain itself.
    pub fn new<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Self, InvalidEntry> {
        let names = entries.into_iter().map(|entry| parse(entry.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { names, addresses: AddressPolicy::default() })
    }

    /// The same hosts, which may lead to these addresses (CIDR ranges or single ones) beside the public ones.
    pub fn with_addresses<T: AsRef<str>>(self, ranges: impl IntoIterator<Item = T>) -> Result<Self, InvalidRange> {
        Ok(Self { addresses: AddressPolicy::new(ranges)?, ..self })
    }

    /// Whether credentials may be sent to this host, as far as its name tells.
    #[must_use]
    pub fn allows(&self, host: &Host) -> bool {
        self.check(host).is_ok()
    }

    /// The same, with what to say where they may not.
    pub fn check(&self, host: &Host) -> Result<(), NotAllowed> {
        let stands_alone = host.address().is_some() || is_local(host.name());
        let allowed = self.names.iter().any(|entry| match entry {
            Entry::Exactly(name) => host.name() == name,
            Entry::Below(domain) if !stands_alone => {
                host.name().strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
            Entry::Below(_) => false,
        });
        if allowed { Ok(()) } else { Err(NotAllowed::Host(host.name().to_owned())) }
    }

    /// Whether a connection to this host may go to this address.
    pub(super) fn permits(&self, host: &Host, address: IpAddr) -> Result<(), NotAllowed> {
        // Who lists an address, or localhost, means where it is.
        let listed = self.names.contains(&Entry::Exactly(host.name().to_owned()));
        let own = host.address() == Some(address) || (host.name() == "localhost" && address.is_loopback());
        if listed && own {
            return Ok(());
        }
        let refused = |what| NotAllowed::Address { host: host.name().to_owned(), address, what };
        self.addresses.permits(address).map_err(refused)
    }
}

/// Whether a name leads into the cluster, the machine or the local network by its form.
fn is_local(name: &str) -> bool {
    name.rsplit_once('.').is_none_or(|(_, last)| LOCAL.contains(&last))
}

fn parse(text: &str) -> Result<Entry, InvalidEntry> {
    let invalid = |why: &str| InvalidEntry { entry: text.to_owned(), why: why.to_owned() };
    let entry = text.trim();
    let domain = entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.'));
    let name = domain.unwrap_or(entry).trim_end_matches('.');
    let bracketed = name.parse::<std::net::Ipv6Addr>().is_ok().then(|| format!("[{name}]"));
    match UrlHost::parse(bracketed.as_deref().unwrap_or(name)).map_err(|error| invalid(&error.to_string()))? {
        UrlHost::Domain(name) if domain.is_some() && is_local(&name) => {
            Err(invalid("names of the cluster or the local network are allowed each by itself"))
        }
        UrlHost::Domain(name) if name == "localhost" || (name.contains('.') && is_local(&name)) => {
            Ok(Entry::Exactly(name))
        }
        UrlHost::Domain(name) if !name.contains('.') => Err(invalid("a top-level domain allows too much")),
        UrlHost::Domain(name) => Ok(Entry::Below(name)),
        address => Ok(Entry::Exactly(address.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_allows_itself_and_what_is_below_it_and_nothing_that_only_ends_alike() {
        let custom = [
            "corp.example",
            "*.star.example",
            ".dot.example",
            "127.0.0.1",
            "localhost",
            "::1",
            "gateway.corp.internal",
            "db.ns.svc.cluster.local",
        ];
        let (default, custom) = (HostPolicy::default(), HostPolicy::new(custom).unwrap());
        for (policy, host, allowed) in [
            (&default, "https://dbc-1.cloud.databricks.com", true),
            (&default, "https://adb-1.2.azuredatabricks.net:8443", true),
            (&default, "https://1.2.gcp.databricks.com", true),
            (&default, "https://x.databricks.azure.cn", true),
            (&default, "https://x.cloud.databricks.us", true),
            (&default, "https://x.databricks.azure.us", true),
            (&default, "https://evilcloud.databricks.com", false),
            (&default, "https://cloud.databricks.com.evil.example", false),
            (&default, "https://localhost", false),
            (&default, "https://127.0.0.1", false),
            (&default, "https://169.254.169.254", false),
            (&custom, "https://corp.example", true),
            (&custom, "https://a.b.corp.example", true),
            (&custom, "https://notcorp.example", false),
            (&custom, "https://x.star.example", true),
            (&custom, "https://x.dot.example", true),
            (&custom, "https://127.0.0.1:8443", true),
            (&custom, "https://0x7f.1", true),
            (&custom, "https://127.0.0.2", false),
            (&custom, "https://localhost:1", true),
            (&custom, "https://x.localhost", false),
            (&custom, "https://[::1]:1", true),
            (&custom, "https://[::2]:1", false),
            (&custom, "https://[::ffff:127.0.0.1]:1", false),
            (&custom, "https://gateway.corp.internal", true),
            (&custom, "https://x.gateway.corp.internal", false),
            (&custom, "https://db.ns.svc.cluster.local", true),
            (&custom, "https://x.db.ns.svc.cluster.local", false),
            (&custom, "https://db.ns.svc", false),
            (&custom, "https://kubernetes", false),
            (&custom, "https://dbc-1.cloud.databricks.com", false),
        ] {
            assert_eq!(policy.allows(&host.parse().unwrap()), allowed, "{host}");
        }
    }

    #[test]
    fn entries_that_mean_nothing_or_too_much_are_refused() {
        for entry in [
            "",
            "com",
            "*",
            "*.",
            "https://x.com",
            "x.com/api",
            "x.com:443",
            "a b.com",
            "kubernetes",
            "*.internal",
            ".cluster.local",
            "*.localhost",
        ] {
            assert!(HostPolicy::new([entry]).is_err(), "{entry}");
        }
    }

    #[test]
    fn a_host_that_is_allowed_leads_to_public_addresses_and_to_those_that_are_allowed() {
        let open = HostPolicy::new(["corp.example", "127.0.0.1", "localhost"]).unwrap();
        let wide = open.clone().with_addresses(["10.0.0.0/8", "127.0.0.0/8"]).unwrap();
        for (policy, host, address, permitted) in [
            (&open, "https://x.corp.example", "8.8.8.8", true),
            (&open, "https://x.corp.example", "10.0.0.1", false),
            (&open, "https://x.corp.example", "127.0.0.1", false),
            (&open, "https://127.0.0.1", "127.0.0.1", true),
            (&open, "https://127.0.0.1", "127.0.0.2", false),
            (&open, "https://localhost", "127.0.0.1", true),
            (&open, "https://localhost", "::1", true),
            (&open, "https://localhost", "10.0.0.1", false),
            (&wide, "https://x.corp.example", "10.0.0.1", true),
            (&wide, "https://x.corp.example", "127.0.0.1", true),
            (&wide, "https://x.corp.example", "192.168.0.1", false),
            (&wide, "https://x.corp.example", "169.254.169.254", false),
        ] {
            let answer = policy.permits(&host.parse().unwrap(), address.parse().unwrap());
            assert_eq!(answer.is_ok(), permitted, "{host} at {address}: {answer:?}");
        }
        let error = open.permits(&"https://x.corp.example".parse().unwrap(), "10.0.0.1".parse().unwrap()).unwrap_err();
        let words = ["x.corp.example", "10.0.0.1, a private address", "--allowed-address"];
        assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
    }
}
