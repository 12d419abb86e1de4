//! Hosts, addresses and proxies that people write down, and the policies that let them pass or not.

use std::net::{IpAddr, Ipv4Addr};

use crate::databricks::fuzzing::permits;
use crate::databricks::host::Host;
use crate::databricks::host_policy::{DEFAULT_ALLOWED, HostPolicy};
use crate::databricks::proxy::{AllowedProxies, ProxyUrl};

/// Lines: a host, an address, a proxy, then what an administrator allows. A host or a proxy has one spelling, which URL
/// parsers understand as it does; without an administrator's word the clouds' own domains and public addresses are
/// allowed and nothing else; no password is ever told.
pub fn host(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (host, address, proxy) = (line(), line(), line());
    let entries: Vec<&str> = lines.take(8).collect();
    let host = of_a_host(host);
    let proxy = of_a_proxy(proxy);
    let address = address.trim().parse::<IpAddr>().ok();
    if let Some(host) = &host {
        by_default(host, address);
    }
    let Ok(policy) = HostPolicy::new(&entries) else { return };
    if let Some(host) = &host {
        let alone = host.address().is_some() || !host.name().contains('.');
        let listed = entries.iter().any(|entry| same(entry, host.name()));
        assert!(!alone || !policy.allows(host) || listed, "{host} is allowed by {entries:?}");
        if let Some(address) = address {
            let loopback = host.address() == Some(address) || host.name() == "localhost";
            let permitted = permits(&policy, host, address).is_ok();
            assert!(!permitted || is_public(address) || (listed && loopback), "{address} is permitted for {host}");
            let wide = policy.clone().with_addresses([address.to_string()]);
            // One that carries another needs that one's entry, too, where it is a metadata service's.
            let permitted = wide.is_ok_and(|wide| permits(&wide, host, address).is_ok());
            assert!(permitted || address.is_ipv6(), "{address} is not permitted");
        }
    }
    if let (Some(proxy), Ok(allowed)) = (&proxy, AllowedProxies::new(&entries)) {
        let named = proxy.to_string();
        let name = named.split("//").nth(1).and_then(|rest| rest.rsplit_once(':')).map(|(name, _)| name);
        let listed = name.is_some_and(|name| entries.iter().any(|entry| same_proxy(entry, name)));
        assert!(!allowed.allows(proxy) || listed, "{proxy} is allowed by {entries:?}");
    }
}

fn of_a_host(text: &str) -> Option<Host> {
    let parsed = text.parse::<Host>();
    let host = match parsed {
        Ok(host) => host,
        Err(error) => {
            tells_no_password(text, &error.to_string());
            return None;
        }
    };
    let spelt = host.to_string();
    assert_eq!(spelt.parse::<Host>().ok().as_ref(), Some(&host), "{text} → {spelt}");
    for text in [text.trim(), spelt.as_str()] {
        let url = url::Url::parse(text).ok();
        let name = url.as_ref().and_then(url::Url::host_str).map(|name| name.trim_end_matches('.'));
        assert_eq!(name, Some(host.name()), "{text} → {host}");
        assert!(
            url.is_some_and(|url| url.scheme() == "https" && url.username().is_empty() && url.password().is_none())
        );
    }
    Some(host)
}

fn of_a_proxy(text: &str) -> Option<ProxyUrl> {
    match text.parse::<ProxyUrl>() {
        Ok(proxy) => {
            let spelt = proxy.to_string();
            assert_eq!(spelt.parse::<ProxyUrl>().ok().as_ref(), Some(&proxy), "{text} → {spelt}");
            assert!(!AllowedProxies::default().allows(&proxy), "{proxy} is allowed by nobody's word");
            Some(proxy)
        }
        Err(error) => {
            tells_no_password(text, &error.to_string());
            None
        }
    }
}

/// What stands before the `@` of an address is nobody's business.
fn tells_no_password(text: &str, told: &str) {
    const PASSWORD: &str = "hunter2";
    let before = text.split_once("//").and_then(|(_, rest)| rest.split_once('@'));
    let password = before.and_then(|(it, _)| it.split_once(':')).is_some_and(|(_, it)| it.contains(PASSWORD));
    if password && text.matches(PASSWORD).count() == 1 {
        assert!(!told.contains(PASSWORD), "{text}: {told}");
    }
}

/// Without an administrator's word.
fn by_default(host: &Host, address: Option<IpAddr>) {
    let policy = HostPolicy::default();
    let below = |domain: &str| host.name() == domain || host.name().ends_with(&format!(".{domain}"));
    assert_eq!(policy.allows(host), DEFAULT_ALLOWED.iter().any(|domain| below(domain)), "{host}");
    if let Some(address) = address {
        let permitted = permits(&policy, host, address).is_ok();
        assert!(!permitted || is_public(address), "{address} is permitted");
    }
}

/// Judged by the standard library's own words, as far as it has any: an address that is not public for sure.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => {
            let mapped = address.to_ipv4().or_else(|| translated(address.segments()));
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || mapped.is_some_and(|it| !is_public_v4(it)))
        }
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || address.is_unspecified()
        || address.octets()[0] == 0
        || address == Ipv4Addr::new(168, 63, 129, 16))
}

/// 6to4 and NAT64.
fn translated(part: [u16; 8]) -> Option<Ipv4Addr> {
    let ([0x2002, high, low, ..] | [0x64, 0xff9b, 0, 0, 0, 0, high, low]) = part else { return None };
    Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
}

/// Whether an entry of a list of hosts is this name or address itself.
fn same(entry: &str, name: &str) -> bool {
    let entry = entry.trim().trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
    let bracketed = format!("[{entry}]");
    [entry, bracketed.as_str()].iter().any(|entry| url::Host::parse(entry).is_ok_and(|it| it.to_string() == name))
}

/// The same in a list of proxies, where a port may follow.
fn same_proxy(entry: &str, name: &str) -> bool {
    same(entry, name) || entry.trim().rsplit_once(':').is_some_and(|(entry, _)| same(entry, name))
}
