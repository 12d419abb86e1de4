//! Answers that go wrong on their way back, after what was asked for has been done.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use hyper::Response;
use hyper::header::CONTENT_LENGTH;

use super::faults::Kind;
use super::passage::Answer;

/// More than any client should be willing to read of one JSON answer in a moment.
const ENDLESS_CHUNK: usize = 64 * 1024;

/// What the client gets instead of `response`.
pub(super) async fn spoil(response: Response<Body>, kind: &Kind) -> Answer {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        return Answer::Hangup;
    };
    let body = match kind {
        Kind::LoseAnswer => return Answer::Hangup,
        Kind::Truncate => {
            parts.headers.insert(CONTENT_LENGTH, bytes.len().max(1).into());
            truncated(&bytes)
        }
        Kind::Endless => endless(bytes),
        Kind::Drip { every_ms } => drip(bytes, Duration::from_millis(*every_ms)),
        _ => Body::from(bytes),
    };
    Answer::Respond(Response::from_parts(parts, body))
}

/// Half of it, then the connection breaks.
fn truncated(bytes: &Bytes) -> Body {
    let half = bytes.slice(..bytes.len() / 2);
    let broken = stream::once(async {
        // Lets the half go out first: an error found at once would close the connection before it.
        tokio::task::yield_now().await;
        Err(io::Error::other("truncated on purpose"))
    });
    Body::from_stream(stream::once(async { Ok(half) }).chain(broken))
}

/// The answer, then blanks for ever.
fn endless(bytes: Bytes) -> Body {
    let blanks = Bytes::from(vec![b' '; ENDLESS_CHUNK]);
    let more = stream::repeat(blanks).then(|blanks| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        blanks
    });
    Body::from_stream(stream::once(async { bytes }).chain(more).map(Ok::<_, Infallible>))
}

fn drip(bytes: Bytes, every: Duration) -> Body {
    let drops = stream::iter(0..bytes.len()).then(move |at| {
        let drop = bytes.slice(at..=at);
        async move {
            tokio::time::sleep(every).await;
            Ok::<_, Infallible>(drop)
        }
    });
    Body::from_stream(drops)
}
