//! The address of a proxy a workspace object names, and the list of those the administrator allows. A proxy sees which
//! workspace is spoken to and may refuse to connect, but nothing of what is said: TLS goes through it to the workspace.
//!
//! A proxy resolves the workspace's name itself, so the rules about addresses are then its affair: one more reason why
//! only the administrator says which proxies there are.

use std::fmt;
use std::str::FromStr;

use url::{Host as UrlHost, Url};

/// A proxy's address in its one spelling: `http://` or `https://`, a name, a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProxyUrl {
    scheme: &'static str,
    name: String,
    port: u16,
}

/// A text that is no proxy's address. Says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxy {
    /// Another scheme than http or https.
    #[error("a proxy's address begins with `http://` or `https://`, for example `http://proxy.corp.example:3128`")]
    Scheme,
    /// A user name or a password stands before the name.
    #[error("a proxy's address holds no user name and no password: use a proxy that knows the operator by its address")]
    UserInfo,
    /// Something follows the name.
    #[error("a proxy's address ends with its name or port: write `{0}`")]
    TooMuch(String),
    /// No URL at all.
    #[error("this is no address of a proxy: {0}")]
    NotAnAddress(String),
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.name, self.port)
    }
}

impl FromStr for ProxyUrl {
    type Err = InvalidProxy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let begins = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        let scheme = match () {
            () if begins("http://") => "http",
            () if begins("https://") => "https",
            () => return Err(InvalidProxy::Scheme),
        };
        let url = Url::parse(text).map_err(|error| InvalidProxy::NotAnAddress(error.to_string()))?;
        if !url.username().is_empty() || url.password().is_some() || text.contains('@') {
            return Err(InvalidProxy::UserInfo);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'%')) {
            return Err(InvalidProxy::NotAnAddress("it holds characters that no name has".to_owned()));
        }
        let name = url.host_str().unwrap_or_default();
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() {
            return Err(InvalidProxy::NotAnAddress("it has no name".to_owned()));
        }
        if name.split('.').any(str::is_empty) {
            return Err(InvalidProxy::NotAnAddress("a part of its name is empty".to_owned()));
        }
        let port = url.port_or_known_default().unwrap_or_default();
        let proxy = Self { scheme, name: name.to_owned(), port };
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidProxy::TooMuch(proxy.to_string()));
        }
        Ok(proxy)
    }
}

/// The proxies a workspace object may name; none unless the administrator says so.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedProxies(Vec<(String, Option<u16>)>);

/// An entry that cannot stand in the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no proxy; write its name or address, or that with a port: `proxy.corp.example:3128`")]
pub struct InvalidProxyEntry(String);

impl AllowedProxies {
    /// Reads a list of names and addresses, each with or without a port. A name allows exactly itself.
    pub fn new<T: AsRef<str>>(entries: impl IntoIterator<Item = T>) -> Result<Self, InvalidProxyEntry> {
        entries.into_iter().map(|entry| parse(entry.as_ref().trim())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether connections may go through this proxy.
    #[must_use]
    pub fn allows(&self, proxy: &ProxyUrl) -> bool {
        self.0.iter().any(|(name, port)| proxy.name == *name && port.is_none_or(|port| proxy.port == port))
    }
}

fn parse(entry: &str) -> Result<(String, Option<u16>), InvalidProxyEntry> {
    let invalid = || InvalidProxyEntry(entry.to_owned());
    let bare_ipv6 = entry.parse::<std::net::Ipv6Addr>().is_ok();
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if !bare_ipv6 && !port.ends_with(']') => (name, Some(port.parse().map_err(|_| invalid())?)),
        _ => (entry, None),
    };
    let name = if bare_ipv6 { format!("[{name}]") } else { name.trim_end_matches('.').to_owned() };
    let name = UrlHost::parse(&name).map_err(|_| invalid())?.to_string();
    Ok((name, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_proxy_becomes_the_same() {
        for (text, expected) in [
            ("http://proxy.corp.example:3128", "http://proxy.corp.example:3128"),
            (" HTTP://PROXY.corp.example.:3128/ ", "http://proxy.corp.example:3128"),
            ("https://proxy.corp.example", "https://proxy.corp.example:443"),
            ("http://proxy", "http://proxy:80"),
            ("http://10.1.2.3:3128", "http://10.1.2.3:3128"),
            ("http://[fd00::1]:3128", "http://[fd00::1]:3128"),
        ] {
            assert_eq!(text.parse::<ProxyUrl>().unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_with_what_to_write_and_tells_no_password() {
        for (text, remedy) in [
            ("", "begins with"),
            ("proxy:3128", "begins with"),
            ("socks5://proxy:1080", "begins with"),
            ("ftp://proxy", "begins with"),
            ("http://", "no address"),
            ("http://x:99999", "no address"),
            ("http://x\u{3002}example:1", "no address"),
            ("http://x\t.example:1", "no address"),
            ("http://x..example", "no address"),
            ("http://127.0.0.1..:3128", "no address"),
            ("http://user:hunter2@proxy:3128", "no user name"),
            ("http://user@proxy", "no user name"),
            ("http://@proxy", "no user name"),
            ("http://:hunter2@proxy", "no user name"),
            ("http://proxy:3128/path", "write `http://proxy:3128`"),
            ("http://proxy:3128?hunter2", "write `http://proxy:3128`"),
            ("http://proxy:3128#x", "write `http://proxy:3128`"),
            ("http://proxy\\hunter2", "no address"),
        ] {
            let error = text.parse::<ProxyUrl>().unwrap_err().to_string();
            assert!(error.contains(remedy), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }

    #[test]
    fn a_proxy_is_allowed_by_its_whole_name_and_its_port_if_one_is_listed() {
        let allowed = AllowedProxies::new(["proxy.corp.example:3128", "any.example", "10.1.2.3", "::1", "[fd00::1]:8"]);
        let allowed = allowed.unwrap();
        for (proxy, expected) in [
            ("http://proxy.corp.example:3128", true),
            ("https://proxy.corp.example:3128", true),
            ("http://proxy.corp.example:3129", false),
            ("http://corp.example:3128", false),
            ("http://x.proxy.corp.example:3128", false),
            ("http://any.example", true),
            ("http://any.example:9", true),
            ("http://10.1.2.3:3128", true),
            ("http://10.1.2.4:3128", false),
            ("http://[::1]:3128", true),
            ("http://[fd00::1]:8", true),
            ("http://[fd00::1]:9", false),
        ] {
            assert_eq!(allowed.allows(&proxy.parse().unwrap()), expected, "{proxy}");
            assert!(!AllowedProxies::default().allows(&proxy.parse().unwrap()), "{proxy}");
        }
        for entry in ["", "http://proxy", "proxy:port", "a b", "proxy:99999"] {
            assert!(AllowedProxies::new([entry]).is_err(), "{entry}");
        }
    }
}
