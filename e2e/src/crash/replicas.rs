//! A series of kills among two replicas that elect a leader: at most steps the leader dies, where it was to die, or is frozen until
//! another leads and then goes on with an old view; now and then the one that stands by dies.

use rand::RngExt;
use rand::rngs::StdRng;

use super::killer::{Killer, Victim};
use super::plan::{Plan, Target};
use super::report::Report;

/// Of ten steps, those at which the standby dies.
const STANDBY_DIES: u32 = 3;
/// Of ten steps, those at which the leader is frozen first.
const LEADER_SLEEPS: u32 = 2;

/// One of the two, and where it is to die; one without a target is left in peace.
struct Replica {
    victim: Victim,
    target: Option<Target>,
}

/// Kills all of a series but the last two, which are left in peace; those.
pub(super) async fn one_series(
    kills: u32,
    plan: &mut Plan,
    killer: &mut Killer,
    random: &mut StdRng,
    report: &mut Report,
) -> Vec<Victim> {
    let mut replicas = vec![another(kills > 3, plan, killer, random), another(kills > 2, plan, killer, random)];
    for left in (3..=kills).rev() {
        let leader = killer.leading(replicas.iter().map(|replica| &replica.victim)).await;
        let with_target = replicas.iter().filter(|replica| replica.target.is_some()).count();
        let dies = if left - 2 <= u32::try_from(with_target).unwrap_or(u32::MAX) {
            // Whoever has a target must not be left at the end: it would stop there.
            replicas.iter().rposition(|replica| replica.target.is_some()).unwrap_or(leader)
        } else if random.random_ratio(STANDBY_DIES, 10) {
            1 - leader
        } else {
            leader
        };
        let Replica { mut victim, target } = replicas.remove(dies);
        let there = target.filter(|_| dies == leader).unwrap_or(Target::Anywhere);
        let death = if dies == leader && random.random_ratio(LEADER_SLEEPS, 10) {
            killer.put_to_sleep(&mut victim);
            killer.leading(replicas.iter().map(|replica| &replica.victim)).await;
            killer.wake(&mut victim);
            killer.kill_there(victim, Target::Anywhere, random).await
        } else {
            killer.kill_there(victim, there, random).await
        };
        if let Some(target @ Target::Point(..)) = target.filter(|_| death.at.is_none()) {
            plan.again(target);
        }
        report.killed(death);
        replicas.push(another(left > 4, plan, killer, random));
    }
    replicas.into_iter().map(|replica| replica.victim).collect()
}

/// One more, which dies somewhere or nowhere.
fn another(dies: bool, plan: &mut Plan, killer: &mut Killer, random: &mut StdRng) -> Replica {
    let target = dies.then(|| plan.next(random, killer.has_left_a_start_open()));
    Replica { victim: killer.start(target), target }
}
