//! Many runs at once, as after a restart.

use super::*;
use crate::databricks::limiter::{self, Asker, Lane, Permission};

/// What became of watching `runs` runs at once, every get taking 200 ms.
struct Crowd {
    /// When all had been read once.
    all_read: Duration,
    /// Gets that were sent in the first second.
    first_second: usize,
    /// Times the rate limit was asked.
    limiter_asked: usize,
}

fn crowd(runs: i64, mut limiter: Option<limiter::Core>) -> Crowd {
    let mut book = Book::new(1, 32, Sweeping::Never);
    for key in 0..runs {
        book.watch(key, RunId(key), Schedule::default(), None, at(Duration::ZERO));
    }
    let mut story = Crowd { all_read: Duration::ZERO, first_second: 0, limiter_asked: 0 };
    let (mut read, mut out) = (HashSet::new(), VecDeque::new());
    let time = &mut story.all_read;
    while i64::try_from(read.len()).unwrap() < runs {
        while let Some(ask) = book.due(at(*time)) {
            story.limiter_asked += 1;
            let who = ask.run.0.unsigned_abs();
            match limiter.as_mut().map(|limiter| limiter.ask(Lane::Poll, Asker { share: 0, call: who }, *time)) {
                Some(Permission::At(turn)) => {
                    book.learned(ask, Answer::NotNow(turn.saturating_sub(*time)), at(*time));
                }
                None | Some(Permission::Now) => {
                    story.first_second += usize::from(*time < SECOND);
                    out.push_back((*time + Duration::from_millis(200), ask));
                }
            }
        }
        *time = out.front().map(|(at, _)| *at).into_iter().chain(book.next_due()).min().unwrap().max(*time);
        while out.front().is_some_and(|(at, _)| at <= time) {
            let (_, ask) = out.pop_front().unwrap();
            let id = ask.key;
            read.insert(id);
            book.learned(ask, running(id), at(*time));
        }
    }
    story
}

#[test]
fn two_thousand_runs_watched_at_once_are_spread_and_all_read_within_15_seconds() {
    let Crowd { all_read, first_second, .. } = crowd(2000, None);
    assert!(all_read <= 15 * SECOND, "{all_read:?}");
    assert!(first_second < 500, "{first_second} in the first second");
}

#[test]
fn under_the_rate_limit_all_of_the_rate_is_used_and_all_runs_have_their_turn() {
    let Crowd { all_read, limiter_asked, .. } = crowd(600, Some(limiter::Core::new(15.0, Duration::ZERO)));
    assert!(all_read <= 44 * SECOND, "600 at 15 a second take 40 seconds, not {all_read:?}");
    assert!(limiter_asked <= 2000, "asked {limiter_asked} times");
}
