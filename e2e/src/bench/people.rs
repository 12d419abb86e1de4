//! Those who create objects, and the world in which runs end. Neither waits for the operator: a slow one gets no less to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::PostParams;
use tokio::task::JoinHandle;

use super::Failure;
use super::witness::Witness;
use super::world::World;
use crate::workspace::{Clock, Millis};

/// How many objects are created at once, where only the API server says how fast.
const AT_ONCE: usize = 16;

/// An object, and when its creation was asked for.
#[derive(Debug, Clone)]
pub(super) struct Created {
    pub(super) name: String,
    pub(super) at: Millis,
}

async fn create(world: &World, name: String, number: usize) -> Result<Created, Failure> {
    let object = world.run(&name, number)?;
    let at = Clock::real().now();
    world.objects().create(&PostParams::default(), &object).await?;
    Ok(Created { name, at })
}

/// Creates so many as fast as the API server takes them.
pub(super) async fn burst(world: &World, prefix: &str, count: usize) -> Result<Vec<Created>, Failure> {
    let all = (0..count).map(|number| create(world, format!("{prefix}-{number}"), number));
    stream::iter(all).buffer_unordered(AT_ONCE).try_collect().await
}

/// Creates so many, one every so often, whatever becomes of those before.
pub(super) async fn every(world: &World, prefix: &str, count: usize, span: Duration) -> Result<Vec<Created>, Failure> {
    let begun = tokio::time::Instant::now();
    let all = (0..count).map(async |number| {
        tokio::time::sleep_until(begun + span * u32::try_from(number)?).await;
        create(world, format!("{prefix}-{number}"), number).await
    });
    stream::iter(all).buffer_unordered(count.max(1)).try_collect().await
}

/// Runs that end now and then, as many in an hour as there are, each replaced by a new one.
pub(super) struct Turnover {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Vec<i64>, Failure>>,
}

impl Turnover {
    /// Has one run of these end every so often.
    pub(super) fn begin(world: &Arc<World>, witness: &Arc<Witness>, every: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, world, witness) = (Arc::clone(&stop), Arc::clone(world), Arc::clone(witness));
        let task = tokio::spawn(async move {
            static NUMBER: AtomicUsize = AtomicUsize::new(0);
            let live = witness.objects().into_values().filter(|track| track.ended.is_none());
            let mut live: Vec<i64> = live.filter_map(|track| Some(track.run?.0)).collect();
            // In no order that anybody could make use of: ids are random.
            live.sort_unstable();
            let (begun, mut ended) = (Instant::now(), Vec::new());
            while let (Some(id), false) = (live.pop(), stopped.load(Ordering::Relaxed)) {
                world.of_run(id).ok_or("a run that is in no workspace")?.finish(id);
                ended.push(id);
                let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                create(&world, format!("more-{number}"), number).await?;
                let next = begun + every * u32::try_from(ended.len())?;
                tokio::time::sleep_until(next.into()).await;
            }
            Ok(ended)
        });
        Self { stop, task }
    }

    /// Stops it; the runs that were told to end.
    pub(super) async fn stop(self) -> Result<Vec<i64>, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}
