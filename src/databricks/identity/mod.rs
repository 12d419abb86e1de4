//! The kinds of identity, one file each: where each gets its token. A further kind is a further [`Issuer`] here.
//!
//! What they share: `token_host` (asking for a token), `token_answer`
//! (reading what comes), `discovery` (where a workspace's token endpoint is), `claims` (what an assertion says of
//! itself, for remedies). A token that was had for an assertion never outlives the assertion; no issuer keeps one.
//! What happens on the wire is tested in `e2e/tests/databricks_client/` (`identity`, `federation`, `entra`).

mod claims;
mod discovery;
mod entra;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod oauth_m2m;
mod pat;
mod token_answer;
mod token_federation;
mod token_host;

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::client::InvalidSettings;
use super::clock::Clock;
use super::credentials::{Assertion, KeptSecrets};
use super::limiters::Limiter;
use super::observer::Observer;
use super::settings::{Auth, Settings};
use super::tokens::{Issued, Issuer, Lives};
use super::transport::Transport;
use discovery::Discovery;
use entra::{Entra, Proof};
use oauth_m2m::OauthM2m;
use pat::Pat;
use token_answer::TokenAnswer;
use token_federation::TokenFederation;
use token_host::TokenHost;

/// The issuer of this identity. Reads no secret and sends nothing.
pub(super) fn issuer(
    settings: &Settings,
    secrets: KeptSecrets,
    transport: Arc<Transport>,
    limiter: Arc<Limiter>,
    observer: Arc<dyn Observer>,
    clock: Clock,
) -> Result<Box<dyn Issuer>, InvalidSettings> {
    let entra = |tenant_id: String, client_id, proof, secrets, observer| {
        Entra::new(settings, &tenant_id, client_id, proof, secrets, observer)
    };
    let discovery = |observer| {
        let workspace = TokenHost::workspace(transport, limiter, observer);
        Discovery::new(settings.host.clone(), workspace, clock)
    };
    Ok(match settings.auth.clone() {
        Auth::Pat { token } => Box::new(Pat { token, secrets }),
        Auth::OauthM2m { client_id, client_secret } => {
            Box::new(OauthM2m { client_id, client_secret, secrets, discovery: discovery(observer) })
        }
        Auth::TokenFederation { client_id, assertion: source, audience } => {
            Box::new(TokenFederation { client_id, source, audience, secrets, discovery: discovery(observer) })
        }
        Auth::AzureServicePrincipal { tenant_id, client_id, client_secret } => {
            Box::new(entra(tenant_id, client_id, Proof::Secret(client_secret), secrets, observer)?)
        }
        Auth::AzureWorkloadIdentity { tenant_id, client_id, assertion } => {
            Box::new(entra(tenant_id, client_id, Proof::Assertion(assertion), secrets, observer)?)
        }
    })
}

/// The life of a token whose endpoint does not tell. Databricks' live for an hour.
const UNTOLD_LIFE: Duration = Duration::from_mins(10);

/// What came of a request for a token, to be used no longer than what proved the identity is valid.
fn issued(answer: TokenAnswer, assertion: Option<&Assertion>) -> Issued {
    let told = answer.expires_in.unwrap_or(UNTOLD_LIFE);
    let lives = assertion.map_or(told, |assertion| told.min(assertion.expires_in));
    Issued { token: SecretString::from(answer.access_token), lives: Lives::For(lives) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_with_its_assertion_if_not_before() {
        let seconds = Duration::from_secs;
        for (told, assertion, expected) in [
            (Some(3600), Some(600), 600),
            (Some(300), Some(600), 300),
            (Some(3600), None, 3600),
            (None, None, 600),
            (None, Some(120), 120),
        ] {
            let answer = TokenAnswer { access_token: "t".to_owned(), expires_in: told.map(seconds) };
            let assertion = assertion.map(|life| Assertion { token: "a".into(), expires_in: seconds(life) });
            let Lives::For(lives) = issued(answer, assertion.as_ref()).lives else { panic!("no life is told") };
            assert_eq!(lives, seconds(expected), "{told:?} {assertion:?}");
        }
    }
}
