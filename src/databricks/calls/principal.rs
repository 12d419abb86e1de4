//! Who a credential belongs to, for people to see: asked once for each token, beside the Jobs API, and missed by nobody. No
//! answer to it says anything of whether the workspace can be used.

use std::time::Duration;

use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::databricks::client::{Client, Deadline};
use crate::databricks::error::Error;
use crate::databricks::error_body::clean;
use crate::databricks::observer::Operation;
use crate::databricks::settings::{Auth, ClientId};

/// The longest it may take.
const TIME: Duration = Duration::from_secs(5);
/// Characters of a name that are kept.
const MAX_NAME: usize = 256;
/// Part of the identity API, which needs no right but the token; it has one version.
const PATH: &str = "/api/2.0/preview/scim/v2/Me";

/// Who a credential belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A person or a service principal, by user name.
    Named(String),
    /// The workspace does not tell.
    Untold,
    /// It could not be asked now.
    NotAsked,
}

/// What was said of which token.
#[derive(Default)]
pub(in crate::databricks) struct Known(Option<(HeaderValue, Principal)>);

impl Client {
    /// Who the credential belongs to. Whoever keeps a client id in a Secret does not want it told, and a service
    /// principal's user name is that id: then it is not asked for.
    pub async fn principal(&self) -> Principal {
        if let Auth::OauthM2m { client_id: ClientId::Secret(_), .. } = self.settings().auth {
            return Principal::Untold;
        }
        let deadline = Deadline::after(TIME);
        let Ok(authorization) = self.authorization(deadline).await else { return Principal::NotAsked };
        if let Some((asked, principal)) = &self.known_principal().0
            && *asked == authorization
        {
            return principal.clone();
        }
        let answer = self.get_beside_jobs(Operation::Me, PATH, authorization.clone(), deadline).await;
        let principal = match answer.and_then(|answer| answer.json::<Me>()) {
            Ok(me) => named(&me.user_name),
            Err(Error::NotNow(_) | Error::Throttled { .. } | Error::Unavailable(_) | Error::Transport(_)) => {
                return Principal::NotAsked;
            }
            Err(_) => Principal::Untold,
        };
        self.known_principal().0 = Some((authorization, principal.clone()));
        principal
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Me {
    #[serde(default)]
    user_name: String,
}

pub(in crate::databricks) fn named(text: &str) -> Principal {
    let name: String = clean(text).chars().take(MAX_NAME).collect();
    if name.trim().is_empty() { Principal::Untold } else { Principal::Named(name.trim().to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_harmless_line_and_not_too_long() {
        assert_eq!(named(" me@corp.test\n"), Principal::Named("me@corp.test".to_owned()));
        assert_eq!(named("me\u{202e}moc.live\u{1b}[2J"), Principal::Named("memoc.live[2J".to_owned()));
        assert_eq!(named(" \n\u{200f}"), Principal::Untold);
        let Principal::Named(long) = named(&"ü".repeat(10_000)) else { panic!() };
        assert_eq!(long.chars().count(), MAX_NAME);
    }
}
