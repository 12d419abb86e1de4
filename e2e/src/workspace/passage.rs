//! The way of one request through what disturbs it: held, delayed, answered by somebody else, spoiled on its way back. The
//! workspace and the login host send theirs through here, so that every fault works on both.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::Response;
use hyper::header::{HeaderValue, LOCATION};

use super::clock::Millis;
use super::disturbance::{Disturbance, Instead};
use super::errors::ApiError;
use super::exchange::{add_headers, plain};
use super::log::Log;
use super::spoil::spoil;

/// What becomes of a request.
pub(super) enum Answer {
    Respond(Response<Body>),
    /// Close the connection without an answer.
    Hangup,
    /// The same, with a reset.
    Reset,
}

/// Dropped without an answer in the log: the client has gone away.
pub(super) struct Watch {
    pub(super) log: Arc<Log>,
    pub(super) number: usize,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.log.update(self.number, |entry| {
            entry.abandoned = entry.answered.is_none();
        });
    }
}

/// One request with its place in the log.
pub(super) struct Passage<'a> {
    pub(super) log: &'a Log,
    pub(super) number: usize,
    pub(super) now: &'a (dyn Fn() -> Millis + Send + Sync),
}

impl Passage<'_> {
    /// Takes it there and back. `effect` is what it asks for; `finish` writes the answer at the time it leaves.
    pub(super) async fn go(
        self,
        disturbance: Disturbance,
        latency: Duration,
        effect: impl FnOnce() -> Result<Response<Body>, ApiError>,
        finish: impl FnOnce(Result<Response<Body>, ApiError>) -> Response<Body>,
    ) -> Answer {
        self.log.update(self.number, |entry| entry.faults.clone_from(&disturbance.names));
        pause(latency + disturbance.before).await;
        disturbance.held_before.open().await;
        let answered = match disturbance.instead {
            Some(Instead::Reset) => {
                self.close(None);
                return Answer::Reset;
            }
            Some(Instead::Redirect) => {
                let mut moved = plain(302, "text/html", Vec::new());
                moved.headers_mut().insert(LOCATION, HeaderValue::from_static("/login.html"));
                Ok(moved)
            }
            Some(Instead::Page(kind, page)) => Ok(plain(200, kind, page.as_bytes().to_vec())),
            Some(Instead::Answer(written)) => {
                let mut answer = plain(written.status, "", written.body.into_bytes());
                add_headers(&mut answer, &written.headers);
                Ok(answer)
            }
            Some(Instead::Error(error)) => Err(error),
            None => effect(),
        };
        self.log.update(self.number, |entry| entry.handled = true);
        pause(disturbance.after).await;
        disturbance.held_after.open().await;
        let response = finish(answered);
        let status = response.status().as_u16();
        let answer = match disturbance.spoils {
            Some(kind) => spoil(response, &kind).await,
            None => Answer::Respond(response),
        };
        self.close(matches!(answer, Answer::Respond(_)).then_some(status));
        answer
    }

    fn close(&self, status: Option<u16>) {
        self.log.close(self.number, status, (self.now)());
    }
}

async fn pause(span: Duration) {
    if !span.is_zero() {
        tokio::time::sleep(span).await;
    }
}
