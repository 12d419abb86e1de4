//! Accepts connections, speaks TLS and HTTP/1.1, and breaks connections where a fault asks for it. The workspace and the
//! login host are both served from here, each with a certificate authority, a thread and a runtime of its own.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::passage::Answer;
use super::{StartError, tls};

/// What answers the requests: the workspace, or the login host.
pub(super) trait Service: Clone + Send + Sync + 'static {
    fn answer(&self, request: Request<Incoming>) -> impl Future<Output = Answer> + Send + use<Self>;
}

/// How long connections that are open get when the server stops.
const FAREWELL: Duration = Duration::from_millis(50);

/// An address that is ours already, to be served when it is known what answers there.
pub(super) struct Address {
    socket: std::net::TcpListener,
    acceptor: TlsAcceptor,
    /// `https://ADDRESS:PORT`.
    pub(super) host: String,
    pub(super) ca_pem: String,
}

/// A server that serves until it is dropped.
pub(super) struct Serving {
    pub(super) host: String,
    pub(super) ca_pem: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Address {
    /// Takes the address, and makes a certificate for it, for loopback and for `names`.
    pub(super) fn bind(address: SocketAddr, mut names: Vec<String>) -> Result<Self, StartError> {
        let cannot_listen = |source| StartError::Listen { address, source };
        let socket = std::net::TcpListener::bind(address).map_err(cannot_listen)?;
        socket.set_nonblocking(true).map_err(cannot_listen)?;
        let bound = socket.local_addr().map_err(cannot_listen)?;
        names.extend(["127.0.0.1".to_owned(), "localhost".to_owned(), bound.ip().to_string()]);
        names.sort();
        names.dedup();
        let tls::Identity { ca_pem, acceptor } = tls::identity(&names)?;
        Ok(Self { socket, acceptor, host: format!("https://{bound}"), ca_pem })
    }

    /// Serves on a thread of this name. Requests are answered as soon as this returns.
    pub(super) fn serve(self, thread: &str, service: impl Service) -> Result<Serving, StartError> {
        let Self { socket, acceptor, host, ca_pem } = self;
        let (stop, stopped) = oneshot::channel();
        let start = || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            let listener = {
                let _inside = runtime.enter();
                TcpListener::from_std(socket)?
            };
            std::thread::Builder::new().name(thread.to_owned()).spawn(move || {
                runtime.block_on(run(listener, acceptor, service, stopped));
                runtime.shutdown_timeout(FAREWELL);
            })
        };
        let thread = start().map_err(StartError::Thread)?;
        Ok(Serving { host, ca_pem, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

/// Serves until `stop` is sent or dropped.
async fn run(listener: TcpListener, acceptor: TlsAcceptor, service: impl Service, mut stop: oneshot::Receiver<()>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stop => return,
        };
        if let Ok((stream, _)) = accepted {
            tokio::spawn(connection(stream, acceptor.clone(), service.clone()));
        }
    }
}

/// The error by which a request tells its connection to close without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped on purpose")]
struct Dropped;

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, service: impl Service) {
    // Answers are small and each is waited for.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let reset = Arc::new(AtomicBool::new(false));
    let answers = service_fn(|request| {
        let answer = service.answer(request);
        let reset = Arc::clone(&reset);
        Box::pin(async move {
            match answer.await {
                Answer::Respond(response) => Ok(response),
                Answer::Hangup => Err(Dropped),
                Answer::Reset => {
                    reset.store(true, Ordering::Relaxed);
                    Err(Dropped)
                }
            }
        })
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answers);
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut stream = connection.into_parts().io.into_inner();
    if reset.load(Ordering::Relaxed) {
        // Closing with no linger sends a reset instead of an end.
        let _ = stream.get_ref().0.set_zero_linger();
    } else if ended.is_ok() {
        let _ = stream.shutdown().await;
    }
}
