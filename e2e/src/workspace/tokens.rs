//! Who may call: principals, their access tokens, and the OAuth clients that are given more of them.
//!
//! Every way to get a token ends in [`Tokens::issue`]: the grants of `oauth`, and the login host beside the workspace.

use std::collections::HashMap;

use super::clock::Millis;
use super::random::Random;

/// What a principal may do with jobs and runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    #[default]
    Manage,
    /// Read, but neither start nor cancel.
    View,
    /// Nothing, not even learn whether a job or run exists.
    None,
}

/// An OAuth client of the token endpoint.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) secret: String,
    pub(super) principal: String,
}

#[derive(Clone, Debug)]
struct Issued {
    principal: String,
    expires: Option<Millis>,
    revoked: bool,
}

/// Tokens, clients and rights.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    issued: HashMap<String, Issued>,
    pub(super) clients: HashMap<String, Client>,
    access: HashMap<String, Access>,
    job_access: HashMap<(String, i64), Access>,
}

/// Why a token is not accepted, in the service's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Invalid,
    Expired,
}

impl Refused {
    pub(super) fn message(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid access token.",
            Self::Expired => "Token has expired.",
        }
    }
}

impl Tokens {
    /// Accepts `token` for `principal`, for ever or until `expires`.
    pub(super) fn accept(&mut self, token: &str, principal: &str, expires: Option<Millis>) {
        let issued = Issued { principal: principal.to_owned(), expires, revoked: false };
        self.issued.insert(token.to_owned(), issued);
    }

    /// Every token that was ever accepted.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.issued.keys().map(String::as_str)
    }

    /// A new access token for `principal`.
    pub(super) fn issue(&mut self, random: &mut Random, principal: &str, expires: Millis) -> String {
        let token = format!("eyJ.{}", random.hex());
        self.accept(&token, principal, Some(expires));
        token
    }

    pub(super) fn revoke(&mut self, token: &str) {
        if let Some(issued) = self.issued.get_mut(token) {
            issued.revoked = true;
        }
    }

    /// Revokes everything a principal holds, as an administrator would.
    pub(super) fn revoke_all_of(&mut self, principal: &str) {
        for issued in self.issued.values_mut().filter(|issued| issued.principal == principal) {
            issued.revoked = true;
        }
    }

    /// The principal behind a token. `margin` is how long before its end a token is no longer taken.
    pub(super) fn principal(&self, token: &str, now: Millis, margin: Millis) -> Result<&str, Refused> {
        let issued = self.issued.get(token).filter(|issued| !issued.revoked).ok_or(Refused::Invalid)?;
        match issued.expires {
            Some(expires) if now + margin >= expires => Err(Refused::Expired),
            _ => Ok(&issued.principal),
        }
    }

    pub(super) fn set_access(&mut self, principal: &str, job: Option<i64>, access: Access) {
        match job {
            Some(job) => self.job_access.insert((principal.to_owned(), job), access),
            None => self.access.insert(principal.to_owned(), access),
        };
    }

    /// The rights on one job; the workspace-wide ones where nothing is said of the job.
    pub(super) fn access(&self, principal: &str, job: Option<i64>) -> Access {
        job.and_then(|job| self.job_access.get(&(principal.to_owned(), job)))
            .or_else(|| self.access.get(principal))
            .copied()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_refused_from_its_margin_on() {
        let mut tokens = Tokens::default();
        tokens.accept("secret", "ada", Some(100_000));
        assert_eq!(tokens.principal("secret", 69_999, 30_000), Ok("ada"));
        assert_eq!(tokens.principal("secret", 70_000, 30_000), Err(Refused::Expired));
        assert_eq!(tokens.principal("secret", 99_999, 0), Ok("ada"));
        assert_eq!(tokens.principal("other", 0, 0), Err(Refused::Invalid));
    }

    #[test]
    fn a_revoked_token_is_invalid() {
        let mut tokens = Tokens::default();
        tokens.accept("one", "ada", None);
        tokens.accept("two", "ada", None);
        tokens.revoke("one");
        assert_eq!(tokens.principal("one", 0, 0), Err(Refused::Invalid));
        assert!(tokens.principal("two", 0, 0).is_ok());
        tokens.revoke_all_of("ada");
        assert!(tokens.principal("two", 0, 0).is_err());
    }

    #[test]
    fn rights_on_a_job_win_over_rights_on_the_workspace() {
        let mut tokens = Tokens::default();
        tokens.set_access("ada", None, Access::View);
        tokens.set_access("ada", Some(1), Access::Manage);
        assert_eq!(tokens.access("ada", Some(1)), Access::Manage);
        assert_eq!(tokens.access("ada", Some(2)), Access::View);
        assert_eq!(tokens.access("bob", Some(2)), Access::Manage);
    }
}
