//! One object's own, lower rate: a machine of its own in front of the host's. Who has passed the first is not asked there
//! again while he waits at the second. Pure.

use std::collections::HashMap;
use std::time::Duration;

use super::{Asker, Core, Lane, PLACE_KEPT_FOR, Permission};

/// The machine of one object.
#[derive(Debug)]
pub struct Share {
    own: Core,
    /// Who has passed `own` and waits at the host's, and until when he is expected there.
    passed: HashMap<(Lane, u64), Duration>,
}

impl Share {
    /// A machine of so many requests per second.
    #[must_use]
    pub fn new(requests_per_second: f64, now: Duration) -> Self {
        Self { own: Core::new(requests_per_second, now), passed: HashMap::new() }
    }

    /// Asks for one request of this object at `host`.
    pub fn ask(&mut self, host: &mut Core, lane: Lane, who: Asker, now: Duration) -> Permission {
        let key = (lane, who.call);
        self.passed.retain(|_, until| *until > now);
        if !self.passed.contains_key(&key)
            && let Permission::At(at) = self.own.ask(lane, Asker { share: 0, ..who }, now)
        {
            return Permission::At(at);
        }
        let permission = host.ask(lane, who, now);
        match permission {
            Permission::Now => drop(self.passed.remove(&key)),
            Permission::At(at) => drop(self.passed.insert(key, at + PLACE_KEPT_FOR)),
        }
        permission
    }

    /// Counts a request that is sent in any case.
    pub fn charge(&mut self, now: Duration) {
        self.own.charge(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: f64 = 15.0;

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// How many requests callers who come when they are told to get in so many seconds.
    fn granted(mut share: Option<Share>, host: &mut Core, callers: u64, seconds: f64) -> u32 {
        let mut due = vec![Duration::ZERO; usize::try_from(callers).unwrap()];
        let (mut now, mut granted) = (Duration::ZERO, 0);
        while now < secs(seconds) {
            for (call, due) in (0..).zip(&mut due) {
                if *due > now {
                    continue;
                }
                let who = Asker { share: 1, call };
                let permission = match &mut share {
                    Some(share) => share.ask(host, Lane::Poll, who, now),
                    None => host.ask(Lane::Poll, who, now),
                };
                match permission {
                    Permission::Now => granted += 1,
                    Permission::At(at) => *due = at,
                }
            }
            now += Duration::from_millis(10);
        }
        granted
    }

    #[test]
    fn an_object_gets_its_own_rate_and_no_more() {
        let mut host = Core::new(HOST, Duration::ZERO);
        let requests = granted(Some(Share::new(2.0, Duration::ZERO)), &mut host, 40, 60.0);
        assert!((110..=126).contains(&requests), "{requests} in a minute at two a second");
    }

    #[test]
    fn a_rate_above_the_hosts_gives_no_more_than_the_hosts() {
        let mut host = Core::new(HOST, Duration::ZERO);
        let requests = granted(Some(Share::new(1000.0, Duration::ZERO)), &mut host, 200, 60.0);
        let alone = granted(None, &mut Core::new(HOST, Duration::ZERO), 200, 60.0);
        assert!(requests <= alone + 20, "{requests}, {alone} without");
    }

    #[test]
    fn who_waits_for_the_others_is_not_counted_twice() {
        let mut host = Core::new(HOST, Duration::ZERO);
        let mut share = Share::new(4.0, Duration::ZERO);
        host.hold(secs(5.0), Duration::ZERO);
        let who = Asker { share: 1, call: 1 };
        let mut now = Duration::ZERO;
        for _ in 0..100 {
            match share.ask(&mut host, Lane::Cancel, who, now) {
                Permission::Now => break,
                Permission::At(at) => now = at.min(now + secs(0.1)),
            }
        }
        assert!(now > secs(5.0), "{now:?}");
        for call in 2..5 {
            let who = Asker { share: 1, call };
            assert_eq!(share.ask(&mut host, Lane::Cancel, who, now), Permission::Now, "{call} of its second's worth");
        }
    }

    #[test]
    fn within_its_own_rate_cancels_go_before_polls() {
        let mut host = Core::new(HOST, Duration::ZERO);
        let mut share = Share::new(1.0, Duration::ZERO);
        for call in 0..100 {
            share.ask(&mut host, Lane::Poll, Asker { share: 1, call }, Duration::ZERO);
        }
        let cancel = Asker { share: 1, call: 1000 };
        assert_eq!(share.ask(&mut host, Lane::Cancel, cancel, Duration::ZERO), Permission::Now);
    }
}
