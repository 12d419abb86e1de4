//! The address of a workspace: `https://` and a name, nothing behind it. Credentials are only ever sent there, so the
//! form is strict and has one spelling.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use url::Url;

/// The longest name, and the longest part of one between two dots (RFC 1035).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// A workspace's address in its one spelling: lower case, no trailing slash or dot, a port only where it is not 443.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Host {
    name: String,
    port: u16,
}

/// A text that is no workspace address. Says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// It does not begin with `https://`.
    #[error("a host begins with `https://`, for example `https://dbc-a1b2c3d4-e5f6.cloud.databricks.com`")]
    NotHttps,
    /// Something follows the name.
    #[error("a host ends with its name or port: write `{0}`")]
    TooMuch(String),
    /// `?o=…` or `?w=…` follows the name.
    #[error("write `{0}` and put the workspace's number into `workspaceId`")]
    WorkspaceIdInside(String),
    /// A user name or a password stands before the name.
    #[error("a host holds no user name and no password: credentials belong into a Secret")]
    UserInfo,
    /// It holds what no name holds; URL parsers would drop or translate it, each in its own way.
    #[error(
        "a host's name consists of letters, digits, hyphens and dots: write it without white space, `%` and `\\`, and \
         letters beyond a to z in their `xn--` form"
    )]
    Characters,
    /// No URL at all.
    #[error("this is no address: {0}")]
    NotAnAddress(String),
}

impl Host {
    /// The address, where the host is one and no name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.name.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Lower-case name or address, without the port; an IPv6 address in brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A host that this program knows itself.
    pub(super) fn known(name: &'static str) -> Self {
        Self { name: name.to_owned(), port: 443 }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.name)?;
        if self.port == 443 { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if !text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")) {
            return Err(InvalidHost::NotHttps);
        }
        let url = Url::parse(text).map_err(|error| InvalidHost::NotAnAddress(error.to_string()))?;
        // An empty user name leaves no trace in the URL.
        let authority = text[8..].split(['/', '\\', '?', '#']).next().unwrap_or_default();
        if !url.username().is_empty() || url.password().is_some() || authority.contains('@') {
            return Err(InvalidHost::UserInfo);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\')) {
            return Err(InvalidHost::Characters);
        }
        let name = url.host_str().unwrap_or_default();
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() {
            return Err(InvalidHost::NotAnAddress("it has no name".to_owned()));
        }
        if name.len() > MAX_NAME || name.split('.').any(|label| label.is_empty() || label.len() > MAX_LABEL) {
            return Err(InvalidHost::NotAnAddress("a part of its name is empty or too long".to_owned()));
        }
        let host = Self { name: name.to_owned(), port: url.port_or_known_default().unwrap_or(443) };
        if url.query_pairs().any(|(key, _)| matches!(&*key, "o" | "w" | "workspace_id")) {
            return Err(InvalidHost::WorkspaceIdInside(host.to_string()));
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidHost::TooMuch(host.to_string()));
        }
        Ok(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_host_becomes_the_same() {
        for (text, expected) in [
            ("https://dbc-1.cloud.databricks.com", "https://dbc-1.cloud.databricks.com"),
            ("https://dbc-1.cloud.databricks.com/", "https://dbc-1.cloud.databricks.com"),
            (" https://DBC-1.cloud.databricks.com:443 ", "https://dbc-1.cloud.databricks.com"),
            ("HTTPS://dbc-1.cloud.databricks.com.", "https://dbc-1.cloud.databricks.com"),
            ("https://localhost:8443", "https://localhost:8443"),
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443"),
            ("https://[::1]:8443", "https://[::1]:8443"),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!(host.to_string(), expected, "{text}");
            assert_eq!(expected.parse::<Host>().unwrap(), host, "{text}");
        }
    }

    #[test]
    fn an_address_is_told_from_a_name_however_it_is_written() {
        for (text, address) in [
            ("https://127.0.0.1:8443", Some("127.0.0.1")),
            ("https://0x7f.1", Some("127.0.0.1")),
            ("https://2130706433", Some("127.0.0.1")),
            ("https://[::FFFF:127.0.0.1]", Some("::ffff:7f00:1")),
            ("https://127.0.0.1.example", None),
            ("https://localhost", None),
        ] {
            let host: Host = text.parse().unwrap();
            assert_eq!(host.address(), address.map(|address| address.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused_with_what_to_write() {
        for (text, remedy) in [
            ("", "begins with `https://`"),
            ("dbc-1.cloud.databricks.com", "begins with `https://`"),
            ("http://dbc-1.cloud.databricks.com", "begins with `https://`"),
            ("httpsä//x", "begins with `https://`"),
            ("https://", "no address"),
            ("https://a b", "no address"),
            ("https://x:99999", "no address"),
            ("https://x.com/api", "write `https://x.com`"),
            ("https://x.com/#job/1", "write `https://x.com`"),
            ("https://x.com/?a=1", "write `https://x.com`"),
            ("https://adb-1.2.azuredatabricks.net/?o=123", "`workspaceId`"),
            ("https://user@x.com", "Secret"),
            ("https://@x.com", "Secret"),
            ("https://x.com@evil.example", "Secret"),
            ("https://:dapi123@x.com", "Secret"),
            ("https://x.c\tom", "xn--"),
            ("https://x%2ecom", "xn--"),
            ("https://x.com\\@evil.example", "xn--"),
            ("https://x\u{3002}com", "xn--"),
            ("https://\u{ff11}27.0.0.1", "xn--"),
            ("https://.x.com", "empty"),
            ("https://x..com", "empty"),
            ("https://x.com..", "empty"),
        ] {
            let error = text.parse::<Host>().unwrap_err().to_string();
            assert!(error.contains(remedy), "{text}: {error}");
            assert!(!error.contains("dapi"), "{text}: {error} tells a secret");
        }
    }
}
