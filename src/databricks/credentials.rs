//! Where secrets and assertions come from, and how long secrets are remembered when they can no longer be read.
//!
//! A namespace that is being deleted often loses its Secret, or the right to read it, before its runs are cancelled.
//! So the last good reading is kept for [`KEPT_FOR`]; a reading that Databricks refused is never used again.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};

use super::clock::Clock;
use super::error::CredentialsError;
use super::lifetime::Lifetime;
use super::settings::AssertionSource;

/// How long a secret that was read once serves when it cannot be read any more.
pub const KEPT_FOR: Duration = Duration::from_mins(15);
/// Bytes of an assertion that are sent on. Kubernetes' have about a thousand.
const LONGEST_ASSERTION: usize = 16 << 10;

/// The name of a secret and of the key within it. Whose namespace they live in is the implementer's affair.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretKey {
    /// The Secret's name.
    pub name: String,
    /// The key within it.
    pub key: String,
}

impl fmt::Display for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key `{}` of Secret `{}`", self.key, self.name)
    }
}

/// A token of a Kubernetes ServiceAccount that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AssertionRequest {
    /// Whose.
    pub source: AssertionSource,
    /// Whom it is for. Never the Kubernetes API server: whoever makes the assertion refuses that.
    pub audience: String,
}

/// A token of a Kubernetes ServiceAccount: a JWT that proves who we are to whoever trusts the cluster.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The JWT.
    pub token: SecretString,
    /// How long it is still valid.
    pub expires_in: Duration,
}

/// Reads secrets and gets assertions. Called anew whenever a token is needed, so that a rotated secret is seen.
pub trait Credentials: Send + Sync + 'static {
    /// Reads one key of one secret, with a deadline of its own.
    fn read<'a>(&'a self, what: &'a SecretKey) -> BoxFuture<'a, Result<SecretString, CredentialsError>>;

    /// Gets an assertion, with a deadline of its own. The longer it lives (an hour is good), the longer a namespace that
    /// loses its ServiceAccount can still cancel its runs: what was exchanged for it serves to its end and no longer.
    fn assertion<'a>(&'a self, what: &'a AssertionRequest) -> BoxFuture<'a, Result<Assertion, CredentialsError>>;
}

/// Secrets with a short memory.
pub(super) struct KeptSecrets {
    source: Arc<dyn Credentials>,
    clock: Clock,
    kept: Mutex<HashMap<SecretKey, Kept>>,
}

struct Kept {
    value: SecretString,
    read_at: Duration,
}

impl KeptSecrets {
    pub(super) fn new(source: Arc<dyn Credentials>, clock: Clock) -> Self {
        Self { source, clock, kept: Mutex::default() }
    }

