//! Every credential that was sent here, in the open: for tests that look for them where they must never be. The log knows none.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::arguments::Query;

/// The fields of forms that prove who asks.
const FIELDS: [&str; 3] = ["client_secret", "client_assertion", "subject_token"];

/// What was sent, each once.
#[derive(Debug, Default)]
pub(super) struct Proofs(Mutex<BTreeSet<String>>);

impl Proofs {
    /// Keeps what proves something in a request: of its `Authorization` header what follows the scheme.
    pub(super) fn note(&self, authorization: Option<&str>, form: &Query) {
        let header = authorization.and_then(|header| header.split_once(' ')).map(|(_, credential)| credential);
        let sent = FIELDS.iter().filter_map(|field| form.text(field)).chain(header);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(sent.map(str::to_owned));
    }

    pub(super) fn all(&self) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
