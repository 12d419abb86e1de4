use proptest::prelude::*;

use super::*;

const RATE: f64 = 15.0;

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn fresh() -> Core {
    Core::new(RATE, Duration::ZERO)
}

/// Asks until refused; how often it was granted.
fn drain(core: &mut Core, lane: Lane, now: Duration) -> usize {
    (0..10_000_u64).take_while(|n| core.ask(lane, u64::MAX - n, now) == Permission::Now).count()
}

/// Callers who come back when they are told to, each with a new request as soon as one is granted.
struct Crowd {
    /// Lane, next time to ask, requests granted.
    callers: Vec<(Lane, Duration, u32)>,
}

impl Crowd {
    fn of(lanes: &[(Lane, usize)]) -> Self {
        let callers = lanes.iter().flat_map(|(lane, count)| vec![(*lane, Duration::ZERO, 0); *count]).collect();
        Self { callers }
    }

    /// Lets time pass in steps of 10 ms and counts the refusals.
    fn play(&mut self, core: &mut Core, from: Duration, until: Duration) -> usize {
        let mut refusals = 0;
        let mut now = from;
        while now < until {
            for (who, (lane, due, granted)) in self.callers.iter_mut().enumerate() {
                if *due > now {
                    continue;
                }
                match core.ask(*lane, u64::try_from(who).unwrap(), now) {
                    Permission::Now => *granted += 1,
                    Permission::At(at) => {
                        assert!(at > now, "told to come back at once");
                        *due = at;
                        refusals += 1;
                    }
                }
            }
            now += Duration::from_millis(10);
        }
        refusals
    }

    fn granted(&self, lane: Lane) -> Vec<u32> {
        self.callers.iter().filter(|caller| caller.0 == lane).map(|caller| caller.2).collect()
    }

    fn sum(&self, lane: Lane) -> u32 {
        self.granted(lane).iter().sum()
    }
}

#[test]
fn after_a_quiet_time_one_second_of_requests_goes_at_once() {
    assert_eq!(drain(&mut fresh(), Lane::Cancel, Duration::ZERO), 15);
}

#[test]
fn who_is_refused_is_told_a_time_of_his_own() {
    let mut core = fresh();
    drain(&mut core, Lane::Poll, Duration::ZERO);
    let mut last = Duration::ZERO;
    for who in 0..100 {
        let Permission::At(at) = core.ask(Lane::Poll, who, Duration::ZERO) else { panic!("granted") };
        assert!(at >= last + secs(0.99 / RATE), "{who} comes at {at:?}, the one before at {last:?}");
        assert_eq!(core.ask(Lane::Poll, who, Duration::ZERO), Permission::At(at), "asking again changes nothing");
        last = at;
    }
    assert!(last < secs(8.0), "a hundred requests at fifteen a second");
}

#[test]
fn a_newcomer_does_not_overtake_those_who_wait() {
    let mut core = fresh();
    drain(&mut core, Lane::Poll, Duration::ZERO);
    let Permission::At(first) = core.ask(Lane::Poll, 1, Duration::ZERO) else { panic!("granted") };
    assert!(matches!(core.ask(Lane::Poll, 2, first + secs(1.0)), Permission::At(_)));
    assert_eq!(core.ask(Lane::Poll, 1, first + secs(1.0)), Permission::Now);
}

#[test]
fn a_place_whose_owner_never_comes_is_given_up() {
    let mut core = fresh();
    drain(&mut core, Lane::Poll, Duration::ZERO);
    let Permission::At(at) = core.ask(Lane::Poll, 1, Duration::ZERO) else { panic!("granted") };
    assert_eq!(core.ask(Lane::Poll, 2, at + PLACE_KEPT_FOR + PLACE_KEPT_FOR), Permission::Now);
}

#[test]
fn polls_leave_something_for_more_urgent_lanes() {
    let mut core = fresh();
    drain(&mut core, Lane::Poll, Duration::ZERO);
    for lane in [Lane::Output, Lane::Submit, Lane::Cancel] {
        assert_eq!(core.ask(lane, 1, Duration::ZERO), Permission::Now, "{lane:?}");
    }
}

#[test]
fn a_flood_of_polls_uses_all_of_the_rate_and_serves_everybody_alike() {
    let (mut core, mut crowd) = (fresh(), Crowd::of(&[(Lane::Poll, 450)]));
    crowd.play(&mut core, Duration::ZERO, secs(120.0));
    let total = crowd.sum(Lane::Poll);
    assert!((1700..=1820).contains(&total), "{total} in two minutes at fifteen a second");
    let granted = crowd.granted(Lane::Poll);
    let (least, most) = (granted.iter().min().unwrap(), granted.iter().max().unwrap());
    assert!(most - least <= 3, "between {least} and {most}");
}

