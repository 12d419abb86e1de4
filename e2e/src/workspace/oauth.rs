//! The token endpoint and what leads clients to it. One function per grant.

use std::time::Duration;

use serde_json::{Value, json};

use super::arguments::Query;
use super::clock::millis;
use super::errors::ApiError;
use super::federation;
use super::state::State;

/// `POST /oidc/v1/token`: an access token for whoever proves to be a client.
pub(super) fn token(state: &mut State, form: &Query, authorization: Option<&str>) -> Result<Value, ApiError> {
    match form.text("grant_type") {
        Some("client_credentials") => client_credentials(state, form, authorization),
        Some(federation::TOKEN_EXCHANGE) => federation::exchange(state, form),
        Some(other) => {
            Err(ApiError::oauth(400, "unsupported_grant_type", &format!("grant_type {other} is not supported")))
        }
        None => Err(ApiError::oauth(400, "invalid_request", "grant_type is required")),
    }
}

/// A client id with its secret, in the `Authorization` header or in the form.
fn client_credentials(state: &mut State, form: &Query, authorization: Option<&str>) -> Result<Value, ApiError> {
    let refused = || ApiError::oauth(401, "invalid_client", "Client authentication failed");
    let in_form = || Some((form.text("client_id")?.to_owned(), form.text("client_secret")?.to_owned()));
    let (id, secret) = authorization.and_then(basic).or_else(in_form).ok_or_else(refused)?;
    let client = state.tokens.clients.get(&id).filter(|client| client.secret == secret);
    let principal = client.ok_or_else(refused)?.principal.clone();
    check_scope(form)?;
    let lifetime = state.settings.token_lifetime;
    Ok(grant(state, &principal, lifetime))
}

/// There is one scope for those who call the API.
pub(super) fn check_scope(form: &Query) -> Result<(), ApiError> {
    match form.text("scope") {
        Some(scope) if !scope.split(' ').any(|word| word == "all-apis") => {
            Err(ApiError::oauth(400, "invalid_scope", "The requested scope is invalid"))
        }
        _ => Ok(()),
    }
}

/// The answer every grant ends in.
pub(super) fn grant(state: &mut State, principal: &str, lifetime: Duration) -> Value {
    let expires = state.clock.now() + millis(lifetime);
    let token = state.tokens.issue(&mut state.random, principal, expires);
    let seconds = lifetime.as_secs();
    let expires_in = if state.settings.expires_in_as_text { json!(seconds.to_string()) } else { json!(seconds) };
    json!({ "access_token": token, "token_type": "Bearer", "scope": "all-apis", "expires_in": expires_in })
}

fn basic(header: &str) -> Option<(String, String)> {
    let encoded = header.strip_prefix("Basic ")?;
    let decoded = data_encoding::BASE64.decode(encoded.trim().as_bytes()).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// The documents that tell a client where the token endpoint is.
pub(super) fn discovery(state: &State, path: &str) -> Value {
    let host = &state.host;
    if path.ends_with("databricks-config") {
        return json!({
            "oidc_endpoint": format!("{host}/oidc"),
            "workspace_id": state.settings.workspace_id.to_string(),
            "cloud": "AWS",
            "host_type": "workspace",
        });
    }
    json!({
        "issuer": format!("{host}/oidc"),
        "authorization_endpoint": format!("{host}/oidc/v1/authorize"),
        "token_endpoint": format!("{host}/oidc/v1/token"),
        "grant_types_supported": ["client_credentials", federation::TOKEN_EXCHANGE],
    })
}
