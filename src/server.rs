//! `/healthz`, `/readyz` and `/metrics`. They run on a thread of their own, so that a busy operator is not killed by a
//! probe that waited behind reconciles. None of them ever depends on Databricks: an outage there must not restart or
//! unplug the operator.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use thiserror::Error;
use tokio::sync::watch;

use crate::telemetry::Metrics;
use crate::telemetry::metrics::CONTENT_TYPE;

/// How long a stop waits for answers that are on their way. They take microseconds; only a client that does not read
/// takes longer.
const GRACE: Duration = Duration::from_secs(1);

/// Why the server could not start.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The address could not be had.
    #[error("{flag}: cannot listen on {address}: {cause}; is another process using it?")]
    Bind {
        /// The flag that gave the address.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The server's own thread could not be had.
    #[error("the thread for probes and metrics could not be started: {0}")]
    Thread(std::io::Error),
}

/// The operator's pulse: whoever does the work beats, `/healthz` looks when the last beat was. Clones are one pulse.
#[derive(Debug, Clone)]
pub struct Heartbeat(Arc<Pulse>);

#[derive(Debug)]
struct Pulse {
    start: Instant,
    /// Milliseconds from `start` to the last beat.
    last: AtomicU64,
    limit: Duration,
}

impl Heartbeat {
    /// A pulse that counts as stopped when the last beat is older than `limit`. Its start is the first beat.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self(Arc::new(Pulse { start: Instant::now(), last: AtomicU64::new(0), limit }))
    }

    /// The work goes on.
    pub fn beat(&self) {
        self.beat_at(self.0.start.elapsed());
    }

    fn beat_at(&self, since_start: Duration) {
        self.0.last.fetch_max(since_start.as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What is wrong, if the work has stopped.
    fn failure(&self, since_start: Duration) -> Option<String> {
        let age = since_start.saturating_sub(Duration::from_millis(self.0.last.load(Ordering::Relaxed)));
        (age > self.0.limit).then(|| {
            let (age, limit) = (age.as_secs(), self.0.limit.as_secs());
            format!("the controller's loop was last alive {age} s ago, more than the {limit} s it may be silent\n")
        })
    }
}

/// Whether the operator's caches are filled. Clones are one; it starts as "not ready".
#[derive(Debug, Clone)]
pub struct Readiness(Arc<Mutex<Result<(), String>>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Err("the caches of Kubernetes objects are not filled yet".to_owned()))))
    }
}

impl Readiness {
    /// The caches are filled.
    pub fn ready(&self) {
        *self.lock() = Ok(());
    }

    /// They are not, because of this.
    pub fn waits_for(&self, what: String) {
        *self.lock() = Err(what);
    }

    fn lock(&self) -> MutexGuard<'_, Result<(), String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where to listen. Equal addresses are one listener that serves everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// For `/healthz` and `/readyz`.
    pub health: SocketAddr,
    /// For `/metrics`.
    pub metrics: SocketAddr,
}

/// The running server. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    addresses: Addresses,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens and serves; when this returns, probes are answered. Port 0 takes any free port.
    pub fn start(
        addresses: Addresses,
        heartbeat: Heartbeat,
        readiness: Readiness,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ServerError> {
        let probes = probes(heartbeat, readiness);
        let scrape = scrape(metrics);
        let (health, health_address) = listen("--health-address", addresses.health)?;
        let (listeners, metrics_address) = if addresses.health == addresses.metrics {
            (vec![(health, probes.merge(scrape))], health_address)
        } else {
            let (metrics, address) = listen("--metrics-address", addresses.metrics)?;
            (vec![(health, probes), (metrics, scrape)], address)
        };

        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServerError::Thread)?;
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("probes".to_owned())
            .spawn(move || runtime.block_on(serve_all(listeners, stopped)))
            .map_err(ServerError::Thread)?;
        let addresses = Addresses { health: health_address, metrics: metrics_address };
        Ok(Self { addresses, stop, thread: Some(thread) })
    }

    /// Where it listens, with the ports it was given.
    #[must_use]
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Answers what is on its way, then stops. Blocks for up to a second.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread for probes and metrics had panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.halt();
    }
}

fn listen(flag: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), ServerError> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bind().map_err(|cause| ServerError::Bind { flag, address, cause })
}

async fn serve_all(listeners: Vec<(TcpListener, Router)>, stopped: watch::Receiver<bool>) {
    let servers = futures::future::join_all(
        listeners.into_iter().map(|(listener, router)| serve(listener, router, stopped.clone())),
    );
    let too_late = async {
        wait_for_stop(stopped).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        _ = servers => {}
        () = too_late => {}
    }
}

async fn serve(listener: TcpListener, router: Router, stopped: watch::Receiver<bool>) {
    let served = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => axum::serve(listener, router).with_graceful_shutdown(wait_for_stop(stopped)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "probes or metrics are no longer served");
    }
}