#[test]
fn a_flood_of_urgent_requests_does_not_starve_the_polls() {
    let lanes = [(Lane::Cancel, 200), (Lane::Submit, 200), (Lane::Poll, 50)];
    let (mut core, mut crowd) = (fresh(), Crowd::of(&lanes));
    crowd.play(&mut core, Duration::ZERO, secs(60.0));
    let (cancels, submits, polls) = (crowd.sum(Lane::Cancel), crowd.sum(Lane::Submit), crowd.sum(Lane::Poll));
    assert!(polls >= 60, "{polls} polls in a minute");
    assert!(cancels >= submits, "{cancels} cancels, {submits} submits");
    assert!(submits > polls, "{submits} submits, {polls} polls");
}

#[test]
fn a_cancel_goes_at_once_while_hundreds_of_polls_wait() {
    let (mut core, mut crowd) = (fresh(), Crowd::of(&[(Lane::Poll, 450)]));
    crowd.play(&mut core, Duration::ZERO, secs(30.0));
    assert_eq!(core.ask(Lane::Cancel, 1, secs(30.0)), Permission::Now);
}

#[test]
fn following_pages_are_never_refused_and_paid_for_later() {
    let mut core = fresh();
    for _ in 0..45 {
        core.charge(Duration::ZERO);
    }
    // Two seconds of debt; half a second later seven requests, and the lane's one credit.
    assert_eq!(drain(&mut core, Lane::Cancel, secs(2.5)), 8);
}

#[test]
fn a_429_halves_the_rate_once_and_it_grows_back() {
    let mut core = fresh();
    for _ in 0..10 {
        core.throttled(None, secs(1.0));
    }
    assert!((core.rate() - RATE / 2.0).abs() < 0.01, "answers to requests on the way count as one");
    core.throttled(None, secs(2.0));
    assert!(core.rate() < RATE * 0.27);
    core.ask(Lane::Cancel, 1, secs(70.0));
    assert!((core.rate() - RATE).abs() < 0.01);
}

#[test]
fn retry_after_holds_every_lane_and_spreads_those_who_come_after() {
    let mut core = fresh();
    core.throttled(Some(secs(20.0)), Duration::ZERO);
    let mut times = Vec::new();
    for (who, lane) in Lane::ALL.into_iter().chain([Lane::Poll; 5]).enumerate() {
        let Permission::At(at) = core.ask(lane, u64::try_from(who).unwrap(), secs(1.0)) else { panic!("granted") };
        assert!(at > secs(20.0), "{lane:?} at {at:?}");
        times.push((lane, at));
    }
    let polls: Vec<_> = times.iter().filter(|(lane, _)| *lane == Lane::Poll).map(|(_, at)| *at).collect();
    assert!(polls.windows(2).all(|pair| pair[0] < pair[1]), "{polls:?}");
}

#[test]
fn rates_that_make_no_sense_do_not_break_it() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9] {
        let mut core = Core::new(rate, Duration::ZERO);
        drain(&mut core, Lane::Cancel, Duration::ZERO);
        assert!(matches!(core.ask(Lane::Poll, 1, secs(1.0)), Permission::At(_)), "{rate}");
    }
}

fn step() -> impl Strategy<Value = (u8, u8, u64, u64)> {
    (0..20_u8, 0..4_u8, 0..40_u64, 0..400_u64)
}

proptest! {
    #[test]
    fn no_story_sends_more_than_the_rate_allows(story in prop::collection::vec(step(), 1..400)) {
        let mut core = fresh();
        let (mut now, mut sent) = (Duration::ZERO, 0.0);
        for (what, lane, who, pass) in story {
            now += Duration::from_millis(pass);
            match what {
                0 => core.throttled((pass % 2 == 0).then(|| secs(0.5)), now),
                1 => core.hold(secs(0.2), now),
                2 => core.charge(now),
                _ => match core.ask(Lane::ALL[usize::from(lane)], who, now) {
                    Permission::Now => sent += 1.0,
                    Permission::At(at) => prop_assert!(at > now),
                },
            }
            // A second's worth at once, the rate, and each lane's one credit.
            prop_assert!(sent <= capacity(RATE) + RATE * now.as_secs_f64() + 4.0, "{sent} by {now:?}");
        }
    }

}

proptest! {
    // Each case plays a minute and a half.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whoever_keeps_coming_back_is_served(
        cancels in 0..60_usize, submits in 0..60_usize, outputs in 0..60_usize, polls in 1..60_usize,
    ) {
        let lanes = [(Lane::Cancel, cancels), (Lane::Submit, submits), (Lane::Output, outputs), (Lane::Poll, polls)];
        let (mut core, mut crowd) = (fresh(), Crowd::of(&lanes));
        crowd.play(&mut core, Duration::ZERO, secs(90.0));
        for (lane, _) in lanes {
            prop_assert!(crowd.granted(lane).iter().all(|granted| *granted > 0), "{lane:?} {:?}", crowd.granted(lane));
        }
    }
}
