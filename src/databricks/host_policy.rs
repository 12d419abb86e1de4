//! Which hosts a credential may be sent to at all. The administrator's list, not the workspace object's author, decides.

use url::Host as UrlHost;

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

/// A list of allowed hosts. A domain allows itself and everything below it; an address or `localhost` exactly itself.
/// Ports are not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPolicy(Vec<Entry>);

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

impl Default for HostPolicy {
    fn default() -> Self {
        Self(DEFAULT_ALLOWED.iter().map(|domain| Entry::Below((*domain).to_owned())).collect())
    }
}

impl HostPolicy {
    /// Reads a list. `*.` or `.` before a domain means the domain itself.
    pub fn new<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Self, InvalidEntry> {
        entries.into_iter().map(|entry| parse(entry.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether credentials may be sent to this host.
    #[must_use]
    pub fn allows(&self, host: &Host) -> bool {
        self.0.iter().any(|entry| match entry {
            Entry::Exactly(name) => host.name() == name,
            Entry::Below(domain) => {
                host.name().strip_suffix(domain.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        })
    }
}

fn parse(text: &str) -> Result<Entry, InvalidEntry> {
    let invalid = |why: &str| InvalidEntry { entry: text.to_owned(), why: why.to_owned() };
    let entry = text.trim();
    let name = entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')).unwrap_or(entry).trim_end_matches('.');
    let bracketed = name.parse::<std::net::Ipv6Addr>().is_ok().then(|| format!("[{name}]"));
    match UrlHost::parse(bracketed.as_deref().unwrap_or(name)).map_err(|error| invalid(&error.to_string()))? {
        UrlHost::Domain(name) if name == "localhost" => Ok(Entry::Exactly(name)),
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
        let custom = ["corp.example", "*.star.example", ".dot.example", "127.0.0.1", "localhost", "::1"];
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
            (&custom, "https://dbc-1.cloud.databricks.com", false),
        ] {
            assert_eq!(policy.allows(&host.parse().unwrap()), allowed, "{host}");
        }
    }

    #[test]
    fn entries_that_mean_nothing_or_too_much_are_refused() {
        for entry in ["", "com", "*", "*.", "https://x.com", "x.com/api", "x.com:443", "a b.com"] {
            assert!(HostPolicy::new([entry]).is_err(), "{entry}");
        }
    }
}