/// Ends when the server is to stop, or is gone without having said so.
async fn wait_for_stop(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn probes(heartbeat: Heartbeat, readiness: Readiness) -> Router {
    let healthz = move || {
        let failure = heartbeat.failure(heartbeat.0.start.elapsed());
        std::future::ready(
            failure.map_or((StatusCode::OK, "ok\n".to_owned()), |why| (StatusCode::INTERNAL_SERVER_ERROR, why)),
        )
    };
    let readyz = move || {
        std::future::ready(match &*readiness.lock() {
            Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        })
    };
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

fn scrape(metrics: Arc<Metrics>) -> Router {
    let answer = move || std::future::ready(([(header::CONTENT_TYPE, CONTENT_TYPE)], metrics.encode()).into_response());
    Router::new().route("/metrics", get(answer))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    const LOOPBACK: &str = "127.0.0.1:0";

    struct Started {
        server: Server,
        heartbeat: Heartbeat,
        readiness: Readiness,
    }

    /// A server on free ports: one for everything, or one each.
    fn started(one_address: bool) -> Started {
        let health: SocketAddr = LOOPBACK.parse().unwrap();
        // 127.0.0.2 is loopback as well: another address, and as free.
        let metrics = if one_address { health } else { "127.0.0.2:0".parse().unwrap() };
        let (heartbeat, readiness) = (Heartbeat::new(Duration::from_hours(1)), Readiness::default());
        let metrics = Addresses { health, metrics };
        let server = Server::start(metrics, heartbeat.clone(), readiness.clone(), Arc::default()).unwrap();
        Started { server, heartbeat, readiness }
    }

    /// The status line and the rest of an answer.
    fn ask(address: SocketAddr, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (status, rest) = answer.split_once("\r\n").unwrap();
        (status.to_owned(), rest.to_owned())
    }

    #[test]
    fn probes_and_metrics_have_an_address_each() {
        let Started { server, .. } = started(false);
        let Addresses { health, metrics } = server.addresses();
        assert!(ask(health, "/healthz").0.contains("200"));
        let (status, rest) = ask(metrics, "/metrics");
        assert!(status.contains("200") && rest.contains(CONTENT_TYPE) && rest.contains("# EOF"), "{status} {rest}");
        assert!(ask(health, "/metrics").0.contains("404") && ask(metrics, "/healthz").0.contains("404"));
    }

    #[test]
    fn one_address_serves_everything() {
        let Started { server, .. } = started(true);
        let Addresses { health, metrics } = server.addresses();
        assert_eq!(health, metrics);
        assert!(ask(health, "/healthz").0.contains("200") && ask(health, "/metrics").0.contains("200"));
    }

    #[test]
    fn the_operator_is_ready_once_its_caches_are_filled() {
        let Started { server, readiness, .. } = started(true);
        let address = server.addresses().health;
        let (status, rest) = ask(address, "/readyz");
        assert!(status.contains("503") && rest.contains("caches"), "{status} {rest}");
        readiness.waits_for("nothing may be listed".to_owned());
        assert!(ask(address, "/readyz").1.contains("nothing may be listed\n"));
        readiness.ready();
        assert!(ask(address, "/readyz").0.contains("200"));
    }

    #[test]
    fn a_silent_loop_is_unhealthy_until_it_beats_again() {
        let heartbeat = Heartbeat::new(Duration::from_mins(1));
        let seconds = Duration::from_secs;
        assert_eq!(heartbeat.failure(seconds(60)), None, "the start counts as a beat");
        let why = heartbeat.failure(seconds(75)).unwrap();
        assert!(why.contains("75 s ago") && why.contains("60 s"), "{why}");
        heartbeat.beat_at(seconds(70));
        assert_eq!(heartbeat.failure(seconds(75)), None);
    }

    #[test]
    fn healthz_says_why_the_operator_is_unhealthy() {
        let heartbeat = Heartbeat(Arc::new(Pulse {
            start: Instant::now().checked_sub(Duration::from_secs(10)).unwrap(),
            last: AtomicU64::new(0),
            limit: Duration::from_secs(5),
        }));
        let address = LOOPBACK.parse().unwrap();
        let both = Addresses { health: address, metrics: address };
        let server = Server::start(both, heartbeat.clone(), Readiness::default(), Arc::default()).unwrap();
        let (status, rest) = ask(server.addresses().health, "/healthz");
        assert!(status.contains("500") && rest.contains("last alive"), "{status} {rest}");
        heartbeat.beat();
        assert!(ask(server.addresses().health, "/healthz").0.contains("200"));
    }

    #[test]
    fn an_address_in_use_is_named_with_its_flag() {
        let taken = TcpListener::bind(LOOPBACK).unwrap();
        let address = taken.local_addr().unwrap();
        let addresses = Addresses { health: LOOPBACK.parse().unwrap(), metrics: address };
        let heartbeat = Heartbeat::new(Duration::from_secs(1));
        let error = Server::start(addresses, heartbeat, Readiness::default(), Arc::default()).unwrap_err().to_string();
        assert!(error.contains("--metrics-address") && error.contains(&address.to_string()), "{error}");
    }

    #[test]
    fn a_client_that_says_nothing_does_not_hold_up_the_stop() {
        let Started { server, heartbeat, .. } = started(true);
        let address = server.addresses().health;
        let _silent = TcpStream::connect(address).unwrap();
        assert!(ask(address, "/healthz").0.contains("200"));
        server.stop();
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
        assert_eq!(Arc::strong_count(&heartbeat.0), 1, "nothing of the server is left");
    }
}
