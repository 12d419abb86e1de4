//! The task over a clock that is moved by hand and a source that answers when told to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;

use super::super::Part;
use super::*;
use crate::databricks::error::ApiError;
use crate::databricks::model::Run;

/// A clock that stands still until it is moved.
#[derive(Debug, Clone)]
struct ManualClock(watch::Sender<Duration>);

impl ManualClock {
    fn advance(&self, by: Duration) {
        self.0.send_modify(|time| *time += by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> super::super::Now {
        super::super::Now { monotonic: *self.0.borrow(), wall: SystemTime::UNIX_EPOCH }
    }

    async fn sleep_until(&self, instant: Duration) {
        let mut time = self.0.subscribe();
        time.wait_for(|time| *time >= instant).await.unwrap();
    }
}

/// Answers `RUNNING` unless told otherwise, one get for each permit.
#[derive(Debug, Default)]
struct Source {
    refuses: AtomicBool,
    panics: AtomicBool,
    asked: Mutex<HashMap<RunId, usize>>,
    out: AtomicUsize,
    most_out: AtomicUsize,
}

#[derive(Clone)]
struct Gate {
    source: Arc<Source>,
    permits: Arc<Semaphore>,
}

/// Counts a get as out while it lives.
struct Out<'a>(&'a AtomicUsize);

impl Drop for Out<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Runs for Gate {
    async fn get_run(&self, run: RunId) -> Result<Read, Error> {
        let source = &*self.source;
        *source.asked.lock().unwrap().entry(run).or_default() += 1;
        let now_out = source.out.fetch_add(1, Ordering::SeqCst) + 1;
        source.most_out.fetch_max(now_out, Ordering::SeqCst);
        let _out = Out(&source.out);
        self.permits.acquire().await.unwrap().forget();
        assert!(!source.panics.load(Ordering::SeqCst), "a fault on purpose");
        if source.refuses.load(Ordering::SeqCst) {
            return Err(Error::Unauthenticated(ApiError { http_status: 401, ..ApiError::default() }));
        }
        let run: Run =
            serde_json::from_value(serde_json::json!({"run_id": run, "state": {"life_cycle_state": "RUNNING"}}))
                .unwrap();
        Ok(Read { run, server_time: None })
    }

    async fn list_live(&self, _: &Part) -> Result<Page, Error> {
        unreachable!("these tests have no sweeps")
    }
}

struct Bench {
    poller: Poller<i64, ManualClock>,
    clock: ManualClock,
    gate: Gate,
    wakes: mpsc::Receiver<i64>,
    metrics: Arc<Metrics>,
}

impl Bench {
    /// A poller whose source holds every answer back until [`Bench::answer`].
    fn start(max_in_flight: usize) -> Self {
        let clock = ManualClock(watch::Sender::new(Duration::ZERO));
        let gate = Gate { source: Arc::default(), permits: Arc::new(Semaphore::new(0)) };
        let metrics = Arc::<Metrics>::default();
        let (sender, wakes) = mpsc::channel(1);
        let settings = Settings { max_in_flight, seed: 1, sweeping: Sweeping::Never };
        let poller = Poller::start(gate.clone(), clock.clone(), settings, sender, Arc::clone(&metrics));
        Self { poller, clock, gate, wakes, metrics }
    }

    fn watch(&self, key: i64) {
        self.poller.watch(key, RunId(key), Schedule::default(), None);
    }

    fn answer(&self, gets: usize) {
        self.gate.permits.add_permits(gets);
    }

    async fn until(&self, mut fact: impl FnMut(&Self) -> bool) {
        while !fact(self) {
            tokio::task::yield_now().await;
        }
    }

