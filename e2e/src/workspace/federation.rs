//! Federation: whose tokens the token endpoint takes in place of a secret, and the exchange itself (RFC 8693).
//!
//! Databricks publishes what a policy holds and what a request must say; of its refusals, only that they are a 400 with
//! `error` and `error_description`. Which code goes with which fault follows RFC 6749 §5.2 and RFC 8693 §2.2.2, so a client
//! should treat them alike.

use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use serde::Deserialize;
use serde_json::Value;

use super::arguments::Query;
use super::clock::millis;
use super::errors::ApiError;
use super::state::State;
use crate::jwt::{self, Claims, Wrong};

pub(super) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// One principal has at most so many.
const MAX_POLICIES: usize = 20;

/// What a token must be for a service principal to be given an access token for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederationPolicy {
    /// `iss` of the token, to the letter.
    pub issuer: String,
    /// One of these must be in `aud` of the token.
    pub audiences: Vec<String>,
    /// `sub` of the token, to the letter.
    pub subject: String,
    /// The issuer's public keys.
    pub keys: JwkSet,
}

/// A policy that the account API would not take.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not in the form of the account API.
    #[error("no federation policy: {0}")]
    Form(#[from] serde_json::Error),
    /// This workspace reaches no issuer, so it needs the keys themselves.
    #[error("the policy has no jwks_json, and the fake does not fetch the keys of {0}")]
    NoKeys(String),
    /// It takes the subject from `sub` only.
    #[error("the fake knows no subject_claim but `sub`, not `{0}`")]
    Claim(String),
}

impl FederationPolicy {
    /// Reads the body of `POST /api/2.0/accounts/{account}/servicePrincipals/{id}/federationPolicies`.
    pub fn from_account_api(body: &str) -> Result<Self, PolicyError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            oidc_policy: Policy,
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Policy {
            issuer: String,
            audiences: Vec<String>,
            subject: String,
            subject_claim: Option<String>,
            jwks_json: Option<String>,
        }
        let Policy { issuer, audiences, subject, subject_claim, jwks_json } =
            serde_json::from_str::<Body>(body)?.oidc_policy;
        if let Some(claim) = subject_claim.filter(|claim| claim != "sub") {
            return Err(PolicyError::Claim(claim));
        }
        let Some(jwks) = jwks_json else { return Err(PolicyError::NoKeys(issuer)) };
        Ok(Self { issuer, audiences, subject, keys: serde_json::from_str(&jwks)? })
    }

    /// What a token claims, if it is what this policy asks for. `now` is in seconds.
    fn judge(&self, token: &str, now: i64) -> Result<Claims, Fault> {
        let claims = jwt::verify(token, &self.keys)?;
        if claims.issuer != self.issuer {
            return Err(Fault::Issuer(claims.issuer));
        }
        if claims.subject != self.subject {
            return Err(Fault::Subject(claims.subject));
        }
        if !claims.audiences.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(Fault::Audience(claims.audiences));
        }
        if claims.expires <= now {
            return Err(Fault::Expired(claims.expires));
        }
        match claims.not_before.filter(|not_before| *not_before > now) {
            Some(not_before) => Err(Fault::NotYet(not_before)),
            None => Ok(claims),
        }
    }
}

/// Why a policy does not let a token pass, from the least to the most that was right about it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Token(#[from] Wrong),
    #[error("its issuer {0} is not the policy's")]
    Issuer(String),
    #[error("its subject {0} is not the policy's")]
    Subject(String),
    #[error("none of its audiences {0:?} is in the policy")]
    Audience(Vec<String>),
    #[error("it is not valid before second {0}")]
    NotYet(i64),
    #[error("it expired at second {0}")]
    Expired(i64),
}

impl Fault {
    /// How far a token came: of several policies, the one it almost met is told.
    fn depth(&self) -> u8 {
        match self {
            Self::Token(_) => 0,
            Self::Issuer(_) => 1,
            Self::Subject(_) => 2,
            Self::Audience(_) => 3,
            Self::NotYet(_) | Self::Expired(_) => 4,
        }
    }
}

/// What a token claims, if any of these policies asks for such a one; else why the one it almost met does not, and none if
/// there is no policy. `now` is in seconds.
pub(super) fn judge<'a>(
    policies: impl IntoIterator<Item = &'a FederationPolicy>,
    token: &str,
    now: i64,
) -> Result<Claims, Option<Fault>> {
    let mut nearest: Option<Fault> = None;
    for policy in policies {
        match policy.judge(token, now) {
            Ok(claims) => return Ok(claims),
            Err(fault) if nearest.as_ref().is_none_or(|other| other.depth() < fault.depth()) => nearest = Some(fault),
            Err(_) => {}
        }
    }
    Err(nearest)
}

/// Who may come with which tokens: the policies of each service principal, by its application id.
#[derive(Debug, Default)]
pub(super) struct Federation(Vec<(String, FederationPolicy)>);

impl Federation {
    /// Whether there was room for one more.
    pub(super) fn add(&mut self, client_id: &str, policy: FederationPolicy) -> bool {
        let room = self.of(client_id).count() < MAX_POLICIES;
        if room {
            self.0.push((client_id.to_owned(), policy));
        }
        room
    }

    pub(super) fn forget(&mut self, client_id: &str) {
        self.0.retain(|(owner, _)| owner != client_id);
    }

    fn of(&self, client_id: &str) -> impl Iterator<Item = &FederationPolicy> {
        self.0.iter().filter(move |(owner, _)| owner == client_id).map(|(_, policy)| policy)
    }
}

/// An access token for a token of somebody else's: an assertion that the policies of the principal vouch for.
pub(super) fn exchange(state: &mut State, form: &Query) -> Result<Value, ApiError> {
    let request = |description: &str| ApiError::oauth(400, "invalid_request", description);
    let missing = |name: &str| request(&format!("Missing required parameter: {name}"));
    let token = form.text("subject_token").ok_or_else(|| missing("subject_token"))?;
    let kind = form.text("subject_token_type").ok_or_else(|| missing("subject_token_type"))?;
    if kind != JWT {
        return Err(request(&format!("subject_token_type {kind} is not supported, use {JWT}")));
    }
    super::oauth::check_scope(form)?;
    let client_id = form.text("client_id").ok_or_else(|| {
        request("No federation policy of the account matches the token, and no client_id names a service principal")
    })?;
    let refused =
        |why: &str| ApiError::oauth(400, "invalid_grant", &format!("The subject token is not accepted: {why}"));
    let now = (state.clock.now() + millis(state.settings.token_endpoint_ahead)) / 1000;
    let claims = judge(state.federation.of(client_id), token, now).map_err(|fault| match fault {
        Some(Fault::Token(Wrong::Malformed)) => request("subject_token is not a valid JSON web token"),
        Some(fault) => refused(&fault.to_string()),
        None => refused(&format!("service principal {client_id} has no federation policy")),
    })?;
    // The access token does not outlive what it was given for.
    let left = Duration::from_secs(u64::try_from(claims.expires - now).unwrap_or(0));
    let lifetime = state.settings.token_lifetime.min(left);
    Ok(super::oauth::grant(state, client_id, lifetime))
}
