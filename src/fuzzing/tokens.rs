//! Answers of token endpoints, documents that name one, and what names an identity.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;

use super::{SECRET, check, tells_the_secret};
use crate::databricks::fuzzing::{claims, directory, lifetime, principal, token, token_endpoint};
use crate::databricks::host::Host;

/// A text that is read as each of them. A token is one that can stand in a header, is used neither after its end nor close to
/// it and is told by no error; an endpoint is on the workspace's own host; whatever is told of an identity is one bounded
/// line.
pub fn token_answer(bytes: &[u8]) {
    match token(bytes) {
        Ok((token, life)) => {
            assert!(!token.is_empty() && token.len() <= 32 << 10, "a token of {} bytes", token.len());
            assert!(token.bytes().all(|byte| byte.is_ascii_graphic()), "a token that no header takes");
            lives(life);
        }
        Err(error) => shown(&error.to_string(), 512),
    }
    for host in ["https://dbc-1.cloud.databricks.com", "https://127.0.0.1:8443"] {
        let Ok(host) = host.parse::<Host>() else { continue };
        match token_endpoint(&host, bytes) {
            Ok(Ok(path)) => {
                let whole = format!("{host}{path}");
                let read = url::Url::parse(&whole).ok();
                assert_eq!(read.as_ref().map(url::Url::path), Some(path.as_str()), "{whole}");
                assert_eq!(read.as_ref().and_then(url::Url::host_str), Some(host.name()), "{whole}");
            }
            // It names a foreign host.
            Ok(Err(why)) => shown_of_a_name(&why, 512),
            Err(error) => shown(&error.to_string(), 512),
        }
    }
    if let Some(told) = claims(&format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(bytes))) {
        shown_of_a_name(&told, 1024);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(told) = claims(text) {
        shown_of_a_name(&told, 1024);
    }
    if let Some(name) = principal(text) {
        shown_of_a_name(&name, 1024);
    }
    if let Some(path) = directory(text) {
        assert_eq!(path.split('/').count(), 5, "{path}");
        assert!(url::Url::parse("https://login.test").is_ok_and(|mut url| {
            url.set_path(&path);
            url.path() == path
        }));
    }
}

fn lives(life: Duration) {
    let Some([renewed, used, pause]) = lifetime(life) else { return };
    assert!(used.saturating_add(Duration::from_secs(40)) <= life, "used for {used:?} of {life:?}");
    assert!(renewed <= used && pause <= Duration::from_mins(1), "renewed after {renewed:?} of {life:?}, or {pause:?}");
}

fn shown(text: &str, most: usize) {
    shown_of_a_name(text, most);
    assert!(!tells_the_secret(text), "tells a secret ({} bytes of it): {text}", SECRET.len());
}

fn shown_of_a_name(text: &str, most: usize) {
    check::one_line(text);
    assert!(text.len() <= most, "{} bytes: {text}", text.len());
}
