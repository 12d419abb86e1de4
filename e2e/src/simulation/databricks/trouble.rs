//! Answers that are none: errors of every kind, some of which hide that the request was executed.

use std::time::Duration;

use databricks_run_operator::databricks::error::{ApiError, Error, TransportError};

use crate::simulation::world::World;

/// An error and whether the request is executed all the same.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// 500, 502, 503, 408: executed or not, nobody can tell.
    Unavailable(u16),
    /// A 200 with an answer that cannot be read.
    Unreadable,
    /// Somebody in between answers with HTML.
    WrongHost,
    Unauthenticated,
    Forbidden,
    NoSuchRoute,
    /// 429 or dressed as 400.
    Throttled(u16),
    Quota(u16),
    /// A 400 out of the blue.
    Refused,
}

const TROUBLES: [(u32, Trouble); 12] = [
    (4, Trouble::Unavailable(503)),
    (3, Trouble::Unavailable(500)),
    (1, Trouble::Unavailable(408)),
    (2, Trouble::Unreadable),
    (1, Trouble::WrongHost),
    (2, Trouble::Unauthenticated),
    (1, Trouble::Forbidden),
    (1, Trouble::NoSuchRoute),
    (2, Trouble::Throttled(429)),
    (1, Trouble::Throttled(400)),
    (1, Trouble::Quota(429)),
    (1, Trouble::Quota(400)),
];

/// Whether a workspace answers nothing but errors now.
pub(in crate::simulation) fn is_down(world: &World, host: usize) -> bool {
    !world.calm && world.now < world.hosts[host].down_until
}

/// The answer to a request that has arrived, its effect included.
pub(in crate::simulation) fn answer<T>(
    world: &mut World,
    host: usize,
    effect: impl FnOnce(&mut World) -> Result<T, Error>,
) -> Result<T, Error> {
    if is_down(world, host) {
        return Err(Error::Unavailable(api(503)));
    }
    if world.calm || !world.chance.odds(world.mood.trouble) {
        return effect(world);
    }
    let trouble = if world.chance.odds(2500) { Trouble::Refused } else { world.chance.weighted(&TROUBLES) };
    let may_be_executed =
        matches!(trouble, Trouble::Unavailable(_) | Trouble::Unreadable | Trouble::WrongHost) && world.chance.half();
    if may_be_executed {
        world.tally.count("Databricks", "executed, and answered with an error");
        // What it would have answered is lost.
        drop(effect(world));
    }
    Err(error(trouble, world.chance.below(60)))
}

fn error(trouble: Trouble, seconds: u64) -> Error {
    let retry_after = seconds.is_multiple_of(2).then(|| Duration::from_secs(seconds));
    match trouble {
        Trouble::Unavailable(status) => Error::Unavailable(api(status)),
        Trouble::Unreadable => Error::Transport(TransportError::UnreadableAnswer("cut short".to_owned())),
        Trouble::WrongHost => Error::WrongHost("whoever answered is no Databricks API".to_owned()),
        Trouble::Unauthenticated => Error::Unauthenticated(api(401)),
        Trouble::Forbidden => Error::Forbidden(api(403)),
        Trouble::NoSuchRoute => Error::NoSuchRoute(api(404)),
        Trouble::Throttled(status) => Error::Throttled { retry_after, api: api(status) },
        Trouble::Quota(status) => Error::QuotaExceeded(api(status)),
        Trouble::Refused => Error::Rejected(api(400)),
    }
}

fn api(http_status: u16) -> ApiError {
    ApiError { http_status, ..ApiError::default() }
}