    fn out(&self) -> usize {
        self.gate.source.out.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_watched_run_is_read_and_its_news_arrives() {
    let mut bench = Bench::start(4);
    bench.watch(1);
    bench.answer(1);
    assert_eq!(bench.wakes.recv().await, Some(1));
    let snapshot = bench.poller.snapshot(&1).unwrap();
    assert_eq!(snapshot.seen.as_ref().unwrap().run.run_id, RunId(1));
    assert_eq!(*bench.poller.health().borrow(), Health::Answering);
    assert!(bench.metrics.encode().contains(r#"databricks_operator_polls_total{outcome="news"} 1"#));
}

#[tokio::test]
async fn gets_are_bounded_and_all_runs_have_their_turn() {
    let mut bench = Bench::start(4);
    for key in 0..20 {
        bench.watch(key);
    }
    bench.clock.advance(Duration::from_secs(10));
    bench.until(|bench| bench.out() == 4).await;
    bench.answer(20);
    let mut woken = Vec::new();
    while woken.len() < 20 {
        let key = bench.wakes.recv().await.unwrap();
        bench.poller.acknowledge(&key, u64::MAX);
        woken.push(key);
    }
    woken.sort_unstable();
    assert_eq!(woken, (0..20).collect::<Vec<_>>());
    assert_eq!(bench.gate.source.most_out.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_panic_in_one_get_stops_neither_the_poller_nor_that_run() {
    let mut bench = Bench::start(4);
    bench.gate.source.panics.store(true, Ordering::SeqCst);
    bench.watch(1);
    bench.answer(1);
    bench.until(|bench| bench.poller.snapshot(&1).is_some()).await;
    assert_eq!(bench.poller.snapshot(&1).unwrap().failing.unwrap().reason, "Panicked");
    bench.gate.source.panics.store(false, Ordering::SeqCst);
    bench.clock.advance(Duration::from_secs(5));
    bench.answer(1);
    assert_eq!(bench.wakes.recv().await, Some(1));
}

#[tokio::test]
async fn a_refusal_is_told_once_for_the_workspace_and_wakes_no_run() {
    let mut bench = Bench::start(4);
    let mut health = bench.poller.health();
    bench.gate.source.refuses.store(true, Ordering::SeqCst);
    for key in 0..3 {
        bench.watch(key);
    }
    bench.clock.advance(Duration::from_secs(1));
    bench.answer(3);
    let failing = health.wait_for(|health| matches!(health, Health::Failing { .. })).await.unwrap().clone();
    let Health::Failing { error, .. } = failing else { unreachable!("just waited for") };
    assert_eq!(error.reason(), "Unauthorized");
    assert!(bench.wakes.try_recv().is_err());

    bench.gate.source.refuses.store(false, Ordering::SeqCst);
    bench.clock.advance(Duration::from_secs(5));
    bench.answer(3);
    health.wait_for(|health| *health == Health::Answering).await.unwrap();
}

#[tokio::test]
async fn a_poke_is_answered_at_once() {
    let mut bench = Bench::start(4);
    bench.watch(1);
    bench.answer(1);
    assert_eq!(bench.wakes.recv().await, Some(1));
    bench.poller.acknowledge(&1, u64::MAX);
    bench.poller.poke(&1);
    bench.answer(1);
    assert_eq!(bench.wakes.recv().await, Some(1), "without the clock having moved");
}

#[tokio::test]
async fn dropping_the_poller_ends_its_task_and_the_gets_that_are_out() {
    let bench = Bench::start(4);
    bench.watch(1);
    bench.until(|bench| bench.out() == 1).await;
    let Bench { poller, gate, mut wakes, .. } = bench;
    drop(poller);
    assert_eq!(wakes.recv().await, None);
    assert_eq!(gate.source.out.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_poller_ends_when_nobody_is_left_to_wake() {
    let bench = Bench::start(4);
    bench.watch(1);
    let Bench { poller, gate, wakes, .. } = bench;
    drop(wakes);
    gate.permits.add_permits(1);
    while !poller.task.is_finished() {
        tokio::task::yield_now().await;
    }
}
