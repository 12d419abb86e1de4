//! A fake Databricks workspace over TLS, honest enough to prove an operator against.
//!
//! It knows the Jobs API from its documentation and from how real workspaces were seen to answer, and nothing of the
//! operator: no type of the operator's crate may be used in this room, or the two would share their mistakes.
//! Its other witness is the official Python SDK (`e2e/conformance`).
//!
//! Beside it stands a fake of Entra's login host (`entra`), whose access tokens it accepts.
//!
//! Three rules hold it up. States are computed from facts and the clock, so reading advances nothing (`lifecycle`).
//! What a request does is done whether or not its client waits for the answer (`exchange`). Every request is in the log
//! before anything happens to it (`log`). `e2e/tests/workspace.rs` holds it to them over TLS.

mod arguments;
mod by_hand;
mod catalog;
mod change;
mod clock;
mod control;
mod conventions;
mod dependencies;
mod disturbance;
mod door;
mod endings;
mod entra;
mod errors;
mod exchange;
mod faults;
mod federation;
mod idempotency;
mod job_handle;
mod jobs;
mod lifecycle;
#[cfg(test)]
mod lifecycle_tests;
mod log;
mod oauth;
mod operations;
mod passage;
mod proofs;
mod random;
mod rate;
mod read;
mod records;
mod render;
mod runs;
mod script;
mod server;
mod spoil;
mod start;
mod state;
mod tls;
mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

pub use self::clock::{Clock, Millis};
pub use self::control::{Control, NoSuchRequest};
pub use self::conventions::GUIDE;
pub use self::endings::Ending;
pub use self::entra::{AZURE_DATABRICKS, LoginHost, TOKEN_EXCHANGE_AUDIENCE};
pub use self::faults::{Fault, Kind, RetryAfter};
pub use self::federation::{FederationPolicy, PolicyError};
pub use self::idempotency::IdempotencyMode;
pub use self::job_handle::JobHandle;
pub use self::log::Entry;
pub use self::operations::Operation;
pub use self::records::{RunRecord, TaskRecord};
pub use self::script::{Script, Speed, TaskScript};
pub use self::state::Settings;
pub use self::tokens::Access;

use self::exchange::Shared;

/// The principal behind the token every workspace starts with.
pub const OWNER: &str = "ada@example.com";

/// How a workspace is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Further host names and addresses the certificate is good for, beside 127.0.0.1, localhost and `listen`.
    pub names: Vec<String>,
    /// The personal access token of [`OWNER`].
    pub token: String,
    /// The OAuth client, with its secret.
    pub client: (String, String),
    /// The source of time.
    pub clock: Clock,
    /// What ids, latencies and faults with a probability are drawn from.
    pub seed: u64,
    /// Write a line per request to standard error.
    pub echo: bool,
    /// How it behaves.
    pub settings: Settings,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            names: Vec::new(),
            token: "dapi-fake-token".to_owned(),
            client: ("fake-client".to_owned(), "fake-secret".to_owned()),
            clock: Clock::real(),
            seed: 1,
            echo: false,
            settings: Settings::default(),
        }
    }
}

impl Options {
    /// Scripts are played this many times faster than written.
    #[must_use]
    pub fn speed(mut self, times: u32) -> Self {
        self.settings.speed = Speed::times(times);
        self
    }

    /// Time comes from this clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

/// Why a workspace could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or is not this machine's.
    #[error("cannot listen on {address}: {source}; choose another address, or port 0 for a free one")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The certificate could not be made; a name in [`Options::names`] may be none.
    #[error("cannot make a certificate for the fake workspace: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate was not taken.
    #[error("cannot set up TLS for the fake workspace: {0}")]
    Tls(#[from] rustls::Error),
    /// No thread, no runtime.
    #[error("cannot start the fake workspace's thread: {0}")]
    Thread(std::io::Error),
}

/// A workspace that serves until it is dropped, on a thread and a runtime of its own.
pub struct Workspace {
    control: Control,
    serving: server::Serving,
    token: String,
    client: (String, String),
}

impl Workspace {
    /// Starts a workspace. It answers as soon as this returns.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let address = server::Address::bind(options.listen, options.names)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(state::State {
                settings: options.settings,
                clock: options.clock,
                random: random::Random::seeded(options.seed),
                host: address.host.clone(),
                jobs: BTreeMap::new(),
                runs: runs::Runs::default(),
                ledger: idempotency::Ledger::default(),
                tokens: tokens::Tokens::default(),
                federation: federation::Federation::default(),
                faults: disturbance::Faults::default(),
                submit_scripts: Vec::new(),
            }),
            log: Arc::new(log::Log::new(options.echo)),
            bucket: Mutex::new(rate::Bucket::new()),
            proofs: proofs::Proofs::default(),
        });
        let serving = address.serve("fake-workspace", Arc::clone(&shared))?;
        let control = Control(shared);
        control.accept_token(&options.token, OWNER, None);
        control.accept_client(&options.client.0, &options.client.1);
        Ok(Self { control, serving, token: options.token, client: options.client })
    }

    /// `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.serving.host
    }

    /// The certificate authority clients must trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.serving.ca_pem
    }

    /// The personal access token it started with.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The id and the secret of the OAuth client it started with.
    #[must_use]
    pub fn client(&self) -> (&str, &str) {
        (&self.client.0, &self.client.1)
    }

    /// The methods of [`Control`], to be kept elsewhere.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }
}

impl Deref for Workspace {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}