    /// Reads a secret anew. Where that fails for any reason but a bad value, the last good reading serves for
    /// [`KEPT_FOR`]. White space around it is dropped: most secrets made by hand end in a newline.
    pub(super) async fn read(&self, what: &SecretKey) -> Result<SecretString, CredentialsError> {
        let error = match self.source.read(what).await {
            Ok(value) => return self.accept(what, &value),
            Err(error) => error,
        };
        if matches!(error, CredentialsError::Invalid(_)) {
            return Err(error);
        }
        let now = self.clock.now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, entry| now.saturating_sub(entry.read_at) < KEPT_FOR);
        match kept.get(what) {
            Some(entry) => {
                tracing::debug!(secret = %what, %error, "a secret cannot be read any more; the last reading serves");
                Ok(entry.value.clone())
            }
            None => Err(error),
        }
    }

    /// Gets an assertion anew. None is ever kept: what was exchanged for one serves on by itself.
    pub(super) async fn assertion(&self, what: &AssertionRequest) -> Result<Assertion, CredentialsError> {
        let assertion = self.source.assertion(what).await?;
        let source = &what.source;
        let text = assertion.token.expose_secret().trim();
        if text.is_empty() || text.len() > LONGEST_ASSERTION || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialsError::Invalid(format!("what was given as the token of {source} is none")));
        }
        if Lifetime::of_token(Duration::ZERO, assertion.expires_in).is_none() {
            return Err(CredentialsError::Unavailable(format!(
                "the token of {source} ends in {} s, too soon to be exchanged; have it renewed earlier",
                assertion.expires_in.as_secs()
            )));
        }
        Ok(Assertion { token: text.into(), expires_in: assertion.expires_in })
    }

    fn accept(&self, what: &SecretKey, value: &SecretString) -> Result<SecretString, CredentialsError> {
        let text = value.expose_secret().trim();
        if text.is_empty() {
            return Err(CredentialsError::NotFound(format!("{what} is empty; write the credential there")));
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialsError::Invalid(format!(
                "{what} holds characters that no credential has (white space within, control or non-ASCII characters); \
                 write the credential alone there"
            )));
        }
        let value = SecretString::from(text);
        let entry = Kept { value: value.clone(), read_at: self.clock.now() };
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(what.clone(), entry);
        Ok(value)
    }

    /// Forgets every reading: Databricks refused what came of them.
    pub(super) fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::clock::tests::ManualClock;
    use super::*;

    /// A secret store whose one answer tests can change.
    pub(in super::super) struct OneSecret(pub(in super::super) Mutex<Result<&'static str, CredentialsError>>);

    impl OneSecret {
        pub(in super::super) fn holding(value: &'static str) -> Arc<Self> {
            Arc::new(Self(Mutex::new(Ok(value))))
        }

        pub(in super::super) fn becomes(&self, answer: Result<&'static str, CredentialsError>) {
            *self.0.lock().unwrap() = answer;
        }
    }

    impl Credentials for OneSecret {
        fn read<'a>(&'a self, _: &'a SecretKey) -> BoxFuture<'a, Result<SecretString, CredentialsError>> {
            let answer = self.0.lock().unwrap().clone();
            Box::pin(async move { answer.map(SecretString::from) })
        }

        /// The one answer there is, as a token of ten minutes.
        fn assertion<'a>(&'a self, _: &'a AssertionRequest) -> BoxFuture<'a, Result<Assertion, CredentialsError>> {
            let answer = self.0.lock().unwrap().clone();
            let expires_in = Duration::from_mins(10);
            Box::pin(async move { answer.map(|token| Assertion { token: token.into(), expires_in }) })
        }
    }

    pub(in super::super) fn key() -> SecretKey {
        SecretKey { name: "db".into(), key: "token".into() }
    }

    fn gone() -> CredentialsError {
        CredentialsError::NotFound("Secret `db` is not there".into())
    }

    #[tokio::test]
    async fn a_secret_that_is_gone_serves_for_fifteen_minutes_since_it_was_read() {
        let (store, clock) = (OneSecret::holding("abc"), ManualClock::default());
        let secrets = KeptSecrets::new(store.clone(), clock.clock());
        assert_eq!(secrets.read(&key()).await.unwrap().expose_secret(), "abc");
        store.becomes(Err(gone()));
        clock.turn(KEPT_FOR.saturating_sub(Duration::from_secs(1)));
        assert_eq!(secrets.read(&key()).await.unwrap().expose_secret(), "abc");
        clock.turn(Duration::from_secs(1));
        assert_eq!(secrets.read(&key()).await.unwrap_err(), gone());
    }

    #[tokio::test]
    async fn a_refused_secret_is_never_served_from_memory() {
        let (store, clock) = (OneSecret::holding("abc"), ManualClock::default());
        let secrets = KeptSecrets::new(store.clone(), clock.clock());
        secrets.read(&key()).await.unwrap();
        secrets.forget();
        store.becomes(Err(gone()));
        assert_eq!(secrets.read(&key()).await.unwrap_err(), gone());
    }

    #[tokio::test]
    async fn white_space_around_a_secret_is_dropped_and_within_it_refused() {
        let (store, clock) = (OneSecret::holding(" abc\n"), ManualClock::default());
        let secrets = KeptSecrets::new(store.clone(), clock.clock());
        assert_eq!(secrets.read(&key()).await.unwrap().expose_secret(), "abc");
        for (value, reason) in [("a b", "characters"), ("a\u{0}b", "characters"), ("ä", "characters"), (" \n", "empty")]
        {
            store.becomes(Ok(value));
            let error = secrets.read(&key()).await.unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("key `token` of Secret `db`"), "{error}");
            assert!(!error.contains(value.trim()) || value.trim().is_empty(), "{error} tells the secret");
        }
    }

    #[tokio::test]
    async fn an_assertion_is_never_served_from_memory_and_never_sent_when_it_is_none() {
        let (store, clock) = (OneSecret::holding(" eyJ.e30.s\n"), ManualClock::default());
        let secrets = KeptSecrets::new(store.clone(), clock.clock());
        let wanted =
            AssertionRequest { source: AssertionSource::ServiceAccount("runner".into()), audience: "a".into() };
        assert_eq!(secrets.assertion(&wanted).await.unwrap().token.expose_secret(), "eyJ.e30.s");
        store.becomes(Err(gone()));
        assert_eq!(secrets.assertion(&wanted).await.unwrap_err(), gone());
        for value in ["", " ", "a b", "ä"] {
            store.becomes(Ok(value));
            let error = secrets.assertion(&wanted).await.unwrap_err();
            assert!(matches!(error, CredentialsError::Invalid(_)), "{error}");
            assert!(error.to_string().contains("ServiceAccount `runner`"), "{error}");
        }
    }
}
