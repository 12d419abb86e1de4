//! Accepts connections, speaks TLS and HTTP/1.1, and breaks connections where a fault asks for it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::exchange::{Answer, Shared, serve};

/// Serves until `stop` is sent or dropped.
pub(super) async fn run(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    mut stop: oneshot::Receiver<()>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stop => return,
        };
        if let Ok((stream, _)) = accepted {
            tokio::spawn(connection(stream, acceptor.clone(), Arc::clone(&shared)));
        }
    }
}

/// The error by which a request tells its connection to close without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is dropped on purpose")]
struct Dropped;

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    // Answers are small and each is waited for.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Ok(stream) = acceptor.accept(stream).await else {
        return;
    };
    let reset = Arc::new(AtomicBool::new(false));
    let service = service_fn(|request| {
        let answer = serve(Arc::clone(&shared), request);
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
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let mut stream = connection.into_parts().io.into_inner();
    if reset.load(Ordering::Relaxed) {
        // Closing with no linger sends a reset instead of an end.
        let _ = stream.get_ref().0.set_zero_linger();
    } else if ended.is_ok() {
        let _ = stream.shutdown().await;
    }
}
