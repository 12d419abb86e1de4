//! The clients of the Kubernetes API, with every request counted. One that a client repeats by itself, as the watches' does, is
//! counted once, by its last answer.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::http::{Method, Request, Response};
use futures::FutureExt;
use futures::future::BoxFuture;
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tower::Service;
use tower::layer::layer_fn;

use crate::telemetry::Metrics;

/// A client whose requests are counted.
pub(super) fn client(config: Config, metrics: &Arc<Metrics>) -> kube::Result<Client> {
    let metrics = Arc::clone(metrics);
    let counted = layer_fn(move |inner| Counted { inner, metrics: Arc::clone(&metrics) });
    Ok(ClientBuilder::try_from(config)?.with_layer(&counted).build())
}

/// Sends, and counts.
struct Counted<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (method, metrics) = (word(request.method()), Arc::clone(&self.metrics));
        let answered = self.inner.call(request);
        answered
            .inspect(move |answer| {
                let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
                metrics.kubernetes_called(method, status);
            })
            .boxed()
    }
}

/// A method as a word from a fixed list.
fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
