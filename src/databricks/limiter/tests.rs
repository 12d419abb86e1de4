use proptest::prelude::*;

use super::*;

const RATE: f64 = 15.0;

fn secs(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// A request of the one asker most tests have.
fn call(call: u64) -> Asker {
    Asker { share: 0, call }
}

fn fresh() -> Core {
    Core::new(RATE, Duration::ZERO)
}

/// Asks until refused; how often it was granted.
fn drain(core: &mut Core, lane: Lane, now: Duration) -> usize {
    (0..10_000_u64).take_while(|n| core.ask(lane, call(u64::MAX - n), now) == Permission::Now).count()
}

struct Caller {
    lane: Lane,
    share: u64,
    due: Duration,
    granted: u32,
}

/// Callers who come back when they are told to, each with a new request as soon as one is granted.
struct Crowd {
    callers: Vec<Caller>,
}

impl Crowd {
    /// So many callers of one asker in each lane.
    fn of(lanes: &[(Lane, usize)]) -> Self {
        lanes.iter().fold(Self { callers: Vec::new() }, |crowd, (lane, count)| crowd.and(*lane, 0, *count))
    }

    /// And so many of this asker.
    fn and(mut self, lane: Lane, share: u64, count: usize) -> Self {
        let callers = std::iter::repeat_with(|| Caller { lane, share, due: Duration::ZERO, granted: 0 });
        self.callers.extend(callers.take(count));
        self
    }

    /// Lets time pass in steps of 10 ms and counts the refusals. Whatever is granted goes to the server: whether it is
    /// too much for it.
    fn play_against(
        &mut self,
        core: &mut Core,
        from: Duration,
        until: Duration,
        mut too_much: impl FnMut(Duration) -> bool,
    ) -> usize {
        let mut refusals = 0;
        let mut now = from;
        while now < until {
            for (who, caller) in self.callers.iter_mut().enumerate() {
                if caller.due > now {
                    continue;
                }
                let asker = Asker { share: caller.share, call: u64::try_from(who).unwrap() };
                match core.ask(caller.lane, asker, now) {
                    Permission::Now if too_much(now) => core.throttled(None, now),
                    Permission::Now => caller.granted += 1,
                    Permission::At(at) => {
                        assert!(at > now, "told to come back at once");
                        caller.due = at;
                        refusals += 1;
                    }
                }
            }
            now += Duration::from_millis(10);
        }
        refusals
    }

    fn play(&mut self, core: &mut Core, from: Duration, until: Duration) -> usize {
        self.play_against(core, from, until, |_| false)
    }

    fn granted(&self, lane: Lane) -> Vec<u32> {
        self.callers.iter().filter(|caller| caller.lane == lane).map(|caller| caller.granted).collect()
    }

    fn sum(&self, lane: Lane) -> u32 {
        self.granted(lane).iter().sum()
    }

    fn sum_of(&self, share: u64) -> u32 {
        self.callers.iter().filter(|caller| caller.share == share).map(|caller| caller.granted).sum()
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
        let Permission::At(at) = core.ask(Lane::Poll, call(who), Duration::ZERO) else { panic!("granted") };
        assert!(at >= last + secs(0.99 / RATE), "{who} comes at {at:?}, the one before at {last:?}");
        assert_eq!(core.ask(Lane::Poll, call(who), Duration::ZERO), Permission::At(at), "asking again changes nothing");
        last = at;
    }
    assert!(last < secs(8.0), "a hundred requests at fifteen a second");
}

#[test]
fn a_newcomer_does_not_overtake_those_who_wait() {
    let mut core = fresh();
    drain(&mut core, Lane::Poll, Duration::ZERO);
    let Permission::At(first) = core.ask(Lane::Poll, call(1), Duration::ZERO) else { panic!("granted") };
    assert!(matches!(core.ask(Lane::Poll, call(2), first + secs(1.0)), Permission::At(_)));
    assert_eq!(core.ask(Lane::Poll, call(1), first + secs(1.0)), Permission::Now);
}

#[test]
fn a_place_whose_owner_never_comes_is_given_up() {
    let mut core = fresh();
    drain(&mut core, Lane::Poll, Duration::ZERO);
    let Permission::At(at) = core.ask(Lane::Poll, call(1), Duration::ZERO) else { panic!("granted") };
    assert_eq!(core.ask(Lane::Poll, call(2), at + PLACE_KEPT_FOR + PLACE_KEPT_FOR), Permission::Now);
}

#[test]
fn polls_leave_something_for_more_urgent_lanes() {
    let mut core = fresh();
    drain(&mut core, Lane::Poll, Duration::ZERO);
    for lane in [Lane::Output, Lane::Submit, Lane::Cancel] {
        assert_eq!(core.ask(lane, call(1), Duration::ZERO), Permission::Now, "{lane:?}");
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
fn those_who_wait_in_the_most_urgent_lane_have_all_of_the_rate_but_what_the_others_earn() {
    for (urgent, others) in [(Lane::Submit, 1), (Lane::Submit, 2), (Lane::Cancel, 3)] {
        let lanes = Lane::ALL.into_iter().rev().take(others).map(|lane| (lane, 100)).chain([(urgent, 400)]);
        let (mut core, mut crowd) = (fresh(), Crowd::of(&lanes.collect::<Vec<_>>()));
        crowd.play(&mut core, Duration::ZERO, secs(60.0));
        let (first, all) = (crowd.sum(urgent), Lane::ALL.map(|lane| crowd.sum(lane)));
        let share = f64::from(first) / f64::from(all.iter().sum::<u32>());
        let expected = 1.0 - CREDIT_SHARE * f64::from(u32::try_from(others).unwrap());
        assert!((share - expected).abs() < 0.05, "{urgent:?} has {share:.2} instead of {expected}: {all:?}");
        assert!(all.iter().sum::<u32>() >= 850, "{all:?}: the rate is used");
    }
}

#[test]
fn a_cancel_goes_at_once_while_hundreds_of_polls_wait() {
    let (mut core, mut crowd) = (fresh(), Crowd::of(&[(Lane::Poll, 450)]));
    crowd.play(&mut core, Duration::ZERO, secs(30.0));
    assert_eq!(core.ask(Lane::Cancel, call(1), secs(30.0)), Permission::Now);
}

#[test]
fn who_has_one_request_waits_for_one_of_each_other_asker_and_not_for_their_thousands() {
    let mut core = fresh();
    drain(&mut core, Lane::Poll, Duration::ZERO);
    for number in 0..2000 {
        core.ask(Lane::Poll, call(number), Duration::ZERO);
    }
    let single = Asker { share: 1, call: 1 };
    let Permission::At(at) = core.ask(Lane::Poll, single, Duration::ZERO) else { panic!("granted") };
    assert!(at < secs(0.5), "{at:?}");
    let (mut now, mut due) = (Duration::ZERO, at);
    // The others come as they were told: one each fifteenth of a second.
    for number in 0..30 {
        now += secs(1.0 / RATE);
        core.ask(Lane::Poll, call(number), now);
        if now >= due {
            match core.ask(Lane::Poll, single, now) {
                Permission::Now => return,
                Permission::At(at) => due = at,
            }
        }
    }
    panic!("not served within two seconds");
}

#[test]
fn a_lane_is_shared_alike_however_many_requests_somebody_has() {
    let mut crowd = Crowd::of(&[]).and(Lane::Submit, 1, 2000).and(Lane::Submit, 2, 100).and(Lane::Submit, 3, 20);
    let mut core = fresh();
    crowd.play(&mut core, Duration::ZERO, secs(120.0));
    let sums = [1, 2, 3].map(|share| crowd.sum_of(share));
    let total: u32 = sums.iter().sum();
    assert!(total >= 1600, "{sums:?}: the rate is used");
    assert!(sums.iter().all(|sum| f64::from(*sum) > 0.25 * f64::from(total)), "{sums:?}");
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
    core.ask(Lane::Cancel, call(1), secs(62.0));
    let soon = core.rate();
    assert!((RATE * 0.9..RATE * 0.95).contains(&soon), "{soon}: nearly there within a minute");
    core.ask(Lane::Cancel, call(1), secs(180.0));
    assert!((core.rate() - RATE).abs() < 0.01, "and all of it after three");
}

#[test]
fn a_lower_limit_of_the_server_is_found_and_touched_less_and_less() {
    const LIMIT: f64 = 10.0;
    let (mut core, mut crowd) = (fresh(), Crowd::of(&[(Lane::Submit, 200), (Lane::Poll, 300)]));
    let (mut left, mut filled) = (LIMIT, Duration::ZERO);
    let (mut asked, mut refused) = (0_u32, 0_u32);
    crowd.play_against(&mut core, Duration::ZERO, secs(630.0), |now| {
        left = (left + now.saturating_sub(filled).as_secs_f64() * LIMIT).min(LIMIT);
        filled = now;
        let too_much = left < 1.0;
        left -= if too_much { 0.0 } else { 1.0 };
        if now > secs(30.0) {
            asked += 1;
            refused += u32::from(too_much);
        }
        too_much
    });
    assert!(f64::from(refused) < 0.01 * f64::from(asked), "{refused} of {asked} are too much");
    assert!(f64::from(asked) > 0.8 * LIMIT * 600.0, "{asked} in ten minutes");
}

#[test]
fn retry_after_holds_every_lane_and_spreads_those_who_come_after() {
    let mut core = fresh();
    core.throttled(Some(secs(20.0)), Duration::ZERO);
    let mut times = Vec::new();
    for (who, lane) in Lane::ALL.into_iter().chain([Lane::Poll; 5]).enumerate() {
        let Permission::At(at) = core.ask(lane, call(u64::try_from(who).unwrap()), secs(1.0)) else {
            panic!("granted")
        };
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
        assert!(matches!(core.ask(Lane::Poll, call(1), secs(1.0)), Permission::At(_)), "{rate}");
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
                _ => match core.ask(Lane::ALL[usize::from(lane)], Asker { share: who % 4, call: who }, now) {
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

    #[test]
    fn nobody_gets_less_than_his_part_because_others_ask_for_more(
        crowds in prop::collection::vec(1..400_usize, 2..6), lane in 0..4_usize,
    ) {
        let lane = Lane::ALL[lane];
        let (mut core, mut crowd) = (fresh(), Crowd::of(&[]));
        for (share, count) in crowds.iter().enumerate() {
            crowd = crowd.and(lane, u64::try_from(share).unwrap(), *count);
        }
        crowd.play(&mut core, Duration::ZERO, secs(90.0));
        let sums: Vec<_> = (0..crowds.len()).map(|share| crowd.sum_of(u64::try_from(share).unwrap())).collect();
        let part = f64::from(sums.iter().sum::<u32>()) / f64::from(u32::try_from(crowds.len()).unwrap());
        // Who has one caller cannot come again before he has been told to.
        prop_assert!(sums.iter().all(|sum| f64::from(*sum) > 0.4 * part), "{crowds:?} callers get {sums:?}");
    }
}
